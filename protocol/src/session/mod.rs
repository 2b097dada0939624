//! What the two sides of a connection say to each other, from hello to goodbye.
//!
//! ```text
//!            server                                   client
//!        AwaitingHello                             AwaitingWelcome
//!   Register/SignIn │ ▲ SignedIn/refused          SignedIn │ ▲ Register/SignIn
//!                   ▼ │                                    ▼ │
//!       Authenticating ── welcome ──▶ Open ◀── Welcome ── AwaitingWelcome
//!                                      │
//!               goodbye, violation, silence: either side
//!                                      ▼
//!                                    Closed
//! ```
//!
//! Both are pure: bytes and the time go in; checked input, bytes and deadlines
//! come out. Whoever drives them owns the socket.

mod client;
mod hint;
mod input;
mod server;
mod tag;

pub use self::{
    client::{Answer, ClientSession, Incoming, Lost},
    hint::Hint,
    input::{Input, Reply},
    server::{ServerSession, TimedOut},
};
use crate::{frame::FrameError, link::LinkViolation, seq::FrameNumber, wire::InvalidRequest};

/// The peer broke the protocol. The connection ends with a goodbye that says so.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Violation {
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Numbers, acknowledgements or the window.
    #[error(transparent)]
    Link(#[from] LinkViolation),
    /// A frame that has no place in this state.
    #[error("{what} has no place {state}")]
    OutOfPlace {
        /// Which frame.
        what: &'static str,
        /// What the session was at.
        state: &'static str,
    },
    /// A control frame with a number, or a request without one.
    #[error("{what} has number {number}")]
    WronglyNumbered {
        /// Which frame.
        what: &'static str,
        /// Its number.
        number: FrameNumber,
    },
    /// A hello that cannot be understood.
    #[error("hello: {0}")]
    Hello(InvalidRequest),
    /// Too many tries at a password on one connection.
    #[error("too many tries to sign in")]
    TooManyTries,
    /// Pings that never rest.
    #[error("pings come more often than agreed")]
    PingFlood,
}
