//! One shard of the log, as far as it has reached the connections of this process.

use std::sync::atomic::{AtomicU64, Ordering};

use magpie_protocol::seq::Position;
use tokio::sync::{Mutex, Notify};

use super::{audience::Audiences, fan_out::FanOuts, latest::Latest};

/// One shard, as far as it is routed.
pub(super) struct Routed {
    /// Held while a stretch is routed: one after the other.
    pub(super) routing: Mutex<Routing>,
    published: AtomicU64,
    pub(super) latest: Latest,
    /// Rung when an event begins its way to many.
    pub(super) many: Notify,
}

/// What routing goes by.
#[derive(Default)]
pub(super) struct Routing {
    pub(super) audiences: Audiences,
    /// What has not reached everybody yet.
    pub(super) fan_outs: FanOuts,
    /// Everything up to here has reached everybody, or is on its way.
    pub(super) upto: Position,
}

impl Routed {
    /// Everything up to here is routed.
    pub(super) fn at(head: Position) -> Self {
        Self {
            routing: Mutex::new(Routing::at(head)),
            published: AtomicU64::new(head.get()),
            latest: Latest::new(head),
            many: Notify::new(),
        }
    }

    /// Everything up to here has reached everybody.
    pub(super) fn published(&self) -> Position {
        Position::new(self.published.load(Ordering::Acquire))
    }

    pub(super) fn publish(&self, routing: &Routing) {
        let published = routing.fan_outs.before().unwrap_or(routing.upto);
        self.published.store(published.get(), Ordering::Release);
    }
}

impl Routing {
    /// Nothing is on its way.
    pub(super) fn at(upto: Position) -> Self {
        Self {
            upto,
            ..Self::default()
        }
    }
}
