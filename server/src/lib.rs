//! The Magpie chat server.
//!
//! The modules stand in layers; each uses only those below it. ARCHITECTURE.md
//! walks one message through them.

// The parts, wired; and a look at them from another process.
pub mod node;
pub mod status;
// Strangers and operators come in here.
pub mod admin;
pub mod listener;
// One connection: bytes, frames, deadlines.
pub mod connection;
// Requests to handlers, errors to codes.
pub mod dispatch;
// What requests do.
pub mod handler;
// What a device has not confirmed.
pub mod delivery;
// The committer, the router, the tailer.
pub mod log;
// Who is connected, who may connect, and how who sleeps is woken.
pub mod hub;
pub mod push;
pub mod tokens;
// The truth.
pub mod store;
// How much of everything there may be.
pub mod limits;
// Errands of operators, taken to a running server.
pub mod operate;
// The world outside.
pub mod clock;
pub mod config;
pub mod logs;
pub mod media;
pub mod metrics;
pub mod random;
pub mod shutdown;
pub mod systemd;
pub mod tls;
