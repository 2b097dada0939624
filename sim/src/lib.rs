//! Worlds in which Magpie must keep its promises.
//!
//! [`world`] drives the protocol's pure halves, with the rules of the store and
//! of the SDK around them, through every fault that a network, a process or a
//! database can bring. No sockets, no threads, no clock: the same steps give the
//! same run.
//!
//! [`search`] takes every step in every order, within small bounds; [`swarm`]
//! lets a seed and a clock choose, for days.
//!
//! [`proxy`] stands between real processes and breaks their connections;
//! [`postgres`] is a database for one test process, to be killed as well.

pub mod postgres;
pub mod proxy;
pub mod search;
pub mod swarm;
pub mod world;
