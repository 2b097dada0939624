//! The log and what goes with it, durably: the only SQL of the server. A narrow trait
//! with one folder per engine and one conformance suite for all. It is the truth; all
//! else in the server is a cache of it, and may vanish at any moment.
//!
//! A shard's head orders everything in it: a batch takes it, and under that lock
//! seq, position, the check for known message ids and the authorisation of each
//! command are exact. Positions follow commit order, so a cursor is one number
//! for each shard. Whatever a device or a node must learn of takes a position,
//! read marks and changes of credentials too.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    seq::{Position, Seq},
    text::UserName,
    wire::{CountReaders, FetchHistory, FetchListed, FetchMembers, v1},
};

mod account;
mod ahead;
mod broadcasts;
mod command;
pub mod embedded;
mod epoch;
mod event;
mod identity;
mod media;
mod operators;
mod people;
pub mod postgres;
mod presence;
mod read;
mod rules;
mod seen;
mod shard;
mod syncs;
mod wakes;

pub use self::{
    account::{Account, CreateUser, Device, DeviceLine, NewDevice, PutDevice, User},
    broadcasts::{Broadcast, BroadcastStore, NewBroadcast, Recipient},
    command::{
        Actor, Append, Command, Committed, InviteDeed, InviteHash, LogEvent, MembershipChange,
        Outcome, Refusal,
    },
    epoch::{History, LogState, NewEpoch},
    identity::{account_log, direct_conversation},
    media::{
        BeginUpload, MediaStore, NewBlob, NewUpload, Part, StoredMedia, Trash, Upload, UploadBounds,
    },
    operators::{
        AccountChange, AdminAct, Departure, NewReport, OperatorStore, Report, SignOut, Standing,
        Statistics,
    },
    people::PeopleStore,
    presence::{Look, NODE_TIMEOUT_MS, Presence, PresenceStore},
    read::{
        ChangedDevice, Counts, HistoryPage, Membership, ReadLimit, ReadMark, Recency, SnapshotPage,
        SnapshotPlace, Stretch, UserMark, UserPage,
    },
    shard::{Positions, SHARDS_MAX, Shard},
    syncs::{DueSync, SYNC_PAUSE_MS, SyncStore},
    wakes::{
        Addressed, Attachment, Candidate, CandidatePage, CandidatePlace, DEADLINE_MS_MAX, DueWake,
        NewWake, Preview, Schedule, WakeStore, WorthyEvent, WorthyStretch,
    },
};
#[cfg(test)]
mod conformance;
#[cfg(all(fuzzing, not(test)))]
pub mod conformance;

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
    /// The log is less far than it was: an older backup was restored, or a
    /// standby took over that had not everything. Nothing may be written, because
    /// positions would be given out twice.
    #[error(
        "the log went back: it had come to {reached}, now it is at {found}; if an older backup was \
         restored, run `magpied epoch new`"
    )]
    WentBack {
        /// How far it had come, and in which epoch.
        reached: String,
        /// What there is now.
        found: String,
    },
    /// Another epoch has begun than the one that this server serves. Nothing has
    /// changed.
    #[error("epoch {found} has begun, and this server serves epoch {served} still")]
    OtherEpoch {
        /// What devices were told.
        served: u64,
        /// What there is.
        found: u64,
    },
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
    pub cursor: Positions,
    /// Milliseconds since 1970, for the list of devices.
    pub at_ms: i64,
    /// How the device is there.
    pub attachment: Attachment,
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
    pub cursor: Positions,
}

/// A read mark to move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MarkRead {
    /// Whose.
    pub user: UserId,
    /// In which conversation.
    pub conversation: ConversationId,
    /// As far as they have read. At most the newest event they may read counts.
    pub seq: Seq,
}

/// Read marks that are written down.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Marked {
    /// The head before them.
    pub after: Position,
    /// The head behind them: those that moved stand here, and nothing else does.
    pub head: Position,
    /// For each, the mark as it is now; `None` if there is no such conversation
    /// for this user.
    pub marks: Vec<Option<ReadMark>>,
}

