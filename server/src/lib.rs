//! The Magpie chat server.
pub mod clock;
pub mod store;
