//! What operators ask a running server for.

use clap::{Args, Subcommand};

/// An operator's task.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum AdminTask {
    /// Make users, and end what they may do
    #[command(subcommand)]
    Users(UsersTask),

    /// Read what users reported
    #[command(subcommand)]
    Reports(ReportsTask),

    /// Say something to everybody
    #[command(subcommand)]
    Broadcasts(BroadcastsTask),

    /// Count users, devices, conversations and reports
    Stats,

    /// List what operators did, newest first
    Log {
        /// At most this many, up to 1000
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
}

/// What becomes of users.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum UsersTask {
    /// Make a user, whoever may register
    Create(NamedPassword),

    /// Show a user and their devices
    Show {
        /// Their name
        name: String,
    },

    /// Sign a user out everywhere, and let them in no more
    Suspend {
        /// Their name
        name: String,
    },

    /// Let a suspended user sign in again
    Resume {
        /// Their name
        name: String,
    },

    /// Delete a user for ever: what they wrote keeps its place, and nobody gets the name
    Delete {
        /// Their name
        name: String,
    },

    /// Give a user another password, and sign them out everywhere
    ResetPassword(NamedPassword),
}

/// Whose password it is to be.
#[derive(Args, Clone, Debug, Eq, PartialEq)]
pub struct NamedPassword {
    /// Their name: 3 to 32 of a-z, 0-9, '_' and '.'
    pub name: String,

    /// Read the password from the first line of standard input; else it is asked for
    #[arg(long)]
    pub password_stdin: bool,
}

/// What is said to everybody.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum BroadcastsTask {
    /// Send a direct message to every user; it goes on by itself, also after a restart
    Send {
        /// The user who says it; make one with `users create`
        #[arg(long, value_name = "NAME")]
        from: String,

        /// What is said; without it, standard input up to its end
        text: Option<String>,
    },

    /// List what was said, newest first, and how far it has come
    List {
        /// At most this many, up to 1000
        #[arg(long, value_name = "N", default_value_t = 10)]
        limit: usize,
    },
}

/// What becomes of reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Subcommand)]
pub enum ReportsTask {
    /// List those that are open, oldest first
    List {
        /// Only those with a higher id
        #[arg(long, value_name = "ID", default_value_t = 0)]
        after: u64,

        /// At most this many, up to 1000
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },

    /// Close one, and forget what it holds
    Close {
        /// As `reports list` shows it
        id: u64,
    },
}
