//! The `PostgreSQL` engine: the same log, for more than one machine can hold.
//!
//! One connection of each node appends to each shard, under the lock of the
//! shard's head, a row, which orders the batches of all nodes; a few others do
//! everything else.
//! Nothing that another node may change is remembered between transactions.

mod accounts;
mod bans;
mod batch;
mod blocks;
mod broadcasts;
mod changes;
mod command;
mod committer;
mod connections;
mod counts;
mod describe;
mod due;
mod epoch;
mod friends;
mod history;
mod invites;
mod known;
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
mod receipts;
mod routes;
mod rows;
mod session;
mod settings;
mod snapshot;
mod states;
mod syncs;
mod uses;
mod wakes;

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
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

use self::{
    committer::Committer,
    connections::{Connections, snapshot},
    known::Deletions,
    routes::Routes,
    session::Session,
};
pub use self::{
    migrations::Migrated,
    open::{OpenError, begin_epoch, migrate_schema, open},
    settings::SettingsError,
};
use super::{
    Account, Append, Committed, Confirm, Connect, CreateUser, Device, DeviceLine, Generation,
    HistoryPage, InviteHash, LogState, MarkRead, Marked, Membership, NewDevice, Positions,
    PutDevice, ReadLimit, Refusal, Shard, SnapshotPage, SnapshotPlace, Store, StoreError, Stretch,
    UserPage, ahead::Ahead, seen::Seen,
};

/// A store in a database of `PostgreSQL`.
pub struct Postgres {
    connections: Connections,
    /// One for each shard, in their order.
    committers: Vec<Committer>,
    routes: Routes,
    deletions: Arc<Deletions>,
    seen: Arc<Seen>,
    /// Members that a group may have.
    members_max: Arc<AtomicU32>,
    /// The number of this node; 0 before it has one.
    node: AtomicI64,
    ahead: Ahead,
}

impl Postgres {
    /// Somebody is deleted: whose their name was is not true any more.
    fn learn_deletion(&self) {
        self.routes.forget();
        self.deletions.learnt();
    }

    fn committer(&self, shard: Shard) -> Result<&Committer, StoreError> {
        let committer = self.committers.get(shard.index());
        committer.ok_or_else(|| StoreError::Corrupt {
            what: format!("shard {shard} of a log of {}", self.committers.len()),
        })
    }
}

