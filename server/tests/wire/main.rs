//! A whole server on loopback, spoken to in raw frames: what it does with good
//! ones, and with those of strangers and broken clients.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test stops at what it did not expect"
)]

mod accounts;
mod acts;
mod blocks;
mod canary;
mod counted;
mod crowd;
mod epochs;
mod friends;
mod hostile;
mod limits;
#[cfg(test)] // lets the lints know that these are tests, which may point past an end
mod media;
mod messages;
mod operators;
mod peer;
mod people;
mod presence;
mod process;
mod receipts;
mod reconnects;
mod seen;
mod sessions;
mod trust;
