//! The checker: what two sides hold, or what people were told and shown, goes
//! in; a verdict comes out. No I/O, no clock, no randomness.
//!
//! - [`judge`] looks at a whole [`History`]: what each device was told, stored
//!   and showed, the log, memberships, epochs, wakes. The simulator ends with it.
//! - [`check`](check::check) is the same for histories of which only the outside
//!   is known: what senders were told, what readers were shown. Fault tests end
//!   with it.
//! - [`compare`](compare::compare) holds one device's copy of a conversation
//!   against the server's log. `magpie audit` is a loop around it, and so is
//!   [`judge`] for each device.
//! - [`unread`] holds what is said to be unread against that log.
//!
//! Ids are unique and every event carries its seq, so the order is visible and
//! need not be searched for: all of it is sorting and hashing, O(n log n).

pub mod check;
pub mod compare;
mod digest;
mod fingerprint;
mod history;
pub mod unread;

pub use self::{
    check::{Invariant, Kind, Verdict, Violation, judge},
    digest::Digest,
    fingerprint::Fingerprint,
    history::{Device, End, Epoch, Event, History, Line, Membership, Place, Record, Wake},
};
