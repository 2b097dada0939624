//! `magpie` against a real `magpied`: what scripts and people rely on.

mod chatting;
mod devices;
mod exits;
mod holding;
mod queueing;
mod world;
