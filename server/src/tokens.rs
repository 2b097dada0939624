//! Devices that may connect, remembered: who comes back is welcome without a
//! question to the store.
//!
//! What is remembered may be believed only as long as the log is being read: a
//! device that another node revoked takes a position there. A node that is cut
//! off from the store does not know, and asks.

use std::{collections::HashMap, time::Duration};

use magpie_protocol::{id::DeviceId, moment::Moment};
use parking_lot::Mutex;

use crate::store::Device;

/// Devices in memory; when there are more, all are forgotten. About 20 MB.
const DEVICES_MAX: usize = 100_000;

/// How long what is remembered is believed after the log was last read to its
/// end: twice as long as until it is read again.
const BELIEVED_AFTER: Duration = Duration::from_secs(2);

/// The devices that were looked up lately.
#[derive(Default)]
pub struct Tokens(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    devices: HashMap<DeviceId, Device>,
    /// Rises whenever something is forgotten.
    forgotten: u64,
    read_at: Option<Moment>,
}

/// When a look-up began.
#[derive(Clone, Copy, Debug)]
pub struct LookUp(u64);

impl Tokens {
    /// The device, if it is remembered and that may be believed.
    #[must_use]
    pub fn get(&self, device: DeviceId, now: Moment) -> Option<Device> {
        let inner = self.0.lock();
        let read_at = inner.read_at?;
        if now.since(read_at) > BELIEVED_AFTER {
            return None;
        }
        inner.devices.get(&device).cloned()
    }

    /// Call it before the store is asked.
    #[must_use]
    pub fn look_up(&self) -> LookUp {
        LookUp(self.0.lock().forgotten)
    }

    /// Remembers what the store said, unless something was forgotten meanwhile:
    /// it may have been this.
    pub fn found(&self, began: LookUp, device: &Device) {
        let mut inner = self.0.lock();
        if inner.forgotten != began.0 {
            return;
        }
        if inner.devices.len() >= DEVICES_MAX {
            inner.devices.clear();
        }
        inner.devices.insert(device.id, device.clone());
    }

    /// The device was revoked, or has another token.
    pub fn forget(&self, device: DeviceId) {
        let mut inner = self.0.lock();
        inner.forgotten += 1;
        inner.devices.remove(&device);
    }

    /// The store may be another one now.
    pub fn forget_all(&self) {
        let mut inner = self.0.lock();
        inner.forgotten += 1;
        inner.devices.clear();
    }

    /// The log was read to its end, in a reading that began at `began_at`.
    pub fn log_was_read(&self, began_at: Moment) {
        self.0.lock().read_at = Some(began_at);
    }
}

#[cfg(test)]
mod tests {
    use magpie_protocol::{id::UserId, text::UserName};

    use super::*;
    use crate::store::{Positions, User};

    const PHONE: DeviceId = DeviceId::new([1; 16]);

    fn phone() -> Device {
        Device {
            id: PHONE,
            user: User {
                id: UserId::new([2; 16]),
                name: UserName::parse("alice").unwrap(),
            },
            token_hash: [3; 32],
            made_at: Positions::origin(1),
        }
    }

    const fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    #[test]
    fn what_is_remembered_is_believed_while_the_log_is_read() {
        let tokens = Tokens::default();
        tokens.found(tokens.look_up(), &phone());
        assert!(tokens.get(PHONE, at(0)).is_none(), "the log was never read");
        tokens.log_was_read(at(10));
        assert!(tokens.get(PHONE, at(12)).is_some());
        assert!(tokens.get(PHONE, at(13)).is_none());
    }

    #[test]
    fn what_was_forgotten_while_it_was_looked_up_is_not_remembered() {
        let tokens = Tokens::default();
        tokens.log_was_read(at(0));
        let began = tokens.look_up();
        tokens.forget(PHONE);
        tokens.found(began, &phone());
        assert!(tokens.get(PHONE, at(0)).is_none());
        tokens.found(tokens.look_up(), &phone());
        assert!(tokens.get(PHONE, at(0)).is_some());
    }
}
