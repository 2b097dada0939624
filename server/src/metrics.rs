//! All metrics: name, kind, unit, labels and meaning. docs/operations.md has them
//! as a table, which is made from here.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the buckets of what takes time, in seconds.
const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Upper bounds of the buckets of what waits for a device, in seconds.
const DELAYS: &[f64] = &[
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 20.0, 60.0, 300.0, 3_600.0,
];

/// Upper bounds of the buckets of what is counted.
const COUNTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0,
];

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It only rises, until the process ends.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It sorts what it sees into buckets with these upper bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// Its name in Prometheus' text format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What is known of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// What it is called.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it counts or measures.
    pub unit: &'static str,
    /// What tells its time series apart.
    pub labels: &'static [&'static str],
    /// One or two sentences.
    pub meaning: &'static str,
}

/// Defines a constant for each name, and the table of all.
macro_rules! metrics {
    ($($(#[doc = $meaning:literal])+ $constant:ident = $name:literal,
        $kind:expr, $unit:literal, [$($label:literal),*];)*) => {
        $($(#[doc = $meaning])+ pub const $constant: &str = $name;)*

        /// Every metric there is.
        pub const ALL: &[Metric] = &[$(Metric {
            name: $name,
            kind: $kind,
            unit: $unit,
            labels: &[$($label),*],
            meaning: concat!($($meaning),+),
        }),*];
    };
}

metrics! {
    /// Always 1; its label is the version that runs.
    BUILD_INFO = "magpie_build_info", Kind::Gauge, "1", ["version"];
    /// Requests over HTTPS for photos and files, by status.
    MEDIA_REQUESTS = "magpie_media_requests_total", Kind::Counter, "requests", ["status"];
    /// Bytes of photos and files that clients sent.
    MEDIA_BYTES_RECEIVED = "magpie_media_received_bytes_total", Kind::Counter, "bytes", [];
    /// Bytes of photos and files that clients fetched.
    MEDIA_BYTES_SENT = "magpie_media_sent_bytes_total", Kind::Counter, "bytes", [];
    /// Uploads that are whole.
    MEDIA_STORED = "magpie_media_stored_total", Kind::Counter, "uploads", [];
    /// Connections open now, signed in or not.
    CONNECTIONS_OPEN = "magpie_connections_open", Kind::Gauge, "connections", [];
    /// Connections that there may be, as stated at the start.
    CONNECTIONS_MAX = "magpie_connections_max", Kind::Gauge, "connections", [];
    /// Devices that are signed in and connected to this server now.
    DEVICES_CONNECTED = "magpie_devices_connected", Kind::Gauge, "devices", [];
    /// Users whose presence somebody watches who is connected to this server.
    PRESENCE_WATCHED = "magpie_presence_watched", Kind::Gauge, "users", [];
    /// Watchers who were told that somebody is there, or not any more.
    PRESENCE_HINTS = "magpie_presence_hints_total", Kind::Counter, "hints", [];
    /// Connections accepted.
    CONNECTIONS_ACCEPTED =
        "magpie_connections_accepted_total", Kind::Counter, "connections", [];
    /// Connections that ended: closed by the client or broken, after the client's
    /// goodbye, or cut off because the client did not close after ours.
    CONNECTIONS_ENDED =
        "magpie_connections_ended_total", Kind::Counter, "connections", ["reason"];
    /// TLS handshakes that came to nothing: too slow, not TLS 1.3, another ALPN.
    HANDSHAKES_FAILED =
        "magpie_handshakes_failed_total", Kind::Counter, "handshakes", ["reason"];
    /// What was refused because a limit was reached; the label is the setting.
    LIMITED = "magpie_limited_total", Kind::Counter, "refusals", ["limit"];
    /// Frames that broke the protocol; their connections were ended.
    VIOLATIONS = "magpie_violations_total", Kind::Counter, "frames", ["kind"];
    /// Requests taken from signed-in devices.
    REQUESTS = "magpie_requests_total", Kind::Counter, "requests", ["kind"];
    /// Requests refused, with the error code of the protocol.
    REQUESTS_REFUSED = "magpie_requests_refused_total", Kind::Counter, "requests", ["code"];
    /// Devices that came back with their token, and what became of it.
    HELLOS = "magpie_hellos_total", Kind::Counter, "hellos", ["result"];
    /// Registrations and sign-ins with a password, and what became of them.
    SIGN_INS = "magpie_sign_ins_total", Kind::Counter, "sign-ins", ["result"];
    /// Events committed to the log by this server.
    EVENTS_COMMITTED = "magpie_events_committed_total", Kind::Counter, "events", [];
    /// Batches that could not be committed: their clients were sent away to come
    /// back and send again.
    COMMITS_FAILED = "magpie_commits_failed_total", Kind::Counter, "batches", [];
    /// Requests in one batch.
    COMMIT_BATCH_SIZE =
        "magpie_commit_batch_size", Kind::Histogram(COUNTS), "requests", [];
    /// How long a batch took to commit: what a sender waits at least.
    COMMIT_SECONDS = "magpie_commit_seconds", Kind::Histogram(SECONDS), "seconds", [];
    /// Pages of events sent to devices, from the mailbox (they were connected), the
    /// store (they came back) or as a snapshot (they are new).
    PAGES_SENT = "magpie_pages_sent_total", Kind::Counter, "pages", ["from"];
    /// Events sent in pages; one for each device that gets it.
    EVENTS_SENT = "magpie_events_sent_total", Kind::Counter, "events", [];
    /// Pushes given to FCM, and its answer.
    PUSHES = "magpie_pushes_total", Kind::Counter, "pushes", ["outcome"];
    /// Answers of FCM and of the token endpoint that were no success: FCM's code,
    /// `token` if there was no access token, `none` if there was no answer, or `other`.
    PUSH_ERRORS = "magpie_push_errors_total", Kind::Counter, "answers", ["code"];
    /// How long FCM took to answer a push.
    PUSH_ANSWER_SECONDS = "magpie_push_answer_seconds", Kind::Histogram(SECONDS), "seconds", [];
    /// Devices that were found to be owed a wake, each counted once until it has
    /// answered.
    WAKES_OWED = "magpie_wakes_owed_total", Kind::Counter, "wakes", [];
    /// Wakes that FCM took: the first for a device, one that was due again, or an
    /// alert, which Android itself shows. Silent ones say that something was read on
    /// another device.
    WAKES_SENT = "magpie_wakes_sent_total", Kind::Counter, "wakes", ["try"];
    /// Wakes that were not sent though their device had not confirmed a message: it
    /// did so within its time (confirmed), is about to answer an earlier one (woken), or
    /// its user wants none for such messages (muted).
    WAKES_SUPPRESSED = "magpie_wakes_suppressed_total", Kind::Counter, "wakes", ["reason"];
    /// Wakes whose device came to the server that had sent them and stored the message.
    WAKES_ANSWERED = "magpie_wakes_answered_total", Kind::Counter, "wakes", [];
    /// Wakes that were due again, because their device had not stored the message.
    WAKES_UNANSWERED = "magpie_wakes_unanswered_total", Kind::Counter, "wakes", [];
    /// From a message's commit to the first wake for it on its way to FCM, by how the
    /// device is there: away, background, foreground.
    WAKE_SEND_SECONDS =
        "magpie_wake_send_seconds", Kind::Histogram(DELAYS), "seconds", ["attachment"];
    /// From a wake that FCM took to the device's having stored the message.
    WAKE_SYNC_SECONDS = "magpie_wake_sync_seconds", Kind::Histogram(DELAYS), "seconds", [];
}

/// Starts to count, with a line of help for each metric. What has no labels is
/// there from the start.
///
/// # Errors
///
/// The process counts already.
pub fn start() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL {
        if let Kind::Histogram(buckets) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, buckets)?;
        }
    }
    let handle = builder.install_recorder()?;
    for metric in ALL {
        let help = format!("{} ({})", metric.meaning.trim(), metric.unit);
        let is_plain = metric.labels.is_empty();
        match metric.kind {
            Kind::Counter => {
                ::metrics::describe_counter!(metric.name, help);
                if is_plain {
                    ::metrics::counter!(metric.name).increment(0);
                }
            }
            Kind::Gauge => {
                ::metrics::describe_gauge!(metric.name, help);
                if is_plain {
                    ::metrics::gauge!(metric.name).set(0);
                }
            }
            Kind::Histogram(_) => {
                ::metrics::describe_histogram!(metric.name, help);
                if is_plain {
                    let _registered = ::metrics::histogram!(metric.name);
                }
            }
        }
    }
    ::metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    metrics_process::Collector::default().describe();
    Ok(handle)
}

