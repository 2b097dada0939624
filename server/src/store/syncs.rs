//! Which devices are told, silently, that what they show was read elsewhere.

use async_trait::async_trait;
use magpie_protocol::{id::DeviceId, push::PushAddress, seq::Position};

use super::StoreError;

/// A device is told at most once in so long: what more its user reads meanwhile is
/// told together.
pub const SYNC_PAUSE_MS: i64 = 20 * 60_000;

/// How many events below a read mark are looked at for one that a device may show. If
/// all of these are its user's own, or no messages, it is not told.
pub(in crate::store) const READ_EVENTS_MAX: u32 = 256;

/// How often a device is told that does not come. What it shows is wrong then until
/// its next wake, or until somebody opens the app.
pub(in crate::store) const SYNC_TRIES_MAX: u32 = 3;

/// A device that is to be told now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DueSync {
    /// Which device.
    pub device: DeviceId,
    /// Where it goes.
    pub address: PushAddress,
}

/// What an engine must do for silent syncs. All of it is durable when it returns.
///
/// A device that was woken shows what it stored since, until somebody looks at the
/// app. Every wake that is to be sent begins that, whatever it is for; a hello in the
/// foreground ends it.
#[async_trait]
pub trait SyncStore {
    /// Read marks moved behind `after` and up to `upto`, in one shard. Devices of
    /// their users that get pushes, show something that is read by now, and have not
    /// stored that it is, are to be told at `at_ms`, or [`SYNC_PAUSE_MS`] after they
    /// were told last. Nobody tells a browser.
    async fn owe_syncs(
        &self,
        after: Position,
        upto: Position,
        at_ms: i64,
    ) -> Result<(), StoreError>;

    /// Takes devices that are to be told now, at most `count`, and writes down that
    /// they were. One that is connected, or has a wake that is not answered, is
    /// looked at again later; one that knows by now is not told.
    async fn due_syncs(&self, now_ms: i64, count: usize) -> Result<Vec<DueSync>, StoreError>;

    /// These were not told: it does not count, and they are to be told then.
    async fn postpone_syncs(&self, devices: &[DeviceId], due_at_ms: i64) -> Result<(), StoreError>;
}
