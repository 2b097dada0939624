//! Silent syncs: what a device shows is taken away when it was read on another one.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use magpie_fcm_emulator::{Delivered, Reach, Standing};
use magpie_protocol::{id::ConversationId, seq::Seq};
use magpie_server::{
    clock::Clock,
    config::Apps,
    store::{Attachment, Connect, MarkRead, SYNC_PAUSE_MS, Shard, SharedStore, postgres},
};
use magpie_sim::postgres as cluster;
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use crate::duty::{PATIENCE, Party, Sleeper, fresh};

const MINUTE: Duration = Duration::from_secs(60);

/// A party of two, whose time passes as the test says.
struct Scene {
    party: Party,
    ahead_ms: &'static AtomicU64,
    clock: Clock,
    stop: CancellationToken,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Scene {
    async fn new(store: SharedStore) -> Self {
        let party = Party::new(store, 2).await;
        let ahead_ms: &AtomicU64 = Box::leak(Box::default());
        let (clock, stop) = (Clock::ahead(ahead_ms), CancellationToken::new());
        party.node_at(clock, &party.store, Apps::default(), &stop);
        // In Doze nothing comes that is not urgent.
        for it in &party.sleepers {
            let world = party.emulator.world();
            world.set_device(&it.token, Standing::Registered, Reach::Online);
        }
        Self {
            party,
            ahead_ms,
            clock,
            stop,
        }
    }

    fn bob(&self) -> &Sleeper {
        &self.party.sleepers[0]
    }

    fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Waits for what comes to a device behind so many pushes.
    async fn pushed(&self, to: &Sleeper, after: u64) -> Delivered {
        let world = self.party.emulator.world();
        let pushes = world.wait_for_push(&to.token, after, PATIENCE).await;
        assert_eq!(pushes.len(), 1, "{pushes:?}");
        pushes.into_iter().next().unwrap()
    }

    /// Bob's phone is woken and stores everything. Where the message is.
    async fn wake(&self, after: u64) -> (ConversationId, Seq) {
        let store = &self.party.store;
        let sent = self.party.send(store, self.bob(), "hello").await;
        let woken = self.pushed(self.bob(), after).await;
        assert!(woken.is_high);
        assert!(woken.message["data"].get("magpie_silent").is_none());
        let hello = Connect {
            device: self.bob().device,
            cursor: store.state().await.unwrap().heads,
            at_ms: self.clock.wall_ms(),
            attachment: Attachment::Away,
        };
        store.connect(&[hello]).await.unwrap();
        sent
    }

    /// Bob reads on another device.
    async fn read(&self, (conversation, seq): (ConversationId, Seq)) {
        let store = &self.party.store;
        let mark = MarkRead {
            user: self.bob().user,
            conversation,
            seq,
        };
        let shard = Shard::of_conversation(conversation, store.shard_count());
        let marked = store.mark_read(shard, &[mark]).await.unwrap();
        assert_eq!(marked.marks[0].map(|mark| mark.seq), Some(seq));
    }

    /// The duty has looked at everything so far, and told whoever was to be told:
    /// somebody was woken by what came after it, and again in a later look.
    async fn until_looked(&self, after: u64) {
        let other = &self.party.sleepers[1];
        let store = &self.party.store;
        for after in [after, after + 1] {
            self.party.send(store, other, "hello").await;
            self.pushed(other, after).await;
            let hello = Connect {
                device: other.device,
                cursor: store.state().await.unwrap().heads,
                at_ms: self.clock.wall_ms(),
                attachment: Attachment::Away,
            };
            store.connect(&[hello]).await.unwrap();
        }
    }

    fn is_silent(push: &Delivered) {
        assert!(!push.is_high);
        assert_eq!(push.message["data"]["magpie_silent"], "1");
        assert_eq!(push.message["android"]["collapse_key"], "magpie-sync");
    }
}

async fn is_told_silently_and_not_often(scene: Scene) {
    let first = scene.wake(0).await;
    scene.read(first).await;
    scene.until_looked(0).await;
    let pushes = scene.party.emulator.world().pushes(&scene.bob().token, 1);
    assert_eq!(pushes, [], "people read more than one conversation");
    scene.pass(Duration::from_secs(10));
    Scene::is_silent(&scene.pushed(scene.bob(), 1).await);

    let second = scene.wake(2).await;
    scene.read(second).await;
    scene.pass(Duration::from_millis(SYNC_PAUSE_MS.unsigned_abs()) - MINUTE);
    scene.until_looked(2).await;
    let pushes = scene.party.emulator.world().pushes(&scene.bob().token, 3);
    assert_eq!(pushes, [], "within twenty minutes");
    scene.pass(MINUTE);
    Scene::is_silent(&scene.pushed(scene.bob(), 3).await);
}

/// D8.
#[tokio::test(flavor = "multi_thread")]
async fn who_shows_what_was_read_on_another_device_is_told_silently_and_not_often() {
    let (store, _dir) = fresh();
    is_told_silently_and_not_often(Scene::new(store).await).await;
    if cluster::is_skipped() {
        return;
    }
    let url = cluster::shared().unwrap().create_database().await.unwrap();
    let store = postgres::open(&url, Some(2), [5; 32]).await.unwrap();
    is_told_silently_and_not_often(Scene::new(store).await).await;
}

/// D8. What was taken to be told, and could not be, is told when it can.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_sync_that_the_store_held_up_is_made_up_for() {
    let (store, dir) = fresh();
    let scene = Scene::new(store).await;
    let beside = Connection::open(dir.path().join("magpie.db")).unwrap();
    beside.busy_timeout(PATIENCE).unwrap();
    let first = scene.wake(0).await;
    scene.read(first).await;
    // Whatever asks for the epoch fails.
    let hide = "ALTER TABLE epochs RENAME TO hidden";
    beside.execute_batch(hide).unwrap();
    scene.pass(Duration::from_secs(10));
    let taken = "SELECT count(*) FROM notified WHERE told_at_ms IS NOT NULL";
    let until = tokio::time::Instant::now() + PATIENCE;
    while beside
        .query_one(taken, [], |row| row.get::<_, i64>(0))
        .unwrap()
        == 0
    {
        assert!(tokio::time::Instant::now() < until, "it is not taken");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let show = "ALTER TABLE hidden RENAME TO epochs";
    beside.execute_batch(show).unwrap();
    Scene::is_silent(&scene.pushed(scene.bob(), 1).await);
}
