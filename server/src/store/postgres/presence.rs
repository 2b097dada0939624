//! Who is there, and who hides it.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    Postgres,
    session::{Failure, Session, get, get_count, uuid},
};
use crate::store::{
    Look, NODE_TIMEOUT_MS, Presence, PresenceStore, StoreError, direct_conversation,
    presence::NODE_MEMORY_MS,
};

const HIDE: &str = "INSERT INTO hidden_presence (user_key) VALUES ($1) ON CONFLICT DO NOTHING";

const SHOW: &str = "DELETE FROM hidden_presence WHERE user_key = $1";

const BEGIN_NODE: &str = "
    WITH forgotten AS (DELETE FROM nodes WHERE there_at_ms < $2)
    INSERT INTO nodes (there_at_ms) VALUES ($1) RETURNING node";

const KEEP_NODE: &str = "
    WITH kept AS (UPDATE nodes SET there_at_ms = $2 WHERE node = $1)
    SELECT EXISTS (SELECT FROM nodes WHERE node <> $1 AND there_at_ms > $3)";

/// Whether two users (`w` and `x`), whose direct conversation is `v`, are acquainted: they
/// are friends, or each has written to the other.
macro_rules! are_acquainted {
    () => {
        " (EXISTS (SELECT FROM friends f WHERE f.conversation_key = v.key
                      AND f.user_key = w.key AND f.bond = 3)
           OR (EXISTS (SELECT FROM events e WHERE e.conversation_key = v.key
                          AND e.sender_key = x.key AND e.kind = 1)
               AND EXISTS (SELECT FROM events e WHERE e.conversation_key = v.key
                              AND e.sender_key = w.key AND e.kind = 1))) "
    };
}

/// What the one may know of the other. Where a device's node (not this one, `$4`) ended
/// unannounced, it was there until then.
pub(super) const FIND: &str = concat!(
    "SELECT a.place, p.is_attached, p.last_at_ms
      FROM unnest($1::uuid[], $2::uuid[], $3::uuid[])
           WITH ORDINALITY AS a (watcher, watched, direct, place)
      JOIN users w ON w.user_id = a.watcher
      JOIN users x ON x.user_id = a.watched AND x.state = 0 AND x.key <> w.key
      JOIN conversations v ON v.conversation_id = a.direct
     CROSS JOIN LATERAL (
           SELECT coalesce(bool_or(c.attachment = 2 AND (c.node = $4 OR n.there_at_ms > $5)),
                           false) AS is_attached,
                  max(CASE WHEN c.attachment = 2 AND c.node <> $4
                           THEN greatest(c.present_at_ms, n.there_at_ms)
                           ELSE c.present_at_ms END) AS last_at_ms
             FROM devices d
             JOIN cursors c ON c.device_key = d.key
             LEFT JOIN nodes n ON n.node = c.node
            WHERE d.user_key = x.key) p
     WHERE NOT EXISTS (SELECT FROM hidden_presence h WHERE h.user_key = x.key)
       AND NOT EXISTS (SELECT FROM hidden_presence h WHERE h.user_key = w.key)
       AND NOT EXISTS (SELECT FROM blocks b
                        WHERE b.user_key = x.key AND b.blocked_key = w.key)
       AND NOT EXISTS (SELECT FROM blocks b
                        WHERE b.user_key = w.key AND b.blocked_key = x.key)
       AND",
    are_acquainted!()
);

/// From now on it is so.
pub(super) async fn set(session: Session<'_>, user: i64, hidden: bool) -> Result<(), Failure> {
    let sql = if hidden { HIDE } else { SHOW };
    session.execute(sql, &[&user]).await?;
    Ok(())
}

async fn find(
    session: Session<'_>,
    looks: &[Look],
    (node, since): (i64, i64),
) -> Result<Vec<Option<Presence>>, Failure> {
    let ids = |id: fn(&Look) -> [u8; 16]| -> Vec<Uuid> {
        looks.iter().map(|look| uuid(id(look))).collect()
    };
    let watchers = ids(|look| look.watcher.bytes());
    let watched = ids(|look| look.watched.bytes());
    let directs = ids(|look| direct_conversation(look.watcher, look.watched).bytes());
    let mut seen = vec![None; looks.len()];
    let rows = session
        .rows(FIND, &[&watchers, &watched, &directs, &node, &since])
        .await?;
    for row in rows {
        let place = usize::try_from(get_count(&row, 0)?).unwrap_or(0);
        if let Some(seen) = place.checked_sub(1).and_then(|place| seen.get_mut(place)) {
            *seen = Some(Presence {
                is_attached: get(&row, 1)?,
                last_at_ms: get(&row, 2)?,
            });
        }
    }
    Ok(seen)
}

#[async_trait]
impl PresenceStore for Postgres {
    async fn begin_node(&self, at_ms: i64) -> Result<(), StoreError> {
        let taken = self.connections.take().await?;
        let forgotten = at_ms.saturating_sub(NODE_MEMORY_MS);
        let begun = Session::over(&taken)
            .one(BEGIN_NODE, &[&at_ms, &forgotten])
            .await?;
        let node: i64 = get(&begun, 0)?;
        self.node.store(node, Ordering::Relaxed);
        Ok(())
    }

    async fn keep_node(&self, at_ms: i64) -> Result<bool, StoreError> {
        let taken = self.connections.take().await?;
        let node = self.node.load(Ordering::Relaxed);
        let since = at_ms.saturating_sub(NODE_TIMEOUT_MS);
        let kept = Session::over(&taken)
            .one(KEEP_NODE, &[&node, &at_ms, &since])
            .await?;
        Ok(get(&kept, 0)?)
    }

    async fn presences(
        &self,
        looks: &[Look],
        now_ms: i64,
    ) -> Result<Vec<Option<Presence>>, StoreError> {
        let node = self.node.load(Ordering::Relaxed);
        let since = now_ms.saturating_sub(NODE_TIMEOUT_MS);
        let taken = self.connections.take().await?;
        Ok(find(Session::over(&taken), looks, (node, since)).await?)
    }
}
