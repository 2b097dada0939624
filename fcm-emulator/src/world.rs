//! What the emulator knows.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::response::Response;
use parking_lot::Mutex;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{sync::Notify, time::timeout};

use crate::{
    device::{Came, Delivered, Device, Reach, Standing},
    fault::{Fault, Target},
    message::Message,
    refusal::Refusal,
};

/// The project that it has.
const PROJECT: &str = "magpie-emulated";
const EMAIL: &str = "push@magpie-emulated.iam.gserviceaccount.com";

/// The shortest token that looks like one. Their form is not documented; real
/// ones are far longer.
const TOKEN_SIZE_MIN: usize = 8;

/// How often stored messages are looked at by those who wait for one.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// An access token.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) token: String,
    pub(crate) ends_at: Instant,
}

/// How much was asked of it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Requests for an access token, answered or not.
    pub token_requests: u64,
    /// Sends, answered or not.
    pub sends: u64,
    /// Messages taken.
    pub taken: u64,
    /// Requests that met a fault.
    pub faults: u64,
    /// The most sends that were in flight together.
    pub in_flight_max: u64,
}

#[derive(Debug, Default)]
struct State {
    access: Vec<Access>,
    devices: HashMap<String, Device>,
    faults: Vec<Fault>,
    counts: Counts,
    in_flight: u64,
}

/// All of the emulator's state.
pub struct World {
    account: String,
    public_key: String,
    token_uri: String,
    token_life: Mutex<Duration>,
    /// How far its clock is before the machine's.
    ahead_secs: AtomicI64,
    numbers: AtomicU64,
    state: Mutex<State>,
    bell: Notify,
}

