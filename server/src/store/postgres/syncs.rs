//! Which devices are told, silently, that what they show was read elsewhere.

use async_trait::async_trait;
use magpie_protocol::{id::DeviceId, seq::Position};
use uuid::Uuid;

use super::{
    Postgres,
    session::{Session, get_id, limit, signed, uuid},
    wakes::address,
};
use crate::store::{
    DueSync, StoreError,
    syncs::{READ_EVENTS_MAX, SYNC_PAUSE_MS, SYNC_TRIES_MAX, SyncStore},
};

/// The newest message of others that a mark `m` is past, as `last`: positions rise
/// with seq, so if a device does not show this one, it shows none. Of
/// [`READ_EVENTS_MAX`] events.
macro_rules! last_read {
    () => {
        "CROSS JOIN LATERAL (
            SELECT e.position, (e.position >> 56)::integer + 1 AS shard FROM events e
             WHERE e.conversation_key = m.conversation_key
               AND e.seq <= m.read_seq AND e.seq > m.read_seq - 256
               AND e.kind = 1 AND NOT e.hidden AND e.sender_key <> m.user_key
             ORDER BY e.seq DESC LIMIT 1) last"
    };
}

// As it stands in SQL.
const _: () = assert!(READ_EVENTS_MAX == 256);

/// Whoever is to be told already is told this too. Only for those who show something
/// it is looked at what was read. Locks in ascending order, as hellos do.
pub(super) const OWE: &str = concat!(
    "WITH moved AS MATERIALIZED (
        SELECT DISTINCT m.device_key
          FROM (SELECT m.*, n.device_key, n.behind
                  FROM marks m
                  JOIN devices d ON d.user_key = m.user_key AND NOT d.is_revoked
                  JOIN notified n ON n.device_key = d.key
                  JOIN push_addresses p ON p.device_key = d.key AND p.platform <> 3
                  JOIN cursors c ON c.device_key = d.key
                   AND c.cursor[(m.read_position >> 56)::integer + 1] < m.read_position
                 WHERE m.read_position > $1 AND m.read_position <= $2 OFFSET 0) m ",
    last_read!(),
    "    WHERE m.behind[last.shard] < last.position
    ), locked AS MATERIALIZED (
        SELECT n.device_key FROM notified n JOIN moved USING (device_key)
         ORDER BY n.device_key FOR UPDATE OF n
    )
    UPDATE notified n
       SET due_at_ms = coalesce(n.due_at_ms, greatest($3, n.told_at_ms + $4)), tries = 0
      FROM locked l WHERE l.device_key = n.device_key"
);

/// Takes what is due; others take others.
pub(super) const TAKE_DUE: &str = concat!(
    "WITH due AS MATERIALIZED (
        SELECT device_key, behind, tries FROM notified WHERE due_at_ms <= $1
         ORDER BY due_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    ), owed AS MATERIALIZED (
        SELECT due.device_key, d.device_id,
               c.attachment <> 0
               OR coalesce(w.position > c.cursor[(w.position >> 56)::integer + 1], false) AS is_busy
          FROM due
          JOIN devices d ON d.key = due.device_key AND NOT d.is_revoked
          JOIN push_addresses p ON p.device_key = d.key AND p.platform <> 3
          JOIN cursors c ON c.device_key = d.key
          LEFT JOIN wakes w ON w.device_key = d.key
         WHERE due.tries < $4 AND EXISTS (
                SELECT FROM marks m ",
    last_read!(),
    "            WHERE m.user_key = d.user_key
                  AND m.read_position > c.cursor[(m.read_position >> 56)::integer + 1]
                  AND last.position > due.behind[last.shard]
                  AND last.position <= c.cursor[last.shard])
    ), over AS (
        UPDATE notified n SET due_at_ms = NULL FROM due
         WHERE n.device_key = due.device_key
           AND n.device_key NOT IN (SELECT device_key FROM owed)
    ), later AS (
        UPDATE notified n SET due_at_ms = $1 + $3 FROM owed o
         WHERE n.device_key = o.device_key AND o.is_busy
    ), told AS (
        UPDATE notified n SET due_at_ms = $1 + $3, told_at_ms = $1, tries = n.tries + 1
          FROM owed o WHERE n.device_key = o.device_key AND NOT o.is_busy
        RETURNING n.device_key, o.device_id
    )
    SELECT p.platform, p.app_id, p.token, t.device_id
      FROM told t JOIN push_addresses p ON p.device_key = t.device_key"
);

const POSTPONE: &str = "
    UPDATE notified n SET due_at_ms = $2, tries = greatest(n.tries - 1, 0)
      FROM devices d WHERE d.device_id = ANY ($1::uuid[]) AND n.device_key = d.key";

#[async_trait]
impl SyncStore for Postgres {
    async fn owe_syncs(
        &self,
        after: Position,
        upto: Position,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        let taken = self.connections.take().await?;
        let (after, upto) = (signed(after.get()), signed(upto.get()));
        Session::over(&taken)
            .execute(OWE, &[&after, &upto, &at_ms, &SYNC_PAUSE_MS])
            .await?;
        Ok(())
    }

    async fn due_syncs(&self, now_ms: i64, count: usize) -> Result<Vec<DueSync>, StoreError> {
        let taken = self.connections.take().await?;
        let tries_max = i32::try_from(SYNC_TRIES_MAX).unwrap_or(i32::MAX);
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&now_ms, &limit(count), &SYNC_PAUSE_MS, &tries_max];
        let rows = Session::over(&taken).rows(TAKE_DUE, &params).await?;
        let told = rows.iter().map(|row| {
            Ok(DueSync {
                device: DeviceId::new(get_id(row, 3)?),
                address: address(row)?,
            })
        });
        told.collect()
    }

    async fn postpone_syncs(&self, devices: &[DeviceId], due_at_ms: i64) -> Result<(), StoreError> {
        let devices: Vec<Uuid> = devices.iter().map(|it| uuid(it.bytes())).collect();
        let taken = self.connections.take().await?;
        Session::over(&taken)
            .execute(POSTPONE, &[&devices, &due_at_ms])
            .await?;
        Ok(())
    }
}
