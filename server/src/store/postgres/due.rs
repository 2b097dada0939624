//! Wakes that are due again: what becomes of each.

use super::{
    blocks::is_blocked,
    notify::is_muted,
    privacy::is_request,
    rows::OPEN_END,
    session::{Failure, Session, limit},
    wakes::{due_wake, wake_columns},
};
use crate::store::{
    DueWake,
    event::is_worthy,
    wakes::{NEXT_EVENTS_MAX, Schedule, latest_due, ripe_ms},
};

/// A clock that was set back must not keep anybody waiting.
const PULL_FORWARD: &str = "UPDATE wakes SET due_at_ms = $1 WHERE due_at_ms > $2";

/// The first event for which a user `d` may be woken, behind a device's place `c`: of
/// each conversation what it holds behind it, by bisection, and never the log, of
/// which much may lie behind it and little be for this user.
///
/// Where many events are not worth a wake, the last of those that are looked at
/// stands for what follows: a wake for nothing costs an empty sync.
macro_rules! next_event {
    () => {
        concat!(
            "SELECT e.position, e.committed_at_ms
               FROM members m
              CROSS JOIN LATERAL (
                    SELECT l.seq, l.position, c.cursor[(l.position >> 56)::integer + 1] AS confirmed
                      FROM events l WHERE l.conversation_key = m.conversation_key
                     ORDER BY l.seq DESC LIMIT 1) last
              CROSS JOIN LATERAL (
                    SELECT greatest(m.from_seq,
                                    1 + seq_at(m.conversation_key, last.seq, last.confirmed)) AS seq
                     WHERE last.position > last.confirmed OFFSET 0) first
              CROSS JOIN LATERAL (
                    SELECT e.position, e.committed_at_ms FROM events e
                     WHERE e.conversation_key = m.conversation_key
                       AND e.seq BETWEEN first.seq AND first.seq + $6
                       AND (e.seq = first.seq + $6 OR e.sender_key <> d.user_key AND NOT ",
            is_blocked!("d.user_key", "e.sender_key"),
            " AND ",
            is_worthy!(),
            " AND NOT (e.kind = 1 AND ",
            is_request!("d.user_key", "m.conversation_key"),
            ")",
            ")
                     ORDER BY e.seq LIMIT 1) e
              WHERE m.user_key = d.user_key AND m.to_position = $5 AND NOT ",
            is_muted!("m.user_key", "m.conversation_key", "$1"),
            " ORDER BY e.position LIMIT 1"
        )
    };
}

/// Takes what is due; others take others.
///
/// A wake that is answered may stand for more: while it was not, other events
/// made no wake. So the first event that the device has still not confirmed makes
/// the next one, unless it is so fresh ($4) that its device may be about to. One for
/// what was muted since, or whose sender was blocked, or a request, is as good as answered.
///
/// Under the locks of their cursors, as where wakes are written down first; whoever
/// is confirming just now is looked at the next time. What is sent is shown, also as
/// there.
pub(super) const TAKE_DUE: &str = concat!(
    "WITH due AS MATERIALIZED (
        SELECT device_key, position FROM wakes WHERE due_at_ms <= $1
         ORDER BY due_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    ), held AS MATERIALIZED (
        SELECT c.device_key, c.cursor FROM cursors c JOIN due USING (device_key)
           FOR NO KEY UPDATE OF c SKIP LOCKED
    ), looked AS MATERIALIZED (
        SELECT due.device_key, d.device_id, c.cursor,
               stands.is_unanswered,
               coalesce(next.position, due.position) AS position,
               coalesce(next.committed_at_ms <= $4, true) AS is_ripe
          FROM due
          JOIN devices d ON d.key = due.device_key AND NOT d.is_revoked
          JOIN push_addresses p ON p.device_key = d.key
          JOIN held c ON c.device_key = d.key
         CROSS JOIN LATERAL (
                SELECT c.cursor[(due.position >> 56)::integer + 1] < due.position AND NOT EXISTS (
                    SELECT FROM events e WHERE e.position = due.position AND (",
    is_muted!("d.user_key", "e.conversation_key", "$1"),
    " OR ",
    is_blocked!("d.user_key", "e.sender_key"),
    " OR e.kind = 1 AND ",
    is_request!("d.user_key", "e.conversation_key"),
    ")) AS is_unanswered) stands
          LEFT JOIN LATERAL (",
    next_event!(),
    ") next
            ON NOT stands.is_unanswered
         WHERE next.position IS NOT NULL OR stands.is_unanswered
    ), answered AS (
        DELETE FROM wakes w USING due
         WHERE w.device_key = due.device_key
           AND w.device_key NOT IN (SELECT device_key FROM looked)
           AND (w.device_key IN (SELECT device_key FROM held)
                OR NOT EXISTS (SELECT FROM cursors c WHERE c.device_key = w.device_key))
    ), later AS (
        UPDATE wakes w SET due_at_ms = $1 + ($3::bigint[])[1]
          FROM looked l WHERE l.device_key = w.device_key AND NOT l.is_ripe
    ), again AS (
        UPDATE wakes w
           SET position = l.position,
               tries = CASE WHEN l.is_unanswered THEN w.tries + 1 ELSE 1 END,
               due_at_ms = $1 + ($3::bigint[])[
                   CASE WHEN l.is_unanswered THEN least(w.tries + 1, cardinality($3)) ELSE 1 END]
          FROM looked l WHERE l.device_key = w.device_key AND l.is_ripe
        RETURNING w.device_key, w.wake_id, w.tries, w.position, l.device_id
    ), notified_now AS (
        INSERT INTO notified (device_key, behind)
        SELECT device_key, cursor FROM looked WHERE is_ripe
         ORDER BY device_key ON CONFLICT DO NOTHING
    )
    SELECT ",
    wake_columns!(),
    " FROM again w JOIN push_addresses p ON p.device_key = w.device_key"
);

pub(super) async fn due(
    session: Session<'_>,
    now_ms: i64,
    count: usize,
    schedule: &Schedule,
) -> Result<Vec<DueWake>, Failure> {
    let latest_ms = latest_due(now_ms, schedule);
    session
        .execute(PULL_FORWARD, &[&now_ms, &latest_ms])
        .await?;
    let schedule = schedule.to_vec();
    let rows = session
        .rows(
            TAKE_DUE,
            &[
                &now_ms,
                &limit(count),
                &schedule,
                &ripe_ms(now_ms),
                &OPEN_END,
                &NEXT_EVENTS_MAX,
            ],
        )
        .await?;
    rows.iter().map(due_wake).collect()
}
