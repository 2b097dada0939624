//! A push message for FCM, as its HTTP v1 interface takes it:
//! <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages>.
//!
//! It is the same for everybody: a version, the wake's id and the epoch. A token
//! that somebody registered as theirs and is another's brings its owner nothing
//! to read. For apps that the operator names it also says who wrote and what.
//!
//! Every wake is for a message that the app will show, so every one is urgent; FCM
//! demotes apps whose urgent messages show nothing. Wakes on Android carry no
//! `collapse_key`: FCM holds collapsible ones back after a burst of 20 and then
//! lets one through every 3 minutes for each device
//! (<https://firebase.google.com/docs/cloud-messaging/throttling-and-quotas>).
//!
//! A silent sync is for what the app shows no more. It is not urgent, the last one
//! stands for all before it, and it says that it is one.

use std::{fmt, time::Duration};

use magpie_protocol::push::{Platform, PushToken};
use serde_json::{Map, Value, json};

use crate::store::Preview;

/// The version of what a wake says.
const VERSION: &str = "1";

/// What a person reads where the app cannot put something better in its place.
const ALERT_TITLE: &str = "New messages";
const ALERT_BODY: &str = "Open the app to read them.";

/// A silent sync takes the place of the last one.
const SILENT_KEY: &str = "magpie-sync";

/// A notification takes the place of the last one that is called this.
const ALERT_TAG: &str = "magpie";

/// The longest that FCM keeps a message:
/// <https://firebase.google.com/docs/cloud-messaging/customize-messages/setting-message-lifespan>.
const LIFE_MAX: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// Bytes of a preview's text, as JSON has it. A message has at most 4,096 bytes
/// (<https://firebase.google.com/docs/cloud-messaging/concept-options>), and it is
/// not said how FCM writes what it passes on: this fits even if each character
/// becomes an escape of three times its size.
const PREVIEW_SIZE_MAX: usize = 1_024;

/// At the end of a text that was cut.
const CUT: &str = "\u{2026}";

/// Which wake it is: the app says so when it reports what came.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct WakeId(pub u64);

impl fmt::Display for WakeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// Who shows something to the person.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// The app, after it has synced.
    Data,
    /// Android itself, with a generic text: for an app that did not answer.
    Alert,
    /// Nobody: the app syncs, and takes away what was read on another device.
    Silent,
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
    /// Who shows it.
    pub form: Form,
    /// What was said, for an app that shows it.
    pub preview: Option<Preview>,
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
        let mut message = json!({ "token": self.token.as_str(), "data": self.data() });
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

    fn data(&self) -> Map<String, Value> {
        let mut data = Map::new();
        let mut put = |name: &str, value: String| data.insert(name.to_owned(), value.into());
        put("magpie_version", VERSION.to_owned());
        put("magpie_wake", self.wake.to_string());
        put("magpie_epoch", self.epoch.to_string());
        if self.form == Form::Silent {
            put("magpie_silent", "1".to_owned());
        }
        if let Some(preview) = &self.preview {
            put("magpie_conversation", preview.conversation.to_string());
            put("magpie_seq", preview.seq.get().to_string());
            // Apple gets both in the alert, and has no room for them twice.
            if self.platform != Platform::Ios {
                put("magpie_sender", preview.sender.clone());
                put("magpie_text", cut(&preview.text));
            }
        }
        data
    }

    fn life_secs(&self) -> u64 {
        self.life.min(LIFE_MAX).as_secs()
    }

    fn android(&self) -> Value {
        let ttl = format!("{}s", self.life_secs());
        match self.form {
            Form::Data => json!({ "priority": "HIGH", "ttl": ttl }),
            Form::Silent => {
                json!({ "priority": "NORMAL", "ttl": ttl, "collapse_key": SILENT_KEY })
            }
            // Notification messages are always collapsible.
            Form::Alert => json!({
                "priority": "HIGH",
                "ttl": ttl,
                "notification": { "title": ALERT_TITLE, "body": ALERT_BODY, "tag": ALERT_TAG },
            }),
        }
    }

    /// Headers and payload of Apple's service, which FCM passes on:
    /// <https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns>.
    /// A notification service extension syncs and puts the text in.
    fn apns(&self) -> Value {
        let life_secs = i64::try_from(self.life_secs()).unwrap_or(i64::MAX);
        let expiration = (self.now_ms / 1000).saturating_add(life_secs).to_string();
        if self.form == Form::Silent {
            return json!({
                "headers": {
                    "apns-push-type": "background",
                    "apns-priority": "5",
                    "apns-expiration": expiration,
                    "apns-collapse-id": SILENT_KEY,
                },
                "payload": { "aps": { "content-available": 1 } },
            });
        }
        let alert = match &self.preview {
            Some(it) => json!({ "title": it.sender, "body": cut(&it.text) }),
            None => json!({ "title": ALERT_TITLE, "body": ALERT_BODY }),
        };
        json!({
            "headers": {
                "apns-push-type": "alert",
                "apns-priority": "10",
                "apns-expiration": expiration,
            },
            "payload": { "aps": { "alert": alert, "mutable-content": 1, "sound": "default" } },
        })
    }

    /// Headers of RFC 8030.
    fn webpush(&self) -> Value {
        let ttl = self.life_secs().to_string();
        if self.form == Form::Silent {
            return json!({ "headers": { "TTL": ttl, "Urgency": "low", "Topic": SILENT_KEY } });
        }
        json!({ "headers": { "TTL": ttl, "Urgency": "high" } })
    }
}

