//! What can go wrong on this side, each in one sentence.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use magpie_protocol::session::{Lost, Violation};
use rusqlite::ErrorCode as SqliteCode;

use crate::model::Refusal;

/// A home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The directory can neither be used nor made.
    #[error("{path} cannot be used as a home: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The directory, or a file in it, cannot be written.
    #[error("{path} cannot be written; a home must be a directory of your own")]
    ReadOnly {
        /// What cannot be written.
        path: PathBuf,
    },
    /// A later version of Magpie has written the local database.
    #[error(
        "{path} has version {found}, this program knows versions up to {known}; use a newer program"
    )]
    Newer {
        /// The local database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file is no local database, or it is damaged.
    #[error("{path} is damaged or no local database of Magpie; move it away to begin anew")]
    Damaged {
        /// The local database.
        path: PathBuf,
    },
    /// Anything else that the local database says.
    #[error("{path}: {source}")]
    Database {
        /// The local database.
        path: PathBuf,
        /// What it says.
        source: LocalError,
    },
}

impl HomeError {
    pub(crate) fn of_file(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let kind = source.kind();
        if matches!(
            kind,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        ) {
            Self::ReadOnly { path }
        } else {
            Self::Directory { path, source }
        }
    }
}

/// The local database cannot do it. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// No space is left.
    #[error("the disk with the local database is full")]
    DiskFull,
    /// The file is damaged.
    #[error("the local database is damaged")]
    Damaged,
    /// The file cannot be written.
    #[error("the local database cannot be written")]
    ReadOnly,
    /// Another process kept it locked for too long.
    #[error("the local database is in use by another process")]
    Busy,
    /// No account is in this home.
    #[error("nobody is signed in in this home")]
    NoAccount,
    /// The request needs a conversation that is not known here.
    #[error("no conversation with {recipient} is known here")]
    UnknownConversation {
        /// Who or what was given.
        recipient: String,
    },
    /// Anything else that SQLite says.
    #[error("the local database: {0}")]
    Sqlite(rusqlite::Error),
    /// A broken operating system.
    #[error("the operating system gives no randomness")]
    NoRandomness,
    /// The task that used it was ended.
    #[error("the local database was closed")]
    Closed,
}

impl From<HomeError> for LocalError {
    fn from(error: HomeError) -> Self {
        match error {
            HomeError::Database { source, .. } => source,
            HomeError::Damaged { .. } => Self::Damaged,
            HomeError::Directory { .. } | HomeError::ReadOnly { .. } | HomeError::Newer { .. } => {
                Self::ReadOnly
            }
        }
    }
}

impl From<rusqlite::Error> for LocalError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(SqliteCode::DiskFull) => Self::DiskFull,
            Some(SqliteCode::DatabaseCorrupt | SqliteCode::NotADatabase) => Self::Damaged,
            Some(SqliteCode::ReadOnly) => Self::ReadOnly,
            Some(SqliteCode::DatabaseBusy | SqliteCode::DatabaseLocked) => Self::Busy,
            _ => Self::Sqlite(error),
        }
    }
}

/// No connection to the server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// The address is not `host:port`.
    #[error("{address:?} is no address; write HOST:PORT, such as chat.example.org:7443")]
    Address {
        /// What was given.
        address: String,
    },
    /// What should be trusted cannot be read.
    #[error("{what} cannot be trusted: {reason}")]
    Trust {
        /// The file, or the system's roots.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The name is unknown, or nothing answers there.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// The server.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// No connection in time.
    #[error("{address} did not answer within {} s", limit.as_secs())]
    TimedOut {
        /// The server.
        address: String,
        /// How long it had.
        limit: Duration,
    },
    /// The certificate is not one that is trusted for this address.
    #[error("the certificate of {address} is not trusted: {reason}")]
    Certificate {
        /// The server.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What answers there does not speak Magpie over TLS 1.3.
    #[error("{address} does not speak this protocol over TLS 1.3: {reason}")]
    Handshake {
        /// The server.
        address: String,
        /// What went wrong.
        reason: String,
    },
}

impl ConnectError {
    /// Whether trying again, with nothing changed, is of no use.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Address { .. } | Self::Trust { .. } | Self::Certificate { .. } => true,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Handshake { .. } => false,
        }
    }
}

/// A registration or sign-in did not succeed. It may be repeated: the same
/// home asks for the same device again.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The home holds an account already.
    #[error("this home belongs to {name} already")]
    Held {
        /// Whose it is.
        name: String,
    },
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused it.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection ended before the answer.
    #[error("the connection was lost before the answer: {reason}")]
    Lost {
        /// How.
        reason: String,
    },
    /// The answer could not be stored.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The certificate to trust could not be stored.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// A request of the moment was not answered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// The server refused it.
    #[error("{0}")]
    Refused(Refusal),
    /// The connection was lost, or there is none; ask again once
    /// [`Event::Connected`](crate::Event::Connected) is there.
    #[error("not connected")]
    NotConnected,
    /// The answer is not what was asked for.
    #[error("the server's answer makes no sense")]
    WrongAnswer,
    /// The answer could not be stored; the sentence of the local database.
    #[error("{0}")]
    Local(String),
}

/// Why a connection ended or did not come about.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DisconnectReason {
    /// It did not come about.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The stream ended.
    #[error("the server closed the connection")]
    Closed,
    /// The stream broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The server is silent.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The server, or something in between, broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Violation(#[from] Violation),
    /// An answer makes no sense.
    #[error("the server sent {0}")]
    Malformed(&'static str),
    /// The server ended it and said why.
    #[error("the server ended the session: {0}")]
    Goodbye(Refusal),
    /// The server cannot do a queued request now; it and all behind it wait.
    #[error("the server cannot do it now: {0}")]
    Held(Refusal),
    /// The local database could not store what came.
    #[error("{0}")]
    Local(String),
}
