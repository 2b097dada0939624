//! Faults on real processes: `magpied`, `magpie` and `PostgreSQL` are killed,
//! their connections cut, stalled and left half-open, while people write. At the
//! end the clients' own outputs and databases must keep D1 to D7.
//!
//! The short form is part of the test command. For the long one see
//! docs/reliability.md: `MAGPIE_FAULT_SECONDS`, `MAGPIE_FAULT_SEED`,
//! `MAGPIE_FAULT_KILLS` and `MAGPIE_FAULT_MESSAGES`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod absence;
mod commits;
mod control;
mod database;
mod failover;
mod listener;
mod outages;
mod pair;
mod photos;
mod plan;
mod process;
mod restore;
mod scarcity;
mod scenarios;
mod schedule;
mod stage;
mod torture;
mod town;
mod unread;
mod verdict;
mod writer;
