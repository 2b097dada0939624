//! Who is there, and who hides it.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Embedded;
use crate::store::{
    Look, NODE_TIMEOUT_MS, Presence, PresenceStore, StoreError, direct_conversation,
    presence::NODE_MEMORY_MS,
};

const HIDE: &str = "INSERT INTO hidden_presence (user) VALUES (?1) ON CONFLICT DO NOTHING";

const SHOW: &str = "DELETE FROM hidden_presence WHERE user = ?1";

const BEGIN_NODE: &str = "INSERT INTO nodes (there_at_ms) VALUES (?1) RETURNING node";

const FORGET_NODES: &str = "DELETE FROM nodes WHERE there_at_ms < ?1";

const KEEP_NODE: &str = "UPDATE nodes SET there_at_ms = ?2 WHERE node = ?1";

pub(super) const HAS_OTHERS: &str = "
    SELECT EXISTS (SELECT 1 FROM nodes WHERE node <> ?1 AND there_at_ms > ?2)";

/// Whether two users (`w` and `x`), whose direct conversation is `v`, are acquainted: they
/// are friends, or each has written to the other.
macro_rules! are_acquainted {
    () => {
        " (EXISTS (SELECT 1 FROM friends f
                    WHERE f.conversation = v.key AND f.user = w.key AND f.bond = 3)
           OR (EXISTS (SELECT 1 FROM events e
                        WHERE e.conversation = v.key AND e.sender = x.key AND e.kind = 1)
               AND EXISTS (SELECT 1 FROM events e
                            WHERE e.conversation = v.key AND e.sender = w.key AND e.kind = 1))) "
    };
}

/// What one user (`?1`) may know of another (`?2`), with whom their direct conversation is
/// `?3`. Where a device's node (not this one, `?4`) ended unannounced, it was there until
/// then.
pub(super) const FIND: &str = concat!(
    "SELECT coalesce(max(c.attachment = 2 AND (c.node = ?4 OR n.there_at_ms > ?5)), 0),
           max(CASE WHEN c.attachment = 2 AND c.node <> ?4
                    THEN max(coalesce(c.present_at_ms, 0), coalesce(n.there_at_ms, 0))
                    ELSE c.present_at_ms END)
      FROM users x
      JOIN users w ON w.user_id = ?1 AND w.key <> x.key
      JOIN conversations v ON v.conversation_id = ?3
      LEFT JOIN devices d ON d.user = x.key
      LEFT JOIN cursors c ON c.device = d.key
      LEFT JOIN nodes n ON n.node = c.node
     WHERE x.user_id = ?2 AND x.state = 0
       AND NOT EXISTS (SELECT 1 FROM hidden_presence h WHERE h.user IN (x.key, w.key))
       AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.user = x.key AND b.blocked = w.key)
       AND NOT EXISTS (SELECT 1 FROM blocks b WHERE b.user = w.key AND b.blocked = x.key)
       AND",
    are_acquainted!(),
    "GROUP BY x.key"
);

/// From now on it is so.
pub(super) fn set(connection: &Connection, user: i64, hidden: bool) -> Result<(), StoreError> {
    let sql = if hidden { HIDE } else { SHOW };
    connection.prepare_cached(sql)?.execute([user])?;
    Ok(())
}

#[async_trait]
impl PresenceStore for Embedded {
    async fn begin_node(&self, at_ms: i64) -> Result<(), StoreError> {
        let begin = move |connection: &Connection| {
            let forgotten = at_ms.saturating_sub(NODE_MEMORY_MS);
            connection.execute(FORGET_NODES, [forgotten])?;
            Ok(connection.query_row(BEGIN_NODE, [at_ms], |row| row.get(0))?)
        };
        let node: i64 = self
            .write(move |writer| writer.transaction(|connection, _caches| begin(connection)))
            .await?;
        self.node.store(node, Ordering::Relaxed);
        Ok(())
    }

    async fn keep_node(&self, at_ms: i64) -> Result<bool, StoreError> {
        let node = self.node.load(Ordering::Relaxed);
        let keep = move |connection: &Connection| {
            connection
                .prepare_cached(KEEP_NODE)?
                .execute([node, at_ms])?;
            let since = at_ms.saturating_sub(NODE_TIMEOUT_MS);
            let mut ask = connection.prepare_cached(HAS_OTHERS)?;
            Ok(ask.query_row([node, since], |row| row.get(0))?)
        };
        self.write(move |writer| writer.transaction(|connection, _caches| keep(connection)))
            .await
    }

    async fn presences(
        &self,
        looks: &[Look],
        now_ms: i64,
    ) -> Result<Vec<Option<Presence>>, StoreError> {
        let node = self.node.load(Ordering::Relaxed);
        let since = now_ms.saturating_sub(NODE_TIMEOUT_MS);
        let looks = looks.to_vec();
        self.read(move |connection| {
            let mut find = connection.prepare_cached(FIND)?;
            let seen = looks.iter().map(|look| {
                let direct = direct_conversation(look.watcher, look.watched);
                let (watcher, watched) = (look.watcher.bytes(), look.watched.bytes());
                let params = params![watcher, watched, direct.bytes(), node, since];
                let seen = find.query_row(params, |row| {
                    Ok(Presence {
                        is_attached: row.get(0)?,
                        last_at_ms: row.get(1)?,
                    })
                });
                Ok(seen.optional()?)
            });
            seen.collect()
        })
        .await
    }
}
