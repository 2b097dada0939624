//! Where pushes go, and which devices are owed one.

use async_trait::async_trait;
use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    push::{AppId, Platform, PushAddress, PushToken},
    seq::{Position, Seq},
    setting::NotifyLevel,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Embedded,
    due::due,
    notify::{addressed, notify_level},
    previews,
    privacy::is_request,
    rows::{OPEN_END, log_head, signed, unsigned},
};
use crate::store::{
    Addressed, Attachment, Candidate, CandidatePage, CandidatePlace, DueWake, Generation, NewWake,
    Preview, Shard, StoreError, WakeStore, WorthyEvent, WorthyStretch,
    event::is_worthy,
    wakes::{Schedule, next_due},
};

/// Takes a token from whoever has it.
const TAKE_TOKEN: &str = "DELETE FROM push_addresses WHERE token = ?1";

const SET_ADDRESS: &str = "
    INSERT INTO push_addresses (device, platform, app_id, token)
    SELECT key, ?2, ?3, ?4 FROM devices WHERE device_id = ?1 AND NOT is_revoked
    ON CONFLICT (device) DO UPDATE
       SET platform = excluded.platform, app_id = excluded.app_id, token = excluded.token";

const FIND_ADDRESS: &str = "
    SELECT p.platform, p.app_id, p.token
      FROM devices d JOIN push_addresses p ON p.device = d.key
     WHERE d.device_id = ?1 AND NOT d.is_revoked";

const CLEAR_ADDRESS: &str = "
    DELETE FROM push_addresses
     WHERE device = (SELECT key FROM devices WHERE device_id = ?1) AND token = coalesce(?2, token)
    RETURNING device";

const DETACH: &str = "
    UPDATE cursors
       SET attachment = 0,
           present_at_ms = CASE WHEN attachment = 2 THEN ?3 ELSE present_at_ms END
     WHERE device = (SELECT key FROM devices WHERE device_id = ?1) AND generation = ?2";

/// How far wakes are decided. The one process of this store has the duty.
const FIND_WAKE_CURSOR: &str = "SELECT position FROM wake_cursor WHERE one = 1";

const ADVANCE_WAKE_CURSOR: &str = "
    UPDATE wake_cursor SET position = ?1 WHERE one = 1 AND position < ?1";

pub(super) const FIND_WORTHY: &str = concat!(
    "SELECT e.position, c.conversation_id, e.seq, u.user_id, e.committed_at_ms, e.kind = 1
       FROM events e
       JOIN conversations c ON c.key = e.conversation
       JOIN users u ON u.key = e.sender
      WHERE e.position > ?1 AND e.position <= ?2 AND ",
    is_worthy!(),
    " ORDER BY e.position"
);

/// The last of so many events behind a place.
const FIND_END: &str = "
    SELECT max(position), count(*) FROM (
        SELECT position FROM events WHERE position > ?1 ORDER BY position LIMIT ?2)";

/// Members' devices that get pushes and have not confirmed a place, but for
/// those with an unanswered wake that were not there lately.
pub(super) const FIND_CANDIDATES: &str = concat!(
    "SELECT d.key, d.device_id, u.user_id, c.cursor, m.from_seq, c.attachment,
           coalesce(r.read_seq, 0),
           EXISTS (SELECT 1 FROM devices o JOIN cursors oc ON oc.device = o.key
                    WHERE o.user = m.user AND NOT o.is_revoked AND o.key <> d.key
                      AND oc.attachment = 2),
           coalesce(w.position > c.cursor, false),",
    notify_level!("m.user", "k.conversation_id", "?7"),
    ",",
    is_request!("m.user", "k.key"),
    " FROM conversations k
      JOIN members m ON m.conversation = k.key AND m.to_position = ?5
      JOIN users u ON u.key = m.user
      JOIN devices d ON d.user = m.user AND NOT d.is_revoked
      JOIN push_addresses p ON p.device = d.key
      JOIN cursors c ON c.device = d.key AND c.cursor < ?2
      LEFT JOIN wakes w ON w.device = d.key
      LEFT JOIN marks r ON r.user = m.user AND r.conversation = k.key
     WHERE k.conversation_id = ?1 AND d.key > ?3
       AND NOT EXISTS (SELECT 1 FROM blocks b JOIN events e ON e.position = ?2
                        WHERE b.user = m.user AND b.blocked = e.sender)
       AND (coalesce(w.position <= c.cursor, true) OR c.last_seen_at_ms >= ?6)
     ORDER BY d.key LIMIT ?4"
);

