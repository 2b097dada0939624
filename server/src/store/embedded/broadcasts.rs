//! What operators say to everybody.

use async_trait::async_trait;
use magpie_protocol::id::{DeviceId, UserId};
use rusqlite::params;

use super::{
    Embedded,
    operators::limit,
    rows::{signed, unsigned},
};
use crate::store::{
    Broadcast, BroadcastStore, NewBroadcast, Recipient, StoreError, operators::stored_name,
};

const INSERT_BROADCAST: &str = "
    INSERT INTO broadcasts (sender, device, secret, text, begun_at_ms, last_user)
    SELECT key, ?2, ?3, ?4, ?5, (SELECT max(key) FROM users) FROM users WHERE user_id = ?1";

const FIND_BROADCASTS: &str = "
    SELECT b.key, u.user_id, u.name, b.device, b.secret, b.text, b.begun_at_ms, b.ended_at_ms,
           b.sent
      FROM broadcasts b JOIN users u ON u.key = b.sender
     WHERE NOT ?1 OR b.ended_at_ms IS NULL ORDER BY b.key DESC LIMIT ?2";

const FIND_RECIPIENTS: &str = "
    SELECT u.key, u.name FROM broadcasts b
      JOIN users u ON u.key > b.reached_user AND u.key <= b.last_user
     WHERE b.key = ?1 AND u.state = 0 AND u.key <> b.sender ORDER BY u.key LIMIT ?2";

const REACH: &str = "
    UPDATE broadcasts SET reached_user = ?2, sent = sent + ?3
     WHERE key = ?1 AND reached_user < ?2";

const END: &str = "
    UPDATE broadcasts SET ended_at_ms = ?2 WHERE key = ?1 AND ended_at_ms IS NULL";

#[async_trait]
impl BroadcastStore for Embedded {
    async fn add_broadcast(&self, broadcast: &NewBroadcast) -> Result<(), StoreError> {
        let it = broadcast.clone();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                connection
                    .prepare_cached(INSERT_BROADCAST)?
                    .execute(params![
                        it.sender.bytes(),
                        it.device.bytes(),
                        it.secret,
                        it.text.as_str(),
                        it.at_ms
                    ])?;
                Ok(())
            })
        })
        .await
    }

    async fn broadcasts(&self, open: bool, count: usize) -> Result<Vec<Broadcast>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(FIND_BROADCASTS)?;
            let found = statement.query_map(params![open, limit(count)], |row| {
                Ok(Broadcast {
                    id: unsigned(row.get(0)?),
                    sender: (UserId::new(row.get(1)?), row.get(2)?),
                    device: DeviceId::new(row.get(3)?),
                    secret: row.get(4)?,
                    text: row.get(5)?,
                    begun_at_ms: row.get(6)?,
                    ended_at_ms: row.get(7)?,
                    sent: unsigned(row.get(8)?),
                })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn recipients(&self, id: u64, count: usize) -> Result<Vec<Recipient>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(FIND_RECIPIENTS)?;
            let mut rows = statement.query(params![signed(id), limit(count)])?;
            let mut recipients = Vec::new();
            while let Some(row) = rows.next()? {
                let name: String = row.get(1)?;
                recipients.push(Recipient {
                    key: row.get(0)?,
                    name: stored_name(&name)?,
                });
            }
            Ok(recipients)
        })
        .await
    }

    async fn broadcast_reached(&self, id: u64, key: i64, sent: u64) -> Result<(), StoreError> {
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let reached = params![signed(id), key, signed(sent)];
                connection.prepare_cached(REACH)?.execute(reached)?;
                Ok(())
            })
        })
        .await
    }

    async fn end_broadcast(&self, id: u64, at_ms: i64) -> Result<(), StoreError> {
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                connection
                    .prepare_cached(END)?
                    .execute(params![signed(id), at_ms])?;
                Ok(())
            })
        })
        .await
    }
}
