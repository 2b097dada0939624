//! A store that notes what it is asked.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use magpie_protocol::{
    id::{ConversationId, DeviceId, MediaId, UserId},
    profile::FindUsers,
    push::{PushAddress, PushToken},
    seq::Position,
    text::UserName,
    wire::{CountReaders, FetchHistory, FetchListed, FetchMembers, KnownProfile, v1},
};
use magpie_server::store::{
    Account, AccountChange, Addressed, AdminAct, Append, BeginUpload, Broadcast, BroadcastStore,
    CandidatePage, CandidatePlace, Committed, Confirm, Connect, CreateUser, Departure, Device,
    DeviceLine, DueSync, DueWake, Generation, HistoryPage, InviteHash, LogState, Look, MarkRead,
    Marked, MediaStore, Membership, NewBlob, NewBroadcast, NewDevice, NewReport, NewUpload,
    NewWake, OperatorStore, Part, PeopleStore, Positions, Presence, PresenceStore, Preview,
    PutDevice, ReadLimit, Recipient, Refusal, Report, Schedule, Shard, SharedStore, SnapshotPage,
    SnapshotPlace, Statistics, Store, StoreError, StoredMedia, Stretch, SyncStore, Trash, Upload,
    UploadBounds, UserPage, WakeStore, WorthyStretch,
};
use tokio::sync::RwLock;

/// What is asked all the time, and behind everybody's back.
const BY_ITSELF: [&str; 11] = [
    "state",
    "stretch",
    "connect",
    "confirm",
    "detach",
    "keep_node",
    "departures",
    "silent",
    "broadcasts",
    "expire_media",
    "trash",
];

/// A store, and the names of what it was asked.
pub(crate) struct Counted {
    store: SharedStore,
    asked: Mutex<Vec<&'static str>>,
    /// Devices whose cursors were confirmed.
    pub(crate) confirmed: Mutex<Vec<DeviceId>>,
    /// Whoever holds it keeps hellos from being written down.
    pub(crate) hellos: RwLock<()>,
}

impl Counted {
    pub(crate) fn new(store: SharedStore) -> Arc<Self> {
        let asked = Mutex::default();
        Arc::new(Self {
            store,
            asked,
            confirmed: Mutex::default(),
            hellos: RwLock::default(),
        })
    }

    /// What it was asked since this was last called.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// The same, without what the server asks by itself, whoever asks it for something.
    pub(crate) fn take_asked_for(&self) -> Vec<&'static str> {
        let mut asked = self.take();
        asked.retain(|what| !BY_ITSELF.contains(what));
        asked
    }

    fn note(&self, what: &'static str) -> &SharedStore {
        self.asked.lock().unwrap().push(what);
        &self.store
    }
}

/// Notes a question and passes it on.
macro_rules! pass_on {
    ($trait:ident { $($known:item)* } $($name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl $trait for Counted {
            $($known)*

            $(async fn $name(&self, $($arg: $kind),*) -> Result<$answer, StoreError> {
                self.note(stringify!($name)).$name($($arg),*).await
            })*
        }
    };
}

pass_on! {
    Store {
        fn engine(&self) -> &'static str {
            self.store.engine()
        }

        fn shard_count(&self) -> usize {
            self.store.shard_count()
        }

        async fn confirm(&self, confirms: &[Confirm]) -> Result<Vec<DeviceId>, StoreError> {
            let devices = confirms.iter().map(|it| it.device);
            self.confirmed.lock().unwrap().extend(devices);
            self.note("confirm").confirm(confirms).await
        }

        async fn connect(&self, hellos: &[Connect]) -> Result<Vec<Option<Generation>>, StoreError> {
            let _turn = self.hellos.read().await;
            self.note("connect").connect(hellos).await
        }

        fn has_been(&self, epoch: u64, reached: &Positions) {
            self.store.has_been(epoch, reached);
        }

        fn serves(&self, epoch: u64) {
            self.store.serves(epoch);
        }

        fn bound_groups(&self, members_max: u32) {
            self.store.bound_groups(members_max);
        }
    }
    state() -> LogState;
    cursor_key() -> [u8; 32];
    account(name: &UserName) -> Option<Account>;
    create_user(account: &Account, device: Option<&NewDevice>, at_ms: i64) -> CreateUser;
    put_device(account: &Account, device: &NewDevice, at_ms: i64) -> PutDevice;
    device(id: DeviceId) -> Option<Device>;
    devices(user: UserId) -> Vec<DeviceLine>;
    revoke_device(user: UserId, device: DeviceId) -> bool;
    shards_of(batch: &[Append]) -> Vec<Shard>;
    append(shard: Shard, batch: Arc<[Append]>, at_ms: i64) -> Committed;
    stretch(after: Position, limit: ReadLimit) -> Stretch;
    user_page(user: UserId, after: Positions, limit: ReadLimit) -> UserPage;
    snapshot_page(user: UserId, place: SnapshotPlace, held: Option<u64>, limit: ReadLimit) -> SnapshotPage;
    memberships(conversation: ConversationId, ended_after: Position) -> Vec<Membership>;
    members(user: UserId, request: FetchMembers) -> Option<v1::Members>;
    bans(user: UserId, request: FetchListed) -> Result<v1::Bans, Refusal>;
    invites(user: UserId, request: FetchListed) -> Result<v1::Invites, Refusal>;
    invite_preview(
        user: UserId,
        invite: (ConversationId, InviteHash),
        now_ms: i64
    ) -> Option<v1::InvitePreview>;
    count_readers(user: UserId, request: CountReaders) -> Result<Vec<u64>, Refusal>;
    hiding_receipts(users: &[UserId]) -> HashSet<UserId>;
    history(user: UserId, request: FetchHistory) -> Option<HistoryPage>;
    conversations(
        user: UserId, after: Option<ConversationId>, limit: ReadLimit
    ) -> (Vec<v1::Conversation>, bool);
    silent(users: &[(UserId, ConversationId)]) -> Vec<(UserId, ConversationId)>;
    mark_read(shard: Shard, marks: &[MarkRead]) -> Marked;
}

