//! The log and what goes with it, durably: the only SQL of the server.
//!
//! A narrow trait with one folder per engine and one conformance suite for all.
//! What is here is the truth; everything else in the server is a cache of it and
//! may vanish at any moment.
//!
//! The log head orders everything: a batch takes it, and under that lock seq,
//! position, the check for known message ids and the authorisation of each
//! command are exact. Positions follow commit order, so a cursor is one number.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, DeviceId, MessageId, UserId},
    seq::{Position, Seq},
    text::{DeviceName, MessageText, Title, UserName},
    wire::{FetchHistory, Target, v1},
};

pub mod embedded;
mod event;
mod identity;
pub mod postgres;
mod read;

pub use self::{
    identity::direct_conversation,
    read::{HistoryPage, Membership, ReadLimit, SnapshotPage, SnapshotPlace, Stretch, UserPage},
};
#[cfg(test)]
mod conformance;

/// Why the store did not do what was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or refuses to work (disk full, I/O error).
    /// Nothing has changed and the call may be repeated.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// For the operator's log; never for a client.
        reason: String,
    },
    /// Something in the database is not what this version wrote: a bug, or damage.
    #[error("the store holds something impossible: {what}")]
    Corrupt {
        /// For the operator's log; never for a client.
        what: String,
    },
}

/// A person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Random; never re-used.
    pub id: UserId,
    /// Never changes; never re-used.
    pub name: UserName,
}

/// A person and what proves that they are it.
#[derive(Clone, Eq, PartialEq)]
pub struct Account {
    /// Who.
    pub user: User,
    /// In PHC string format (argon2id).
    pub password_hash: String,
}

/// A device to make, or to give a new token.
#[derive(Clone, Eq, PartialEq)]
pub struct NewDevice {
    /// Made by the client.
    pub id: DeviceId,
    /// For the list of devices.
    pub name: DeviceName,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
}

/// What became of a [`NewDevice`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PutDevice {
    /// It is the user's now, or was already and has a new token.
    Done,
    /// It was revoked, or belongs to somebody else: the id is of no use.
    Refused,
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CreateUser {
    /// User and device exist now.
    Done,
    /// The name is taken; nothing has changed.
    NameTaken,
    /// The device id is of no use; nothing has changed.
    DeviceRefused,
}

/// A device that may connect.
#[derive(Clone, Eq, PartialEq)]
pub struct Device {
    /// Which one.
    pub id: DeviceId,
    /// Whose.
    pub user: User,
    /// SHA-256 of its token.
    pub token_hash: [u8; 32],
    /// The log head when it was made: what is older is history to it.
    pub made_at: Position,
}

/// One line of the list of devices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceLine {
    /// Which one.
    pub id: DeviceId,
    /// As given at sign-in.
    pub name: String,
    /// When it signed in, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it last said hello, milliseconds since 1970.
    pub last_seen_at_ms: Option<i64>,
}

/// Rises with each connection of a device.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Generation(pub u64);

/// A hello, to be written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Connect {
    /// Which device.
    pub device: DeviceId,
    /// Its cursor, which replaces the stored one, also downwards.
    pub cursor: Position,
    /// Milliseconds since 1970, for the list of devices.
    pub at_ms: i64,
}

/// How far a device has stored, to be written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Confirm {
    /// Which device.
    pub device: DeviceId,
    /// The connection that says so; an older one than the device's last changes
    /// nothing.
    pub generation: Generation,
    /// Everything up to here is in the device's database.
    pub cursor: Position,
}

/// Who asks for a change of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Actor {
    /// The user, as the connection proved it.
    pub user: UserId,
    /// The device, as the connection proved it. A revoked one is refused.
    pub device: DeviceId,
}

/// A request that changes the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Append {
    /// Who asks.
    pub actor: Actor,
    /// The request's identity: it is done at most once per (user, id).
    pub id: MessageId,
    /// What to do.
    pub command: Command,
}

/// What to do to the log. Each makes at most one event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Store a message. The first one to a user makes the direct conversation.
    SendMessage {
        /// Where it goes.
        to: Target,
        /// What it says.
        text: MessageText,
    },
    /// Make a group whose id is the request's.
    CreateGroup {
        /// What it is called.
        title: Title,
        /// Its members besides the actor.
        names: Vec<UserName>,
    },
    /// Add members to a group; those who are members already are passed over.
    AddMembers {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        names: Vec<UserName>,
    },
    /// Remove another member from a group.
    RemoveMember {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        name: UserName,
    },
    /// Leave a group.
    LeaveGroup {
        /// Which group.
        conversation: ConversationId,
    },
}

/// What became of one [`Append`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is in the log, now or since an earlier try.
    Accepted {
        /// In which conversation.
        conversation: ConversationId,
        /// At which place.
        seq: Seq,
        /// Milliseconds since 1970; never falls in the order of the log.
        committed_at_ms: i64,
    },
    /// It is not in the log.
    Refused(Refusal),
}

/// Why a command changed nothing. Final: the same command is refused again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No such conversation or user, or not for this actor: the same answer.
    #[error("no such conversation or user")]
    NotFound,
    /// The same id was used for something else.
    #[error("the message id was used for something else")]
    Conflict,
    /// A group has as many members as it may have.
    #[error("the group is full")]
    GroupFull,
    /// Everybody named is a member already.
    #[error("everybody named is a member already")]
    NothingToDo,
    /// A direct conversation has no members to add or remove, and oneself is
    /// not removed but leaves.
    #[error("not possible in this conversation")]
    NotPossible,
    /// The actor's device was revoked meanwhile.
    #[error("the device was revoked")]
    DeviceRevoked,
}

