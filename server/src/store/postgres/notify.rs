//! For what users are woken, as they have set it.

use std::collections::HashMap;

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Position,
    setting::Notify,
    wire::v1,
};

use super::session::{Failure, Session, get, get_id, signed};
use crate::store::{Addressed, event::stored_address};

const SET_NOTIFY: &str = "
    INSERT INTO notify (user_key, conversation_id, level, until_ms) VALUES ($1, $2, $3, $4)
        ON CONFLICT (user_key, conversation_id) DO UPDATE
       SET level = excluded.level, until_ms = excluded.until_ms";

/// For what a user is woken from now on, in a conversation or in all.
pub(super) async fn set(
    session: Session<'_>,
    user: i64,
    conversation: Option<ConversationId>,
    notify: Notify,
) -> Result<(), Failure> {
    let of = conversation.map_or_else(Vec::new, |id| id.bytes().to_vec());
    let level = i16::from(notify.level.number());
    let until_ms = notify.until_ms.unwrap_or(0);
    session
        .execute(SET_NOTIFY, &[&user, &of, &level, &until_ms])
        .await?;
    Ok(())
}

/// The level of a user in a conversation (its id) at a time.
macro_rules! notify_level {
    ($user:literal, $conversation_id:literal, $now:literal) => {
        concat!(
            " coalesce((SELECT max(n.level) FROM notify n WHERE n.user_key = ",
            $user,
            " AND n.conversation_id IN (uuid_send(",
            $conversation_id,
            "), ''::bytea) AND (n.until_ms = 0 OR n.until_ms > ",
            $now,
            ")), 1::smallint) "
        )
    };
}

/// Whether a user is woken for nothing in a conversation (its key) at a time.
macro_rules! is_muted {
    ($user:literal, $conversation:literal, $now:literal) => {
        concat!(
            " EXISTS (SELECT FROM notify n WHERE n.user_key = ",
            $user,
            " AND n.level = 3 AND (n.until_ms = 0 OR n.until_ms > ",
            $now,
            ") AND (n.conversation_id = ''::bytea OR n.conversation_id = (
                SELECT uuid_send(mc.conversation_id) FROM conversations mc WHERE mc.key = ",
            $conversation,
            "))) "
        )
    };
}
pub(super) use {is_muted, notify_level};

const FIND_BODIES: &str = "
    SELECT position, conversation_key, body, kind FROM events
     WHERE position = ANY($1) AND kind IN (1, 41)";

const FIND_SENDERS: &str = "
    SELECT a.position, u.user_id
      FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS a (position, conversation, seq)
      JOIN events e ON e.conversation_key = a.conversation AND e.seq = a.seq
      JOIN users u ON u.key = e.sender_key";

pub(super) async fn addressed(
    session: Session<'_>,
    positions: &[Position],
) -> Result<Vec<Addressed>, Failure> {
    let places: Vec<i64> = positions.iter().map(|it| signed(it.get())).collect();
    let mut messages: Vec<(i64, v1::Message)> = Vec::new();
    let (mut answers, mut conversations, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
    for row in session.rows(FIND_BODIES, &[&places]).await? {
        let (position, conversation): (i64, i64) = (get(&row, 0)?, get(&row, 1)?);
        let body: &[u8] = get(&row, 2)?;
        let Some(message) = stored_address(get::<i16>(&row, 3)?.into(), body)? else {
            continue;
        };
        if message.reply_to_seq > 0 {
            answers.push(position);
            conversations.push(conversation);
            seqs.push(signed(message.reply_to_seq));
        }
        messages.push((position, message));
    }
    let mut answered: HashMap<i64, UserId> = HashMap::new();
    if !answers.is_empty() {
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&answers, &conversations, &seqs];
        for row in session.rows(FIND_SENDERS, &params).await? {
            answered.insert(get(&row, 0)?, UserId::new(get_id(&row, 1)?));
        }
    }
    let of = |(position, message): &(i64, v1::Message)| {
        let answered = answered.get(position).copied();
        Addressed::of(Position::new(position.unsigned_abs()), message, answered)
    };
    Ok(messages.iter().map(of).collect())
}
