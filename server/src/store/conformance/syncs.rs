//! Which devices are told, silently, that what they show was read elsewhere.

use magpie_protocol::{
    id::{ConversationId, DeviceId},
    push::Platform,
    seq::Position,
};

use super::{
    NOON, Player, World,
    wakes::{LATER, address, attach, due, record, with_push},
};
use crate::store::{
    Attachment, Confirm, DueSync, Generation, SYNC_PAUSE_MS, syncs::READ_EVENTS_MAX,
};

/// Bob's phone, which was woken for a message of Alice, has stored it, and shows it.
struct Scene {
    world: World,
    alice: Player,
    bob: Player,
    phone: DeviceId,
    direct: ConversationId,
    /// Of the last message.
    seq: u64,
    generation: Generation,
}

impl Scene {
    async fn new(world: World) -> Self {
        let (alice, bob) = (world.player("alice").await, world.player("bob").await);
        let phone = with_push(&world, &bob).await;
        let (direct, seq) = world.accept(world.to(&alice, &bob, "one")).await;
        let scene = Self {
            world,
            alice,
            bob,
            phone,
            direct,
            seq,
            generation: Generation(1),
        };
        scene.wake_and_store().await;
        scene
    }

    async fn head(&self) -> Position {
        self.world.head().await
    }

    /// It is woken for the last message, and stores everything.
    async fn wake_and_store(&self) {
        let head = self.head().await;
        let woken = record(&self.world, self.phone, head, NOON).await;
        assert_eq!(woken.len(), 1);
        self.store_all().await;
    }

    async fn store_all(&self) {
        let confirm = Confirm {
            device: self.phone,
            generation: self.generation,
            cursor: self.head().await.into(),
        };
        let confirmed = self.world.store.confirm(&[confirm]).await;
        assert_eq!(confirmed, Ok(Vec::new()));
    }

    /// Another message, which the phone does not have.
    async fn say(&mut self, text: &str) {
        let said = self.world.to(&self.alice, &self.bob, text);
        self.seq = self.world.accept(said).await.1;
    }

    /// Bob reads on another device, and it is looked who is to be told at `at_ms`.
    async fn read(&self, seq: u64, at_ms: i64) {
        let before = self.head().await;
        let mark = self.world.mark(&self.bob, self.direct, seq).await;
        assert_eq!(mark, Some(seq));
        let upto = self.head().await;
        let owed = self.world.store.owe_syncs(before, upto, at_ms).await;
        assert_eq!(owed, Ok(()));
    }

    async fn told(&self, now_ms: i64) -> Vec<DueSync> {
        self.world.store.due_syncs(now_ms, 10).await.unwrap()
    }

    async fn is_told(&self, now_ms: i64) -> bool {
        let told = self.told(now_ms).await;
        let phone = DueSync {
            device: self.phone,
            address: address("token-of-bob"),
        };
        assert!(told.is_empty() || told == [phone], "{told:?}");
        !told.is_empty()
    }
}

/// D8.
pub(in crate::store) async fn who_shows_what_was_read_elsewhere_is_told_three_times(world: World) {
    let scene = Scene::new(world).await;
    scene.read(scene.seq, NOON + 10).await;
    assert!(!scene.is_told(NOON + 9).await);
    let mut at = NOON + 10;
    for _ in 0..3 {
        assert!(scene.is_told(at).await);
        assert!(!scene.is_told(at + SYNC_PAUSE_MS - 1).await);
        at += SYNC_PAUSE_MS;
    }
    assert!(!scene.is_told(at + 10 * SYNC_PAUSE_MS).await);
    // It is asked again when more is read.
    let mut scene = scene;
    scene.say("two").await;
    scene.wake_and_store().await;
    scene.read(scene.seq, at + 20 * SYNC_PAUSE_MS).await;
    assert!(scene.is_told(at + 20 * SYNC_PAUSE_MS).await);
}

/// D8.
pub(in crate::store) async fn who_knows_what_was_read_is_not_told(world: World) {
    let scene = Scene::new(world).await;
    scene.read(scene.seq, NOON).await;
    scene.store_all().await;
    assert!(!scene.is_told(NOON).await);
    scene.read(scene.seq, NOON).await;
    assert!(!scene.is_told(NOON).await, "a mark that has not moved");
}

/// D8.
pub(in crate::store) async fn who_shows_nothing_of_what_was_read_is_not_told(world: World) {
    let mut scene = Scene::new(world).await;
    // Somebody looks at it: the notifications are gone.
    attach_at(&mut scene, Attachment::Foreground).await;
    scene
        .world
        .store
        .detach(&[(scene.phone, scene.generation)], NOON)
        .await
        .unwrap();
    scene.read(scene.seq, NOON).await;
    assert!(!scene.is_told(NOON).await);

    // What it shows since is another message.
    scene.store_all().await;
    let first = scene.seq;
    scene.say("two").await;
    scene.wake_and_store().await;
    scene.say("three").await;
    scene.read(first, NOON).await;
    assert!(!scene.is_told(NOON).await);
    scene.read(first + 1, NOON).await;
    assert!(scene.is_told(NOON).await);
}