pass_on! {
    OperatorStore {}
    change_account(user: UserId, proven: Option<&str>, change: &AccountChange) -> Option<Vec<DeviceId>>;
    departures(after: Option<Departure>, count: usize) -> Vec<Departure>;
    add_report(report: &NewReport) -> ();
    reports(after: u64, count: usize) -> Vec<Report>;
    close_report(id: u64, at_ms: i64) -> bool;
    note_act(act: &AdminAct) -> ();
    acts(count: usize) -> Vec<AdminAct>;
    statistics() -> Statistics;
    account_of(user: UserId) -> Option<Account>;
}

pass_on! {
    BroadcastStore {}
    add_broadcast(broadcast: &NewBroadcast) -> ();
    broadcasts(open: bool, count: usize) -> Vec<Broadcast>;
    recipients(id: u64, count: usize) -> Vec<Recipient>;
    broadcast_reached(id: u64, key: i64, sent: u64) -> ();
    end_broadcast(id: u64, at_ms: i64) -> ();
}

pass_on! {
    WakeStore {}
    set_push(device: DeviceId, address: &PushAddress, look_at_ms: i64) -> ();
    push_address(device: DeviceId) -> Option<PushAddress>;
    clear_push(device: DeviceId, token: Option<&PushToken>) -> bool;
    detach(gone: &[(DeviceId, Generation)], at_ms: i64) -> ();
    lease_wakes(shard: Shard, holder: u64, for_ms: i64) -> Option<Position>;
    advance_wakes(shard: Shard, holder: u64, to: Position) -> bool;
    worthy_events(after: Position, count: usize) -> WorthyStretch;
    wake_candidates(conversation: ConversationId, position: Position, place: CandidatePlace, count: usize, seen_since_ms: i64, now_ms: i64) -> CandidatePage;
    addressed(positions: &[Position]) -> Vec<Addressed>;
    record_wakes(wakes: &[NewWake], now_ms: i64, schedule: &Schedule) -> Vec<DueWake>;
    due_wakes(now_ms: i64, count: usize, schedule: &Schedule) -> Vec<DueWake>;
    previews(positions: &[Position]) -> Vec<Preview>;
    postpone_wakes(wakes: &[(DeviceId, u64)], due_at_ms: i64) -> ();
}

pass_on! {
    PeopleStore {}
    profiles(user: UserId, known: &[KnownProfile]) -> Vec<v1::UserProfile>;
    find_users(user: UserId, by: &FindUsers) -> Vec<v1::UserProfile>;
    companions(user: UserId, conversation: ConversationId, members_max: usize) -> Vec<UserId>;
    are_friends(user: UserId, other: UserId) -> bool;
    friends(user: UserId, count: usize) -> Vec<UserId>;
    acquaintances(user: UserId, members_max: usize, count: usize) -> Vec<UserId>;
}

pass_on! {
    PresenceStore {}
    begin_node(at_ms: i64) -> ();
    keep_node(at_ms: i64) -> bool;
    presences(looks: &[Look], now_ms: i64) -> Vec<Option<Presence>>;
}

pass_on! {
    SyncStore {}
    owe_syncs(after: Position, upto: Position, at_ms: i64) -> ();
    due_syncs(now_ms: i64, count: usize) -> Vec<DueSync>;
    postpone_syncs(devices: &[DeviceId], due_at_ms: i64) -> ();
}

pass_on! {
    MediaStore {}
    begin_upload(upload: &NewUpload, bounds: UploadBounds) -> BeginUpload;
    upload(user: UserId, id: MediaId) -> Option<Upload>;
    add_parts(id: MediaId, parts: &[Part], expires_at_ms: i64) -> bool;
    parts(id: MediaId) -> Vec<Part>;
    finish_upload(id: MediaId, blob: &NewBlob, expires_at_ms: i64, trash_at_ms: i64) -> bool;
    remove_media(user: UserId, id: MediaId, trash_at_ms: i64) -> bool;
    media_for(user: UserId, ids: &[MediaId]) -> Vec<StoredMedia>;
    stored_media(id: MediaId) -> Option<StoredMedia>;
    plan_blob(name: [u8; 16], trash_at_ms: i64) -> ();
    expire_media(now_ms: i64, trash_at_ms: i64, count: usize) -> u64;
    trash(now_ms: i64, count: usize) -> Vec<Trash>;
    emptied(trash: &[Trash]) -> ();
}
