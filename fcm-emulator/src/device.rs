//! A device as FCM sees it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::http::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::Message;

/// "There is a limit of 100 messages that can be stored without collapsing. If
/// the limit is reached, all stored messages are discarded":
/// <https://firebase.google.com/docs/cloud-messaging/concept-options#non-collapsible_and_collapsible_messages>.
const STORED_MAX: usize = 100;

/// "Four different collapse keys ... at any given time": the same page.
const COLLAPSE_KEYS_MAX: usize = 4;

/// "We limit collapsible messages to a burst of 20 messages per app per device,
/// with a refill of 1 message every 3 minutes":
/// <https://firebase.google.com/docs/cloud-messaging/throttling-and-quotas>.
const COLLAPSIBLE_BURST: u32 = 20;

/// See [`COLLAPSIBLE_BURST`].
const COLLAPSIBLE_REFILL: Duration = Duration::from_secs(3 * 60);

/// Pushes that a test has not fetched.
const DELIVERED_MAX: usize = 10_000;

/// What FCM knows of a token.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Good.
    #[default]
    Registered,
    /// Its app was removed, or it was replaced.
    Unregistered,
    /// Of another sender.
    Foreign,
}

/// Whether pushes get to the device.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// At once.
    #[default]
    Online,
    /// Connected and asleep: high priority at once, the others when it wakes:
    /// <https://firebase.google.com/docs/cloud-messaging/android-message-priority>.
    Doze,
    /// Not at all: they are stored until their time is over.
    Offline,
}

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Came {
    at_ms: u64,
    is_http2: bool,
}

impl Came {
    pub(crate) fn now(version: Version) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let at = since_1970.unwrap_or(Duration::ZERO);
        Self {
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            is_http2: version == Version::HTTP_2,
        }
    }
}

/// A push that a device got.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Delivered {
    /// 1, 2, 3, ... for each device.
    pub number: u64,
    /// Milliseconds from when FCM took it to when the device got it.
    pub delay_ms: u64,
    /// When FCM had read the request, milliseconds since 1970; 0 if none brought it.
    pub came_at_ms: u64,
    /// The request came over HTTP/2.
    pub is_http2: bool,
    /// The priority with which it came.
    pub is_high: bool,
    /// The `message` as it was sent; null stands for "some were discarded"
    /// (`onDeletedMessages`).
    pub message: Value,
}

#[derive(Clone, Debug)]
struct Stored {
    message: Message,
    came: Came,
    taken_at: Instant,
}

/// A device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) standing: Standing,
    reach: Reach,
    stored: VecDeque<Stored>,
    delivered: VecDeque<Delivered>,
    number: u64,
    collapsible_left: u32,
    refilled_at: Instant,
}

impl Device {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            standing: Standing::default(),
            reach: Reach::default(),
            stored: VecDeque::new(),
            delivered: VecDeque::new(),
            number: 0,
            collapsible_left: COLLAPSIBLE_BURST,
            refilled_at: now,
        }
    }

    /// Sets where it is; it gets what waited for that.
    pub(crate) fn set_reach(&mut self, reach: Reach, now: Instant) {
        self.reach = reach;
        self.deliver_stored(now);
    }

    /// Takes a message that is good.
    pub(crate) fn take(&mut self, message: Message, came: Came, now: Instant) {
        let stored = Stored {
            message,
            came,
            taken_at: now,
        };
        if self.gets(&stored.message) && self.may_pass(&stored.message, now) {
            self.deliver(stored, now);
        } else if !stored.message.life.is_zero() {
            self.store(stored, now);
        }
    }

    fn gets(&self, message: &Message) -> bool {
        match self.reach {
            Reach::Online => true,
            Reach::Doze => message.is_high,
            Reach::Offline => false,
        }
    }

    /// Collapsible ones are counted, but for those that live for no time:
    /// <https://firebase.google.com/docs/cloud-messaging/customize-messages/setting-message-lifespan>.
    fn may_pass(&mut self, message: &Message, now: Instant) -> bool {
        if !is_collapsible(message) || message.life.is_zero() {
            return true;
        }
        while now.duration_since(self.refilled_at) >= COLLAPSIBLE_REFILL {
            self.refilled_at += COLLAPSIBLE_REFILL;
            self.collapsible_left = (self.collapsible_left + 1).min(COLLAPSIBLE_BURST);
        }
        let left = self.collapsible_left.checked_sub(1);
        self.collapsible_left = left.unwrap_or(0);
        left.is_some()
    }

    fn store(&mut self, fresh: Stored, now: Instant) {
        self.forget_expired(now);
        if let Some(key) = collapse_key(&fresh.message) {
            self.stored
                .retain(|it| collapse_key(&it.message) != Some(key));
            let mut keys: Vec<&str> = Vec::new();
            for key in self
                .stored
                .iter()
                .filter_map(|it| collapse_key(&it.message))
            {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            // Which of them are kept is not said: the newest here.
            if keys.len() >= COLLAPSE_KEYS_MAX {
                let oldest = keys.first().map(|it| (*it).to_owned());
                self.stored
                    .retain(|it| collapse_key(&it.message) != oldest.as_deref());
            }
        } else if self
            .stored
            .iter()
            .filter(|it| !is_collapsible(&it.message))
            .count()
            >= STORED_MAX
        {
            self.stored.retain(|it| is_collapsible(&it.message));
            self.record(Delivered {
                number: 0,
                delay_ms: 0,
                came_at_ms: 0,
                is_http2: false,
                is_high: false,
                message: Value::Null,
            });
            return;
        }
        self.stored.push_back(fresh);
    }

    fn forget_expired(&mut self, now: Instant) {
        self.stored
            .retain(|it| now.duration_since(it.taken_at) < it.message.life);
    }

    /// Delivers what may come now.
    pub(crate) fn deliver_stored(&mut self, now: Instant) {
        self.forget_expired(now);
        for stored in std::mem::take(&mut self.stored) {
            if self.gets(&stored.message) && self.may_pass(&stored.message, now) {
                self.deliver(stored, now);
            } else {
                self.stored.push_back(stored);
            }
        }
    }

    fn deliver(&mut self, stored: Stored, now: Instant) {
        let delay = now.duration_since(stored.taken_at).as_millis();
        let delay_ms = u64::try_from(delay).unwrap_or(u64::MAX);
        self.record(Delivered {
            number: 0,
            delay_ms,
            came_at_ms: stored.came.at_ms,
            is_http2: stored.came.is_http2,
            is_high: stored.message.is_high,
            message: stored.message.body,
        });
    }

    /// Gives it its number.
    fn record(&mut self, delivered: Delivered) {
        self.number += 1;
        if self.delivered.len() >= DELIVERED_MAX {
            self.delivered.pop_front();
        }
        self.delivered.push_back(Delivered {
            number: self.number,
            ..delivered
        });
    }

    /// What it got behind `after`.
    pub(crate) fn delivered_after(&self, after: u64) -> Vec<Delivered> {
        let delivered = self.delivered.iter().filter(|it| it.number > after);
        delivered.cloned().collect()
    }
}

