//! Who hides their read receipts: nobody else is told how far they have read, and they
//! are not told how far others have.

use std::collections::HashSet;

use magpie_protocol::{id::UserId, seq::Seq, wire::CountReaders};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{self, OPEN_END, conversation_head, signed};
use crate::store::{Refusal, StoreError, read::Readers};

const HIDE: &str = "INSERT INTO hidden_receipts (user) VALUES (?1) ON CONFLICT DO NOTHING";

const SHOW: &str = "DELETE FROM hidden_receipts WHERE user = ?1";

const IS_HIDDEN: &str = "SELECT EXISTS (SELECT 1 FROM hidden_receipts WHERE user = ?1)";

/// How far a member (`k`, of `m`) has read, as another one is told: one who hides it reads
/// as one who has read nothing, and so does one for whom the conversation is a request.
macro_rules! read_seq_told {
    ($to:literal) => {
        concat!(
            " CASE WHEN m.user = ",
            $to,
            " OR NOT EXISTS (SELECT 1 FROM hidden_receipts h WHERE h.user IN (m.user, ",
            $to,
            ")) AND NOT",
            crate::store::embedded::privacy::is_request!("m.user", "m.conversation"),
            " THEN coalesce(k.read_seq, 0) ELSE 0 END "
        )
    };
}
pub(super) use read_seq_told;

/// How far they have read at least so much, and since when they are members, of those who
/// do not hide it.
pub(super) const FIND_READERS: &str = "
    SELECT m.from_seq, k.read_seq
      FROM marks k
      JOIN members m ON m.user = k.user AND m.conversation = k.conversation
                    AND m.to_position = 9223372036854775807
     WHERE k.conversation = ?1 AND k.read_seq >= ?2
       AND NOT EXISTS (SELECT 1 FROM hidden_receipts h WHERE h.user = k.user)";

/// Whether the sender of an event is one of its readers.
pub(super) const FIND_OWN: &str = "
    SELECT EXISTS (SELECT 1 FROM marks k
                     JOIN members m ON m.user = k.user AND m.conversation = k.conversation
                                   AND m.to_position = 9223372036854775807
                    WHERE k.user = e.sender AND k.conversation = ?1 AND k.read_seq >= ?2
                      AND m.from_seq <= ?2
                      AND NOT EXISTS (SELECT 1 FROM hidden_receipts h WHERE h.user = k.user))
      FROM events e WHERE e.conversation = ?1 AND e.seq = ?2";

/// In a conversation of two marks say it, to whom they are for.
const IS_GROUP: &str = "SELECT kind = 2 FROM conversations WHERE key = ?1";

const FIND_MEMBERSHIPS: &str = "
    SELECT history_seq, to_seq, to_position FROM members WHERE user = ?1 AND conversation = ?2";

pub(super) fn count_readers(
    connection: &Connection,
    user: UserId,
    request: &CountReaders,
) -> Result<Result<Vec<u64>, Refusal>, StoreError> {
    let user = rows::user_key(connection, user)?;
    let conversation = rows::conversation_key(connection, request.conversation)?;
    let (Some(user), Some(conversation)) = (user, conversation) else {
        return Ok(Err(Refusal::NotFound));
    };
    if !may_read_all(connection, (user, conversation), &request.seqs)? {
        return Ok(Err(Refusal::NotFound));
    }
    let is_group: bool = connection
        .prepare_cached(IS_GROUP)?
        .query_row([conversation], |row| row.get(0))?;
    if !is_group {
        return Ok(Err(Refusal::NotPossible));
    }
    if is_hidden(connection, user)? {
        return Ok(Err(Refusal::ReceiptsHidden));
    }
    let mut readers = Readers::of(&request.seqs);
    let mut find = connection.prepare_cached(FIND_READERS)?;
    let mut rows = find.query([conversation, signed(readers.first().get())])?;
    while let Some(row) = rows.next()? {
        readers.add(row.get(0)?, row.get(1)?);
    }
    let mut find_own = connection.prepare_cached(FIND_OWN)?;
    for seq in &request.seqs {
        let own = find_own.query_row([conversation, signed(seq.get())], |row| row.get(0));
        if own.optional()?.unwrap_or(false) {
            readers.without_sender(*seq);
        }
    }
    Ok(Ok(readers.counts()))
}

/// Whether somebody is a member, and may read all of these.
fn may_read_all(
    connection: &Connection,
    (user, conversation): (i64, i64),
    seqs: &[Seq],
) -> Result<bool, StoreError> {
    let (head, _) = conversation_head(connection, conversation)?;
    let mut find = connection.prepare_cached(FIND_MEMBERSHIPS)?;
    let memberships = find.query_map(params![user, conversation], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    let memberships: Vec<(i64, i64, i64)> = memberships.collect::<Result<_, _>>()?;
    let is_member = memberships.iter().any(|(_, _, end)| *end == OPEN_END);
    let may_read = |seq: &Seq| {
        let seq = signed(seq.get());
        let mut ranges = memberships.iter();
        seq <= head && ranges.any(|(from, to, _)| (*from..=*to).contains(&seq))
    };
    Ok(is_member && seqs.iter().all(may_read))
}

/// From now on it is so.
pub(super) fn set(connection: &Connection, user: i64, hidden: bool) -> Result<(), StoreError> {
    let sql = if hidden { HIDE } else { SHOW };
    connection.prepare_cached(sql)?.execute([user])?;
    Ok(())
}

fn is_hidden(connection: &Connection, user: i64) -> Result<bool, StoreError> {
    let mut ask = connection.prepare_cached(IS_HIDDEN)?;
    Ok(ask.query_row([user], |row| row.get(0))?)
}

pub(super) fn hiding(
    connection: &Connection,
    users: &[UserId],
) -> Result<HashSet<UserId>, StoreError> {
    let mut hiding = HashSet::new();
    for user in users {
        if let Some(key) = rows::user_key(connection, *user)?
            && is_hidden(connection, key)?
        {
            hiding.insert(*user);
        }
    }
    Ok(hiding)
}
