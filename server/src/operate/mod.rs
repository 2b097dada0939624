//! What operators do with a running server, from another process of its machine: an
//! errand goes over the Unix socket in the data directory, and comes back told.
//!
//! The socket is the only way in: nothing that a client can reach takes errands.

mod ask;
mod table;

use serde::{Deserialize, Serialize};

pub use self::ask::{OperateError, run};

/// The socket's file in the data directory.
pub const SOCKET: &str = "admin.sock";

/// Where the socket takes errands (HTTP, POST).
pub const PATH: &str = "/errand";

/// Reports, broadcasts or acts in one answer.
pub const COUNT_MAX: usize = 1_000;

/// What an operator wants.
#[derive(Clone, Deserialize, Serialize)]
#[serde(tag = "errand")]
pub enum Errand {
    /// Make a user.
    #[serde(rename = "users create")]
    CreateUser {
        /// How they are called.
        name: String,
        /// What they sign in with.
        password: String,
    },
    /// Show a user and their devices.
    #[serde(rename = "users show")]
    ShowUser {
        /// Whom.
        name: String,
    },
    /// Sign a user out everywhere and let them in no more.
    #[serde(rename = "users suspend")]
    SuspendUser {
        /// Whom.
        name: String,
    },
    /// Let a suspended user in again.
    #[serde(rename = "users resume")]
    ResumeUser {
        /// Whom.
        name: String,
    },
    /// Delete a user for ever.
    #[serde(rename = "users delete")]
    DeleteUser {
        /// Whom.
        name: String,
    },
    /// Give a user another password and sign them out everywhere.
    #[serde(rename = "users reset-password")]
    ResetPassword {
        /// Whose.
        name: String,
        /// What they sign in with from now on.
        password: String,
    },
    /// List what users reported and nobody has closed, oldest first.
    #[serde(rename = "reports list")]
    ListReports {
        /// Those with a higher id than this one.
        after: u64,
        /// How many at the most.
        limit: usize,
    },
    /// Close a report and forget what it holds.
    #[serde(rename = "reports close")]
    CloseReport {
        /// Which one.
        id: u64,
    },
    /// Say something to everybody.
    #[serde(rename = "broadcasts send")]
    Broadcast {
        /// Who says it.
        from: String,
        /// What.
        text: String,
    },
    /// List broadcasts, newest first.
    #[serde(rename = "broadcasts list")]
    ListBroadcasts {
        /// How many at the most.
        limit: usize,
    },
    /// Count what there is.
    #[serde(rename = "stats")]
    Count,
    /// List what operators did, newest first.
    #[serde(rename = "log")]
    ListActs {
        /// How many at the most.
        limit: usize,
    },
}

impl Errand {
    /// What it is called, in the log of acts.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::CreateUser { .. } => "users create",
            Self::ShowUser { .. } => "users show",
            Self::SuspendUser { .. } => "users suspend",
            Self::ResumeUser { .. } => "users resume",
            Self::DeleteUser { .. } => "users delete",
            Self::ResetPassword { .. } => "users reset-password",
            Self::ListReports { .. } => "reports list",
            Self::CloseReport { .. } => "reports close",
            Self::Broadcast { .. } => "broadcasts send",
            Self::ListBroadcasts { .. } => "broadcasts list",
            Self::Count => "stats",
            Self::ListActs { .. } => "log",
        }
    }

    /// Whom or what it is about; empty if nothing in particular.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::CreateUser { name, .. }
            | Self::ShowUser { name }
            | Self::SuspendUser { name }
            | Self::ResumeUser { name }
            | Self::DeleteUser { name }
            | Self::ResetPassword { name, .. } => name.clone(),
            Self::Broadcast { from, .. } => from.clone(),
            Self::CloseReport { id } => id.to_string(),
            Self::ListReports { .. }
            | Self::ListBroadcasts { .. }
            | Self::Count
            | Self::ListActs { .. } => String::new(),
        }
    }
}

/// What became of an errand.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Told {
    /// It is done.
    Done {
        /// In words.
        message: String,
    },
    /// It is not done.
    Refused {
        /// Why, in words.
        message: String,
    },
    /// A user.
    User(UserTold),
    /// Reports.
    Reports {
        /// By ascending id.
        reports: Vec<ReportTold>,
    },
    /// What was said to everybody.
    Broadcasts {
        /// Newest first.
        broadcasts: Vec<BroadcastTold>,
    },
    /// What there is.
    Stats(StatsTold),
    /// What operators did.
    Acts {
        /// Newest first.
        acts: Vec<ActTold>,
    },
}

/// A user.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct UserTold {
    /// As hexadecimal digits.
    pub id: String,
    /// Their name.
    pub name: String,
    /// `active` or `suspended`.
    pub standing: String,
    /// Devices that may connect, oldest first.
    pub devices: Vec<DeviceTold>,
}

/// A device.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DeviceTold {
    /// Its id.
    pub id: String,
    /// As given at sign-in.
    pub name: String,
    /// When it signed in, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it last connected.
    pub last_seen_at_ms: Option<i64>,
}

/// A report.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ReportTold {
    /// Names it.
    pub id: u64,
    /// When it came, milliseconds since 1970.
    pub at_ms: i64,
    /// Who reported; empty if they are deleted.
    pub reporter: String,
    /// Whom; empty if they are deleted.
    pub user: String,
    /// Whom, by their id.
    pub user_id: String,
    /// `spam`, `abuse`, `illegal` or `other`.
    pub reason: String,
    /// What the reporter says to it.
    pub text: String,
    /// The message that it is about, if it is about one.
    pub message: Option<MessageTold>,
}

/// A reported message.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MessageTold {
    /// Where it is.
    pub conversation_id: String,
    /// At which place.
    pub seq: u64,
    /// When it was sent, milliseconds since 1970.
    pub committed_at_ms: i64,
    /// What it said when it was reported; empty if it is no text.
    pub text: String,
}

/// What was said to everybody, and how far it has come.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct BroadcastTold {
    /// Names it.
    pub id: u64,
    /// Who says it; empty if they are deleted.
    pub from: String,
    /// What is said.
    pub text: String,
    /// When it began, milliseconds since 1970.
    pub begun_at_ms: i64,
    /// When it ended; absent as long as it goes on.
    pub ended_at_ms: Option<i64>,
    /// To how many users it was said.
    pub sent: u64,
}

/// What there is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StatsTold {
    /// Users in good standing.
    pub users_active: u64,
    /// Users who are suspended.
    pub users_suspended: u64,
    /// Users who are deleted.
    pub users_deleted: u64,
    /// Devices that may connect.
    pub devices: u64,
    /// Devices that get pushes.
    pub devices_with_pushes: u64,
    /// Devices that are connected to this node.
    pub devices_connected: u64,
    /// Direct conversations.
    pub direct_conversations: u64,
    /// Groups.
    pub groups: u64,
    /// Reports that are not closed.
    pub reports_open: u64,
}

/// Something that an operator did.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ActTold {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// The user of the operating system.
    pub uid: u32,
    /// What, such as `users suspend`.
    pub action: String,
    /// To whom or what.
    pub target: String,
}
