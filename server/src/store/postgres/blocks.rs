//! Who blocks whom.

use magpie_protocol::id::{ConversationId, UserId};
use uuid::Uuid;

use super::{
    privacy::is_request,
    session::{Failure, Session, get_id, uuid},
};
use crate::store::{direct_conversation, rules::Person};

/// Whether the sender of what goes to a conversation (its key) is blocked by its other
/// member, if it is a direct one. Nearly nobody is blocked by anybody: then no more
/// is asked. Otherwise it is asked of the conversation's members, who are two, and not of
/// all who block the sender, whatever the planner knows about either. Its own names are
/// long, that they hide none of those that it is given.
macro_rules! is_sender_blocked {
    ($sender:literal, $conversation:literal) => {
        concat!(
            " CASE WHEN NOT EXISTS (SELECT FROM blocks by_any WHERE by_any.blocked_key = ",
            $sender,
            " LIMIT 1) THEN false
               WHEN (SELECT in_question.kind FROM conversations in_question
                      WHERE in_question.key = ",
            $conversation,
            " LIMIT 1) = 1 THEN EXISTS (
                    SELECT FROM (SELECT of_two.user_key FROM members of_two
                                  WHERE of_two.conversation_key = ",
            $conversation,
            "               AND of_two.to_position = 9223372036854775807 LIMIT 2) of_two
                     WHERE (SELECT true FROM blocks by_one
                             WHERE by_one.user_key = of_two.user_key
                               AND by_one.blocked_key = ",
            $sender,
            " LIMIT 1))
               ELSE false END "
        )
    };
}

/// Whether a user blocks the sender of an event.
macro_rules! is_blocked {
    ($user:literal, $sender:literal) => {
        concat!(
            " EXISTS (SELECT FROM blocks bl WHERE bl.user_key = ",
            $user,
            " AND bl.blocked_key = ",
            $sender,
            ") "
        )
    };
}
pub(super) use {is_blocked, is_sender_blocked};

/// With how far the one who blocks has come in the direct conversation ($3).
const BLOCK: &str = "
    INSERT INTO blocks (user_key, blocked_key, delivered_seq, read_seq)
    SELECT $1, u.key,
           coalesce(seq_at(c.key, last.seq, d.positions[(last.position >> 56)::integer + 1]), 0),
           coalesce(k.read_seq, 0)
      FROM users u
      LEFT JOIN conversations c ON c.conversation_id = $3
      LEFT JOIN LATERAL (
           SELECT e.seq, e.position FROM events e WHERE e.conversation_key = c.key
            ORDER BY e.seq DESC LIMIT 1) last ON true
      LEFT JOIN delivered d ON d.user_key = $1
      LEFT JOIN marks k ON k.user_key = $1 AND k.conversation_key = c.key
     WHERE u.user_id = $2
        ON CONFLICT (user_key, blocked_key) DO NOTHING";

const UNBLOCK: &str = "
    DELETE FROM blocks b USING users u
     WHERE u.user_id = $2 AND b.user_key = $1 AND b.blocked_key = u.key";

/// Those of these users who tell the other member of a direct conversation nothing.
pub(super) const FIND_SILENT: &str = concat!(
    "SELECT u.user_id, c.conversation_id
       FROM unnest($1::uuid[], $2::uuid[]) AS a (user_id, conversation_id)
       JOIN users u ON u.user_id = a.user_id
       JOIN conversations c ON c.conversation_id = a.conversation_id AND c.kind = 1
      WHERE EXISTS (SELECT FROM members o
                      JOIN blocks b ON b.user_key = u.key AND b.blocked_key = o.user_key
                     WHERE o.conversation_key = c.key AND o.to_position = 9223372036854775807)
         OR",
    is_request!("u.key", "c.key"),
);

/// A user blocks another from now on, or does not any more.
pub(super) async fn set(
    session: Session<'_>,
    user: &Person,
    other: UserId,
    blocked: bool,
) -> Result<(), Failure> {
    let (user_key, id) = (user.key, uuid(other.bytes()));
    if !blocked {
        session.execute(UNBLOCK, &[&user_key, &id]).await?;
        return Ok(());
    }
    let direct = uuid(direct_conversation(user.id, other).bytes());
    session.execute(BLOCK, &[&user_key, &id, &direct]).await?;
    Ok(())
}

/// See [`crate::store::Store::silent`].
pub(super) async fn silent(
    session: Session<'_>,
    users: &[(UserId, ConversationId)],
) -> Result<Vec<(UserId, ConversationId)>, Failure> {
    let (users, conversations): (Vec<Uuid>, Vec<Uuid>) = { users.iter() }
        .map(|(user, conversation)| (uuid(user.bytes()), uuid(conversation.bytes())))
        .unzip();
    let rows = session.rows(FIND_SILENT, &[&users, &conversations]).await?;
    let silent = rows.iter().map(|row| {
        let conversation = ConversationId::new(get_id(row, 1)?);
        Ok((UserId::new(get_id(row, 0)?), conversation))
    });
    silent.collect()
}