/// "Notification messages are always collapsible":
/// <https://firebase.google.com/docs/cloud-messaging/concept-options#non-collapsible_and_collapsible_messages>.
fn is_collapsible(message: &Message) -> bool {
    collapse_key(message).is_some()
}

/// The app is the key of a notification that has none.
fn collapse_key(message: &Message) -> Option<&str> {
    let of_app = message.is_notification.then_some("");
    message.collapse_key.as_deref().or(of_app)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(android: &Value) -> Message {
        Message::parse(&json!({ "token": "t", "android": android })).unwrap()
    }

    fn take(device: &mut Device, message: Message, now: Instant) {
        device.take(message, Came::now(Version::HTTP_2), now);
    }

    fn plain() -> Message {
        message(&json!({ "priority": "HIGH" }))
    }

    fn count(device: &Device) -> usize {
        device.delivered_after(0).len()
    }

    #[test]
    fn in_doze_only_high_priority_comes_and_the_rest_when_it_wakes() {
        let now = Instant::now();
        let mut device = Device::new(now);
        device.set_reach(Reach::Doze, now);
        take(&mut device, message(&json!({ "priority": "NORMAL" })), now);
        assert_eq!(count(&device), 0);
        take(&mut device, plain(), now);
        assert_eq!(count(&device), 1);
        let later = now + Duration::from_secs(7);
        device.set_reach(Reach::Online, later);
        assert_eq!(device.delivered_after(1)[0].delay_ms, 7000);
    }

    #[test]
    fn a_message_is_gone_when_its_time_is_over() {
        let now = Instant::now();
        let mut device = Device::new(now);
        device.set_reach(Reach::Offline, now);
        take(&mut device, message(&json!({ "ttl": "30s" })), now);
        take(&mut device, message(&json!({ "ttl": "60s" })), now);
        take(&mut device, message(&json!({ "ttl": "0s" })), now);
        device.set_reach(Reach::Online, now + Duration::from_secs(30));
        assert_eq!(count(&device), 1);
    }

    #[test]
    fn the_last_of_a_collapse_key_is_kept_and_at_most_four_keys() {
        let now = Instant::now();
        let mut device = Device::new(now);
        device.set_reach(Reach::Offline, now);
        for key in ["a", "a", "b", "c", "d", "e"] {
            take(&mut device, message(&json!({ "collapse_key": key })), now);
        }
        device.set_reach(Reach::Online, now);
        let keys: Vec<Value> = device
            .delivered_after(0)
            .iter()
            .map(|it| it.message["android"]["collapse_key"].clone())
            .collect();
        assert_eq!(keys, ["b", "c", "d", "e"]);
    }

    #[test]
    fn the_101st_stored_message_discards_all_and_the_app_is_told() {
        let now = Instant::now();
        let mut device = Device::new(now);
        device.set_reach(Reach::Offline, now);
        for _ in 0..101 {
            take(&mut device, plain(), now);
        }
        device.set_reach(Reach::Online, now);
        let delivered = device.delivered_after(0);
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].message, Value::Null);
    }

    #[test]
    fn collapsible_messages_come_20_at_once_and_then_one_in_three_minutes() {
        let now = Instant::now();
        let mut device = Device::new(now);
        for number in 0..25 {
            take(
                &mut device,
                message(&json!({ "collapse_key": format!("k{}", number % 2) })),
                now,
            );
            take(&mut device, plain(), now);
        }
        assert_eq!(count(&device), 20 + 25);
        device.deliver_stored(now + COLLAPSIBLE_REFILL);
        assert_eq!(count(&device), 21 + 25);
    }
}
