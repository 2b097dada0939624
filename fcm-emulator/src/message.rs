//! A message, checked field by field:
//! <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages>.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// "4096 bytes for most messages ... both the keys and the values":
/// <https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode>.
const SIZE_MAX: usize = 4096;

/// "Between 0 and 2,419,200 (4 weeks)", and the default: the same page.
const TTL_SECS_MAX: u64 = 2_419_200;

/// What is known about a message that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) token: String,
    pub(crate) body: Value,
    pub(crate) collapse_key: Option<String>,
    pub(crate) is_high: bool,
    pub(crate) life: Duration,
    /// Android shows it itself.
    pub(crate) is_notification: bool,
}

impl Message {
    /// Checks the `message` of a request.
    pub(crate) fn parse(body: &Value) -> Result<Self, Refusal> {
        let message = object(body, "message")?;
        known(
            message,
            "message",
            &[
                "name",
                "data",
                "notification",
                "android",
                "webpush",
                "apns",
                "fcm_options",
                "token",
            ],
        )?;
        let token = text(message, "message", "token")?;
        let token = token
            .ok_or_else(|| Refusal::field("message", "Recipient of the message is not set."))?;
        let mut size = check_data(message.get("data"), "message.data")?;
        let android = Android::parse(message.get("android"))?;
        size += android.data_size;
        check_notification(message.get("notification"), "message.notification")?;
        let apple_size = size + check_apns(message.get("apns"))?;
        check_webpush(message.get("webpush"))?;
        if size > SIZE_MAX {
            let reason = format!("The message payload has {size} bytes, at most {SIZE_MAX}");
            return Err(Refusal::field("message", reason));
        }
        if apple_size > SIZE_MAX {
            let reason = format!("The payload has {apple_size} bytes, at most {SIZE_MAX}");
            return Err(Refusal::field("message.apns.payload", reason));
        }
        let is_notification = android.is_notification || message.contains_key("notification");
        Ok(Self {
            token: token.to_owned(),
            body: body.clone(),
            collapse_key: android.collapse_key,
            is_high: android.is_high.unwrap_or(is_notification),
            life: android.life,
            is_notification,
        })
    }
}

/// `AndroidConfig`:
/// <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages#androidconfig>.
struct Android {
    collapse_key: Option<String>,
    is_high: Option<bool>,
    life: Duration,
    is_notification: bool,
    data_size: usize,
}

impl Android {
    fn parse(config: Option<&Value>) -> Result<Self, Refusal> {
        const AT: &str = "message.android";
        let empty = Value::Object(Map::new());
        let config = object(config.unwrap_or(&empty), AT)?;
        known(
            config,
            AT,
            &[
                "collapse_key",
                "priority",
                "ttl",
                "restricted_package_name",
                "data",
                "notification",
                "fcm_options",
                "direct_boot_ok",
            ],
        )?;
        let is_high = match text(config, AT, "priority")? {
            None => None,
            Some("HIGH" | "high") => Some(true),
            Some("NORMAL" | "normal") => Some(false),
            Some(other) => {
                let reason = format!("Invalid value at 'message.android.priority': {other:?}");
                return Err(Refusal::field("message.android.priority", reason));
            }
        };
        let life = match text(config, AT, "ttl")? {
            None => Duration::from_secs(TTL_SECS_MAX),
            Some(ttl) => {
                duration(ttl).ok_or_else(|| Refusal::field("message.android.ttl", "Invalid TTL"))?
            }
        };
        check_notification(config.get("notification"), "message.android.notification")?;
        Ok(Self {
            collapse_key: text(config, AT, "collapse_key")?.map(str::to_owned),
            is_high,
            life,
            is_notification: config.contains_key("notification"),
            data_size: check_data(config.get("data"), "message.android.data")?,
        })
    }
}

/// A `Duration` in JSON: seconds with up to nine digits behind the point, and
/// "s". "The ttl will be rounded down to the nearest second."
fn duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let is_good = is_number(whole) && is_number(fraction) && fraction.len() <= 9;
    let secs: u64 = whole.parse().ok().filter(|it| *it <= TTL_SECS_MAX)?;
    is_good.then_some(Duration::from_secs(secs))
}

