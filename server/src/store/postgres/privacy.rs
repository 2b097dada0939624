//! Whom users let reach them without being asked to.

use std::{collections::HashSet, sync::Arc};

use super::{
    log::Log,
    session::{Failure, Session, get},
};
use crate::store::rules::Person;

const CLOSE: &str = "INSERT INTO friends_only (user_key) VALUES ($1) ON CONFLICT DO NOTHING";

const OPEN: &str = "DELETE FROM friends_only WHERE user_key = $1";

const FIND_CLOSED: &str = "
    SELECT p.key FROM unnest($2::bigint[]) AS p (key)
     WHERE EXISTS (SELECT FROM friends_only o WHERE o.user_key = p.key)
       AND NOT EXISTS (SELECT FROM friends f
                        WHERE f.user_key = p.key AND f.peer_key = $1 AND f.bond IN (3, 4))";

/// Whether what is said in a conversation (its key) is a request to the user: they let friends
/// alone write to them, it is a direct one with somebody whom they have neither as a friend
/// nor asked to be one, and they have said nothing there.
macro_rules! is_request {
    ($user:literal, $conversation:literal) => {
        concat!(
            " (EXISTS (SELECT FROM friends_only fo WHERE fo.user_key = ",
            $user,
            ") AND EXISTS (SELECT FROM conversations rc WHERE rc.kind = 1 AND rc.key = ",
            $conversation,
            ") AND NOT EXISTS (SELECT FROM friends fr WHERE fr.bond IN (1, 3, 4)
                                  AND fr.user_key = ",
            $user,
            " AND fr.conversation_key = ",
            $conversation,
            ") AND NOT EXISTS (SELECT FROM events oe WHERE oe.kind = 1 AND oe.sender_key = ",
            $user,
            " AND oe.conversation_key = ",
            $conversation,
            ")) "
        )
    };
}
pub(super) use is_request;

/// From now on it is so.
pub(super) async fn set(session: Session<'_>, user: i64, friends: bool) -> Result<(), Failure> {
    let sql = if friends { CLOSE } else { OPEN };
    session.execute(sql, &[&user]).await?;
    Ok(())
}

impl Log<'_> {
    /// The keys of those who do not let this user add them to groups.
    pub(super) async fn closed(
        &self,
        to: &Person,
        people: &[Arc<Person>],
    ) -> Result<HashSet<i64>, Failure> {
        let keys: Vec<i64> = people.iter().map(|person| person.key).collect();
        let rows = self.session.rows(FIND_CLOSED, &[&to.key, &keys]).await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }
}
