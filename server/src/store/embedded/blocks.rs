//! Who blocks whom.

use std::sync::Arc;

use magpie_protocol::id::{ConversationId, UserId};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    describe::Places,
    privacy::is_request,
    rows::{OPEN_END, conversation_head, conversation_key},
};
use crate::store::{
    StoreError, direct_conversation,
    rules::{ConversationKind, Person, Place},
};

/// Nearly always nothing: then no more is asked.
pub(super) const IS_BLOCKED_BY_ANYBODY: &str = "
    SELECT EXISTS (SELECT 1 FROM blocks WHERE blocked = ?1)";

/// In the order of the join: a conversation of two, and not all who block somebody.
pub(super) const IS_BLOCKED_IN: &str = "
    SELECT EXISTS (SELECT 1 FROM members m
                    CROSS JOIN blocks b ON b.user = m.user AND b.blocked = ?1
                    WHERE m.conversation = ?2 AND m.to_position = ?3)";

const IS_BLOCKED_BY: &str = "
    SELECT EXISTS (SELECT 1 FROM blocks WHERE user = ?2 AND blocked = ?1)";

const BLOCK: &str = "
    INSERT INTO blocks (user, blocked, delivered_seq, read_seq)
    SELECT ?1, key, ?3, ?4 FROM users WHERE user_id = ?2
    ON CONFLICT (user, blocked) DO NOTHING";

const UNBLOCK: &str = "
    DELETE FROM blocks
     WHERE user = ?1 AND blocked = (SELECT key FROM users WHERE user_id = ?2)";

const FIND_MARKS: &str = "
    SELECT coalesce((SELECT read_seq FROM marks WHERE user = ?1 AND conversation = ?2), 0),
           coalesce((SELECT position FROM delivered WHERE user = ?1), 0)";

/// Whether a user tells the other member of a direct conversation nothing.
pub(super) const IS_SILENT: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM members o
                     CROSS JOIN blocks b ON b.user = u.key AND b.blocked = o.user
                     WHERE o.conversation = c.key AND o.to_position = ?3)
         OR",
    is_request!("u.key", "c.key"),
    "  FROM users u CROSS JOIN conversations c
      WHERE u.user_id = ?1 AND c.conversation_id = ?2 AND c.kind = 1",
);

/// Whether a user blocks the sender of an event.
macro_rules! is_blocked {
    ($user:literal, $sender:literal) => {
        concat!(
            " EXISTS (SELECT 1 FROM blocks bl WHERE bl.user = ",
            $user,
            " AND bl.blocked = ",
            $sender,
            ") "
        )
    };
}
pub(super) use is_blocked;

/// Whether the other member of a direct conversation, which is there or will be begun with
/// this user, blocks the sender.
pub(super) fn is_sender_blocked(
    connection: &Connection,
    sender: &Person,
    place: Option<Place>,
    peer: Option<&Arc<Person>>,
) -> Result<bool, StoreError> {
    let ask = |sql, params: &[&i64]| -> Result<bool, StoreError> {
        let params = rusqlite::params_from_iter(params);
        let mut statement = connection.prepare_cached(sql)?;
        Ok(statement.query_row(params, |row| row.get(0))?)
    };
    let is_direct = place.is_none_or(|place| place.kind == ConversationKind::Direct);
    if !is_direct || !ask(IS_BLOCKED_BY_ANYBODY, &[&sender.key])? {
        return Ok(false);
    }
    match (place, peer) {
        (Some(place), _) => ask(IS_BLOCKED_IN, &[&sender.key, &place.key, &OPEN_END]),
        (None, Some(peer)) => ask(IS_BLOCKED_BY, &[&sender.key, &peer.key]),
        (None, None) => Ok(false),
    }
}

/// A user blocks another from now on, or does not any more.
pub(super) fn set(
    connection: &Connection,
    user: &Person,
    other: UserId,
    blocked: bool,
) -> Result<(), StoreError> {
    if !blocked {
        let mut unblock = connection.prepare_cached(UNBLOCK)?;
        unblock.execute(params![user.key, other.bytes()])?;
        return Ok(());
    }
    let direct = conversation_key(connection, direct_conversation(user.id, other))?;
    let (delivered, read) = match direct {
        Some(key) => marks(connection, user, key)?,
        None => (0, 0),
    };
    let mut block = connection.prepare_cached(BLOCK)?;
    block.execute(params![user.key, other.bytes(), delivered, read])?;
    Ok(())
}

/// How far a user has come: stored, and read.
fn marks(
    connection: &Connection,
    user: &Person,
    conversation: i64,
) -> Result<(i64, i64), StoreError> {
    let (read, position): (i64, i64) = connection
        .prepare_cached(FIND_MARKS)?
        .query_row([user.key, conversation], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let (head, _) = conversation_head(connection, conversation)?;
    let delivered = Places::new(connection, conversation, head).newest_at(position)?;
    Ok((delivered, read))
}

/// See [`crate::store::Store::silent`].
pub(super) fn silent(
    connection: &Connection,
    users: &[(UserId, ConversationId)],
) -> Result<Vec<(UserId, ConversationId)>, StoreError> {
    let mut statement = connection.prepare_cached(IS_SILENT)?;
    let mut silent = Vec::new();
    for (user, conversation) in users {
        let asked = params![user.bytes(), conversation.bytes(), OPEN_END];
        let is_silent = statement.query_row(asked, |row| row.get(0)).optional()?;
        if is_silent.unwrap_or(false) {
            silent.push((*user, *conversation));
        }
    }
    Ok(silent)
}