/// Writes a wake down, unless the device has confirmed its place or has an
/// unanswered one.
const RECORD_WAKE: &str = "
    INSERT INTO wakes (device, wake_id, position, tries, due_at_ms)
    SELECT d.key, ?2, ?3, 1, ?4
      FROM devices d
      JOIN push_addresses p ON p.device = d.key
      JOIN cursors c ON c.device = d.key AND c.cursor < ?3
      LEFT JOIN wakes w ON w.device = d.key
     WHERE d.device_id = ?1 AND NOT d.is_revoked AND coalesce(w.position <= c.cursor, true)
    ON CONFLICT (device) DO UPDATE
       SET wake_id = excluded.wake_id, position = excluded.position, tries = 1,
           due_at_ms = excluded.due_at_ms";

/// A wake is sent: from now on its device shows what it stores, until somebody looks
/// at it.
pub(super) const NOTIFIED: &str = "
    INSERT INTO notified (device, behind)
    SELECT c.device, c.cursor
      FROM devices d JOIN cursors c ON c.device = d.key WHERE d.device_id = ?1
    ON CONFLICT (device) DO NOTHING";

/// Makes sure that a device is looked at in a while, when it is known what it
/// has stored: what came before its address was known may be owed.
const LOOK_LATER: &str = "
    INSERT INTO wakes (device, wake_id, position, tries, due_at_ms)
    SELECT key, 0, 0, 0, ?2 FROM devices WHERE device_id = ?1 AND NOT is_revoked
    ON CONFLICT (device) DO NOTHING";

pub(super) const FORGET_WAKE: &str = "DELETE FROM wakes WHERE device = ?1";

const FIND_WAKE: &str = "
    SELECT p.platform, p.app_id, p.token, w.wake_id, w.tries, w.position
      FROM devices d
      JOIN wakes w ON w.device = d.key
      JOIN push_addresses p ON p.device = d.key
     WHERE d.device_id = ?1";

const POSTPONE: &str = "
    UPDATE wakes SET tries = max(tries - 1, 0), due_at_ms = ?3
     WHERE device = (SELECT key FROM devices WHERE device_id = ?1) AND wake_id = ?2";

fn corrupt(what: impl ToString) -> StoreError {
    StoreError::Corrupt {
        what: what.to_string(),
    }
}

/// The address in a row's first three columns.
fn address(row: &Row<'_>) -> Result<PushAddress, StoreError> {
    let number: i64 = row.get(0)?;
    let (app, token): (String, String) = (row.get(1)?, row.get(2)?);
    Ok(PushAddress {
        platform: Platform::from_number(number).ok_or_else(|| corrupt("a push platform"))?,
        app: AppId::parse(&app).map_err(corrupt)?,
        token: PushToken::parse(&token).map_err(corrupt)?,
    })
}

pub(super) fn find_address(
    connection: &Connection,
    device: DeviceId,
) -> Result<Option<PushAddress>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_ADDRESS)?;
    let mut rows = statement.query([device.bytes()])?;
    rows.next()?.map(address).transpose()
}

/// The bits of an id of a wake: SQLite's numbers are signed.
const fn bits(id: u64) -> i64 {
    i64::from_ne_bytes(id.to_ne_bytes())
}

