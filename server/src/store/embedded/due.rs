//! Wakes that are due again: what becomes of each.

use magpie_protocol::id::DeviceId;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    rows::OPEN_END,
    wakes::{FORGET_WAKE, wake},
};
use crate::store::{
    DueWake, StoreError,
    event::EventKind,
    wakes::{Schedule, next_due, ripe_ms},
};

/// Wakes that are due, whether they have nowhere to go, and whether they are
/// answered.
const FIND_DUE: &str = "
    SELECT w.device, d.device_id, d.user, w.tries, w.position, c.cursor,
           d.is_revoked OR p.device IS NULL
      FROM wakes w
      JOIN devices d ON d.key = w.device
      JOIN cursors c ON c.device = w.device
      LEFT JOIN push_addresses p ON p.device = w.device
     WHERE w.due_at_ms <= ?1 ORDER BY w.due_at_ms LIMIT ?2";

const TRY_AGAIN: &str = "
    UPDATE wakes SET tries = ?2, due_at_ms = ?3, position = ?4 WHERE device = ?1";

/// The first event for which a user's device may be woken, behind a place.
const FIND_NEXT: &str = "
    SELECT e.position, e.committed_at_ms
      FROM events e
     CROSS JOIN members m ON m.user = ?1 AND m.conversation = e.conversation
                         AND m.from_seq <= e.seq AND m.to_position = ?3
     WHERE e.position > ?2 AND e.kind = ?4 AND e.sender <> ?1
     ORDER BY e.position LIMIT 1";

/// A wake that is due.
struct Due {
    key: i64,
    device: DeviceId,
    user: i64,
    tries: u32,
    position: i64,
    cursor: i64,
    is_over: bool,
}

pub(super) fn due(
    connection: &Connection,
    now_ms: i64,
    count: usize,
    schedule: &Schedule,
) -> Result<Vec<DueWake>, StoreError> {
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
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
/// no wake. So the first event that the device has still not confirmed makes the
/// next one, unless it is so fresh that its device may be about to.
fn try_again(
    connection: &Connection,
    due: &Due,
    now_ms: i64,
    schedule: &Schedule,
) -> Result<bool, StoreError> {
    let is_unanswered = due.cursor < due.position;
    let next = match due.is_over || is_unanswered {
        true => None,
        false => next_event(connection, due)?,
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
    Ok(is_sent)
}

fn next_event(connection: &Connection, due: &Due) -> Result<Option<(i64, i64)>, StoreError> {
    let kind = i64::from(EventKind::Message.number());
    let params = params![due.user, due.cursor, OPEN_END, kind];
    let found = connection
        .prepare_cached(FIND_NEXT)?
        .query_row(params, |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?)
}
