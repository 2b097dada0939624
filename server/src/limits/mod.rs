//! The limiter: the one place that every connection, credential and request passes.
//!
//! It decides by what it holds in memory, so a restart begins with full buckets
//! and each node counts for itself. What is refused says when to come back.

mod bucket;
mod door;
mod files;
mod lookup;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use magpie_protocol::{
    id::{DeviceId, UserId},
    moment::Moment,
    text::UserName,
};

use self::{bucket::Buckets, lookup::LookUps};
pub use self::{
    door::{Admission, Door, Pass},
    files::{TooFewFiles, raise},
};
use crate::config::Limits;

/// How long a device stays away while too much is asked of the server.
const BUSY_AFTER: Duration = Duration::from_secs(1);

/// How long a device that sends too fast stays away at least: another connection
/// for each message would cost more than the message.
const SEND_PAUSE: Duration = Duration::from_secs(2);

/// A limit is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many at a time ({limit})")]
pub struct Limited {
    /// The setting.
    pub limit: &'static str,
    /// When there is room again.
    pub after: Duration,
}

impl Limited {
    pub(crate) const fn new(limit: &'static str, after: Duration) -> Self {
        Self { limit, after }
    }

    /// The same, counted for the operator.
    pub(crate) fn counted(self) -> Self {
        metrics::counter!(crate::metrics::LIMITED, "limit" => self.limit).increment(1);
        self
    }

    /// When there is room again, as the wire has it: rounded up.
    #[must_use]
    pub fn after_ms(&self) -> u32 {
        u32::try_from(self.after.as_millis().saturating_add(1)).unwrap_or(u32::MAX)
    }
}

/// What a request takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cost<'a> {
    /// It changes the log.
    pub appends: bool,
    /// If it does not: as many plain requests as it costs.
    pub requests: u32,
    /// Bytes of its text.
    pub size: usize,
    /// The users whom it names.
    pub names: &'a [UserName],
    /// Look-ups of users otherwise.
    pub look_ups: u32,
}

/// Who tries to sign in to which account. A device of the account has a bucket of
/// its own, so that strangers cannot lock it out.
type Account = (UserName, Option<DeviceId>);

/// The limiter of one process.
#[derive(Debug)]
pub struct Limiter {
    /// The settings.
    pub limits: Limits,
    /// Counts connections.
    pub door: Arc<Door>,
    registrations: Buckets<()>,
    registrations_of_address: Buckets<IpAddr>,
    sign_ins: Buckets<()>,
    sign_ins_of_account: Buckets<Account>,
    sign_ins_of_address: Buckets<IpAddr>,
    sends_of_device: Buckets<DeviceId>,
    sends_of_user: Buckets<UserId>,
    bytes_of_device: Buckets<DeviceId>,
    bytes_of_user: Buckets<UserId>,
    deliveries: Buckets<UserId>,
    requests_of_device: Buckets<DeviceId>,
    snapshots_of_device: Buckets<DeviceId>,
    lookups: LookUps,
    reports: Buckets<UserId>,
    /// Requests that are not answered.
    requests: AtomicU32,
}

impl Limiter {
    /// A limiter whose buckets are full.
    ///
    /// # Errors
    ///
    /// [`TooFewFiles`].
    pub fn new(limits: Limits) -> Result<Self, TooFewFiles> {
        macro_rules! buckets {
            ($limit:ident) => {
                Buckets::new(stringify!($limit), limits.$limit, limits.rate_keys_max)
            };
        }
        Ok(Self {
            door: Arc::new(Door::new(&limits, files::connections_max(&limits)?)),
            registrations: buckets!(registration_rate),
            registrations_of_address: buckets!(registration_rate_per_address),
            sign_ins: buckets!(sign_in_rate),
            sign_ins_of_account: buckets!(sign_in_rate_per_account),
            sign_ins_of_address: buckets!(sign_in_rate_per_address),
            sends_of_device: buckets!(send_rate_per_device),
            sends_of_user: buckets!(send_rate_per_user),
            bytes_of_device: buckets!(send_size_rate_per_device),
            bytes_of_user: buckets!(send_size_rate_per_user),
            deliveries: buckets!(delivery_rate_per_user),
            requests_of_device: buckets!(request_rate_per_device),
            snapshots_of_device: buckets!(snapshot_rate_per_device),
            lookups: LookUps::new(buckets!(lookup_rate_per_user)),
            reports: buckets!(report_rate_per_user),
            requests: AtomicU32::new(0),
            limits,
        })
    }

    /// Somebody wants to register.
    ///
    /// # Errors
    ///
    /// [`Limited`].
    pub fn registration(&self, address: IpAddr, now: Moment) -> Result<(), Limited> {
        let of_address = self.of_address(&self.registrations_of_address, address, now);
        counted(of_address.and_then(|()| self.registrations.take(&(), 1, now)))
    }

