//! `magpied status`: the essentials of a running server, from its admin listener.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde::Serialize;

use crate::{clock::Clock, metrics};

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why nothing is known of a server.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nothing answers there.
    #[error(
        "no server answers on the admin address {address}: {reason}; is it running, and is its \
         admin_listen that address?"
    )]
    Unreachable {
        /// Which address.
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// Something else answers there.
    #[error("what answers on {address} is not magpied: its metrics have no {missing}")]
    Other {
        /// Which address.
        address: SocketAddr,
        /// What every magpied has.
        missing: &'static str,
    },
}

/// The essentials of a running server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Whether clients are served.
    pub ready: bool,
    /// The same in words, or why not.
    pub readiness: String,
    /// Which version runs.
    pub version: String,
    /// How long it has been running, in seconds.
    pub uptime_seconds: u64,
    /// Memory that it holds, in bytes.
    pub resident_bytes: u64,
    /// Files and sockets that it has open.
    pub open_files: u64,
    /// Connections that are open.
    pub connections: u64,
    /// How many there may be.
    pub connections_max: u64,
    /// Devices that are signed in and connected.
    pub devices: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Events committed since the start.
    pub events_committed: u64,
    /// The mean time that a batch took to commit, in milliseconds.
    pub commit_mean_ms: f64,
    /// Batches that could not be committed.
    pub commits_failed: u64,
    /// Events sent to devices.
    pub events_sent: u64,
    /// What limits refused, by the limit's setting.
    pub limited: BTreeMap<String, u64>,
    /// Requests refused, by code.
    pub refused: BTreeMap<String, u64>,
    /// Pushes, by outcome.
    pub pushes: BTreeMap<String, u64>,
}

impl Status {
    /// Asks the server whose admin listener is at `address`.
    ///
    /// # Errors
    ///
    /// [`StatusError`].
    pub async fn ask(address: SocketAddr) -> Result<Self, StatusError> {
        let unreachable = |error: reqwest::Error| StatusError::Unreachable {
            address,
            reason: root_cause(&error),
        };
        // A proxy for the world outside has no business with this machine.
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(unreachable)?;
        let get = async |path: &str| {
            let answer = client
                .get(format!("http://{address}/{path}"))
                .send()
                .await?;
            let is_ok = answer.status().is_success();
            Ok((is_ok, answer.text().await?))
        };
        let (ready, readiness) = get("readyz").await.map_err(unreachable)?;
        let (_, text) = get("metrics").await.map_err(unreachable)?;
        let samples = Samples::parse(&text);
        let version = samples
            .by_label(metrics::BUILD_INFO, "version")
            .into_keys()
            .next()
            .ok_or(StatusError::Other {
                address,
                missing: metrics::BUILD_INFO,
            })?;
        let readiness = readiness.trim().to_owned();
        Ok(samples.status(ready, readiness, version, Clock::start().wall_ms()))
    }

    /// The same for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut rows: Vec<(&str, String)> = vec![
            ("state", self.readiness.clone()),
            ("version", self.version.clone()),
            ("up", span(self.uptime_seconds)),
            (
                "memory",
                format!("{:.1} MiB", self.resident_bytes as f64 / 1_048_576.0),
            ),
            ("files", self.open_files.to_string()),
            (
                "connections",
                format!(
                    "{} of {} open, {} devices signed in, {} accepted since the start",
                    self.connections, self.connections_max, self.devices, self.accepted
                ),
            ),
            (
                "log",
                format!(
                    "{} events committed, {:.1} ms a batch, {} batches failed",
                    self.events_committed, self.commit_mean_ms, self.commits_failed
                ),
            ),
            ("delivery", format!("{} events sent", self.events_sent)),
        ];
        for (title, counts) in [
            ("limits", &self.limited),
            ("refused", &self.refused),
            ("pushes", &self.pushes),
        ] {
            if !counts.is_empty() {
                let each: Vec<String> = counts
                    .iter()
                    .map(|(name, count)| format!("{count} {name}"))
                    .collect();
                rows.push((title, each.join(", ")));
            }
        }
        rows.iter()
            .map(|(title, text)| format!("{title:<12} {text}\n"))
            .collect()
    }
}