/// What an engine must do. All of it is durable when it returns.
#[async_trait]
pub trait Store:
    WakeStore
    + SyncStore
    + OperatorStore
    + BroadcastStore
    + PeopleStore
    + MediaStore
    + PresenceStore
    + Send
    + Sync
    + 'static
{
    /// The engine's name, as in the ready line.
    fn engine(&self) -> &'static str;

    /// Which history this is, and how far it goes.
    ///
    /// # Errors
    ///
    /// [`StoreError::WentBack`] if it had come further once.
    async fn state(&self) -> Result<LogState, StoreError>;

    /// The log has been here in this epoch, as somebody knows from elsewhere.
    fn has_been(&self, epoch: u64, reached: &Positions);

    /// Devices are told from now on that this is the epoch: into another one nothing
    /// is appended for them ([`StoreError::OtherEpoch`]).
    fn serves(&self, epoch: u64);

    /// From now on nobody joins a group that would have more members than this.
    fn bound_groups(&self, members_max: u32);

    /// 32 random bytes that all nodes of this log share: the key of cursors.
    async fn cursor_key(&self) -> Result<[u8; 32], StoreError>;

    /// How many shards the log has; never changes.
    fn shard_count(&self) -> usize;

    /// The account with this name, of a user who is not deleted.
    async fn account(&self, name: &UserName) -> Result<Option<Account>, StoreError>;

    /// Makes a user, and their first device if there is one.
    async fn create_user(
        &self,
        account: &Account,
        device: Option<&NewDevice>,
        at_ms: i64,
    ) -> Result<CreateUser, StoreError>;

    /// Makes a device of an existing user, or gives the same one a new token, if the
    /// account is still as it was when its password was compared.
    async fn put_device(
        &self,
        account: &Account,
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

    /// To which shards these requests go.
    async fn shards_of(&self, batch: &[Append]) -> Result<Vec<Shard>, StoreError>;

    /// Appends a batch to a shard of the log, in its order, in one transaction
    /// under the lock of the shard's head. All of it goes to this shard.
    ///
    /// For each: a known (user, id) gives the same outcome again, or a conflict;
    /// then the actor is authorised; then it is done. `at_ms` is the time of day;
    /// the commit time is it or the log's last one, whichever is later.
    ///
    /// # Errors
    ///
    /// Nothing of the batch is committed. (An engine that cannot know finds out
    /// before it returns.)
    async fn append(
        &self,
        shard: Shard,
        batch: Arc<[Append]>,
        at_ms: i64,
    ) -> Result<Committed, StoreError>;

    /// A shard of the log after `after`, for the tailer.
    async fn stretch(&self, after: Position, limit: ReadLimit) -> Result<Stretch, StoreError>;

    /// What follows `after` in the log for this user. See [`UserPage`].
    async fn user_page(
        &self,
        user: UserId,
        after: Positions,
        limit: ReadLimit,
    ) -> Result<UserPage, StoreError>;

    /// A snapshot's next page for this user. If their device holds events of
    /// another history, `held` is its epoch: then the descriptions say how much of
    /// them is in this one.
    async fn snapshot_page(
        &self,
        user: UserId,
        place: SnapshotPlace,
        held: Option<u64>,
        limit: ReadLimit,
    ) -> Result<SnapshotPage, StoreError>;

    /// Who may read this conversation: all open memberships, and those that
    /// ended above `ended_after`.
    async fn memberships(
        &self,
        conversation: ConversationId,
        ended_after: Position,
    ) -> Result<Vec<Membership>, StoreError>;

    /// Members, for one of them: `None` to others, and behind others than were members
    /// since the user is one.
    async fn members(
        &self,
        user: UserId,
        request: FetchMembers,
    ) -> Result<Option<v1::Members>, StoreError>;

    /// Who is kept out of a group, for its admins and its owner.
    async fn bans(
        &self,
        user: UserId,
        request: FetchListed,
    ) -> Result<Result<v1::Bans, Refusal>, StoreError>;

    /// Invites to a group, for its admins and its owner.
    async fn invites(
        &self,
        user: UserId,
        request: FetchListed,
    ) -> Result<Result<v1::Invites, Refusal>, StoreError>;

    /// To which group an invite leads; `None` to whom it does not let in, or if it is of no use
    /// at this time.
    async fn invite_preview(
        &self,
        user: UserId,
        invite: (ConversationId, InviteHash),
        now_ms: i64,
    ) -> Result<Option<v1::InvitePreview>, StoreError>;

    /// How many have read each of these messages: members since it was sent, without its
    /// sender and without those who hide read receipts. Refused to who is no member, or may
    /// not read one of them ([`Refusal::NotFound`]), or hides their own
    /// ([`Refusal::ReceiptsHidden`]).
    async fn count_readers(
        &self,
        user: UserId,
        request: CountReaders,
    ) -> Result<Result<Vec<u64>, Refusal>, StoreError>;

    /// Those of these users who hide their read receipts now.
    async fn hiding_receipts(&self, users: &[UserId]) -> Result<HashSet<UserId>, StoreError>;

    /// Events of a conversation that this user may read; `None` if they may read
    /// none of it.
    async fn history(
        &self,
        user: UserId,
        request: FetchHistory,
    ) -> Result<Option<HistoryPage>, StoreError>;

    /// Descriptions of the user's conversations (those they left too) with ids above
    /// `after`, by ascending id, within `limit`. Whether these are all.
    async fn conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: ReadLimit,
    ) -> Result<(Vec<v1::Conversation>, bool), StoreError>;

    /// Those of these users who tell nothing of themselves in the conversation, because it is
    /// a direct one and they block the other member, or what that one writes is a request: how
    /// far they have come is not for them.
    async fn silent(
        &self,
        users: &[(UserId, ConversationId)],
    ) -> Result<Vec<(UserId, ConversationId)>, StoreError>;

    /// Moves read marks in one shard forward, under the lock of its head.
    async fn mark_read(&self, shard: Shard, marks: &[MarkRead]) -> Result<Marked, StoreError>;
}

/// Shared.
pub type SharedStore = Arc<dyn Store>;
