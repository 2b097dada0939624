//! The log in this process: the committer appends to it, the router brings what
//! was appended to live connections, the tailer finds what a doorbell lost.

mod audience;
mod committer;
mod router;

pub use self::{
    committer::{Committer, Submission},
    router::Router,
};
