//! From rows to what they mean.

use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::{Position, Seq},
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use crate::store::{
    History, LogEvent, LogState, MembershipChange, Shard, StoreError, epoch,
    event::{EventKind, EventParts, encode_event, stored_change},
};

/// The end of a membership that has not ended. See the schema.
pub(super) const OPEN_END: i64 = i64::MAX;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "SQLite's errors and codes are open-ended"
)]
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error;
        let text = error.to_string();
        match error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::QueryReturnedNoRows
            | Error::Utf8Error(..) => Self::Corrupt { what: text },
            error => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    Self::Corrupt { what: text }
                }
                _ => Self::Unavailable { reason: text },
            },
        }
    }
}

/// `SQLite` has signed numbers only. No counter ever comes near the limit; what
/// a client made up may.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// None of our counters is ever negative.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The last position given out, and the time of its commit.
#[derive(Clone, Copy)]
pub(super) struct LogHead {
    pub(super) position: Position,
    pub(super) committed_at_ms: i64,
}

pub(super) fn log_head(connection: &Connection) -> Result<LogHead, StoreError> {
    let sql = "SELECT position, committed_at_ms FROM log_head WHERE one = 1";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| {
        Ok(LogHead {
            position: Position::new(unsigned(row.get(0)?)),
            committed_at_ms: row.get(1)?,
        })
    })?)
}

/// Gives out positions up to this one, to what is no event.
pub(super) fn move_head(connection: &Connection, to: Position) -> Result<(), StoreError> {
    let sql = "UPDATE log_head SET position = ?1 WHERE one = 1";
    connection
        .prepare_cached(sql)?
        .execute([signed(to.get())])?;
    Ok(())
}

pub(super) fn state(connection: &Connection) -> Result<LogState, StoreError> {
    let sql = "SELECT epoch, base FROM epochs ORDER BY epoch DESC LIMIT 1";
    let history = connection.prepare_cached(sql)?.query_row([], |row| {
        Ok(History {
            epoch: unsigned(row.get(0)?),
            base: Position::new(unsigned(row.get(1)?)).into(),
        })
    })?;
    Ok(LogState {
        history,
        heads: log_head(connection)?.position.into(),
    })
}

/// Up to where this history has what the one of the epoch `held` had.
pub(super) fn common(connection: &Connection, held: u64) -> Result<Position, StoreError> {
    let sql = "SELECT epoch, base FROM epochs WHERE epoch >= ?1";
    let mut find = connection.prepare_cached(sql)?;
    let known = find.query_map([signed(held)], |row| {
        Ok(History {
            epoch: unsigned(row.get(0)?),
            base: Position::new(unsigned(row.get(1)?)).into(),
        })
    })?;
    let known: Vec<History> = known.collect::<Result<_, _>>()?;
    Ok(epoch::common(held, &known, 1).in_shard(Shard::FIRST))
}

pub(super) fn cursor_key(connection: &Connection) -> Result<[u8; 32], StoreError> {
    let sql = "SELECT value FROM facts WHERE name = 'cursor_key'";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))?)
}

/// The key of a user.
pub(super) fn user_key(connection: &Connection, user: UserId) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT key FROM users WHERE user_id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement
        .query_row([user.bytes()], |row| row.get(0))
        .optional()?)
}

/// Whether the user with this key is deleted.
pub(super) fn is_deleted(connection: &Connection, user: i64) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM users WHERE key = ?1 AND state = 2";
    Ok(connection.prepare_cached(sql)?.exists([user])?)
}

/// The key of a conversation.
pub(super) fn conversation_key(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT key FROM conversations WHERE conversation_id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement
        .query_row([conversation.bytes()], |row| row.get(0))
        .optional()?)
}

/// How many members a conversation has.
pub(super) fn member_count(connection: &Connection, conversation: i64) -> Result<i64, StoreError> {
    let sql = "SELECT member_count FROM conversations WHERE key = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([conversation], |row| row.get(0))?)
}

