//! The checker: what two sides hold, or what people were told and shown, goes
//! in; a verdict comes out. No I/O, no clock, no randomness.
//!
//! - [`compare`](compare::compare) holds one device's copy of a conversation
//!   against the server's log. `magpie audit` is a loop around it.
//! - [`check`](check::check) holds what senders were told against what readers
//!   were shown. Fault tests end with it.
//!
//! Ids are unique and every event carries its seq, so the order is visible and
//! need not be searched for: both are sorting and hashing, O(n log n).

pub mod check;
pub mod compare;
mod digest;

pub use self::digest::Digest;
