//! What a run counts.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{args, clock, process};

/// The longest latency told apart from longer ones.
const LATENCY_MAX_MICROS: u64 = 600_000_000;

/// Latencies of one kind, gathered from many tasks.
pub(crate) struct Latencies(Mutex<Histogram<u64>>);

impl Latencies {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_max(LATENCY_MAX_MICROS, 3)
            .map_err(|error| anyhow::anyhow!("no histogram: {error}"))?;
        Ok(Self(Mutex::new(histogram)))
    }

    /// Adds a batch, in nanoseconds, and empties it: one lock for all.
    pub(crate) fn record(&self, nanos: &mut Vec<u64>) {
        if nanos.is_empty() {
            return;
        }
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for nanos in nanos.drain(..) {
            histogram.saturating_record(nanos / 1_000);
        }
    }

    /// Adds the time since `began`.
    pub(crate) fn record_since(&self, began: std::time::Instant) {
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.record(&mut vec![nanos]);
    }

    pub(crate) fn summary(&self) -> Percentiles {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |micros: u64| micros as f64 / 1_000.0;
        Percentiles {
            p50: ms(histogram.value_at_quantile(0.5)),
            p90: ms(histogram.value_at_quantile(0.9)),
            p99: ms(histogram.value_at_quantile(0.99)),
            max: ms(histogram.max()),
        }
    }
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// What all tasks of a load count together.
pub(crate) struct Tally {
    /// Latencies count only while this is set.
    pub(crate) measures: AtomicBool,
    /// Messages that left.
    pub(crate) sent: AtomicU64,
    /// Messages that the server said it has committed.
    pub(crate) accepted: AtomicU64,
    /// Messages that their receiver has.
    pub(crate) delivered: AtomicU64,
    /// Messages that arrived with a number that is not the next of their pair.
    pub(crate) disordered: AtomicU64,
    pub(crate) accept: Latencies,
    pub(crate) deliver: Latencies,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            measures: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            disordered: AtomicU64::new(0),
            accept: Latencies::new()?,
            deliver: Latencies::new()?,
        })
    }

    pub(crate) fn measures(&self) -> bool {
        self.measures.load(Ordering::Relaxed)
    }
}

/// The counters at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    nanos: u64,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    own_cpu: u64,
    server_cpu: Option<u64>,
    database_cpu: Option<u64>,
}

impl Sample {
    /// # Errors
    ///
    /// What is said to be a process of the server is none.
    pub(crate) fn take(tally: &Tally, server: &args::Server) -> anyhow::Result<Self> {
        let (server_cpu, database_cpu) = process::both_cpu_micros(server)?;
        Ok(Self {
            nanos: clock::nanos(),
            accepted: tally.accepted.load(Ordering::Relaxed),
            delivered: tally.delivered.load(Ordering::Relaxed),
            own_cpu: process::cpu_micros(std::process::id())?,
            server_cpu,
            database_cpu,
        })
    }

    /// What happened from `earlier` to this moment.
    pub(crate) fn since(&self, earlier: &Self) -> Span {
        let seconds = (self.nanos - earlier.nanos) as f64 / 1e9;
        let delivered = self.delivered - earlier.delivered;
        let per_message = |micros: u64| micros as f64 / delivered.max(1) as f64;
        let per_message_of = |now: Option<u64>, then: Option<u64>| {
            now.zip(then).map(|(now, then)| per_message(now - then))
        };
        Span {
            seconds,
            accepted_per_second: (self.accepted - earlier.accepted) as f64 / seconds,
            delivered_per_second: delivered as f64 / seconds,
            own_cpu_micros: per_message(self.own_cpu - earlier.own_cpu),
            server_cpu_micros: per_message_of(self.server_cpu, earlier.server_cpu),
            database_cpu_micros: per_message_of(self.database_cpu, earlier.database_cpu),
        }
    }
}

/// Rates over some time.
pub(crate) struct Span {
    pub(crate) seconds: f64,
    pub(crate) accepted_per_second: f64,
    pub(crate) delivered_per_second: f64,
    /// Processor time of this process for a delivered message.
    pub(crate) own_cpu_micros: f64,
    /// Processor time of the server for a delivered message.
    pub(crate) server_cpu_micros: Option<f64>,
    /// The same of all processes of its database.
    pub(crate) database_cpu_micros: Option<f64>,
}