/// Looks at what is measured only when somebody asks: the process itself.
pub fn look() {
    metrics_process::Collector::default().collect();
}

/// All metrics as a table, in Markdown.
#[must_use]
pub fn page() -> String {
    let row = |it: &Metric| {
        let kind = it.kind.name();
        let labels: Vec<String> = it.labels.iter().map(|it| format!("`{it}`")).collect();
        let (labels, meaning) = (labels.join(", "), it.meaning.trim());
        format!(
            "| `{}` | {kind} | {} | {labels} | {meaning} |\n",
            it.name, it.unit
        )
    };
    let head = "| metric | kind | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n";
    head.to_owned() + &ALL.iter().map(row).collect::<String>()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    const BEGIN: &str = "<!-- metrics: written by the code -->\n";
    const END: &str = "<!-- end of metrics -->\n";

    #[test]
    fn the_page_of_the_metrics_is_what_the_code_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (table, after) = rest.split_once(END).unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let text = format!("{before}{BEGIN}{}{END}{after}", page());
            fs::write(&path, text).unwrap();
            return;
        }
        let hint = "UPDATE_DOCS=1 cargo test --workspace --lib the_page_of_the_metrics";
        assert!(table == page(), "{hint}");
    }

    #[test]
    fn names_and_kinds_agree() {
        for metric in ALL {
            let is_total = metric.name.ends_with("_total");
            assert_eq!(is_total, metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.name.starts_with("magpie_"), "{}", metric.name);
            let times = ALL.iter().filter(|it| it.name == metric.name).count();
            assert_eq!(times, 1, "{}", metric.name);
        }
    }
}