/// D8.
pub(in crate::store) async fn what_is_read_within_a_pause_is_told_together(world: World) {
    let mut scene = Scene::new(world).await;
    scene.read(scene.seq, NOON).await;
    assert!(scene.is_told(NOON).await);
    scene.store_all().await;
    assert!(!scene.is_told(NOON + SYNC_PAUSE_MS).await);
    let told_at = NOON + 2 * SYNC_PAUSE_MS;
    for text in ["two", "three"] {
        scene.say(text).await;
        scene.wake_and_store().await;
        scene.read(scene.seq, NOON + 1).await;
    }
    assert!(
        scene.is_told(NOON + SYNC_PAUSE_MS).await,
        "a pause after the last"
    );
    scene.store_all().await;
    assert!(!scene.is_told(told_at).await);
}

/// D8.
pub(in crate::store) async fn who_is_connected_or_is_woken_anyway_is_told_later(world: World) {
    let mut scene = Scene::new(world).await;
    attach_at(&mut scene, Attachment::Background).await;
    scene.read(scene.seq, NOON).await;
    assert!(!scene.is_told(NOON).await);
    scene
        .world
        .store
        .detach(&[(scene.phone, scene.generation)], NOON)
        .await
        .unwrap();
    assert!(!scene.is_told(NOON + SYNC_PAUSE_MS - 1).await);

    scene.say("two").await;
    let head = scene.head().await;
    assert_eq!(record(&scene.world, scene.phone, head, NOON).await.len(), 1);
    assert!(!scene.is_told(NOON + SYNC_PAUSE_MS).await);
    // It comes for both.
    scene.store_all().await;
    assert!(!scene.is_told(NOON + 2 * SYNC_PAUSE_MS).await);
}

/// D8.
pub(in crate::store) async fn a_browser_and_who_gets_no_pushes_are_not_told(world: World) {
    let scene = Scene::new(world).await;
    let browser = magpie_protocol::push::PushAddress {
        platform: Platform::Web,
        ..address("token-of-bob")
    };
    let store = &scene.world.store;
    assert_eq!(
        store.set_push(scene.phone, &browser, i64::MAX).await,
        Ok(())
    );
    scene.read(scene.seq, NOON).await;
    assert!(!scene.is_told(NOON).await);

    let phone = address("token-of-bob");
    assert_eq!(store.set_push(scene.phone, &phone, i64::MAX).await, Ok(()));
    let mut scene = scene;
    scene.say("two").await;
    scene.wake_and_store().await;
    scene.read(scene.seq, NOON).await;
    let store = &scene.world.store;
    assert_eq!(store.clear_push(scene.phone, None).await, Ok(true));
    assert!(!scene.is_told(NOON).await);
}

/// D8.
pub(in crate::store) async fn a_silent_sync_that_was_not_sent_does_not_count(world: World) {
    let scene = Scene::new(world).await;
    scene.read(scene.seq, NOON).await;
    let mut at = NOON;
    for _ in 0..5 {
        assert!(scene.is_told(at).await);
        at += 10_000;
        let postponed = scene.world.store.postpone_syncs(&[scene.phone], at).await;
        assert_eq!(postponed, Ok(()));
        assert!(!scene.is_told(at - 1).await);
    }
}

/// D8. Whatever a wake is for, its device shows something.
pub(in crate::store) async fn who_was_woken_because_the_cursor_fell_is_told(world: World) {
    let mut scene = Scene::new(world).await;
    attach_at(&mut scene, Attachment::Foreground).await;
    scene.generation = attach(
        &scene.world,
        scene.phone,
        Position::ZERO,
        Attachment::Background,
    )
    .await;
    let gone = [(scene.phone, scene.generation)];
    scene.world.store.detach(&gone, NOON).await.unwrap();
    assert_eq!(due(&scene.world, LATER).await.len(), 1);
    scene.store_all().await;
    scene.read(scene.seq, LATER).await;
    assert!(scene.is_told(LATER).await);
}

/// D9.
pub(in crate::store) async fn what_lies_far_below_a_mark_is_not_looked_for(world: World) {
    let scene = Scene::new(world).await;
    let say = async |count: u64| {
        let mine = (0..count).map(|_| scene.world.to(&scene.bob, &scene.alice, "mine"));
        scene.world.append(&mine.collect::<Vec<_>>()).await;
        scene.store_all().await;
    };
    let far = u64::from(READ_EVENTS_MAX);
    say(far - 1).await;
    scene.read(scene.seq + far - 1, NOON).await;
    assert!(scene.is_told(NOON).await);
    say(1).await;
    scene.read(scene.seq + far, NOON).await;
    assert!(!scene.is_told(NOON + 2 * SYNC_PAUSE_MS).await);
}

/// Another connection of the phone, with everything stored.
async fn attach_at(scene: &mut Scene, attachment: Attachment) {
    let head = scene.head().await;
    scene.generation = attach(&scene.world, scene.phone, head, attachment).await;
}