pub(super) fn wake(
    connection: &Connection,
    device: DeviceId,
) -> Result<Option<DueWake>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_WAKE)?;
    let mut rows = statement.query([device.bytes()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let id: i64 = row.get(3)?;
    Ok(Some(DueWake {
        device,
        address: address(row)?,
        id: u64::from_ne_bytes(id.to_ne_bytes()),
        tries: row.get(4)?,
        position: Position::new(unsigned(row.get(5)?)),
    }))
}

fn candidates(
    connection: &Connection,
    (conversation, position): (ConversationId, Position),
    place: CandidatePlace,
    count: usize,
    (seen_since_ms, now_ms): (i64, i64),
) -> Result<CandidatePage, StoreError> {
    let mut statement = connection.prepare_cached(FIND_CANDIDATES)?;
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
    let position = signed(position.get());
    let mut rows = statement.query(params![
        conversation.bytes(),
        position,
        place.0,
        limit,
        OPEN_END,
        seen_since_ms,
        now_ms
    ])?;
    let (mut candidates, mut last) = (Vec::new(), place);
    while let Some(row) = rows.next()? {
        last = CandidatePlace(row.get(0)?);
        candidates.push(Candidate {
            device: DeviceId::new(row.get(1)?),
            user: UserId::new(row.get(2)?),
            cursor: Position::new(unsigned(row.get(3)?)),
            from_seq: Seq::new(unsigned(row.get(4)?)),
            attachment: Attachment::from_number(row.get(5)?)
                .ok_or_else(|| corrupt("an attachment"))?,
            read_seq: Seq::new(unsigned(row.get(6)?)),
            has_company: row.get(7)?,
            is_woken: row.get(8)?,
            level: NotifyLevel::from_number(row.get(9)?).ok_or_else(|| corrupt("a level"))?,
            is_request: row.get(10)?,
        });
    }
    let next = (candidates.len() >= count).then_some(last);
    Ok(CandidatePage { candidates, next })
}

fn worthy(
    connection: &Connection,
    after: Position,
    count: usize,
) -> Result<WorthyStretch, StoreError> {
    let head = log_head(connection)?.position.max(after);
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
    let (last, found): (Option<i64>, i64) = connection
        .prepare_cached(FIND_END)?
        .query_row([signed(after.get()), limit], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let upto = match last {
        Some(last) if found >= limit => Position::new(unsigned(last)),
        _ => head,
    };
    let mut statement = connection.prepare_cached(FIND_WORTHY)?;
    let range = [signed(after.get()), signed(upto.get())];
    let events = statement.query_map(range, |row| {
        Ok(WorthyEvent {
            position: Position::new(unsigned(row.get(0)?)),
            conversation: ConversationId::new(row.get(1)?),
            seq: Seq::new(unsigned(row.get(2)?)),
            sender: UserId::new(row.get(3)?),
            committed_at_ms: row.get(4)?,
            is_message: row.get(5)?,
        })
    })?;
    Ok(WorthyStretch {
        events: events.collect::<Result<_, _>>()?,
        upto,
    })
}

fn record(
    connection: &Connection,
    wakes: &[NewWake],
    due_at_ms: i64,
) -> Result<Vec<DueWake>, StoreError> {
    let mut recorded = Vec::new();
    let mut statement = connection.prepare_cached(RECORD_WAKE)?;
    let mut notified = connection.prepare_cached(NOTIFIED)?;
    for new in wakes {
        let position = signed(new.position.get());
        let params = params![new.device.bytes(), bits(new.id), position, due_at_ms];
        if statement.execute(params)? > 0 {
            notified.execute([new.device.bytes()])?;
            recorded.extend(wake(connection, new.device)?);
        }
    }
    Ok(recorded)
}

#[async_trait]
impl WakeStore for Embedded {
    async fn set_push(
        &self,
        device: DeviceId,
        address: &PushAddress,
        look_at_ms: i64,
    ) -> Result<(), StoreError> {
        let address = address.clone();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let token = address.token.as_str();
                connection.prepare_cached(TAKE_TOKEN)?.execute([token])?;
                let (platform, app) = (address.platform.number(), address.app.as_str());
                connection.prepare_cached(SET_ADDRESS)?.execute(params![
                    device.bytes(),
                    platform,
                    app,
                    token
                ])?;
                connection
                    .prepare_cached(LOOK_LATER)?
                    .execute(params![device.bytes(), look_at_ms])?;
                Ok(())
            })
        })
        .await
    }

    async fn push_address(&self, device: DeviceId) -> Result<Option<PushAddress>, StoreError> {
        self.read(move |connection| find_address(connection, device))
            .await
    }

    async fn clear_push(
        &self,
        device: DeviceId,
        token: Option<&PushToken>,
    ) -> Result<bool, StoreError> {
        let token = token.cloned();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let token = token.as_ref().map(PushToken::as_str);
                let cleared: Option<i64> = connection
                    .prepare_cached(CLEAR_ADDRESS)?
                    .query_row(params![device.bytes(), token], |row| row.get(0))
                    .optional()?;
                // It waits for an answer to what went to that address.
                if let Some(key) = cleared {
                    connection.prepare_cached(FORGET_WAKE)?.execute([key])?;
                }
                Ok(cleared.is_some())
            })
        })
        .await
    }

    async fn detach(&self, gone: &[(DeviceId, Generation)], at_ms: i64) -> Result<(), StoreError> {
        let gone = gone.to_vec();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let mut statement = connection.prepare_cached(DETACH)?;
                for (device, generation) in &gone {
                    let generation = signed(generation.0);
                    statement.execute(params![device.bytes(), generation, at_ms])?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn lease_wakes(
        &self,
        _shard: Shard,
        _holder: u64,
        _for_ms: i64,
    ) -> Result<Option<Position>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(FIND_WAKE_CURSOR)?;
            let position = statement.query_row([], |row| row.get(0)).optional()?;
            Ok(Some(Position::new(unsigned(position.unwrap_or(0)))))
        })
        .await
    }

    async fn advance_wakes(
        &self,
        _shard: Shard,
        _holder: u64,
        to: Position,
    ) -> Result<bool, StoreError> {
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                connection
                    .prepare_cached(ADVANCE_WAKE_CURSOR)?
                    .execute([signed(to.get())])?;
                Ok(true)
            })
        })
        .await
    }

    async fn worthy_events(
        &self,
        after: Position,
        count: usize,
    ) -> Result<WorthyStretch, StoreError> {
        self.read(move |connection| worthy(connection, after, count))
            .await
    }

    async fn wake_candidates(
        &self,
        conversation: ConversationId,
        position: Position,
        place: CandidatePlace,
        count: usize,
        seen_since_ms: i64,
        now_ms: i64,
    ) -> Result<CandidatePage, StoreError> {
        let event = (conversation, position);
        let times = (seen_since_ms, now_ms);
        self.read(move |connection| candidates(connection, event, place, count, times))
            .await
    }

    async fn addressed(&self, positions: &[Position]) -> Result<Vec<Addressed>, StoreError> {
        let positions = positions.to_vec();
        self.read(move |connection| addressed(connection, &positions))
            .await
    }

    async fn record_wakes(
        &self,
        wakes: &[NewWake],
        now_ms: i64,
        schedule: &Schedule,
    ) -> Result<Vec<DueWake>, StoreError> {
        let wakes = wakes.to_vec();
        let due_at_ms = next_due(now_ms, 1, schedule);
        self.write(move |writer| {
            writer.transaction(|connection, _caches| record(connection, &wakes, due_at_ms))
        })
        .await
    }

    async fn due_wakes(
        &self,
        now_ms: i64,
        count: usize,
        schedule: &Schedule,
    ) -> Result<Vec<DueWake>, StoreError> {
        let schedule = schedule.to_vec();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| due(connection, now_ms, count, &schedule))
        })
        .await
    }

    async fn previews(&self, positions: &[Position]) -> Result<Vec<Preview>, StoreError> {
        let positions = positions.to_vec();
        self.read(move |connection| previews::previews(connection, &positions))
            .await
    }

    async fn postpone_wakes(
        &self,
        wakes: &[(DeviceId, u64)],
        due_at_ms: i64,
    ) -> Result<(), StoreError> {
        let wakes = wakes.to_vec();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let mut statement = connection.prepare_cached(POSTPONE)?;
                for (device, id) in &wakes {
                    statement.execute(params![device.bytes(), bits(*id), due_at_ms])?;
                }
                Ok(())
            })
        })
        .await
    }
}
