//! The embedded engine: one `SQLite` file, so that the server starts with
//! nothing installed.
//!
//! One connection writes, under a mutex that is the log head's lock; a few read.
//! Each commit is flushed to the disk before it is answered. The write-ahead log
//! is copied into the database file by another connection, so that no commit
//! waits for it.

mod accounts;
mod append;
mod bans;
mod blocks;
mod broadcasts;
mod changes;
mod checkpoint;
mod counts;
mod describe;
mod due;
mod friends;
mod history;
mod invites;
mod listed;
mod log;
mod media;
mod members;
mod migrations;
mod notify;
mod open;
mod operators;
mod pages;
mod people;
mod presence;
mod previews;
mod privacy;
mod readers;
mod receipts;
mod rows;
mod snapshot;
mod states;
mod syncs;
mod uses;
mod wakes;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    seq::Position,
    text::UserName,
    wire::{CountReaders, FetchHistory, FetchListed, FetchMembers, v1},
};
use parking_lot::Mutex;
use rusqlite::Connection;

pub use self::open::{OpenError, begin_epoch, open};
use self::{checkpoint::Checkpoints, readers::Readers, writer::Writer};
use super::{
    Account, Append, Committed, Confirm, Connect, CreateUser, Device, DeviceLine, Generation,
    HistoryPage, InviteHash, LogState, MarkRead, Marked, Membership, NewDevice, Positions,
    PutDevice, ReadLimit, Refusal, Shard, SnapshotPage, SnapshotPlace, Store, StoreError, Stretch,
    UserPage,
    ahead::Ahead,
    seen::{Seen, went_back},
};
use crate::clock::Blocking;

/// A store in a directory of this machine.
pub struct Embedded {
    shared: Arc<Shared>,
    blocking: Blocking,
    seen: Seen,
    /// Members that a group may have.
    members_max: AtomicU32,
    /// The number of this node; 0 before it has one.
    node: AtomicI64,
    ahead: Arc<Ahead>,
}

/// What work on other threads holds on to.
struct Shared {
    writer: Mutex<Writer>,
    readers: Readers,
    checkpoints: Checkpoints,
    /// Locked as long as the store is open: two writers would each believe that
    /// their caches are exact.
    _lock: File,
}

impl Embedded {
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let done = self.blocking.run(move || shared.readers.read(work)).await;
        done.unwrap_or_else(unfinished)
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let done = self
            .blocking
            .run(move || {
                let mut writer = shared.writer.lock();
                let done = work(&mut writer);
                (done, writer.take_written())
            })
            .await;
        let Some((done, written)) = done else {
            return unfinished();
        };
        if self.shared.checkpoints.is_due(written) {
            checkpoint::start(Arc::clone(&self.shared), self.blocking).await;
        }
        done
    }
}

// The work panicked or the process is ending. What it wrote is not committed,
// or is, and will be found by its id.
fn unfinished<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable {
        reason: "the work was not finished".to_owned(),
    })
}

