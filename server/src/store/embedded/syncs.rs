//! Which devices are told, silently, that what they show was read elsewhere.

use async_trait::async_trait;
use magpie_protocol::{id::DeviceId, seq::Position};
use rusqlite::{Connection, params};

use super::{Embedded, rows::signed, wakes::find_address};
use crate::store::{
    DueSync, StoreError,
    syncs::{READ_EVENTS_MAX, SYNC_PAUSE_MS, SYNC_TRIES_MAX, SyncStore},
};

/// The newest message of others that a mark `m` is past: positions rise with seq, so
/// if a device does not show this one, it shows none. Of [`READ_EVENTS_MAX`] events.
macro_rules! last_read {
    () => {
        "(SELECT e.position FROM events e
           WHERE e.conversation = m.conversation
             AND e.seq <= m.read_seq AND e.seq > m.read_seq - 256
             AND e.kind = 1 AND NOT e.hidden AND e.sender <> m.user
           ORDER BY e.seq DESC LIMIT 1)"
    };
}

// As it stands in SQL.
const _: () = assert!(READ_EVENTS_MAX == 256);

const HAS_MOVED: &str = "
    SELECT EXISTS (SELECT 1 FROM marks WHERE read_position > ?1 AND read_position <= ?2)";

/// Whoever is to be told already is told this too.
pub(super) const OWE: &str = concat!(
    "UPDATE notified
        SET due_at_ms = coalesce(due_at_ms, max(?3, coalesce(told_at_ms + ?4, ?3))), tries = 0
      WHERE device IN (
        SELECT n.device
          FROM marks m
          JOIN devices d ON d.user = m.user AND NOT d.is_revoked
          JOIN notified n ON n.device = d.key
          JOIN push_addresses p ON p.device = d.key AND p.platform <> 3
          JOIN cursors c ON c.device = d.key AND c.cursor < m.read_position
         WHERE m.read_position > ?1 AND m.read_position <= ?2
           AND ",
    last_read!(),
    " > n.behind)"
);

const IS_DUE: &str = "SELECT EXISTS (SELECT 1 FROM notified WHERE due_at_ms <= ?1)";

/// Devices that are due, whether there is still something to tell them, and whether
/// it is not the moment.
pub(super) const FIND_DUE: &str = concat!(
    "SELECT n.device, d.device_id, n.tries,
            NOT d.is_revoked AND p.platform <> 3 AND EXISTS (
                SELECT 1 FROM marks m
                 WHERE m.user = d.user AND m.read_position > c.cursor
                   AND ",
    last_read!(),
    " BETWEEN n.behind + 1 AND c.cursor),
            c.attachment <> 0 OR coalesce(w.position > c.cursor, false)
       FROM notified n
       JOIN devices d ON d.key = n.device
       JOIN cursors c ON c.device = n.device
       LEFT JOIN push_addresses p ON p.device = n.device
       LEFT JOIN wakes w ON w.device = n.device
      WHERE n.due_at_ms <= ?1 ORDER BY n.due_at_ms LIMIT ?2"
);

const LOOK_LATER: &str = "UPDATE notified SET due_at_ms = ?2 WHERE device = ?1";

const TELL: &str = "
    UPDATE notified SET due_at_ms = ?2, told_at_ms = ?3, tries = tries + 1 WHERE device = ?1";

const POSTPONE: &str = "
    UPDATE notified SET due_at_ms = ?2, tries = max(tries - 1, 0)
     WHERE device = (SELECT key FROM devices WHERE device_id = ?1)";

/// A device that is due.
struct Due {
    key: i64,
    device: DeviceId,
    tries: u32,
    /// There is something to tell it.
    is_owed: bool,
    is_busy: bool,
}

fn due(connection: &Connection, now_ms: i64, count: usize) -> Result<Vec<DueSync>, StoreError> {
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(FIND_DUE)?;
    let found = statement.query_map([now_ms, limit], |row| {
        Ok(Due {
            key: row.get(0)?,
            device: DeviceId::new(row.get(1)?),
            tries: row.get(2)?,
            is_owed: row.get::<_, Option<bool>>(3)?.unwrap_or(false),
            is_busy: row.get(4)?,
        })
    })?;
    let found: Vec<Due> = found.collect::<Result<_, _>>()?;
    let later_ms = now_ms.saturating_add(SYNC_PAUSE_MS);
    let mut told = Vec::new();
    for it in found {
        let mut look_later = connection.prepare_cached(LOOK_LATER)?;
        if !it.is_owed || it.tries >= SYNC_TRIES_MAX {
            look_later.execute(params![it.key, None::<i64>])?;
        } else if it.is_busy {
            look_later.execute(params![it.key, later_ms])?;
        } else if let Some(address) = find_address(connection, it.device)? {
            connection
                .prepare_cached(TELL)?
                .execute(params![it.key, later_ms, now_ms])?;
            told.push(DueSync {
                device: it.device,
                address,
            });
        }
    }
    Ok(told)
}

#[async_trait]
impl SyncStore for Embedded {
    async fn owe_syncs(
        &self,
        after: Position,
        upto: Position,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        let (after, upto) = (signed(after.get()), signed(upto.get()));
        let has_moved = self.read(move |connection| {
            let mut statement = connection.prepare_cached(HAS_MOVED)?;
            Ok(statement.query_row([after, upto], |row| row.get(0))?)
        });
        // Mostly none has, and those who send need not wait for that.
        if !has_moved.await? {
            return Ok(());
        }
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                connection
                    .prepare_cached(OWE)?
                    .execute([after, upto, at_ms, SYNC_PAUSE_MS])?;
                Ok(())
            })
        })
        .await
    }

    async fn due_syncs(&self, now_ms: i64, count: usize) -> Result<Vec<DueSync>, StoreError> {
        let is_due = self.read(move |connection| {
            let mut statement = connection.prepare_cached(IS_DUE)?;
            Ok(statement.query_row([now_ms], |row| row.get(0))?)
        });
        if !is_due.await? {
            return Ok(Vec::new());
        }
        self.write(move |writer| {
            writer.transaction(|connection, _caches| due(connection, now_ms, count))
        })
        .await
    }

    async fn postpone_syncs(&self, devices: &[DeviceId], due_at_ms: i64) -> Result<(), StoreError> {
        let devices = devices.to_vec();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let mut statement = connection.prepare_cached(POSTPONE)?;
                for device in &devices {
                    statement.execute(params![device.bytes(), due_at_ms])?;
                }
                Ok(())
            })
        })
        .await
    }
}
