//! Whom users let reach them without being asked to.

use std::{collections::HashSet, sync::Arc};

use rusqlite::Connection;

use super::log::Log;
use crate::store::{StoreError, rules::Person};

const CLOSE: &str = "INSERT INTO friends_only (user) VALUES (?1) ON CONFLICT DO NOTHING";

const OPEN: &str = "DELETE FROM friends_only WHERE user = ?1";

pub(super) const IS_CLOSED: &str = "
    SELECT EXISTS (SELECT 1 FROM friends_only WHERE user = ?1)
       AND NOT EXISTS (SELECT 1 FROM friends WHERE user = ?1 AND peer = ?2 AND bond IN (3, 4))";

/// Whether what is said in a conversation (its key) is a request to the user: they let friends
/// alone write to them, it is a direct one with somebody whom they have neither as a friend
/// nor asked to be one, and they have said nothing there.
macro_rules! is_request {
    ($user:literal, $conversation:literal) => {
        concat!(
            " (EXISTS (SELECT 1 FROM friends_only fo WHERE fo.user = ",
            $user,
            ") AND EXISTS (SELECT 1 FROM conversations rc WHERE rc.kind = 1 AND rc.key = ",
            $conversation,
            ") AND NOT EXISTS (SELECT 1 FROM friends fr WHERE fr.bond IN (1, 3, 4)
                                  AND fr.user = ",
            $user,
            " AND fr.conversation = ",
            $conversation,
            ") AND NOT EXISTS (SELECT 1 FROM events oe WHERE oe.kind = 1 AND oe.sender = ",
            $user,
            " AND oe.conversation = ",
            $conversation,
            ")) "
        )
    };
}
pub(super) use is_request;

/// From now on it is so.
pub(super) fn set(connection: &Connection, user: i64, friends: bool) -> Result<(), StoreError> {
    let sql = if friends { CLOSE } else { OPEN };
    connection.prepare_cached(sql)?.execute([user])?;
    Ok(())
}

impl Log<'_> {
    /// The keys of those who do not let this user add them to groups.
    pub(super) fn closed(
        &self,
        to: &Person,
        people: &[Arc<Person>],
    ) -> Result<HashSet<i64>, StoreError> {
        let mut ask = self.connection.prepare_cached(IS_CLOSED)?;
        let mut closed = HashSet::new();
        for person in people {
            if ask.query_row([person.key, to.key], |row| row.get(0))? {
                closed.insert(person.key);
            }
        }
        Ok(closed)
    }
}
