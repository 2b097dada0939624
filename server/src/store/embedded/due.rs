//! Wakes that are due again: what becomes of each.

use magpie_protocol::{id::DeviceId, seq::Position};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    blocks::is_blocked,
    describe::{Interval, Places},
    notify::is_muted,
    pages::is_far,
    privacy::is_request,
    rows::{OPEN_END, conversation_head, log_head, unsigned},
    wakes::{FORGET_WAKE, NOTIFIED, wake},
};
use crate::store::{
    DueWake, StoreError,
    event::is_worthy,
    wakes::{NEXT_EVENTS_MAX, Schedule, latest_due, next_due, ripe_ms},
};

/// A clock that was set back must not keep anybody waiting.
const PULL_FORWARD: &str = "UPDATE wakes SET due_at_ms = ?1 WHERE due_at_ms > ?2";

/// Wakes that are due, whether they have nowhere to go, whether they are answered, and
/// whether what they are for is muted by now, or its sender blocked, or a request.
pub(super) const FIND_DUE: &str = concat!(
    "SELECT w.device, d.device_id, d.user, w.tries, w.position, c.cursor,
           d.is_revoked OR p.device IS NULL,
           EXISTS (SELECT 1 FROM events e WHERE e.position = w.position AND (",
    is_muted!("d.user", "e.conversation", "?1"),
    " OR ",
    is_blocked!("d.user", "e.sender"),
    " OR e.kind = 1 AND ",
    is_request!("d.user", "e.conversation"),
    ")) FROM wakes w
      JOIN devices d ON d.key = w.device
      JOIN cursors c ON c.device = w.device
      LEFT JOIN push_addresses p ON p.device = w.device
     WHERE w.due_at_ms <= ?1 ORDER BY w.due_at_ms LIMIT ?2"
);

const TRY_AGAIN: &str = "
    UPDATE wakes SET tries = ?2, due_at_ms = ?3, position = ?4 WHERE device = ?1";

/// The first event for which a user's device may be woken, behind a place that is
/// near.
pub(super) const FIND_NEXT: &str = concat!(
    "SELECT e.position, e.committed_at_ms
       FROM events e
      CROSS JOIN members m ON m.user = ?1 AND m.conversation = e.conversation
                          AND m.from_seq <= e.seq AND m.to_position = ?3
      WHERE e.position > ?2 AND e.sender <> ?1 AND NOT ",
    is_muted!("m.user", "m.conversation", "?4"),
    " AND NOT ",
    is_blocked!("m.user", "e.sender"),
    " AND ",
    is_worthy!(),
    " AND NOT (e.kind = 1 AND ",
    is_request!("m.user", "m.conversation"),
    ")",
    " ORDER BY e.position LIMIT 1"
);

pub(super) const FIND_OPEN: &str = concat!(
    "SELECT m.conversation, m.from_seq, m.to_seq, m.to_position FROM members m
      WHERE m.user = ?1 AND m.to_position = ?2 AND NOT ",
    is_muted!("m.user", "m.conversation", "?3"),
);

/// The same in one conversation. Where many events are not worth a wake, the last of
/// those that are looked at stands for what follows: a wake for nothing costs an
/// empty sync.
pub(super) const FIND_NEXT_IN: &str = concat!(
    "SELECT e.position, e.committed_at_ms FROM events e
      WHERE e.conversation = ?2 AND e.seq BETWEEN ?3 AND ?4
        AND (e.seq = ?4 OR e.sender <> ?1 AND NOT ",
    is_blocked!("?1", "e.sender"),
    " AND ",
    is_worthy!(),
    " AND NOT (e.kind = 1 AND ",
    is_request!("?1", "?2"),
    ")",
    ") ORDER BY e.seq LIMIT 1"
);

/// A wake that is due.
struct Due {
    key: i64,
    device: DeviceId,
    user: i64,
    tries: u32,
    position: i64,
    cursor: i64,
    is_over: bool,
    is_muted: bool,
}

pub(super) fn due(
    connection: &Connection,
    now_ms: i64,
    count: usize,
    schedule: &Schedule,
) -> Result<Vec<DueWake>, StoreError> {
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
    connection
        .prepare_cached(PULL_FORWARD)?
        .execute([now_ms, latest_due(now_ms, schedule)])?;
    let mut statement = connection.prepare_cached(FIND_DUE)?;
    let found = statement.query_map([now_ms, limit], |row| {
        Ok(Due {
            key: row.get(0)?,
            device: DeviceId::new(row.get(1)?),
            user: row.get(2)?,
            tries: row.get(3)?,
            position: row.get(4)?,
            cursor: row.get(5)?,
            is_over: row.get(6)?,
            is_muted: row.get(7)?,
        })
    })?;
    let found: Vec<Due> = found.collect::<Result<_, _>>()?;
    let mut due = Vec::new();
    for it in found {
        if try_again(connection, &it, now_ms, schedule)? {
            due.extend(wake(connection, it.device)?);
        }
    }
    Ok(due)
}

/// Writes down what becomes of a wake that is due; whether it is sent now.
///
/// One that is answered may stand for more: while it was not, other events made
/// no wake. So an event that the device has still not confirmed makes the next one,
/// unless it is so fresh that its device may be about to.
fn try_again(
    connection: &Connection,
    due: &Due,
    now_ms: i64,
    schedule: &Schedule,
) -> Result<bool, StoreError> {
    let is_unanswered = due.cursor < due.position && !due.is_muted;
    let next = match due.is_over || is_unanswered {
        true => None,
        false => next_event(connection, due, now_ms)?,
    };
    let (tries, position, is_sent) = match next {
        None if due.is_over || !is_unanswered => {
            connection.prepare_cached(FORGET_WAKE)?.execute([due.key])?;
            return Ok(false);
        }
        None => (due.tries.saturating_add(1), due.position, true),
        Some((position, committed_at_ms)) if committed_at_ms <= ripe_ms(now_ms) => {
            (1, position, true)
        }
        Some(_) => (due.tries, due.position, false),
    };
    let step = if is_sent { tries } else { 1 };
    let due_at_ms = next_due(now_ms, step, schedule);
    connection
        .prepare_cached(TRY_AGAIN)?
        .execute(params![due.key, tries, due_at_ms, position])?;
    if is_sent {
        connection
            .prepare_cached(NOTIFIED)?
            .execute([due.device.bytes()])?;
    }
    Ok(is_sent)
}

/// A place in the log, and when its event was committed.
type Next = (i64, i64);

/// An event for which the device may be woken: by the log, if its place there is near,
/// else by its user's conversations. Much of the log may lie behind it, of which little
/// is for this user.
fn next_event(connection: &Connection, due: &Due, now_ms: i64) -> Result<Option<Next>, StoreError> {
    let cursor = Position::new(unsigned(due.cursor));
    let head = log_head(connection)?.position.max(cursor);
    if !is_far(connection, due.user, cursor, head)? {
        let found = connection
            .prepare_cached(FIND_NEXT)?
            .query_row([due.user, due.cursor, OPEN_END, now_ms], next_row);
        return Ok(found.optional()?);
    }
    let mut statement = connection.prepare_cached(FIND_OPEN)?;
    let intervals = statement.query_map([due.user, OPEN_END, now_ms], |row| {
        Interval::from_row(row, 0)
    })?;
    let mut fresh = None;
    for interval in intervals {
        match next_event_in(connection, due, &interval?)? {
            // Those who send wait meanwhile: one is enough.
            Some(next) if next.1 <= ripe_ms(now_ms) => return Ok(Some(next)),
            next => fresh = fresh.or(next),
        }
    }
    Ok(fresh)
}

fn next_event_in(
    connection: &Connection,
    due: &Due,
    interval: &Interval,
) -> Result<Option<Next>, StoreError> {
    let conversation = interval.conversation;
    let (last, position) = conversation_head(connection, conversation)?;
    if position <= due.cursor {
        return Ok(None);
    }
    let mut places = Places::new(connection, conversation, last);
    let first = interval.from_seq.max(places.newest_at(due.cursor)? + 1);
    let upto = first.saturating_add(NEXT_EVENTS_MAX);
    let found = connection
        .prepare_cached(FIND_NEXT_IN)?
        .query_row([due.user, conversation, first, upto], next_row);
    Ok(found.optional()?)
}

fn next_row(row: &Row<'_>) -> rusqlite::Result<Next> {
    Ok((row.get(0)?, row.get(1)?))
}