impl World {
    pub(crate) fn new(token_uri: String) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let account = json!({
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "emulated",
            "private_key": key.serialize_pem(),
            "client_email": EMAIL,
            "token_uri": token_uri,
        });
        Ok(Self {
            account: format!("{account:#}\n"),
            public_key: key.public_key_pem(),
            token_uri,
            token_life: Mutex::new(Duration::from_secs(3600)),
            ahead_secs: AtomicI64::new(0),
            numbers: AtomicU64::new(1),
            state: Mutex::default(),
            bell: Notify::new(),
        })
    }

    /// The service-account file of its project, as the Google Cloud console gives
    /// it.
    #[must_use]
    pub fn account_file(&self) -> &str {
        &self.account
    }

    pub(crate) fn public_key(&self) -> &str {
        &self.public_key
    }

    pub(crate) fn email(&self) -> &'static str {
        EMAIL
    }

    pub(crate) fn project(&self) -> &'static str {
        PROJECT
    }

    pub(crate) fn token_uri(&self) -> &str {
        &self.token_uri
    }

    /// Sets its clock before the machine's, or behind it.
    pub fn set_clock(&self, ahead_secs: i64) {
        self.ahead_secs.store(ahead_secs, Ordering::Relaxed);
    }

    /// What its clock says.
    pub(crate) fn time_of_day(&self) -> SystemTime {
        let ahead_secs = self.ahead_secs.load(Ordering::Relaxed);
        let ahead = Duration::from_secs(ahead_secs.unsigned_abs());
        let now = SystemTime::now();
        let then = match ahead_secs < 0 {
            true => now.checked_sub(ahead),
            false => now.checked_add(ahead),
        };
        then.unwrap_or(UNIX_EPOCH)
    }

    /// How long access tokens are good for from now on.
    pub fn set_token_life(&self, life: Duration) {
        *self.token_life.lock() = life;
    }

    pub(crate) fn token_life(&self) -> Duration {
        *self.token_life.lock()
    }

    pub(crate) fn grant(&self) -> String {
        let number = self.next_number();
        let token = format!("ya29.emulated-{number}");
        let now = Instant::now();
        let ends_at = now + self.token_life();
        let mut state = self.state.lock();
        state.access.retain(|it| now < it.ends_at);
        state.access.push(Access {
            token: token.clone(),
            ends_at,
        });
        token
    }

    /// Ends all access tokens at once, as when a key is revoked.
    pub fn end_access(&self) {
        self.state.lock().access.clear();
    }

    pub(crate) fn with_access<T>(&self, look: impl FnOnce(&[Access]) -> T) -> T {
        look(&self.state.lock().access)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes a device with this token, or says what it does now.
    pub fn set_device(&self, token: &str, standing: Standing, reach: Reach) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let device = state.devices.entry(token.to_owned());
        let device = device.or_insert_with(|| Device::new(now));
        device.standing = standing;
        device.set_reach(reach, now);
        drop(state);
        self.bell.notify_waiters();
    }

    /// Something fails from now on, besides what fails already.
    pub fn set_fault(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Nothing fails any more.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// How much was asked of it so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// The fault that this request meets, if it meets one.
    pub(crate) fn next_fault(&self, target: Target) -> Option<Fault> {
        let mut state = self.state.lock();
        let state = &mut *state;
        match target {
            Target::Token => state.counts.token_requests += 1,
            Target::Send => state.counts.sends += 1,
        }
        let found = state.faults.iter_mut().find(|it| it.target == target)?;
        let fault = *found;
        state.counts.faults += 1;
        if let Some(count) = &mut found.count {
            *count = count.saturating_sub(1);
        }
        state.faults.retain(|it| it.count != Some(0));
        Some(fault)
    }

    /// The answer of the fault that this request meets, after its delay.
    pub(crate) async fn fail(&self, target: Target) -> Option<Response> {
        let fault = self.next_fault(target)?;
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        fault.answer()
    }

    pub(crate) fn enter(&self) {
        let mut state = self.state.lock();
        state.in_flight += 1;
        state.counts.in_flight_max = state.counts.in_flight_max.max(state.in_flight);
    }

    pub(crate) fn leave(&self) {
        let mut state = self.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
    }

    /// Takes a message for a device, unless it is only to be checked.
    pub(crate) fn take(&self, message: Message, came: Came, is_check: bool) -> Result<(), Refusal> {
        if !looks_like_a_token(&message.token) {
            return Err(Refusal::not_a_token());
        }
        let mut state = self.state.lock();
        let Some(device) = state.devices.get_mut(&message.token) else {
            return Err(unregistered());
        };
        match device.standing {
            Standing::Registered => {}
            Standing::Unregistered => return Err(unregistered()),
            Standing::Foreign => {
                let code = Some("SENDER_ID_MISMATCH");
                return Err(Refusal::new(403, "PERMISSION_DENIED", code));
            }
        }
        if !is_check {
            device.take(message, came, Instant::now());
            state.counts.taken += 1;
            drop(state);
            self.bell.notify_waiters();
        }
        Ok(())
    }

    /// What a device got behind `after`.
    #[must_use]
    pub fn pushes(&self, token: &str, after: u64) -> Vec<Delivered> {
        let mut state = self.state.lock();
        let Some(device) = state.devices.get_mut(token) else {
            return Vec::new();
        };
        device.deliver_stored(Instant::now());
        device.delivered_after(after)
    }

    /// Waits until a device got something behind `after`, at most for so long.
    pub async fn wait_for_push(&self, token: &str, after: u64, wait: Duration) -> Vec<Delivered> {
        let ends_at = Instant::now() + wait;
        loop {
            let rung = self.bell.notified();
            let pushes = self.pushes(token, after);
            let left = ends_at.saturating_duration_since(Instant::now());
            if !pushes.is_empty() || left.is_zero() {
                return pushes;
            }
            // Also without the bell: time lets throttled ones through.
            drop(timeout(left.min(LOOK_INTERVAL), rung).await);
        }
    }
}

fn unregistered() -> Refusal {
    Refusal {
        message: "Requested entity was not found.".to_owned(),
        ..Refusal::new(404, "NOT_FOUND", Some("UNREGISTERED"))
    }
}

fn looks_like_a_token(text: &str) -> bool {
    let is_allowed = |it: u8| it.is_ascii_alphanumeric() || b"-_:".contains(&it);
    text.len() >= TOKEN_SIZE_MIN && text.bytes().all(is_allowed)
}
