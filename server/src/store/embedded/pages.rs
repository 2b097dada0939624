//! Reading the log forward: all of it, or what is for one user.

use std::collections::HashSet;

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Position,
    wire::v1,
};
use prost::Message as _;
use rusqlite::{Connection, params};

use super::{
    describe::{Interval, describe},
    rows::{self, AFTER_EVENT, event_columns, event_joins, log_event, log_head, signed, unsigned},
};
use crate::store::{LogEvent, ReadLimit, StoreError, Stretch, UserPage, read::Room};

/// Positions that one page of a user looks at. Who is further behind gets pages
/// that may be empty, so that no single one takes long.
pub(super) const WINDOW_COUNT: u64 = 20_000;

/// Read marks in one page; the newest are kept. (A description carries the
/// current ones too.)
const MARK_COUNT_MAX: i64 = 1_000;

pub(super) const FIND_STRETCH: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e",
    event_joins!(),
    "WHERE e.position > ?1 ORDER BY e.position"
);

/// The events of a user's memberships in a window of the log. The order of the
/// join is fixed: the log first, by position, so that a full page ends it.
pub(super) const FIND_USER_EVENTS: &str = concat!(
    "SELECT ",
    event_columns!(),
    ", m.conversation, m.from_seq, m.to_seq, m.to_position
       FROM events e
      CROSS JOIN members m ON m.user = ?1 AND m.conversation = e.conversation
                          AND m.from_seq <= e.seq AND m.to_seq >= e.seq",
    event_joins!(),
    "WHERE e.position > ?2 AND e.position <= ?3 ORDER BY e.position"
);

const FIND_MARKS: &str = "
    SELECT c.conversation_id, k.read_seq
      FROM marks k JOIN conversations c ON c.key = k.conversation
     WHERE k.user = ?1 AND k.read_position BETWEEN ?2 AND ?3
     ORDER BY k.read_position DESC LIMIT ?4";

pub(super) fn stretch(
    connection: &Connection,
    after: Position,
    limit: ReadLimit,
) -> Result<Stretch, StoreError> {
    let head = log_head(connection)?.position;
    let mut statement = connection.prepare_cached(FIND_STRETCH)?;
    let mut rows = statement.query([signed(after.get())])?;
    let mut room = Room::new(limit);
    let mut events: Vec<LogEvent> = Vec::new();
    while let Some(row) = rows.next()? {
        let event = log_event(connection, row)?;
        if !room.take(1, event.encoded.len()) {
            let upto = events.last().map_or(after, |event| event.position);
            let complete = false;
            return Ok(Stretch {
                events,
                upto,
                complete,
            });
        }
        events.push(event);
    }
    Ok(Stretch {
        events,
        upto: head.max(after),
        complete: true,
    })
}

pub(super) fn user_page(
    connection: &Connection,
    user: UserId,
    after: Position,
    limit: ReadLimit,
) -> Result<UserPage, StoreError> {
    // The first statement of the snapshot; all others see the same log.
    let head = log_head(connection)?.position.max(after);
    let window_end = head.min(Position::new(after.get().saturating_add(WINDOW_COUNT)));
    let mut page = UserPage {
        conversations: Vec::new(),
        events: Vec::new(),
        marks: Vec::new(),
        upto: window_end,
        complete: window_end == head,
    };
    let Some(key) = rows::user_key(connection, user)? else {
        return Ok(page);
    };
    if !read_window(connection, key, after, limit, &mut page)? {
        page.upto = page.events.last().map_or(after, |event| event.position);
        page.complete = false;
    }
    page.marks = marks(connection, user, key, after, page.upto)?;
    Ok(page)
}

/// Reads events up to `page.upto`; false if the page was full before.
fn read_window(
    connection: &Connection,
    user: i64,
    after: Position,
    limit: ReadLimit,
    page: &mut UserPage,
) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(FIND_USER_EVENTS)?;
    let window = [user, signed(after.get()), signed(page.upto.get())];
    let mut rows = statement.query(window)?;
    let mut room = Room::new(limit);
    let mut described = HashSet::new();
    while let Some(row) = rows.next()? {
        let event = log_event(connection, row)?;
        let interval = Interval::from_row(row, AFTER_EVENT)?;
        let begins = unsigned(interval.from_seq) == event.seq.get();
        // A page describes a conversation before its events, so it can show one
        // beginning only: who came back within a page gets the rest in the next.
        if begins && !described.insert(interval.conversation) {
            return Ok(false);
        }
        let description = begins
            .then(|| describe(connection, &interval))
            .transpose()?;
        let described_size = description
            .as_ref()
            .map_or(0, v1::Conversation::encoded_len);
        if !room.take(1, event.encoded.len() + described_size) {
            return Ok(false);
        }
        page.conversations.extend(description);
        page.events.push(event);
    }
    Ok(true)
}

/// The user's own marks that were set while the log's head was in this page.
/// Both ends count: a mark takes no position of its own.
fn marks(
    connection: &Connection,
    user: UserId,
    key: i64,
    after: Position,
    upto: Position,
) -> Result<Vec<v1::Mark>, StoreError> {
    let range = params![key, signed(after.get()), signed(upto.get()), MARK_COUNT_MAX];
    let mut statement = connection.prepare_cached(FIND_MARKS)?;
    let marks = statement.query_map(range, |row| {
        Ok(v1::Mark {
            conversation_id: ConversationId::new(row.get(0)?).to_wire(),
            user_id: user.to_wire(),
            delivered_seq: 0,
            read_seq: unsigned(row.get(1)?),
        })
    })?;
    Ok(marks.collect::<Result<_, _>>()?)
}
