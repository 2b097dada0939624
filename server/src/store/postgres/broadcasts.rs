//! What operators say to everybody.

use async_trait::async_trait;
use magpie_protocol::id::{DeviceId, UserId};
use tokio_postgres::Row;

use super::{
    Postgres,
    session::{Failure, Session, get, get_count, get_id, limit, signed, uuid},
};
use crate::store::{
    Broadcast, BroadcastStore, NewBroadcast, Recipient, StoreError, operators::stored_name,
};

const INSERT_BROADCAST: &str = "
    INSERT INTO broadcasts (sender_key, device_id, secret, text, begun_at_ms, last_user)
    SELECT key, $2, $3, $4, $5, (SELECT max(key) FROM users) FROM users WHERE user_id = $1";

const FIND_BROADCASTS: &str = "
    SELECT b.key, u.user_id, u.name, b.device_id, b.secret, b.text, b.begun_at_ms,
           b.ended_at_ms, b.sent
      FROM broadcasts b JOIN users u ON u.key = b.sender_key
     WHERE NOT $1 OR b.ended_at_ms IS NULL ORDER BY b.key DESC LIMIT $2";

const FIND_RECIPIENTS: &str = "
    SELECT u.key, u.name FROM broadcasts b
      JOIN users u ON u.key > b.reached_user AND u.key <= b.last_user
     WHERE b.key = $1 AND u.state = 0 AND u.key <> b.sender_key ORDER BY u.key LIMIT $2";

const REACH: &str = "
    UPDATE broadcasts SET reached_user = $2, sent = sent + $3
     WHERE key = $1 AND reached_user < $2";

const END: &str = "
    UPDATE broadcasts SET ended_at_ms = $2 WHERE key = $1 AND ended_at_ms IS NULL";

#[async_trait]
impl BroadcastStore for Postgres {
    async fn add_broadcast(&self, broadcast: &NewBroadcast) -> Result<(), StoreError> {
        let taken = self.connections.take().await?;
        let (sender, device) = (
            uuid(broadcast.sender.bytes()),
            uuid(broadcast.device.bytes()),
        );
        let (secret, text) = (uuid(broadcast.secret), broadcast.text.as_str());
        Session::over(&taken)
            .execute(
                INSERT_BROADCAST,
                &[&sender, &device, &secret, &text, &broadcast.at_ms],
            )
            .await?;
        Ok(())
    }

    async fn broadcasts(&self, open: bool, count: usize) -> Result<Vec<Broadcast>, StoreError> {
        let taken = self.connections.take().await?;
        let found = Session::over(&taken)
            .rows(FIND_BROADCASTS, &[&open, &limit(count)])
            .await?;
        let broadcast = |row: &Row| -> Result<_, Failure> {
            Ok(Broadcast {
                id: get_count(row, 0)?,
                sender: (UserId::new(get_id(row, 1)?), get(row, 2)?),
                device: DeviceId::new(get_id(row, 3)?),
                secret: get_id(row, 4)?,
                text: get(row, 5)?,
                begun_at_ms: get(row, 6)?,
                ended_at_ms: get(row, 7)?,
                sent: get_count(row, 8)?,
            })
        };
        let broadcasts: Result<_, Failure> = found.iter().map(broadcast).collect();
        Ok(broadcasts?)
    }

    async fn recipients(&self, id: u64, count: usize) -> Result<Vec<Recipient>, StoreError> {
        let taken = self.connections.take().await?;
        let found = Session::over(&taken)
            .rows(FIND_RECIPIENTS, &[&signed(id), &limit(count)])
            .await?;
        let mut recipients = Vec::with_capacity(found.len());
        for row in &found {
            recipients.push(Recipient {
                key: get(row, 0)?,
                name: stored_name(get(row, 1)?)?,
            });
        }
        Ok(recipients)
    }

    async fn broadcast_reached(&self, id: u64, key: i64, sent: u64) -> Result<(), StoreError> {
        let taken = self.connections.take().await?;
        Session::over(&taken)
            .execute(REACH, &[&signed(id), &key, &signed(sent)])
            .await?;
        Ok(())
    }

    async fn end_broadcast(&self, id: u64, at_ms: i64) -> Result<(), StoreError> {
        let taken = self.connections.take().await?;
        Session::over(&taken)
            .execute(END, &[&signed(id), &at_ms])
            .await?;
        Ok(())
    }
}
