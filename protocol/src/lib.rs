//! Magpie's wire protocol: the schema, the codec, and the state machines of the
//! link, the session and the outbox.
//!
//! Nothing here does I/O, reads a clock, makes randomness or starts a thread:
//! frames and the time go in; frames, events and deadlines come out. The same
//! code runs in the server, the client SDK, the fuzzers and the simulator.
//!
//! `docs/protocol.md` describes the protocol for somebody who writes a client;
//! `docs/contract.md` holds the promises (D1 to D12) and the words.

pub mod backoff;
pub mod date;
pub mod frame;
pub mod friendship;
pub mod id;
pub mod invite;
pub mod limits;
pub mod link;
pub mod media;
pub mod message;
pub mod moment;
pub mod outbox;
pub mod profile;
pub mod push;
pub mod role;
pub mod seq;
pub mod session;
pub mod setting;
pub mod text;
pub mod typing;
pub mod wire;