/// The newest event of a conversation: its seq and position.
pub(super) fn conversation_head(
    connection: &Connection,
    conversation: i64,
) -> Result<(i64, i64), StoreError> {
    let sql = "
        SELECT seq, position FROM events
         WHERE conversation = ?1 ORDER BY seq DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let head = statement
        .query_row([conversation], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(head.unwrap_or((0, 0)))
}

/// What [`log_event`] reads, of `events e`, `conversations c` and the sender
/// `u`; more columns may follow.
macro_rules! event_columns {
    () => {
        "e.position, e.conversation, e.seq, e.kind, e.committed_at_ms, e.message_id, e.body, \
         c.conversation_id, u.user_id, u.name, e.hidden"
    };
}
/// The first column behind [`event_columns`].
pub(super) const AFTER_EVENT: usize = 11;

/// Joins an event's conversation and sender, by their keys.
macro_rules! event_joins {
    () => {
        " JOIN conversations c ON c.key = e.conversation JOIN users u ON u.key = e.sender "
    };
}
pub(super) use {event_columns, event_joins};

/// An event from a row that begins with [`event_columns`].
pub(super) fn log_event(connection: &Connection, row: &Row<'_>) -> Result<LogEvent, StoreError> {
    let conversation = ConversationId::new(row.get(7)?);
    let seq = Seq::new(unsigned(row.get(2)?));
    let sender = UserId::new(row.get(8)?);
    let body = row.get_ref(6)?.as_blob().map_err(rusqlite::Error::from)?;
    let name = row.get_ref(9)?.as_str().map_err(rusqlite::Error::from)?;
    let number = row.get(3)?;
    let kind = EventKind::from_number(number).ok_or_else(|| StoreError::Corrupt {
        what: format!("an event of kind {number}"),
    })?;
    let change = match kind {
        EventKind::Message
        | EventKind::AccountChanged
        | EventKind::FriendRequested
        | EventKind::FriendshipChanged
            if seq == Seq::new(1) =>
        {
            Some(first_members(connection, row.get(1)?)?)
        }
        EventKind::Message
        | EventKind::GroupCreated
        | EventKind::MembersAdded
        | EventKind::MemberRemoved
        | EventKind::MemberLeft
        | EventKind::MessageEdited
        | EventKind::MessageDeleted
        | EventKind::Reacted
        | EventKind::RoleChanged
        | EventKind::GroupUpdated
        | EventKind::FriendRequested
        | EventKind::FriendshipChanged
        | EventKind::Pinned
        | EventKind::MemberBanned
        | EventKind::InviteCreated
        | EventKind::InviteRevoked
        | EventKind::MemberJoined
        | EventKind::AccountChanged => stored_change(kind, sender, body)?,
    };
    let encoded = encode_event(&EventParts {
        conversation,
        seq,
        sender,
        sender_name: name,
        id: MessageId::new(row.get(5)?),
        committed_at_ms: row.get(4)?,
        body,
    });
    Ok(LogEvent {
        position: Position::new(unsigned(row.get(0)?)),
        conversation,
        seq,
        encoded,
        change,
        hidden: row.get::<_, bool>(10)?.then_some(sender),
    })
}

/// The members of a direct conversation or an account log, whose first event does not
/// name them.
fn first_members(
    connection: &Connection,
    conversation: i64,
) -> Result<MembershipChange, StoreError> {
    let sql = "
        SELECT u.user_id FROM members m JOIN users u ON u.key = m.user
         WHERE m.conversation = ?1 AND m.from_seq = 1 ORDER BY u.user_id";
    let mut statement = connection.prepare_cached(sql)?;
    let members = statement.query_map(params![conversation], |row| row.get(0).map(UserId::new))?;
    Ok(MembershipChange::Joined(members.collect::<Result<_, _>>()?))
}
