//! Which server, and why its certificate is believed.

use std::path::PathBuf;

/// A server, and what makes its certificate trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    /// `host:port`; an IPv6 address in brackets.
    pub address: String,
    /// What makes its certificate trusted.
    pub trust: Trust,
}

/// What makes a server's certificate trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trust {
    /// The certificates in this PEM file, and no others.
    CaFile(PathBuf),
    /// The certificates in this PEM text, and no others.
    CaPem(Vec<u8>),
    /// What the system trusts.
    System,
}
