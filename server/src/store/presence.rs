//! Who is there, and when they were last, as far as another user may know it.
//!
//! Nothing is written for it: whether a device is connected, and to which node, stands
//! where its generation does, and is written with it.

use async_trait::async_trait;
use magpie_protocol::id::UserId;

use super::StoreError;

/// Somebody would know whether somebody is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Look {
    /// Who would.
    pub watcher: UserId,
    /// Of whom.
    pub watched: UserId,
}

/// Whether a user is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Presence {
    /// One of their devices is in the foreground, on a node that is there. It may have left
    /// a moment ago: then that is about to be written down.
    pub is_attached: bool,
    /// When one last was, milliseconds since 1970, if not now.
    pub last_at_ms: Option<i64>,
}

/// How long a node that has said nothing is believed to be there, in milliseconds.
pub const NODE_TIMEOUT_MS: i64 = 60_000;

/// How long it is remembered when a node ended, in milliseconds: a year. What its devices
/// did not come back to say is forgotten then.
pub(super) const NODE_MEMORY_MS: i64 = 365 * 24 * 3_600_000;

/// The part of a store that knows who is there.
#[async_trait]
pub trait PresenceStore {
    /// A node begins: what connects from now on is connected to it.
    async fn begin_node(&self, at_ms: i64) -> Result<(), StoreError>;

    /// The node is there still. Whether others are, too.
    async fn keep_node(&self, at_ms: i64) -> Result<bool, StoreError>;

    /// For each, what the one may know of the other at this time; `None` unless they
    /// are friends or have both written to each other, neither hides their presence or
    /// blocks the other, and the one who is watched is neither suspended nor deleted.
    async fn presences(
        &self,
        looks: &[Look],
        now_ms: i64,
    ) -> Result<Vec<Option<Presence>>, StoreError>;
}