/// As much of a text as a preview has room for, in whole characters.
fn cut(text: &str) -> String {
    let mut size = 0;
    let end = text.char_indices().find_map(|(at, character)| {
        size += json_size(character);
        (size > PREVIEW_SIZE_MAX - CUT.len()).then_some(at)
    });
    let all = text.chars().map(json_size).sum::<usize>();
    match end {
        Some(end) if all > PREVIEW_SIZE_MAX => {
            let (kept, _) = text.split_at(end);
            format!("{kept}{CUT}")
        }
        Some(_) | None => text.to_owned(),
    }
}

/// Bytes of a character in a JSON string.
const fn json_size(character: char) -> usize {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use magpie_protocol::{
        id::ConversationId,
        seq::{Position, Seq},
    };

    use super::*;

    /// Bytes of a message that FCM and Apple take.
    const SIZE_MAX: usize = 4_096;

    fn message(platform: Platform, form: Form) -> PushMessage {
        PushMessage {
            platform,
            token: PushToken::parse("a-device:APA91bExample").unwrap(),
            wake: WakeId(u64::MAX),
            epoch: u64::MAX,
            form,
            preview: None,
            life: Duration::from_secs(30),
            now_ms: 1_700_000_000_999,
        }
    }

    fn body(platform: Platform, form: Form) -> Value {
        message(platform, form).body()
    }

    fn with_preview(platform: Platform, text: &str) -> Value {
        let preview = Preview {
            position: Position::new(9),
            conversation: ConversationId::new([7; 16]),
            seq: Seq::new(5),
            sender: "x".repeat(32),
            text: text.to_owned(),
        };
        let message = PushMessage {
            preview: Some(preview),
            ..message(platform, Form::Data)
        };
        message.body()["message"].clone()
    }

    #[test]
    fn a_wake_says_nothing_and_is_small() {
        let body = body(Platform::Android, Form::Data);
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
    fn a_wake_is_urgent_and_does_not_collapse() {
        let urgent = body(Platform::Android, Form::Data);
        assert_eq!(urgent["message"]["android"]["priority"], "HIGH");
        assert_eq!(urgent["message"]["android"]["ttl"], "30s");
        assert!(urgent["message"]["android"].get("collapse_key").is_none());
    }

    #[test]
    fn a_silent_sync_is_not_urgent_and_the_last_one_stands_for_all() {
        let silent = body(Platform::Android, Form::Silent)["message"].clone();
        assert_eq!(silent["data"]["magpie_silent"], "1");
        assert_eq!(silent["android"]["priority"], "NORMAL");
        assert_eq!(silent["android"]["collapse_key"], SILENT_KEY);
        let silent = body(Platform::Ios, Form::Silent)["message"].clone();
        let apns = &silent["apns"];
        assert_eq!(apns["headers"]["apns-push-type"], "background");
        assert_eq!(apns["headers"]["apns-priority"], "5");
        assert_eq!(
            apns["payload"],
            json!({ "aps": { "content-available": 1 } })
        );
        let silent = body(Platform::Web, Form::Silent)["message"].clone();
        assert_eq!(silent["webpush"]["headers"]["Urgency"], "low");
    }

    #[test]
    fn an_app_that_does_not_answer_is_helped_by_android() {
        let alert = body(Platform::Android, Form::Alert);
        let shown = &alert["message"]["android"]["notification"];
        assert_eq!(shown["title"], ALERT_TITLE);
        assert_eq!(shown["body"], ALERT_BODY);
    }

    #[test]
    fn apple_gets_an_alert_that_its_extension_may_change() {
        let alert = body(Platform::Ios, Form::Data);
        let apns = &alert["message"]["apns"];
        assert_eq!(apns["headers"]["apns-priority"], "10");
        assert_eq!(apns["headers"]["apns-expiration"], "1700000030");
        assert_eq!(apns["payload"]["aps"]["mutable-content"], 1);
        assert_eq!(apns["payload"]["aps"]["alert"]["title"], ALERT_TITLE);
        assert!(apns["payload"]["aps"].get("content-available").is_none());
    }

    #[test]
    fn the_web_gets_headers() {
        let web = body(Platform::Web, Form::Data);
        let headers = &web["message"]["webpush"]["headers"];
        assert_eq!(headers["TTL"], "30");
        assert_eq!(headers["Urgency"], "high");
    }

    #[test]
    fn a_preview_says_who_wrote_and_what() {
        for platform in [Platform::Android, Platform::Web] {
            let message = with_preview(platform, "hello");
            assert_eq!(message["data"]["magpie_text"], "hello");
            assert_eq!(message["data"]["magpie_seq"], "5");
        }
        let message = with_preview(Platform::Ios, "hello");
        assert!(message["data"].get("magpie_text").is_none());
        assert_eq!(message["apns"]["payload"]["aps"]["alert"]["body"], "hello");
    }

    #[test]
    fn a_preview_fits_whatever_the_text_and_ends_with_a_whole_character() {
        for of in [
            "a",
            "\u{e4}",
            "\u{20ac}",
            "\u{1f426}",
            "\"",
            "\u{1}",
            "\n",
            "a\u{1f426}",
        ] {
            let long = of.repeat(16_384 / of.len());
            for platform in [Platform::Android, Platform::Ios, Platform::Web] {
                let message = with_preview(platform, &long);
                let size = serde_json::to_string(&message).unwrap().len();
                assert!(size < SIZE_MAX / 2, "{of:?}: {size} bytes");
            }
            let shown = cut(&long);
            let kept = shown.strip_suffix(CUT).unwrap();
            assert!(long.starts_with(kept) && !kept.is_empty());
            let written = serde_json::to_string(&shown).unwrap().len() - 2;
            assert!((PREVIEW_SIZE_MAX - 10..=PREVIEW_SIZE_MAX).contains(&written));
        }
        let fits = "a".repeat(PREVIEW_SIZE_MAX);
        assert_eq!(cut(&fits), fits);
        assert!(cut(&format!("{fits}a")).ends_with(CUT));
    }
}