#[async_trait]
impl Store for Embedded {
    fn engine(&self) -> &'static str {
        "embedded"
    }

    async fn state(&self) -> Result<LogState, StoreError> {
        let before = self.seen.before();
        let state = self.read(rows::state).await?;
        let checked = self.seen.check(before, &state);
        checked.map_err(|reached| went_back(reached.epoch, &reached.places, &state))?;
        Ok(state)
    }

    fn has_been(&self, epoch: u64, reached: &Positions) {
        self.seen.note(epoch, reached);
    }

    fn serves(&self, epoch: u64) {
        self.seen.serve(epoch);
        self.ahead.clear();
    }

    fn bound_groups(&self, members_max: u32) {
        self.members_max.store(members_max, Ordering::Relaxed);
    }

    async fn cursor_key(&self) -> Result<[u8; 32], StoreError> {
        self.read(rows::cursor_key).await
    }

    fn shard_count(&self) -> usize {
        1
    }

    async fn account(&self, name: &UserName) -> Result<Option<Account>, StoreError> {
        let name = name.clone();
        self.read(move |connection| accounts::account(connection, &name))
            .await
    }

    async fn create_user(
        &self,
        account: &Account,
        device: Option<&NewDevice>,
        at_ms: i64,
    ) -> Result<CreateUser, StoreError> {
        let (account, device) = (account.clone(), device.cloned());
        self.write(move |writer| accounts::create_user(writer, &account, device.as_ref(), at_ms))
            .await
    }

    async fn put_device(
        &self,
        account: &Account,
        device: &NewDevice,
        at_ms: i64,
    ) -> Result<PutDevice, StoreError> {
        let (account, device) = (account.clone(), device.clone());
        self.write(move |writer| accounts::put_device(writer, &account, &device, at_ms))
            .await
    }

    async fn device(&self, id: DeviceId) -> Result<Option<Device>, StoreError> {
        self.read(move |connection| accounts::device(connection, id))
            .await
    }

    async fn devices(&self, user: UserId) -> Result<Vec<DeviceLine>, StoreError> {
        self.read(move |connection| accounts::devices(connection, user))
            .await
    }

    async fn revoke_device(&self, user: UserId, device: DeviceId) -> Result<bool, StoreError> {
        self.write(move |writer| accounts::revoke_device(writer, user, device))
            .await
    }

    async fn connect(&self, hellos: &[Connect]) -> Result<Vec<Option<Generation>>, StoreError> {
        let hellos = hellos.to_vec();
        let node = self.node.load(Ordering::Relaxed);
        self.write(move |writer| accounts::connect(writer, &hellos, node))
            .await
    }

    async fn confirm(&self, confirms: &[Confirm]) -> Result<Vec<DeviceId>, StoreError> {
        let confirms = confirms.to_vec();
        self.write(move |writer| accounts::confirm(writer, &confirms))
            .await
    }

    async fn shards_of(&self, batch: &[Append]) -> Result<Vec<Shard>, StoreError> {
        Ok(vec![Shard::FIRST; batch.len()])
    }

    async fn append(
        &self,
        _shard: Shard,
        batch: Arc<[Append]>,
        at_ms: i64,
    ) -> Result<Committed, StoreError> {
        let members_max = self.members_max.load(Ordering::Relaxed);
        self.write(move |writer| append::append(writer, &batch, at_ms, members_max))
            .await
    }

    async fn stretch(&self, after: Position, limit: ReadLimit) -> Result<Stretch, StoreError> {
        self.read(move |connection| pages::stretch(connection, after, limit))
            .await
    }

    async fn user_page(
        &self,
        user: UserId,
        after: Positions,
        limit: ReadLimit,
    ) -> Result<UserPage, StoreError> {
        let after = after.in_shard(Shard::FIRST);
        self.read(move |connection| pages::user_page(connection, user, after, limit))
            .await
    }

    async fn snapshot_page(
        &self,
        user: UserId,
        place: SnapshotPlace,
        held: Option<u64>,
        limit: ReadLimit,
    ) -> Result<SnapshotPage, StoreError> {
        let ahead = Arc::clone(&self.ahead);
        self.read(move |connection| {
            snapshot::snapshot_page(connection, &ahead, user, place, held, limit)
        })
        .await
    }

    async fn memberships(
        &self,
        conversation: ConversationId,
        ended_after: Position,
    ) -> Result<Vec<Membership>, StoreError> {
        self.read(move |connection| describe::memberships(connection, conversation, ended_after))
            .await
    }

    async fn members(
        &self,
        user: UserId,
        request: FetchMembers,
    ) -> Result<Option<v1::Members>, StoreError> {
        self.read(move |connection| members::members(connection, user, request))
            .await
    }

    async fn bans(
        &self,
        user: UserId,
        request: FetchListed,
    ) -> Result<Result<v1::Bans, Refusal>, StoreError> {
        self.read(move |connection| bans::bans(connection, user, &request))
            .await
    }

    async fn invites(
        &self,
        user: UserId,
        request: FetchListed,
    ) -> Result<Result<v1::Invites, Refusal>, StoreError> {
        self.read(move |connection| invites::invites(connection, user, &request))
            .await
    }

    async fn invite_preview(
        &self,
        user: UserId,
        invite: (ConversationId, InviteHash),
        now_ms: i64,
    ) -> Result<Option<v1::InvitePreview>, StoreError> {
        self.read(move |connection| invites::preview(connection, user, invite, now_ms))
            .await
    }

    async fn count_readers(
        &self,
        user: UserId,
        request: CountReaders,
    ) -> Result<Result<Vec<u64>, Refusal>, StoreError> {
        self.read(move |connection| receipts::count_readers(connection, user, &request))
            .await
    }

    async fn hiding_receipts(&self, users: &[UserId]) -> Result<HashSet<UserId>, StoreError> {
        let users = users.to_vec();
        self.read(move |connection| receipts::hiding(connection, &users))
            .await
    }

    async fn history(
        &self,
        user: UserId,
        request: FetchHistory,
    ) -> Result<Option<HistoryPage>, StoreError> {
        self.read(move |connection| history::history(connection, user, request))
            .await
    }

    async fn conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: ReadLimit,
    ) -> Result<(Vec<v1::Conversation>, bool), StoreError> {
        self.read(move |connection| describe::conversations(connection, user, after, limit))
            .await
    }

    async fn silent(
        &self,
        users: &[(UserId, ConversationId)],
    ) -> Result<Vec<(UserId, ConversationId)>, StoreError> {
        let users = users.to_vec();
        self.read(move |connection| blocks::silent(connection, &users))
            .await
    }

    async fn mark_read(&self, _shard: Shard, marks: &[MarkRead]) -> Result<Marked, StoreError> {
        let marks = marks.to_vec();
        self.write(move |writer| describe::mark_read(writer, &marks))
            .await
    }
}
