//! For what users are woken, as they have set it.

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Position,
    setting::Notify,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::signed;
use crate::store::{Addressed, StoreError, event::stored_address};

const SET_NOTIFY: &str = "
    INSERT INTO notify (user, conversation_id, level, until_ms) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (user, conversation_id) DO UPDATE
       SET level = excluded.level, until_ms = excluded.until_ms";

/// For what a user is woken from now on, in a conversation or in all.
pub(super) fn set(
    connection: &Connection,
    user: i64,
    conversation: Option<ConversationId>,
    notify: Notify,
) -> Result<(), StoreError> {
    let of = conversation.map_or_else(Vec::new, |id| id.bytes().to_vec());
    let until_ms = notify.until_ms.unwrap_or(0);
    let mut set = connection.prepare_cached(SET_NOTIFY)?;
    set.execute(params![user, of, notify.level.number(), until_ms])?;
    Ok(())
}

/// The level of a user in a conversation (its id) at a time.
macro_rules! notify_level {
    ($user:literal, $conversation_id:literal, $now:literal) => {
        concat!(
            " coalesce((SELECT max(n.level) FROM notify n WHERE n.user = ",
            $user,
            " AND n.conversation_id IN (",
            $conversation_id,
            ", x'') AND (n.until_ms = 0 OR n.until_ms > ",
            $now,
            ")), 1) "
        )
    };
}

/// Whether a user is woken for nothing in a conversation (its key) at a time.
macro_rules! is_muted {
    ($user:literal, $conversation:literal, $now:literal) => {
        concat!(
            " EXISTS (SELECT 1 FROM notify n WHERE n.user = ",
            $user,
            " AND n.level = 3 AND (n.until_ms = 0 OR n.until_ms > ",
            $now,
            ") AND (n.conversation_id = x'' OR n.conversation_id = (
                SELECT mc.conversation_id FROM conversations mc WHERE mc.key = ",
            $conversation,
            "))) "
        )
    };
}
pub(super) use {is_muted, notify_level};

const FIND_BODY: &str = "
    SELECT conversation, body, kind FROM events WHERE position = ?1 AND kind IN (1, 41)";

const FIND_SENDER: &str = "
    SELECT u.user_id FROM events e JOIN users u ON u.key = e.sender
     WHERE e.conversation = ?1 AND e.seq = ?2";

pub(super) fn addressed(
    connection: &Connection,
    positions: &[Position],
) -> Result<Vec<Addressed>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_BODY)?;
    let mut found = Vec::new();
    for position in positions {
        let mut rows = statement.query([signed(position.get())])?;
        let Some(row) = rows.next()? else { continue };
        let (conversation, body): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let Some(message) = stored_address(row.get(2)?, &body)? else {
            continue;
        };
        let answered = connection
            .prepare_cached(FIND_SENDER)?
            .query_row(params![conversation, signed(message.reply_to_seq)], |row| {
                row.get(0).map(UserId::new)
            })
            .optional()?;
        found.push(Addressed::of(*position, &message, answered));
    }
    Ok(found)
}
