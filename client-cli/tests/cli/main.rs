//! `magpie` against a real `magpied`: what scripts and people rely on.

#[cfg(test)] // lets the lints know that these are tests, whose way to fail is to panic
mod account;
mod blocking;
#[cfg(test)] // as above
mod bucket;
mod changing;
mod chatting;
mod devices;
mod exits;
#[cfg(test)] // as above
mod friends;
#[cfg(test)] // as above
mod groups;
mod holding;
mod limited;
#[cfg(test)] // as above
mod manual;
#[cfg(test)] // as above
mod media;
#[cfg(test)] // as above
mod offline;
mod offline_media;
mod people;
#[cfg(test)] // as above
mod presence;
mod queueing;
mod roles;
#[cfg(test)] // as above
mod saving;
#[cfg(test)] // as above
mod settings;
#[cfg(test)] // as above
mod sharing;
#[cfg(test)] // as above
mod sleeping;
#[cfg(test)] // as above
mod terminal;
#[cfg(test)] // as above
mod tour;
#[cfg(test)] // as above
mod waking;
#[cfg(test)] // as above
mod world;
