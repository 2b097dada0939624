//! Worlds in which Magpie must keep its promises.
//!
//! [`world`] drives the protocol's pure halves, with a model of the log and of a
//! device's database around them, through every fault that a network, a process
//! or a database can bring. No sockets, no threads, no clock: a seed is a run.
//!
//! [`proxy`] stands between real processes and breaks their connections;
//! [`postgres`] is a database for one test process, to be killed as well.

pub mod postgres;
pub mod proxy;
pub mod world;
