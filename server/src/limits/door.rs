//! Who may come in: connections in all and of each address, and how fast.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use magpie_protocol::moment::Moment;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Limited, bucket::Buckets};
use crate::config::{Limits, Networks, network};

/// How long who finds the server full stays away.
const FULL_AFTER: Duration = Duration::from_secs(2);

/// Counts connections.
#[derive(Debug)]
pub struct Door {
    connections_max: usize,
    per_address_max: u32,
    rate: Buckets<IpAddr>,
    trusted: Networks,
    open: AtomicUsize,
    of_address: Mutex<HashMap<IpAddr, u32>>,
    refusals: Arc<Semaphore>,
}

/// What becomes of a connection that was accepted.
#[derive(Debug)]
pub enum Admission {
    /// It is served.
    Admitted(Pass),
    /// It is told to come back, over TLS.
    Refused(Limited, OwnedSemaphorePermit),
    /// Too many are being told already.
    Closed,
}

/// A connection's place. Dropped, it is free again.
#[derive(Debug)]
pub struct Pass {
    door: Arc<Door>,
    /// Where it is counted, unless that network is trusted.
    address: Option<IpAddr>,
}

impl Door {
    pub(super) fn new(limits: &Limits, connections_max: usize) -> Self {
        Self {
            connections_max,
            per_address_max: limits.connections_per_address_max,
            rate: Buckets::new(
                "connection_rate_per_address",
                limits.connection_rate_per_address,
                limits.rate_keys_max,
            ),
            trusted: limits.trusted_networks.clone(),
            open: AtomicUsize::new(0),
            of_address: Mutex::default(),
            refusals: Arc::new(Semaphore::new(limits.refusals_max as usize)),
        }
    }

    /// How many connections may be open.
    #[must_use]
    pub const fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// The address that counts, unless its network is trusted.
    #[must_use]
    pub(super) fn counted(&self, address: IpAddr) -> Option<IpAddr> {
        let address = address.to_canonical();
        (!self.trusted.hold(address)).then(|| network(address))
    }

    /// A connection from `address` was accepted.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: Moment) -> Admission {
        match self.enter(self.counted(address), now) {
            Ok(pass) => Admission::Admitted(pass),
            Err(limited) => {
                limited.counted();
                match Arc::clone(&self.refusals).try_acquire_owned() {
                    Ok(turn) => Admission::Refused(limited, turn),
                    Err(_) => Admission::Closed,
                }
            }
        }
    }

    fn enter(self: &Arc<Self>, address: Option<IpAddr>, now: Moment) -> Result<Pass, Limited> {
        if let Some(address) = &address {
            self.rate.take(address, 1, now)?;
        }
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.connections_max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Limited::new("connections_max", FULL_AFTER));
        }
        let mut pass = Pass {
            door: Arc::clone(self),
            address: None,
        };
        if let Some(address) = address {
            let mut of_address = self.of_address.lock();
            let count = of_address.entry(address).or_default();
            if *count >= self.per_address_max {
                drop(of_address);
                return Err(Limited::new("connections_per_address_max", FULL_AFTER));
            }
            *count += 1;
            pass.address = Some(address);
        }
        Ok(pass)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.door.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut of_address = self.door.of_address.lock();
        if let Some(count) = of_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                of_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rate;

    fn door(change: impl FnOnce(&mut Limits)) -> Arc<Door> {
        let mut limits = Limits {
            connections_per_address_max: 2,
            refusals_max: 1,
            ..Limits::default()
        };
        change(&mut limits);
        Arc::new(Door::new(&limits, 3))
    }

    fn admit(door: &Arc<Door>, address: &str) -> Admission {
        door.admit(address.parse().unwrap(), Moment::START)
    }

    fn enter(door: &Arc<Door>, address: &str) -> Pass {
        let admission = admit(door, address);
        let Admission::Admitted(pass) = admission else {
            panic!("{address}: {admission:?}")
        };
        pass
    }

    /// D9.
    #[test]
    fn an_address_has_so_many_connections_and_a_place_is_free_again_once_one_is_gone() {
        let door = door(|_| {});
        let first = enter(&door, "192.0.2.1");
        let _second = enter(&door, "192.0.2.1");
        assert!(matches!(admit(&door, "192.0.2.1"), Admission::Refused(..)));
        drop(first);
        drop(enter(&door, "192.0.2.1"));
        assert_eq!(door.of_address.lock().len(), 1);
    }

    #[test]
    fn the_network_of_an_ipv6_address_counts_as_one() {
        let door = door(|_| {});
        let _first = enter(&door, "2001:db8::1");
        let _second = enter(&door, "2001:db8::2");
        assert!(matches!(
            admit(&door, "2001:db8::3"),
            Admission::Refused(..)
        ));
        let _other = enter(&door, "2001:db8:0:1::3");
    }

    #[test]
    fn above_the_limit_in_all_some_are_told_and_the_others_closed() {
        let door = door(|_| {});
        let passes = [1, 2, 3].map(|it| enter(&door, &format!("192.0.2.{it}")));
        let told = admit(&door, "192.0.2.4");
        let Admission::Refused(limited, _) = &told else {
            panic!("{told:?}")
        };
        assert_eq!(limited.limit, "connections_max");
        assert!(matches!(admit(&door, "192.0.2.5"), Admission::Closed));
        drop((passes, told));
        drop(enter(&door, "192.0.2.4"));
        assert_eq!(door.open.load(Ordering::Relaxed), 0);
        assert_eq!(door.of_address.lock().len(), 0);
    }

    #[test]
    fn new_connections_of_an_address_come_at_a_limited_rate_but_for_trusted_ones() {
        let door = door(|limits| {
            limits.connection_rate_per_address = Some(Rate::new(1, 1, Duration::from_secs(1)));
        });
        drop(enter(&door, "::ffff:192.0.2.1"));
        assert!(matches!(admit(&door, "192.0.2.1"), Admission::Refused(..)));
        for _ in 0..10 {
            drop(enter(&door, "127.0.0.1"));
            drop(enter(&door, "::1"));
        }
    }
}