#[async_trait]
impl Store for Postgres {
    fn engine(&self) -> &'static str {
        "postgresql"
    }

    async fn state(&self) -> Result<LogState, StoreError> {
        let taken = self.connections.take().await?;
        Ok(rows::state(Session::over(&taken), &self.seen).await?)
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
        let taken = self.connections.take().await?;
        Ok(rows::cursor_key(Session::over(&taken)).await?)
    }

    fn shard_count(&self) -> usize {
        self.committers.len()
    }

    async fn account(&self, name: &UserName) -> Result<Option<Account>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(accounts::account(Session::over(&taken), name).await?)
    }

    async fn create_user(
        &self,
        account: &Account,
        device: Option<&NewDevice>,
        at_ms: i64,
    ) -> Result<CreateUser, StoreError> {
        Ok(accounts::create_user(&self.connections, account, device, at_ms).await?)
    }

    async fn put_device(
        &self,
        account: &Account,
        device: &NewDevice,
        at_ms: i64,
    ) -> Result<PutDevice, StoreError> {
        // It may take a position: not in a log that went back.
        self.state().await?;
        Ok(accounts::put_device(&self.connections, account, device, at_ms).await?)
    }

    async fn device(&self, id: DeviceId) -> Result<Option<Device>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(accounts::device(Session::over(&taken), id).await?)
    }

    async fn devices(&self, user: UserId) -> Result<Vec<DeviceLine>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(accounts::devices(Session::over(&taken), user).await?)
    }

    async fn revoke_device(&self, user: UserId, device: DeviceId) -> Result<bool, StoreError> {
        self.state().await?;
        Ok(accounts::revoke_device(&self.connections, user, device).await?)
    }

    async fn connect(&self, hellos: &[Connect]) -> Result<Vec<Option<Generation>>, StoreError> {
        let node = self.node.load(Ordering::Relaxed);
        Ok(accounts::connect(&self.connections, hellos, node).await?)
    }

    async fn confirm(&self, confirms: &[Confirm]) -> Result<Vec<DeviceId>, StoreError> {
        Ok(accounts::confirm(&self.connections, confirms).await?)
    }

    async fn shards_of(&self, batch: &[Append]) -> Result<Vec<Shard>, StoreError> {
        let count = self.committers.len();
        Ok(self
            .routes
            .shards_of(&self.connections, count, batch)
            .await?)
    }

    async fn append(
        &self,
        shard: Shard,
        batch: Arc<[Append]>,
        at_ms: i64,
    ) -> Result<Committed, StoreError> {
        let committed = self.committer(shard)?.append(batch, at_ms).await;
        if committed.is_err() {
            // Perhaps because a name is not whose it was, in a database that was
            // restored.
            self.routes.forget();
        }
        committed
    }

    async fn stretch(&self, after: Position, limit: ReadLimit) -> Result<Stretch, StoreError> {
        let mut taken = self.connections.take().await?;
        let snapshot = snapshot(&mut taken).await?;
        let stretch = pages::stretch(Session::of(&snapshot), after, limit).await?;
        if !stretch.deleted.is_empty() {
            self.learn_deletion();
        }
        Ok(stretch)
    }

    async fn user_page(
        &self,
        user: UserId,
        after: Positions,
        limit: ReadLimit,
    ) -> Result<UserPage, StoreError> {
        let mut taken = self.connections.take().await?;
        let snapshot = snapshot(&mut taken).await?;
        Ok(pages::user_page(Session::of(&snapshot), user, after, limit).await?)
    }

    async fn snapshot_page(
        &self,
        user: UserId,
        place: SnapshotPlace,
        held: Option<u64>,
        limit: ReadLimit,
    ) -> Result<SnapshotPage, StoreError> {
        let mut taken = self.connections.take().await?;
        let snapshot = snapshot(&mut taken).await?;
        let session = Session::of(&snapshot);
        let ahead = &self.ahead;
        Ok(snapshot::snapshot_page(session, ahead, user, place, held, limit).await?)
    }

    async fn memberships(
        &self,
        conversation: ConversationId,
        ended_after: Position,
    ) -> Result<Vec<Membership>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(describe::memberships(Session::over(&taken), conversation, ended_after).await?)
    }

    async fn members(
        &self,
        user: UserId,
        request: FetchMembers,
    ) -> Result<Option<v1::Members>, StoreError> {
        let mut taken = self.connections.take().await?;
        let snapshot = snapshot(&mut taken).await?;
        Ok(members::members(Session::of(&snapshot), user, request).await?)
    }

    async fn bans(
        &self,
        user: UserId,
        request: FetchListed,
    ) -> Result<Result<v1::Bans, Refusal>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(bans::bans(Session::over(&taken), user, &request).await?)
    }

    async fn invites(
        &self,
        user: UserId,
        request: FetchListed,
    ) -> Result<Result<v1::Invites, Refusal>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(invites::invites(Session::over(&taken), user, &request).await?)
    }

    async fn invite_preview(
        &self,
        user: UserId,
        invite: (ConversationId, InviteHash),
        now_ms: i64,
    ) -> Result<Option<v1::InvitePreview>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(invites::preview(Session::over(&taken), user, invite, now_ms).await?)
    }

    async fn count_readers(
        &self,
        user: UserId,
        request: CountReaders,
    ) -> Result<Result<Vec<u64>, Refusal>, StoreError> {
        let mut taken = self.connections.take().await?;
        let snapshot = snapshot(&mut taken).await?;
        Ok(receipts::count_readers(Session::of(&snapshot), user, &request).await?)
    }

    async fn hiding_receipts(&self, users: &[UserId]) -> Result<HashSet<UserId>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(receipts::hiding(Session::over(&taken), users).await?)
    }

    async fn history(
        &self,
        user: UserId,
        request: FetchHistory,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let mut taken = self.connections.take().await?;
        let snapshot = snapshot(&mut taken).await?;
        Ok(history::history(Session::of(&snapshot), user, request).await?)
    }

    async fn conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
        limit: ReadLimit,
    ) -> Result<(Vec<v1::Conversation>, bool), StoreError> {
        let mut taken = self.connections.take().await?;
        let snapshot = snapshot(&mut taken).await?;
        Ok(describe::conversations(Session::of(&snapshot), user, after, limit).await?)
    }

    async fn silent(
        &self,
        users: &[(UserId, ConversationId)],
    ) -> Result<Vec<(UserId, ConversationId)>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(blocks::silent(Session::over(&taken), users).await?)
    }

    async fn mark_read(&self, shard: Shard, marks: &[MarkRead]) -> Result<Marked, StoreError> {
        self.state().await?;
        Ok(describe::mark_read(&self.connections, shard, marks).await?)
    }
}
