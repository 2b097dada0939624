//! A push message for FCM, as its HTTP v1 interface takes it:
//! <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages>.
//!
//! It is the same for everybody: a version, the wake's id and the epoch. A token
//! that somebody registered as theirs and is another's brings its owner nothing
//! to read. Data messages on Android are not collapsible, and carry no
//! `collapse_key` when they wake for a message: FCM holds collapsible ones back
//! after a burst of 20 and then lets one through every 3 minutes for each device
//! (<https://firebase.google.com/docs/cloud-messaging/throttling-and-quotas>).

use std::{fmt, time::Duration};

use magpie_protocol::push::{Platform, PushToken};
use serde_json::{Value, json};

/// The version of what a wake says.
const VERSION: &str = "1";

/// What a person reads where the app cannot put something better in its place.
const ALERT_TITLE: &str = "New messages";
const ALERT_BODY: &str = "Open the app to read them.";

/// The longest that FCM keeps a message:
/// <https://firebase.google.com/docs/cloud-messaging/customize-messages/setting-message-lifespan>.
const LIFE_MAX: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// Replaces an older silent wake that waits.
const COLLAPSE_KEY: &str = "sync";

/// Which wake it is: the app says so when it reports what came.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct WakeId(pub u64);

impl fmt::Display for WakeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// Whether a person will notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Urgency {
    /// The app will show something: wake it out of Doze.
    Notify,
    /// The app syncs and shows nothing. FCM demotes apps whose urgent messages
    /// show nothing.
    Silent,
}

/// Who shows something to the person.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// The app, after it has synced.
    Data,
    /// Android itself, with a generic text: for an app that did not answer.
    Alert,
}

/// A message to one device.
#[derive(Clone, Debug)]
pub struct PushMessage {
    /// What the device runs on.
    pub platform: Platform,
    /// Where FCM finds it.
    pub token: PushToken,
    /// Which wake.
    pub wake: WakeId,
    /// The server's history.
    pub epoch: u64,
    /// Whether a person will notice.
    pub urgency: Urgency,
    /// Who shows it.
    pub form: Form,
    /// How long FCM keeps it for a device that cannot be reached: until the next
    /// try, so that it never has two.
    pub life: Duration,
    /// The time of day, milliseconds since 1970.
    pub now_ms: i64,
}