/// An event, ready to be delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogEvent {
    /// Its place in the log.
    pub position: Position,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its place in the conversation.
    pub seq: Seq,
    /// Encoded [`v1::Event`].
    pub encoded: Bytes,
    /// How it changes who may read the conversation.
    pub change: Option<MembershipChange>,
}

/// A change of who may read a conversation, by the event at whose seq it happens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MembershipChange {
    /// These users may read from this event on. The first event of a
    /// conversation says so of all its members.
    Joined(Vec<UserId>),
    /// This user may read up to this event.
    Left(UserId),
}

/// A batch that is committed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Committed {
    /// The head before the batch: what follows is this batch alone.
    pub after: Position,
    /// The head behind the batch.
    pub head: Position,
    /// One for each [`Append`], in their order.
    pub outcomes: Vec<Outcome>,
    /// What is new in the log, in order of position. Positions may skip.
    pub events: Vec<LogEvent>,
}

/// The identity of the server's history.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct History {
    /// Rises when the history may have gone back.
    pub epoch: u64,
    /// The position at which it began.
    pub base: Position,
}

/// What an engine must do. All of it is durable when it returns.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The engine's name, as in the ready line.
    fn engine(&self) -> &'static str;

    /// The identity of the history.
    async fn history_identity(&self) -> Result<History, StoreError>;

    /// 32 random bytes that all nodes of this log share: the key of cursors.
    async fn cursor_key(&self) -> Result<[u8; 32], StoreError>;

    /// The last position given out.
    async fn head(&self) -> Result<Position, StoreError>;

    /// The account with this name.
    async fn account(&self, name: &UserName) -> Result<Option<Account>, StoreError>;

    /// Makes a user and their first device.
    async fn create_user(
        &self,
        account: &Account,
        device: &NewDevice,
        at_ms: i64,
    ) -> Result<CreateUser, StoreError>;

    /// Makes a device of an existing user, or gives the same one a new token.
    async fn put_device(
        &self,
        user: UserId,
        device: &NewDevice,
        at_ms: i64,
    ) -> Result<PutDevice, StoreError>;

    /// The device with this id, unless it is revoked.
    async fn device(&self, id: DeviceId) -> Result<Option<Device>, StoreError>;

    /// The user's devices that are not revoked, oldest first.
    async fn devices(&self, user: UserId) -> Result<Vec<DeviceLine>, StoreError>;

    /// Revokes a device of this user for ever. Whether there was one to revoke.
    async fn revoke_device(&self, user: UserId, device: DeviceId) -> Result<bool, StoreError>;

    /// Writes hellos down: raises each device's generation, sets its cursor.
    /// Answers in their order; `None` for a device that is gone.
    async fn connect(&self, hellos: &[Connect]) -> Result<Vec<Option<Generation>>, StoreError>;

    /// Writes down how far devices have stored. Returns those whose generation
    /// has passed: their connection is fenced.
    async fn confirm(&self, confirms: &[Confirm]) -> Result<Vec<DeviceId>, StoreError>;

    /// Appends a batch to the log, in its order, in one transaction under the
    /// log head's lock.
    ///
    /// For each: a known (user, id) gives the same outcome again, or a conflict;
    /// then the actor is authorised; then it is done. `at_ms` is the time of day;
    /// the commit time is it or the log's last one, whichever is later.
    ///
    /// # Errors
    ///
    /// Nothing of the batch is committed. (An engine that cannot know finds out
    /// before it returns.)
    async fn append(&self, batch: Arc<[Append]>, at_ms: i64) -> Result<Committed, StoreError>;

    /// The log after `after`, for the tailer.
    async fn stretch(&self, after: Position, limit: ReadLimit) -> Result<Stretch, StoreError>;

    /// What follows `after` in the log for this user. See [`UserPage`].
    async fn user_page(
        &self,
        user: UserId,
        after: Position,
        limit: ReadLimit,
    ) -> Result<UserPage, StoreError>;

    /// A snapshot's next page for this user. A first page has `below` above all
    /// positions.
    async fn snapshot_page(
        &self,
        user: UserId,
        place: SnapshotPlace,
        limit: ReadLimit,
    ) -> Result<SnapshotPage, StoreError>;

    /// Who may read this conversation: all open memberships, and those that
    /// ended above `ended_after`.
    async fn memberships(
        &self,
        conversation: ConversationId,
        ended_after: Position,
    ) -> Result<Vec<Membership>, StoreError>;

    /// Events of a conversation that this user may read; `None` if they may read
    /// none of it.
    async fn history(
        &self,
        user: UserId,
        request: FetchHistory,
    ) -> Result<Option<HistoryPage>, StoreError>;

    /// Descriptions of the user's conversations (those they left too) with ids
    /// above `after`, by ascending id, at most `limit` and at most `size` bytes.
    /// Fewer than there are: the second value is false.
    async fn conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: ReadLimit,
    ) -> Result<(Vec<v1::Conversation>, bool), StoreError>;

    /// Moves the user's read mark forward, at most to the newest event they may
    /// read. Returns the mark as it is now; `None` if there is no such
    /// conversation for them.
    async fn mark_read(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: Seq,
    ) -> Result<Option<Seq>, StoreError>;
}

/// The store, shared.
pub type SharedStore = Arc<dyn Store>;
