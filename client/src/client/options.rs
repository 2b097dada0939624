//! How a connection behaves.

use std::time::Duration;

/// How a [`Client`](crate::Client) behaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// For the server's logs: 1 to 64 bytes, printable.
    pub client_name: String,
    /// As `client_name`.
    pub client_version: String,
    /// Nobody looks at the app: a push wakes the device sooner.
    pub background: bool,
    /// How often to look whether another process has queued something; `None`:
    /// never; the app calls
    /// [`Client::wake_outbox`](crate::Client::wake_outbox).
    pub watch_interval: Option<Duration>,
    /// Bytes of photos and files that are kept once they were fetched.
    pub media_cache_size: u64,
}

impl Default for Options {
    /// `magpie-sdk`, this version, watching ten times a second; a cache of 1 GiB.
    fn default() -> Self {
        Self {
            client_name: "magpie-sdk".to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            background: false,
            watch_interval: Some(Duration::from_millis(100)),
            media_cache_size: 1 << 30,
        }
    }
}
