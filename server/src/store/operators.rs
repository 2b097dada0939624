//! What becomes of accounts after they were made, and what operators do and read.

use async_trait::async_trait;
use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    text::{ReportText, UserName},
    wire::{ReportReason, v1},
};
use prost::Message as _;

use super::StoreError;

/// What a user may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// What users do.
    Active,
    /// Nothing: an operator said so. Their devices are revoked.
    Suspended,
}

/// Counts what [`Statistics`] has, in their order; the same in both engines.
pub(in crate::store) const COUNT: &str = "
    SELECT (SELECT count(*) FROM users WHERE state = 0),
           (SELECT count(*) FROM users WHERE state = 1),
           (SELECT count(*) FROM users WHERE state = 2),
           (SELECT count(*) FROM devices WHERE NOT is_revoked),
           (SELECT count(*) FROM push_addresses),
           (SELECT count(*) FROM conversations WHERE kind = 1),
           (SELECT count(*) FROM conversations WHERE kind = 2),
           (SELECT count(*) FROM reports WHERE closed_at_ms IS NULL)";

/// How a user is stored. Whoever is deleted keeps the row, without a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// In good standing, or suspended.
    Here(Standing),
    /// Gone.
    Deleted,
}

impl State {
    /// The number by which engines store it.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Here(Standing::Active) => 0,
            Self::Here(Standing::Suspended) => 1,
            Self::Deleted => 2,
        }
    }
}

impl Standing {
    /// The standing of a user who is not deleted.
    pub(super) fn from_number(number: i64) -> Result<Self, StoreError> {
        match number {
            0 => Ok(Self::Active),
            1 => Ok(Self::Suspended),
            _ => Err(StoreError::Corrupt {
                what: format!("a named user in state {number}"),
            }),
        }
    }
}

/// A change of an account.
#[derive(Clone, Eq, PartialEq)]
pub enum AccountChange {
    /// Another password.
    Password {
        /// Its hash, in PHC string format.
        hash: String,
        /// Whose credentials end with it.
        sign_out: SignOut,
    },
    /// The user may do nothing until this is undone; all devices are revoked.
    Suspend,
    /// The user may sign in again.
    Resume,
    /// The user is gone for ever; all devices are revoked.
    Delete,
}

/// Which of a user's devices are revoked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignOut {
    /// None.
    Nobody,
    /// All but this one.
    Others(DeviceId),
    /// All.
    Everybody,
}

impl AccountChange {
    /// Which devices it revokes.
    pub(super) const fn sign_out(&self) -> SignOut {
        match self {
            Self::Password { sign_out, .. } => *sign_out,
            Self::Suspend | Self::Delete => SignOut::Everybody,
            Self::Resume => SignOut::Nobody,
        }
    }
}

/// A deleted user who is still a member of a group, or somebody's friend.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Departure {
    /// Who.
    pub user: UserId,
    /// Which group, or the direct conversation with the friend.
    pub conversation: ConversationId,
}

/// Something that a user tells the operators.
#[derive(Clone, Debug, PartialEq)]
pub struct NewReport {
    /// Who tells it.
    pub reporter: UserId,
    /// Of whom.
    pub user: UserId,
    /// Of which of their messages, if of one.
    pub event: Option<v1::Event>,
    /// Why.
    pub reason: ReportReason,
    /// What the reporter says to it.
    pub text: ReportText,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
}

/// A report that operators have not closed.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Rises from each to the next.
    pub id: u64,
    /// Who told it; empty if they are deleted.
    pub reporter: String,
    /// Of whom, by id and by name, which is empty if they are deleted.
    pub user: (UserId, String),
    /// The message, as it was when it was reported.
    pub event: Option<v1::Event>,
    /// Why.
    pub reason: ReportReason,
    /// What the reporter said to it.
    pub text: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
}

/// Something that an operator did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdminAct {
    /// The user of the operating system who did it.
    pub uid: u32,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// What, such as `users suspend`.
    pub action: String,
    /// To whom or what; empty if to nothing in particular.
    pub target: String,
}

/// What there is, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Statistics {
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
    /// Direct conversations.
    pub direct_conversations: u64,
    /// Groups.
    pub groups: u64,
    /// Reports that are not closed.
    pub reports_open: u64,
}

/// The part of a store that changes accounts and serves operators.
#[async_trait]
pub trait OperatorStore {
    /// Changes an account, and revokes devices with it: in one transaction, which
    /// takes a position if there are any, or if the user is deleted. `proven` is the
    /// hash that the user's password was compared with: if it is another one by now,
    /// or the user is suspended, nothing changes. Operators prove nothing.
    ///
    /// Returns the devices that were revoked; `None` if nothing has changed.
    async fn change_account(
        &self,
        user: UserId,
        proven: Option<&str>,
        change: &AccountChange,
    ) -> Result<Option<Vec<DeviceId>>, StoreError>;

    /// Deleted users who are still members of groups, or friends, or were asked or have
    /// asked to be, in their order, at most `count` behind `after`. The log takes a [`super::Command::LeaveGroup`] of theirs from
    /// any device.
    async fn departures(
        &self,
        after: Option<Departure>,
        count: usize,
    ) -> Result<Vec<Departure>, StoreError>;

    /// Keeps a report.
    async fn add_report(&self, report: &NewReport) -> Result<(), StoreError>;

    /// The oldest reports above `after` that are not closed, at most `count`.
    async fn reports(&self, after: u64, count: usize) -> Result<Vec<Report>, StoreError>;

    /// Closes a report and forgets what it holds. Whether it was open.
    async fn close_report(&self, id: u64, at_ms: i64) -> Result<bool, StoreError>;

    /// Writes down what an operator does.
    async fn note_act(&self, act: &AdminAct) -> Result<(), StoreError>;

    /// The newest acts, newest first, at most `count`.
    async fn acts(&self, count: usize) -> Result<Vec<AdminAct>, StoreError>;

    /// Counts what there is. Reads whole tables, but not the log.
    async fn statistics(&self) -> Result<Statistics, StoreError>;

    /// The account of a user who is not deleted.
    async fn account_of(&self, user: UserId) -> Result<Option<super::Account>, StoreError>;
}

/// The name of an account that is there.
pub(super) fn stored_name(name: &str) -> Result<UserName, StoreError> {
    UserName::parse(name).map_err(|reason| StoreError::Corrupt {
        what: reason.to_string(),
    })
}

/// The user in a row of reports.
pub(super) fn stored_event(encoded: Option<&[u8]>) -> Result<Option<v1::Event>, StoreError> {
    let event = encoded.map(v1::Event::decode).transpose();
    event.map_err(|reason| StoreError::Corrupt {
        what: format!("the event of a report: {reason}"),
    })
}

/// The reason with this number.
pub(super) fn stored_reason(number: i64) -> Result<ReportReason, StoreError> {
    ReportReason::from_number(number).ok_or_else(|| StoreError::Corrupt {
        what: format!("a report for reason {number}"),
    })
}
