//! What operators say to everybody: a direct message to each user.

use async_trait::async_trait;
use magpie_protocol::{
    id::{DeviceId, UserId},
    text::{MessageText, UserName},
};

use super::StoreError;

/// A broadcast that is to begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewBroadcast {
    /// Who says it.
    pub sender: UserId,
    /// From which of their devices.
    pub device: DeviceId,
    /// Random; what the ids of its messages are made of.
    pub secret: [u8; 16],
    /// What is said.
    pub text: MessageText,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
}

/// A broadcast, and how far it has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Broadcast {
    /// Rises from each to the next.
    pub id: u64,
    /// Who says it: their id, and their name, which is empty if they are deleted.
    pub sender: (UserId, String),
    /// From which of their devices.
    pub device: DeviceId,
    /// What the ids of its messages are made of.
    pub secret: [u8; 16],
    /// What is said.
    pub text: String,
    /// When it began, milliseconds since 1970.
    pub begun_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
    /// To how many users it was said.
    pub sent: u64,
}

/// Somebody to whom a broadcast is still to be said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    /// The engine's own; rises from each to the next.
    pub key: i64,
    /// Who.
    pub name: UserName,
}

/// The part of a store that knows how far broadcasts have come.
#[async_trait]
pub trait BroadcastStore {
    /// Begins a broadcast to all users who are there now and may sign in, but its sender.
    async fn add_broadcast(&self, broadcast: &NewBroadcast) -> Result<(), StoreError>;

    /// The newest broadcasts, newest first, at most `count`; or only those that have not
    /// ended.
    async fn broadcasts(&self, open: bool, count: usize) -> Result<Vec<Broadcast>, StoreError>;

    /// The next users to whom it is to be said, at most `count`. None are left: it is at
    /// its end.
    async fn recipients(&self, id: u64, count: usize) -> Result<Vec<Recipient>, StoreError>;

    /// It has come as far as the recipient with this key, with so many who got it. Counts
    /// nothing if somebody else was as far already.
    async fn broadcast_reached(&self, id: u64, key: i64, sent: u64) -> Result<(), StoreError>;

    /// It is over.
    async fn end_broadcast(&self, id: u64, at_ms: i64) -> Result<(), StoreError>;
}
