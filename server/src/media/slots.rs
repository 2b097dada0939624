//! How many uploads there are at the same time.

use std::{collections::HashMap, sync::Arc};

use magpie_protocol::id::DeviceId;
use parking_lot::Mutex;

/// Counts uploads.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    per_device_max: u32,
    max: u32,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    of_device: HashMap<DeviceId, u32>,
    count: u32,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Full {
    /// The device has as many as it may.
    Device,
    /// There are as many as there may be.
    All,
}

/// An upload's place. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct Slot {
    device: DeviceId,
    slots: Slots,
}

impl Slots {
    pub(super) fn new(per_device_max: u32, max: u32) -> Self {
        Self {
            per_device_max,
            max,
            taken: Arc::default(),
        }
    }

    pub(super) fn take(&self, device: DeviceId) -> Result<Slot, Full> {
        let mut taken = self.taken.lock();
        if taken.count >= self.max {
            return Err(Full::All);
        }
        let of_device = taken.of_device.entry(device).or_default();
        if *of_device >= self.per_device_max {
            return Err(Full::Device);
        }
        *of_device += 1;
        taken.count += 1;
        Ok(Slot {
            device,
            slots: self.clone(),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.count = taken.count.saturating_sub(1);
        if let Some(of_device) = taken.of_device.get_mut(&self.device) {
            *of_device = of_device.saturating_sub(1);
            if *of_device == 0 {
                taken.of_device.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_so_many_places_and_all_so_many() {
        let slots = Slots::new(2, 3);
        let (one, other) = (DeviceId::new([1; 16]), DeviceId::new([2; 16]));
        let first = slots.take(one).unwrap();
        let _second = slots.take(one).unwrap();
        assert_eq!(slots.take(one).unwrap_err(), Full::Device);
        let _third = slots.take(other).unwrap();
        assert_eq!(slots.take(other).unwrap_err(), Full::All);
        drop(first);
        assert!(slots.take(other).is_ok());
    }
}
