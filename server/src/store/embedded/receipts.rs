//! Who hides their read receipts: nobody else is told how far they have read, and they
//! are not told how far others have.

use std::collections::HashSet;

use magpie_protocol::id::UserId;
use rusqlite::Connection;

use super::rows;
use crate::store::StoreError;

const HIDE: &str = "INSERT INTO hidden_receipts (user) VALUES (?1) ON CONFLICT DO NOTHING";

const SHOW: &str = "DELETE FROM hidden_receipts WHERE user = ?1";

const IS_HIDDEN: &str = "SELECT EXISTS (SELECT 1 FROM hidden_receipts WHERE user = ?1)";

/// How far a member (`k`, of `m`) has read, as another one is told: one who hides it reads
/// as one who has read nothing.
macro_rules! read_seq_told {
    ($to:literal) => {
        concat!(
            " CASE WHEN m.user = ",
            $to,
            " OR NOT EXISTS (SELECT 1 FROM hidden_receipts h WHERE h.user IN (m.user, ",
            $to,
            ")) THEN coalesce(k.read_seq, 0) ELSE 0 END "
        )
    };
}
pub(super) use read_seq_told;

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
