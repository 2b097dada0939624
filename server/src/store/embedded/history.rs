//! Reading one conversation, in either direction.

use magpie_protocol::{
    id::UserId,
    seq::Seq,
    wire::{FetchHistory, HistoryFrom},
};
use rusqlite::{Connection, params};

use super::{
    rows::{self, conversation_head, event_columns, event_joins, log_event, signed, unsigned},
    states::message_states,
};
use crate::store::{
    HistoryPage, LogEvent, ReadLimit, StoreError,
    read::{HISTORY_SIZE_MAX, Messages, Room, apart},
};

pub(super) const FIND_EVENTS_DOWN: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e",
    event_joins!(),
    "WHERE e.conversation = ?1 AND e.seq BETWEEN ?2 AND ?3 ORDER BY e.seq DESC"
);

pub(super) const FIND_EVENTS_UP: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM events e",
    event_joins!(),
    "WHERE e.conversation = ?1 AND e.seq BETWEEN ?2 AND ?3 ORDER BY e.seq"
);

pub(super) fn history(
    connection: &Connection,
    user: UserId,
    request: FetchHistory,
) -> Result<Option<HistoryPage>, StoreError> {
    let user = rows::user_key(connection, user)?;
    let conversation = rows::conversation_key(connection, request.conversation)?;
    let (Some(user), Some(conversation)) = (user, conversation) else {
        return Ok(None);
    };
    let mut intervals = intervals(connection, user, conversation)?;
    let Some((_, end)) = intervals.last() else {
        return Ok(None);
    };
    let upto = conversation_head(connection, conversation)?.0.min(*end);
    let (sql, lowest, highest) = match request.from {
        HistoryFrom::Before(seq) => {
            intervals.reverse();
            (FIND_EVENTS_DOWN, 1, signed(seq.get()) - 1)
        }
        HistoryFrom::After(seq) => (
            FIND_EVENTS_UP,
            signed(seq.get()).saturating_add(1),
            i64::MAX,
        ),
    };
    let mut room = Room::new(ReadLimit {
        count: usize::try_from(request.limit).unwrap_or(usize::MAX),
        size: HISTORY_SIZE_MAX,
    });
    let mut page = HistoryPage {
        events: Vec::new(),
        complete: true,
        states: Vec::new(),
        states_seq: Seq::new(unsigned(upto)),
    };
    for (from, to) in intervals {
        let range = (from.max(lowest), to.min(highest));
        if !read_range(
            connection,
            sql,
            conversation,
            range,
            &mut room,
            &mut page.events,
        )? {
            page.complete = false;
            break;
        }
    }
    let is_down = matches!(request.from, HistoryFrom::Before(_));
    if is_down {
        page.events.reverse();
    }
    if let (Some(first), Some(last)) = (page.events.first(), page.events.last()) {
        let messages = Messages {
            conversation,
            user,
            range: (signed(first.seq.get()), signed(last.seq.get())),
            upto,
        };
        page.states = message_states(connection, &messages)?;
        page.fit(is_down);
    }
    Ok(Some(page))
}

/// Reads a range of seq; false if there was no room for all of it.
fn read_range(
    connection: &Connection,
    sql: &str,
    conversation: i64,
    (from, to): (i64, i64),
    room: &mut Room,
    events: &mut Vec<LogEvent>,
) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![conversation, from, to])?;
    while let Some(row) = rows.next()? {
        let event = log_event(connection, row)?;
        if !room.take(1, event.encoded.len()) {
            return Ok(false);
        }
        events.push(event);
    }
    Ok(true)
}

/// What the user may read of a conversation: first and last seq, ascending.
fn intervals(
    connection: &Connection,
    user: i64,
    conversation: i64,
) -> Result<Vec<(i64, i64)>, StoreError> {
    let sql = "
        SELECT history_seq, to_seq FROM members
         WHERE user = ?1 AND conversation = ?2 ORDER BY from_seq";
    let mut statement = connection.prepare_cached(sql)?;
    let intervals =
        statement.query_map([user, conversation], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(apart(intervals.collect::<Result<_, _>>()?))
}
