//! The running connection of a home.

use std::time::Duration;

use magpie_protocol::{
    id::{ConversationId, DeviceId, MessageId},
    seq::Seq,
};

use crate::{
    error::{DisconnectReason, RequestError},
    home::{ConnectionLock, Home},
    server::Server,
    types::{Acceptance, ConversationPage, DeviceLine, Gap, HistoryPage, Refusal, User},
};

/// How a [`Client`] behaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// For the server's logs: 1 to 64 bytes, printable.
    pub client_name: String,
    /// As `client_name`.
    pub client_version: String,
    /// How often to look whether another process has queued something; `None`:
    /// never, [`Client::wake_outbox`] is called instead.
    pub watch_interval: Option<Duration>,
}

impl Default for Options {
    /// `magpie-sdk`, this version, watching ten times a second.
    fn default() -> Self {
        Self {
            client_name: "magpie-sdk".to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            watch_interval: Some(Duration::from_millis(100)),
        }
    }
}

/// Which way to read history.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// The newest events below this seq.
    Before(Seq),
    /// The oldest events above this seq.
    After(Seq),
}

/// What a [`Client`] noticed.
///
/// Events are hints and the local database is the truth: when they are not
/// fetched fast enough, they are merged or dropped, and [`Event::Missed`] says
/// so.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The server has welcomed this device.
    Connected {
        /// Whose device it is.
        user: User,
        /// The server's version, for logs.
        server_version: String,
    },
    /// All that the server had when the session began is stored. Comes once
    /// after every [`Event::Connected`], and after the gaps that were found on
    /// the way are filled.
    CaughtUp,
    /// Events were stored.
    Stored {
        /// Where.
        conversation: ConversationId,
        /// The lowest seq among them.
        from_seq: Seq,
        /// The highest seq among them.
        to_seq: Seq,
    },
    /// A queued request is committed.
    Accepted {
        /// Which one.
        id: MessageId,
        /// Where.
        acceptance: Acceptance,
    },
    /// The server has taken a read mark.
    Read {
        /// Which request.
        id: MessageId,
    },
    /// A queued request was refused for good. The rest goes on.
    Failed {
        /// Which one.
        id: MessageId,
        /// Why.
        refusal: Refusal,
    },
    /// A member's marks have risen, or a conversation was described anew.
    Marks {
        /// Where.
        conversation: ConversationId,
    },
    /// There is no connection (any more). The driver tries again by itself.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// When it tries again.
        retry_in: Duration,
    },
    /// Some events were dropped: look at the local database.
    Missed,
    /// The server began a new history (it was restored from a backup), or did
    /// not know the cursor: everything recent is sent anew.
    BeganAnew,
    /// The end: the credential is of no use any more.
    SignedOut {
        /// What the server said.
        refusal: Refusal,
    },
    /// The end: this version is too old for the server.
    UpgradeRequired {
        /// What the server said.
        refusal: Refusal,
    },
    /// The end: another connection of the same device took over.
    Replaced,
}

/// A running connection driver. Dropping it ends the connection as a crash
/// would: nothing is lost.
#[derive(Debug)]
pub struct Client {
    home: Home,
}

impl Client {
    /// Starts the driver: it connects, reconnects for ever, sends what is queued
    /// and stores what comes. Call it inside a tokio runtime.
    #[must_use]
    pub fn start(home: Home, lock: ConnectionLock, server: Server, options: Options) -> Self {
        drop((lock, server, options));
        Self { home }
    }

    /// The home that it connects.
    #[must_use]
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// The next thing noticed; `None` once the driver has ended. May be
    /// cancelled without loss.
    pub async fn next_event(&mut self) -> Option<Event> {
        None
    }

    /// Says that the outbox was written.
    pub fn wake_outbox(&self) {}

    /// Asks the server for at most `limit` (1 to 200) events. They are *not*
    /// stored.
    ///
    /// # Errors
    ///
    /// [`RequestError`], as for every request here; nothing has changed then.
    pub async fn fetch_history(
        &self,
        conversation: ConversationId,
        from: From,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        let _ = (conversation, from, limit);
        Err(RequestError::NotConnected)
    }

    /// Fetches the newest events of a gap, at most `limit` (1 to 200), and
    /// stores them. Returns how many; the gap that is left, if any, is in
    /// [`Home::history`]. 0: there is nothing there (any more).
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn fill(&self, gap: Gap, limit: u32) -> Result<usize, RequestError> {
        let _ = (gap, limit);
        Err(RequestError::NotConnected)
    }

    /// Asks the server for the user's conversations behind `after`, at most
    /// `limit` (1 to 100), in ascending order of their ids.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn fetch_conversations(
        &self,
        after: Option<ConversationId>,
        limit: u32,
    ) -> Result<ConversationPage, RequestError> {
        let _ = (after, limit);
        Err(RequestError::NotConnected)
    }

    /// Asks the server for the user's devices.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn devices(&self) -> Result<Vec<DeviceLine>, RequestError> {
        Err(RequestError::NotConnected)
    }

    /// Ends another device's credential. One that is gone already is no error.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), RequestError> {
        let _ = device;
        Err(RequestError::NotConnected)
    }

    /// Ends this device's credential, then forgets the account and all that is
    /// stored for it ([`Home::forget`]). The driver ends.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; the home is as before.
    pub async fn sign_out(&self) -> Result<(), RequestError> {
        Err(RequestError::NotConnected)
    }

    /// Says goodbye, waits until what has come is stored and what was said has
    /// left, for at most two seconds, and gives the connection's lock back.
    pub async fn shutdown(self) {}
}
