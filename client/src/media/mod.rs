//! Photos and files: made ready, uploaded from the outbox, and fetched into a cache.
//!
//! A file is attached first ([`Home::attach`](crate::Home::attach)): pictures are decoded, made smaller and written
//! anew, and lie in the home from then on. The request that refers to it waits in the outbox
//! until the [courier] has uploaded all of it, through cuts, restarts and `kill -9`; then it
//! gets its place in the order, and the ids that the server gave.

mod cache;
mod colours;
mod courier;
mod direct;
mod download;
mod http;
mod picture;
mod stage;
mod tus;

use std::{io, path::PathBuf};

pub(crate) use self::{
    cache::Cache,
    courier::Courier,
    http::Http,
    stage::{Object, Stage},
};
pub use self::{
    download::{MediaError, WantedMedia},
    picture::InvalidPicture,
    stage::Attached,
};

/// A file to be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attachment {
    /// Where it is.
    pub path: PathBuf,
    /// As what it is sent.
    pub kind: AttachmentKind,
}

/// As what a file is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AttachmentKind {
    /// A photo, written anew: at most 2,048 pixels wide and high, without its name and
    /// without what the camera wrote beside the picture, such as the place. Of one that
    /// moves, the first picture.
    Photo,
    /// A photo as it is, to the last byte, with all that the camera wrote.
    Original,
    /// A file as it is, whatever it is.
    File,
}

/// Why a file cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct InvalidAttachment {
    /// Which one.
    pub path: PathBuf,
    /// Why.
    pub reason: Unfit,
}

/// What is wrong with a file that is to be sent.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is no photo, or none that can be decoded here.
    #[error(transparent)]
    Picture(#[from] InvalidPicture),
    /// There is nothing in it.
    #[error("there is nothing in it")]
    Empty,
    /// It cannot be read, or not be stored in the home.
    #[error("{0}")]
    File(#[from] io::Error),
}

#[cfg(fuzzing)]
pub(crate) use self::picture::decode;