impl PushMessage {
    /// The request's body.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut message = json!({
            "token": self.token.as_str(),
            "data": {
                "magpie_version": VERSION,
                "magpie_wake": self.wake.to_string(),
                "magpie_epoch": self.epoch.to_string(),
            },
        });
        let (field, options) = match self.platform {
            Platform::Android => ("android", self.android()),
            Platform::Ios => ("apns", self.apns()),
            Platform::Web => ("webpush", self.webpush()),
        };
        if let Some(message) = message.as_object_mut() {
            message.insert(field.to_owned(), options);
        }
        json!({ "message": message })
    }

    fn life_secs(&self) -> u64 {
        self.life.min(LIFE_MAX).as_secs()
    }

    fn android(&self) -> Value {
        let ttl = format!("{}s", self.life_secs());
        match (self.urgency, self.form) {
            (Urgency::Silent, _) => {
                json!({ "priority": "NORMAL", "ttl": ttl, "collapse_key": COLLAPSE_KEY })
            }
            (Urgency::Notify, Form::Data) => json!({ "priority": "HIGH", "ttl": ttl }),
            // Notification messages are always collapsible; one of the same tag
            // takes the other's place on the screen.
            (Urgency::Notify, Form::Alert) => json!({
                "priority": "HIGH",
                "ttl": ttl,
                "notification": { "title": ALERT_TITLE, "body": ALERT_BODY, "tag": COLLAPSE_KEY },
            }),
        }
    }

    /// Headers and payload of Apple's service, which FCM passes on:
    /// <https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns>.
    fn apns(&self) -> Value {
        let life_secs = i64::try_from(self.life_secs()).unwrap_or(i64::MAX);
        let expiration = (self.now_ms / 1000).saturating_add(life_secs).to_string();
        match self.urgency {
            // A notification service extension syncs and puts the text in.
            Urgency::Notify => json!({
                "headers": {
                    "apns-push-type": "alert",
                    "apns-priority": "10",
                    "apns-expiration": expiration,
                },
                "payload": {
                    "aps": {
                        "alert": { "title": ALERT_TITLE, "body": ALERT_BODY },
                        "mutable-content": 1,
                        "sound": "default",
                    },
                },
            }),
            Urgency::Silent => json!({
                "headers": {
                    "apns-push-type": "background",
                    "apns-priority": "5",
                    "apns-expiration": expiration,
                    "apns-collapse-id": COLLAPSE_KEY,
                },
                "payload": { "aps": { "content-available": 1 } },
            }),
        }
    }

    /// Headers of RFC 8030.
    fn webpush(&self) -> Value {
        let ttl = self.life_secs().to_string();
        match self.urgency {
            Urgency::Notify => json!({ "headers": { "TTL": ttl, "Urgency": "high" } }),
            Urgency::Silent => {
                json!({ "headers": { "TTL": ttl, "Urgency": "normal", "Topic": COLLAPSE_KEY } })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(platform: Platform, urgency: Urgency, form: Form) -> Value {
        let message = PushMessage {
            platform,
            token: PushToken::parse("a-device:APA91bExample").unwrap(),
            wake: WakeId(u64::MAX),
            epoch: u64::MAX,
            urgency,
            form,
            life: Duration::from_secs(30),
            now_ms: 1_700_000_000_999,
        };
        message.body()
    }

    #[test]
    fn a_wake_says_nothing_and_is_small() {
        let body = body(Platform::Android, Urgency::Notify, Form::Data);
        let data = body["message"]["data"].as_object().unwrap();
        let names: Vec<&str> = data.keys().map(String::as_str).collect();
        assert_eq!(names, ["magpie_epoch", "magpie_version", "magpie_wake"]);
        let size: usize = data
            .iter()
            .map(|(name, value)| name.len() + value.as_str().unwrap().len())
            .sum();
        assert!(size < 200, "{size} bytes");
        assert!(body["message"].get("notification").is_none());
    }

    #[test]
    fn only_silent_wakes_collapse_and_only_they_are_not_urgent() {
        let urgent = body(Platform::Android, Urgency::Notify, Form::Data);
        assert_eq!(urgent["message"]["android"]["priority"], "HIGH");
        assert_eq!(urgent["message"]["android"]["ttl"], "30s");
        assert!(urgent["message"]["android"].get("collapse_key").is_none());
        let silent = body(Platform::Android, Urgency::Silent, Form::Data);
        assert_eq!(silent["message"]["android"]["priority"], "NORMAL");
        assert_eq!(silent["message"]["android"]["collapse_key"], "sync");
    }

    #[test]
    fn an_app_that_does_not_answer_is_helped_by_android() {
        let alert = body(Platform::Android, Urgency::Notify, Form::Alert);
        let shown = &alert["message"]["android"]["notification"];
        assert_eq!(shown["title"], ALERT_TITLE);
        assert_eq!(shown["body"], ALERT_BODY);
    }

    #[test]
    fn apple_gets_an_alert_or_a_background_push_and_never_both() {
        let alert = body(Platform::Ios, Urgency::Notify, Form::Data);
        let apns = &alert["message"]["apns"];
        assert_eq!(apns["headers"]["apns-priority"], "10");
        assert_eq!(apns["headers"]["apns-expiration"], "1700000030");
        assert_eq!(apns["payload"]["aps"]["mutable-content"], 1);
        assert!(apns["payload"]["aps"].get("content-available").is_none());
        let silent = body(Platform::Ios, Urgency::Silent, Form::Data);
        let apns = &silent["message"]["apns"];
        assert_eq!(apns["headers"]["apns-priority"], "5");
        assert_eq!(apns["headers"]["apns-push-type"], "background");
        assert_eq!(apns["payload"]["aps"]["content-available"], 1);
        assert!(apns["payload"]["aps"].get("alert").is_none());
    }

    #[test]
    fn the_web_gets_headers() {
        let web = body(Platform::Web, Urgency::Notify, Form::Data);
        let headers = &web["message"]["webpush"]["headers"];
        assert_eq!(headers["TTL"], "30");
        assert_eq!(headers["Urgency"], "high");
    }
}