/// The innermost reason: the others only say that a request failed.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Seconds, in the two largest units.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// One line of the text format: a name, labels, a value.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

/// What a server has counted, in Prometheus' text format.
struct Samples<'a>(Vec<Sample<'a>>);

impl<'a> Samples<'a> {
    fn parse(text: &'a str) -> Self {
        let sample = |line: &'a str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}')?),
                None => (series, ""),
            };
            Some(Sample {
                name,
                labels,
                value: value.parse().ok()?,
            })
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(sample).collect())
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Sample<'a>> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of all series of a name.
    fn sum(&self, name: &str) -> f64 {
        self.of(name).map(|sample| sample.value).sum()
    }

    fn count(&self, name: &str) -> u64 {
        whole(self.sum(name))
    }

    /// The series of a name by the value of a label.
    fn by_label(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        let value = |sample: &Sample<'_>| {
            let (_, rest) = sample.labels.split_once(&format!("{label}=\""))?;
            let (value, _) = rest.split_once('"')?;
            Some((value.to_owned(), whole(sample.value)))
        };
        self.of(name).filter_map(value).collect()
    }

    fn status(&self, ready: bool, readiness: String, version: String, now_ms: i64) -> Status {
        let now = u64::try_from(now_ms / 1_000).unwrap_or_default();
        let started = self.count("process_start_time_seconds");
        let commits = format!("{}_count", metrics::COMMIT_SECONDS);
        let commit_sum = format!("{}_sum", metrics::COMMIT_SECONDS);
        let mean = self.sum(&commit_sum) / self.sum(&commits).max(1.0);
        Status {
            ready,
            readiness,
            version,
            uptime_seconds: now.saturating_sub(started),
            resident_bytes: self.count("process_resident_memory_bytes"),
            open_files: self.count("process_open_fds"),
            connections: self.count(metrics::CONNECTIONS_OPEN),
            connections_max: self.count(metrics::CONNECTIONS_MAX),
            devices: self.count(metrics::DEVICES_CONNECTED),
            accepted: self.count(metrics::CONNECTIONS_ACCEPTED),
            events_committed: self.count(metrics::EVENTS_COMMITTED),
            commit_mean_ms: mean * 1_000.0,
            commits_failed: self.count(metrics::COMMITS_FAILED),
            events_sent: self.count(metrics::EVENTS_SENT),
            limited: self.by_label(metrics::LIMITED, "limit"),
            refused: self.by_label(metrics::REQUESTS_REFUSED, "code"),
            pushes: self.by_label(metrics::PUSHES, "outcome"),
        }
    }
}

/// A count: these are whole and never negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP magpie_connections_open Connections
# TYPE magpie_connections_open gauge
magpie_connections_open 3
magpie_limited_total{limit=\"send_rate_per_device\"} 4
magpie_limited_total{limit=\"connections_max\"} 1
magpie_commit_seconds_sum 0.5
magpie_commit_seconds_count 100
process_start_time_seconds 1000
process_resident_memory_bytes 1.5e6
";

    #[test]
    fn what_a_server_counted_is_read() {
        let now = 1_000 * (1_000 + 2 * 86_400 + 7_200);
        let status = Samples::parse(TEXT).status(true, "ready".into(), "1.2.3".into(), now);
        assert_eq!(status.connections, 3);
        assert_eq!(status.resident_bytes, 1_500_000);
        assert!((status.commit_mean_ms - 5.0).abs() < 1e-9);
        let text = status.to_text();
        assert!(text.contains("up           2 d 2 h\n"), "{text}");
        assert!(
            text.contains("limits       1 connections_max, 4 send_rate_per_device\n"),
            "{text}"
        );
        assert!(!text.contains("pushes"), "{text}");
    }

    #[test]
    fn spans_are_told_in_two_units() {
        assert_eq!(span(59), "59 s");
        assert_eq!(span(61), "1 min 1 s");
        assert_eq!(span(3_660), "1 h 1 min");
        assert_eq!(span(90_000), "1 d 1 h");
    }
}