/// Strings only, and none of FCM's own names: "The key should not be a reserved
/// word (`from`, `message_type`, or any word starting with `google.` or
/// `gcm.notification.`)", and "from, or gcm, or any value prefixed by google".
/// Returns the bytes of all keys and values.
fn check_data(data: Option<&Value>, at: &str) -> Result<usize, Refusal> {
    let Some(data) = data else { return Ok(0) };
    let mut size = 0;
    for (key, value) in object(data, at)? {
        let Some(value) = value.as_str() else {
            let reason = format!("Invalid value at '{at}' (TYPE_STRING), {value}");
            return Err(Refusal::field(at, reason));
        };
        let is_reserved = ["from", "message_type", "gcm"].contains(&key.as_str())
            || key.starts_with("google")
            || key.starts_with("gcm.");
        if is_reserved {
            return Err(Refusal::field(
                at,
                format!("Invalid data payload key: {key}"),
            ));
        }
        size += key.len() + value.len();
    }
    Ok(size)
}

fn check_notification(notification: Option<&Value>, at: &str) -> Result<(), Refusal> {
    let Some(notification) = notification else {
        return Ok(());
    };
    let notification = object(notification, at)?;
    for field in [
        "title",
        "body",
        "tag",
        "icon",
        "color",
        "sound",
        "image",
        "channel_id",
    ] {
        text(notification, at, field)?;
    }
    Ok(())
}

/// Headers are strings. A payload has at most 4 KB, with the data that FCM adds.
/// Returns its bytes. Apple refuses a background push of priority 10:
/// <https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns>.
fn check_apns(config: Option<&Value>) -> Result<usize, Refusal> {
    const AT: &str = "message.apns";
    let Some(config) = config else { return Ok(0) };
    let config = object(config, AT)?;
    known(
        config,
        AT,
        &["headers", "payload", "fcm_options", "live_activity_token"],
    )?;
    let empty = Value::Object(Map::new());
    let at = "message.apns.headers";
    let headers = object(config.get("headers").unwrap_or(&empty), at)?;
    for name in headers.keys() {
        text(headers, at, name)?;
    }
    let header = |name| headers.get(name).and_then(Value::as_str);
    let priority = header("apns-priority");
    if priority.is_some_and(|it| !["1", "5", "10"].contains(&it)) {
        return Err(Refusal::field(at, "apns-priority is 1, 5 or 10"));
    }
    if header("apns-push-type") == Some("background") && priority != Some("5") {
        return Err(Refusal::field(at, "a background push has apns-priority 5"));
    }
    if header("apns-expiration").is_some_and(|it| it.parse::<u64>().is_err()) {
        return Err(Refusal::field(
            at,
            "apns-expiration is in seconds since 1970",
        ));
    }
    let Some(payload) = config.get("payload") else {
        return Ok(0);
    };
    object(payload, "message.apns.payload")?;
    Ok(payload.to_string().len())
}

/// The headers of RFC 8030: sections 5.2 to 5.4.
fn check_webpush(config: Option<&Value>) -> Result<(), Refusal> {
    const AT: &str = "message.webpush";
    let Some(config) = config else { return Ok(()) };
    let config = object(config, AT)?;
    known(
        config,
        AT,
        &["headers", "data", "notification", "fcm_options"],
    )?;
    let empty = Value::Object(Map::new());
    let at = "message.webpush.headers";
    let headers = object(config.get("headers").unwrap_or(&empty), at)?;
    for name in headers.keys() {
        text(headers, at, name)?;
    }
    let header = |name| headers.get(name).and_then(Value::as_str);
    if header("TTL").is_some_and(|it| it.parse::<u64>().is_err()) {
        return Err(Refusal::field(at, "TTL is a number of seconds"));
    }
    let urgencies = ["very-low", "low", "normal", "high"];
    if header("Urgency").is_some_and(|it| !urgencies.contains(&it)) {
        return Err(Refusal::field(
            at,
            "Urgency is very-low, low, normal or high",
        ));
    }
    if header("Topic").is_some_and(|it| it.len() > 32) {
        return Err(Refusal::field(at, "Topic has at most 32 characters"));
    }
    check_data(config.get("data"), "message.webpush.data").map(drop)
}

fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Map<String, Value>, Refusal> {
    let wrong = || Refusal::field(at, format!("Invalid value at '{at}' (an object)"));
    value.as_object().ok_or_else(wrong)
}