    /// Somebody wants to sign in from `address`: a try, unless it is forgiven.
    ///
    /// # Errors
    ///
    /// [`Limited`].
    pub fn sign_in(&self, address: IpAddr, now: Moment) -> Result<(), Limited> {
        counted(self.of_address(&self.sign_ins_of_address, address, now))
    }

    /// A password for an account, known or not, is to be checked: a try, unless it
    /// is forgiven. `device` if it is one of the account's.
    ///
    /// # Errors
    ///
    /// [`Limited`].
    pub fn password(
        &self,
        name: &UserName,
        device: Option<DeviceId>,
        now: Moment,
    ) -> Result<(), Limited> {
        let of_account = self
            .sign_ins_of_account
            .take(&(name.clone(), device), 1, now);
        let is_known = device.is_some();
        counted(of_account.and_then(|()| match is_known {
            true => Ok(()),
            false => self.sign_ins.take(&(), 1, now),
        }))
    }

    /// Whoever signed in from `address` knew a password.
    pub fn forgive_address(&self, address: IpAddr) {
        if let Some(address) = self.door.counted(address) {
            self.sign_ins_of_address.give_back(&address, 1);
        }
    }

    /// The password was right, or could not be checked.
    pub fn forgive_password(&self, name: &UserName, device: Option<DeviceId>) {
        self.sign_ins_of_account
            .give_back(&(name.clone(), device), 1);
        if device.is_none() {
            self.sign_ins.give_back(&(), 1);
        }
    }

    fn of_address(
        &self,
        buckets: &Buckets<IpAddr>,
        address: IpAddr,
        now: Moment,
    ) -> Result<(), Limited> {
        self.door
            .counted(address)
            .map_or(Ok(()), |address| buckets.take(&address, 1, now))
    }

    /// A device asks for something. Unless refused, it counts as not answered
    /// until [`Self::answered`].
    ///
    /// # Errors
    ///
    /// [`Limited`].
    pub fn request(
        &self,
        user: UserId,
        device: DeviceId,
        cost: Cost<'_>,
        now: Moment,
    ) -> Result<(), Limited> {
        counted(self.take(user, device, cost, now).map_err(|limited| {
            let pause = if cost.appends {
                SEND_PAUSE
            } else {
                Duration::ZERO
            };
            Limited::new(limited.limit, limited.after.max(pause))
        }))
    }

    /// A device tells what may be lost: more than it may is.
    ///
    /// # Errors
    ///
    /// [`Limited`].
    pub fn hint(&self, device: DeviceId, now: Moment) -> Result<(), Limited> {
        counted(self.requests_of_device.take(&device, 1, now))
    }

    /// A device begins anew, with a snapshot.
    ///
    /// # Errors
    ///
    /// [`Limited`].
    pub fn snapshot(&self, device: DeviceId, now: Moment) -> Result<(), Limited> {
        counted(self.snapshots_of_device.take(&device, 1, now))
    }

    /// A user reports somebody.
    ///
    /// # Errors
    ///
    /// [`Limited`].
    pub fn report(&self, user: UserId, now: Moment) -> Result<(), Limited> {
        counted(self.reports.take(&user, 1, now))
    }

    fn take(
        &self,
        user: UserId,
        device: DeviceId,
        cost: Cost<'_>,
        now: Moment,
    ) -> Result<(), Limited> {
        if cost.appends {
            let size = u32::try_from(cost.size).unwrap_or(u32::MAX);
            self.deliveries.take(&user, 0, now)?;
            self.sends_of_device.take(&device, 1, now)?;
            self.sends_of_user.take(&user, 1, now)?;
            self.bytes_of_device.take(&device, size, now)?;
            self.bytes_of_user.take(&user, size, now)?;
        } else {
            self.requests_of_device.take(&device, cost.requests, now)?;
        }
        self.lookups.take(user, cost.names, cost.look_ups, now)?;
        if self.requests.fetch_add(1, Ordering::Relaxed) >= self.limits.requests_max {
            self.answered(1);
            return Err(Limited::new("requests_max", BUSY_AFTER));
        }
        Ok(())
    }

    /// So many requests are answered, or nobody waits for their answers any more.
    pub fn answered(&self, count: u32) {
        self.requests.fetch_sub(count, Ordering::Relaxed);
    }

    /// Messages of this user went to so many members.
    pub fn delivered(&self, user: UserId, count: u32, now: Moment) {
        self.deliveries.charge(&user, count, now);
    }
}

/// Counts a refusal.
fn counted(result: Result<(), Limited>) -> Result<(), Limited> {
    result.map_err(Limited::counted)
}
