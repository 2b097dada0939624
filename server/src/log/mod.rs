//! The log in this process: the committer appends to it, the router brings what
//! was appended to live connections, the tailer finds what a doorbell lost.

mod acquaintances;
mod audience;
mod broadcasts;
mod chronicle;
mod commits;
mod committer;
mod departures;
mod fan_out;
mod high_water;
mod lane;
mod latest;
mod marks;
mod presences;
mod routed;
mod router;

pub use self::{
    acquaintances::Acquaintances,
    broadcasts::Broadcasts,
    chronicle::Chronicle,
    committer::{Committer, Submission},
    departures::Departures,
    high_water::HighWater,
    marks::Marks,
    presences::Presences,
    router::Router,
};