fn text<'a>(
    object: &'a Map<String, Value>,
    at: &str,
    field: &str,
) -> Result<Option<&'a str>, Refusal> {
    let Some(value) = object.get(field) else {
        return Ok(None);
    };
    let wrong = || {
        let at = format!("{at}.{field}");
        let reason = format!("Invalid value at '{at}' (TYPE_STRING), {value}");
        Refusal::field(at, reason)
    };
    value.as_str().ok_or_else(wrong).map(Some)
}

/// "Invalid JSON payload received. Unknown name".
fn known(object: &Map<String, Value>, at: &str, names: &[&str]) -> Result<(), Refusal> {
    match object.keys().find(|it| !names.contains(&it.as_str())) {
        None => Ok(()),
        Some(name) => {
            let reason = format!("Unknown name {name:?} at '{at}': Cannot find field.");
            Err(Refusal::field(at, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(message: &Value) -> String {
        let refusal = Message::parse(message).unwrap_err();
        assert_eq!(refusal.status, 400);
        refusal.field.unwrap()
    }

    #[test]
    fn a_message_needs_one_recipient() {
        assert_eq!(refused(&json!({ "data": {} })), "message");
        assert_eq!(refused(&json!({ "token": 7 })), "message.token");
    }

    #[test]
    fn reserved_names_and_other_values_than_strings_are_refused() {
        for key in [
            "from",
            "gcm",
            "message_type",
            "google.x",
            "googlex",
            "gcm.notification.x",
        ] {
            let message = json!({ "token": "t", "data": { key: "x" } });
            assert_eq!(refused(&message), "message.data", "{key}");
        }
        let number = json!({ "token": "t", "data": { "x": 12 } });
        assert_eq!(refused(&number), "message.data");
        assert!(Message::parse(&json!({ "token": "t", "data": { "collapse_key": "x" } })).is_ok());
    }

    #[test]
    fn a_payload_of_4096_bytes_is_taken_and_not_one_more() {
        let message = |size: usize| json!({ "token": "t", "data": { "x": "y".repeat(size) } });
        assert!(Message::parse(&message(4095)).is_ok());
        assert_eq!(refused(&message(4096)), "message");
    }

    #[test]
    fn apple_takes_4096_bytes_with_the_data() {
        let message = |size: usize| {
            let payload = json!({ "aps": { "alert": "y".repeat(size) } });
            json!({ "token": "t", "data": { "x": "y" }, "apns": { "payload": payload } })
        };
        let frame = json!({ "aps": { "alert": "" } }).to_string().len() + 2;
        assert!(Message::parse(&message(4096 - frame)).is_ok());
        assert_eq!(refused(&message(4097 - frame)), "message.apns.payload");
    }

    #[test]
    fn a_ttl_is_whole_seconds_with_an_s_and_at_most_four_weeks() {
        let message = |ttl: &str| json!({ "token": "t", "android": { "ttl": ttl } });
        for good in ["0s", "30s", "2419200s", "3.000000001s"] {
            assert!(Message::parse(&message(good)).is_ok(), "{good}");
        }
        for bad in ["30", "s", "-1s", "2419201s", "1.0000000001s", "30m", "1e3s"] {
            assert_eq!(refused(&message(bad)), "message.android.ttl", "{bad}");
        }
    }

    #[test]
    fn priorities_and_fields_that_do_not_exist_are_refused() {
        let message = |priority: &str| json!({ "token": "t", "android": { "priority": priority } });
        assert!(Message::parse(&message("HIGH")).unwrap().is_high);
        assert!(!Message::parse(&message("NORMAL")).unwrap().is_high);
        assert_eq!(refused(&message("URGENT")), "message.android.priority");
        assert_eq!(refused(&json!({ "token": "t", "to": "x" })), "message");
    }

    #[test]
    fn apple_takes_a_background_push_at_priority_5_alone() {
        let message = |priority: &str| {
            let headers = json!({ "apns-push-type": "background", "apns-priority": priority });
            json!({ "token": "t", "apns": { "headers": headers } })
        };
        assert!(Message::parse(&message("5")).is_ok());
        assert_eq!(refused(&message("10")), "message.apns.headers");
    }
}
