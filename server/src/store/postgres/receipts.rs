//! Who hides their read receipts: nobody else is told how far they have read, and they
//! are not told how far others have.

use std::collections::HashSet;

use magpie_protocol::{id::UserId, seq::Seq, wire::CountReaders};
use uuid::Uuid;

use super::{
    rows,
    session::{Failure, Params, Session, get, get_count, get_id, signed, uuid},
};
use crate::store::{Refusal, read::Readers};

const HIDE: &str = "INSERT INTO hidden_receipts (user_key) VALUES ($1) ON CONFLICT DO NOTHING";

const SHOW: &str = "DELETE FROM hidden_receipts WHERE user_key = $1";

const FIND_HIDING: &str = "
    SELECT u.user_id
      FROM users u JOIN hidden_receipts h ON h.user_key = u.key
     WHERE u.user_id = ANY($1)";

/// How far a member (`k`, of `m`) of a conversation (its key) has read, as another one is
/// told: one who hides it reads as one who has read nothing, and so does one for whom it is a
/// request.
macro_rules! read_seq_told {
    ($to:literal, $conversation:literal) => {
        concat!(
            " CASE WHEN m.user_key = ",
            $to,
            " OR NOT EXISTS (SELECT FROM hidden_receipts h WHERE h.user_key = m.user_key)
                 AND NOT EXISTS (SELECT FROM hidden_receipts h WHERE h.user_key = ",
            $to,
            ") AND NOT",
            crate::store::postgres::privacy::is_request!("m.user_key", $conversation),
            " THEN coalesce(k.read_seq, 0) ELSE 0 END "
        )
    };
}
pub(super) use read_seq_told;

/// Who has read at least the first of some messages and does not hide it: as many as have
/// read those from the one up to the other.
pub(super) const COUNT_READERS: &str = "
    SELECT width_bucket(m.from_seq - 1, $2::bigint[]), width_bucket(k.read_seq, $2::bigint[]),
           count(*)
      FROM marks k
      JOIN members m ON m.user_key = k.user_key AND m.conversation_key = k.conversation_key
                    AND m.to_position = 9223372036854775807
     WHERE k.conversation_key = $1 AND k.read_seq >= $3
       AND NOT EXISTS (SELECT FROM hidden_receipts h WHERE h.user_key = k.user_key)
     GROUP BY 1, 2";

/// Those of some messages whose senders are among their readers.
const FIND_OWN: &str = "
    SELECT e.seq
      FROM unnest($2::bigint[]) AS a (seq)
      JOIN events e ON e.conversation_key = $1 AND e.seq = a.seq
     WHERE EXISTS (
           SELECT FROM marks k
             JOIN members m ON m.user_key = k.user_key AND m.conversation_key = k.conversation_key
                           AND m.to_position = 9223372036854775807
            WHERE k.user_key = e.sender_key AND k.conversation_key = $1
              AND k.read_seq >= e.seq AND m.from_seq <= e.seq
              AND NOT EXISTS (SELECT FROM hidden_receipts h WHERE h.user_key = k.user_key))";

/// Whether somebody is a member, how many of some events they may read, whether they
/// hide their read receipts, and whether it is a group: in a conversation of two marks say it,
/// to whom they are for.
const MAY_COUNT: &str = "
    SELECT EXISTS (SELECT FROM members m
                    WHERE m.user_key = $1 AND m.conversation_key = $2
                      AND m.to_position = 9223372036854775807),
           (SELECT count(*)
              FROM unnest($3::bigint[]) AS a (seq)
              JOIN events e ON e.conversation_key = $2 AND e.seq = a.seq
             WHERE EXISTS (SELECT FROM members m
                            WHERE m.user_key = $1 AND m.conversation_key = $2
                              AND m.history_seq <= e.seq AND m.to_seq >= e.seq)),
           EXISTS (SELECT FROM hidden_receipts h WHERE h.user_key = $1),
           EXISTS (SELECT FROM conversations c WHERE c.key = $2 AND c.kind = 2)";

pub(super) async fn count_readers(
    session: Session<'_>,
    user: UserId,
    request: &CountReaders,
) -> Result<Result<Vec<u64>, Refusal>, Failure> {
    let user = rows::user_key(session, user).await?;
    let conversation = rows::conversation_key(session, request.conversation).await?;
    let (Some(user), Some(conversation)) = (user, conversation) else {
        return Ok(Err(Refusal::NotFound));
    };
    let seqs: Vec<i64> = request.seqs.iter().map(|seq| signed(seq.get())).collect();
    let may = session
        .first(MAY_COUNT, &[&user, &conversation, &seqs])
        .await?;
    let may = may.ok_or_else(|| Failure::corrupt("no row of a question"))?;
    let readable = usize::try_from(get::<i64>(&may, 1)?).unwrap_or(usize::MAX);
    if !get::<bool>(&may, 0)? || readable != seqs.len() {
        return Ok(Err(Refusal::NotFound));
    }
    if !get::<bool>(&may, 3)? {
        return Ok(Err(Refusal::NotPossible));
    }
    if get(&may, 2)? {
        return Ok(Err(Refusal::ReceiptsHidden));
    }
    let mut readers = Readers::of(&request.seqs);
    let first = signed(readers.first().get());
    let params: Params<'_> = &[&conversation, &seqs, &first];
    for row in session.rows(COUNT_READERS, params).await? {
        let (begin, end): (i32, i32) = (get(&row, 0)?, get(&row, 1)?);
        let index = |place: i32| usize::try_from(place).unwrap_or(0);
        readers.add_many(index(begin), index(end), get_count(&row, 2)?);
    }
    for row in session.rows(FIND_OWN, &[&conversation, &seqs]).await? {
        readers.without_sender(Seq::new(get_count(&row, 0)?));
    }
    Ok(Ok(readers.counts()))
}

/// From now on it is so.
pub(super) async fn set(session: Session<'_>, user: i64, hidden: bool) -> Result<(), Failure> {
    let sql = if hidden { HIDE } else { SHOW };
    session.execute(sql, &[&user]).await?;
    Ok(())
}

pub(super) async fn hiding(
    session: Session<'_>,
    users: &[UserId],
) -> Result<HashSet<UserId>, Failure> {
    let users: Vec<Uuid> = users.iter().map(|user| uuid(user.bytes())).collect();
    let rows = session.rows(FIND_HIDING, &[&users]).await?;
    let users = rows.iter().map(|row| Ok(UserId::new(get_id(row, 0)?)));
    users.collect()
}
