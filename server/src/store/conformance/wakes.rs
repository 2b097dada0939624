//! Where pushes go, and which devices are owed one.

use magpie_protocol::{
    id::{ConversationId, DeviceId},
    push::{AppId, Platform, PushAddress, PushToken},
    seq::{Position, Seq},
};

use super::{NOON, Player, World, messages::delete};
use crate::store::{
    Attachment, Candidate, CandidatePlace, Confirm, Connect, DEADLINE_MS_MAX, DueWake, Generation,
    NewWake, Preview, Shard, wakes::NEXT_EVENTS_MAX,
};

const SCHEDULE: [i64; 3] = [30_000, 120_000, 600_000];

/// Long after what happened at noon.
pub(super) const LATER: i64 = NOON + DEADLINE_MS_MAX;

pub(in crate::store) fn address(token: &str) -> PushAddress {
    PushAddress {
        platform: Platform::Android,
        app: AppId::parse("org.example.chat").unwrap(),
        token: PushToken::parse(token).unwrap(),
    }
}

/// Connects a device at the log's beginning, with a push token of its own.
pub(super) async fn with_push(world: &World, player: &Player) -> DeviceId {
    let device = player.actor.device;
    attach_anew(world, device, Attachment::Away).await;
    let token = format!("token-of-{}", player.name().as_str());
    set(world, device, &token).await;
    // What a new address owes is looked at and found to be nothing.
    assert_eq!(due(world, LATER).await, []);
    device
}

async fn set(world: &World, device: DeviceId, token: &str) {
    let set = world.store.set_push(device, &address(token), NOON).await;
    assert_eq!(set, Ok(()));
}

async fn attach_anew(world: &World, device: DeviceId, attachment: Attachment) -> Generation {
    attach(world, device, Position::ZERO, attachment).await
}

pub(in crate::store) async fn attach(
    world: &World,
    device: DeviceId,
    cursor: Position,
    attachment: Attachment,
) -> Generation {
    let hello = Connect {
        device,
        cursor: cursor.into(),
        at_ms: NOON,
        attachment,
    };
    world.store.connect(&[hello]).await.unwrap()[0].unwrap()
}

async fn confirm(world: &World, device: DeviceId, to: u64) {
    let confirm = Confirm {
        device,
        generation: Generation(1),
        cursor: Position::new(to).into(),
    };
    assert_eq!(world.store.confirm(&[confirm]).await, Ok(Vec::new()));
}

pub(super) async fn candidates(
    world: &World,
    of: ConversationId,
    position: Position,
) -> Vec<Candidate> {
    let (mut all, mut place) = (Vec::new(), Some(CandidatePlace::default()));
    while let Some(at) = place {
        let page = world
            .store
            .wake_candidates(of, position, at, 1, i64::MAX, NOON)
            .await;
        let page = page.unwrap();
        assert!(page.candidates.len() <= 1);
        all.extend(page.candidates);
        place = page.next;
    }
    all
}

pub(in crate::store) async fn record(
    world: &World,
    device: DeviceId,
    position: Position,
    now: i64,
) -> Vec<DueWake> {
    let id = u64::MAX - position.get();
    let wake = NewWake {
        device,
        position,
        id,
    };
    let recorded = world.store.record_wakes(&[wake], now, &SCHEDULE).await;
    recorded.unwrap()
}

pub(super) async fn due(world: &World, now_ms: i64) -> Vec<DueWake> {
    world.store.due_wakes(now_ms, 10, &SCHEDULE).await.unwrap()
}

pub(in crate::store) async fn a_push_token_has_one_device(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (phone, other) = (alice.actor.device, bob.actor.device);
    set(&world, phone, "first").await;
    set(&world, phone, "second").await;
    let found = world.store.push_address(phone).await;
    assert_eq!(found, Ok(Some(address("second"))));
    // Bob takes the phone over.
    set(&world, other, "second").await;
    assert_eq!(world.store.push_address(phone).await, Ok(None));
    let found = world.store.push_address(other).await;
    assert_eq!(found, Ok(Some(address("second"))));
}

pub(in crate::store) async fn a_dead_token_is_forgotten_unless_it_was_replaced(world: World) {
    let alice = world.player("alice").await;
    let phone = alice.actor.device;
    set(&world, phone, "new").await;
    let (old, new) = (address("old").token, address("new").token);
    let cleared = world.store.clear_push(phone, Some(&old)).await;
    assert_eq!(cleared, Ok(false));
    assert!(world.store.push_address(phone).await.unwrap().is_some());
    let cleared = world.store.clear_push(phone, Some(&new)).await;
    assert_eq!(cleared, Ok(true));
    assert_eq!(world.store.clear_push(phone, None).await, Ok(false));
}

pub(in crate::store) async fn a_revoked_device_is_not_woken(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    let head = world.head().await;
    assert_eq!(record(&world, phone, head, NOON).await.len(), 1);
    let revoked = world.store.revoke_device(bob.id(), phone).await;
    assert_eq!(revoked, Ok(true));
    assert_eq!(world.store.push_address(phone).await, Ok(None));
    assert_eq!(candidates(&world, direct, head).await, []);
    assert_eq!(due(&world, LATER).await, []);
}

/// D8.
pub(in crate::store) async fn only_messages_are_worth_a_wake(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let group = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, group, "one")).await;
    world.accept(world.post(&bob, group, "two")).await;
    let all = world
        .store
        .worthy_events(Position::ZERO, 100)
        .await
        .unwrap();
    let seqs: Vec<u64> = all.events.iter().map(|it| it.seq.get()).collect();
    assert_eq!(seqs, [2, 3]);
    assert_eq!(all.upto, world.head().await);
    let senders: Vec<_> = all.events.iter().map(|it| it.sender).collect();
    assert_eq!(senders, [alice.id(), bob.id()]);
    // In stretches it is the same.
    let first = world.store.worthy_events(Position::ZERO, 2).await.unwrap();
    assert_eq!(first.events, all.events[..1]);
    let rest = world.store.worthy_events(first.upto, 2).await.unwrap();
    assert_eq!(rest.events, all.events[1..]);
}

/// D8.
pub(in crate::store) async fn a_device_is_a_candidate_until_it_confirms_or_is_woken(world: World) {
    let (alice, bob, carol) = (
        world.player("alice").await,
        world.player("bob").await,
        world.player("carol").await,
    );
    let (phone, other) = (
        with_push(&world, &bob).await,
        with_push(&world, &carol).await,
    );
    let group = world.group(&alice, &[&bob, &carol]).await;
    world.accept(world.post(&alice, group, "one")).await;
    let position = world.head().await;
    let found = candidates(&world, group, position).await;
    let devices: Vec<DeviceId> = found.iter().map(|it| it.device).collect();
    assert_eq!(devices, [phone, other]);
    assert_eq!(found[0].user, bob.id());
    assert_eq!(found[0].cursor, Position::ZERO);

    assert_eq!(record(&world, phone, position, NOON).await.len(), 1);
    confirm(&world, other, position.get()).await;
    assert_eq!(candidates(&world, group, position).await, []);
    assert_eq!(record(&world, phone, position, NOON).await, []);
    assert_eq!(record(&world, other, position, NOON).await, []);

    // Bob answers, and is a candidate for what comes next.
    confirm(&world, phone, position.get()).await;
    world.accept(world.post(&alice, group, "two")).await;
    let position = world.head().await;
    assert_eq!(candidates(&world, group, position).await.len(), 2);
    assert_eq!(record(&world, phone, position, NOON).await.len(), 1);

    // Who left is none.
    world.remove(&alice, group, &carol).await;
    let head = world.head().await;
    assert_eq!(candidates(&world, group, head).await, []);
}

/// D8.
pub(in crate::store) async fn a_wake_is_due_again_by_the_schedule_until_it_is_answered(
    world: World,
) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    world.accept(world.to(&alice, &bob, "one")).await;
    let position = world.head().await;
    let sent = record(&world, phone, position, NOON).await;
    assert_eq!(sent[0].tries, 1);
    assert_eq!(sent[0].address, address("token-of-bob"));
    assert_eq!(sent[0].id, u64::MAX - position.get());
    let mut at = NOON;
    for (tries, wait) in [(2, 30_000), (3, 120_000), (4, 600_000), (5, 600_000)] {
        at += wait;
        assert_eq!(due(&world, at - 1).await, []);
        let again = due(&world, at).await;
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].tries, again[0].id), (tries, sent[0].id));
    }
    confirm(&world, phone, position.get()).await;
    assert_eq!(due(&world, at + 600_000).await, []);
    // It is forgotten: a device that is set back is not woken by an old one, but
    // anew.
    attach_anew(&world, phone, Attachment::Away).await;
    let anew = due(&world, at + 900_000).await;
    assert_eq!((anew[0].tries, anew[0].position), (1, position));
}

/// D8.
pub(in crate::store) async fn a_device_whose_cursor_falls_is_looked_at(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (phone, other) = (with_push(&world, &bob).await, alice.actor.device);
    world.accept(world.to(&alice, &bob, "one")).await;
    let position = world.head().await;
    confirm(&world, phone, position.get()).await;
    // Who has no address is not looked at, whatever becomes of the cursor.
    attach_anew(&world, other, Attachment::Away).await;
    assert_eq!(due(&world, LATER + 1_000).await, []);

    // Its database was rolled back, and it is gone before it has stored anything.
    attach_anew(&world, phone, Attachment::Away).await;
    assert_eq!(due(&world, LATER - 1).await, []);
    let owed = due(&world, LATER).await;
    assert_eq!(owed.len(), 1);
    assert_eq!((owed[0].device, owed[0].tries), (phone, 1));
    assert_eq!(owed[0].position, position);

    // The same cursor again is no reason for another try.
    attach_anew(&world, phone, Attachment::Away).await;
    assert_eq!(due(&world, LATER + 29_999).await, []);
    assert_eq!(due(&world, LATER + 30_000).await[0].tries, 2);
}

/// D8.
pub(in crate::store) async fn an_answered_wake_does_not_delay_that_for_a_fallen_cursor(
    world: World,
) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    world.accept(world.to(&alice, &bob, "one")).await;
    let position = world.head().await;
    record(&world, phone, position, NOON).await;
    for at in [30_000, 150_000] {
        assert_eq!(due(&world, NOON + at).await.len(), 1);
    }
    confirm(&world, phone, position.get()).await;
    // Due again in ten minutes, and not for nothing any more.
    attach_anew(&world, phone, Attachment::Away).await;
    let owed = due(&world, NOON + 150_001).await;
    assert_eq!((owed[0].tries, owed[0].position), (1, position));
}

/// D10.
pub(in crate::store) async fn a_preview_says_what_the_message_says(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let group = world.group(&alice, &[&bob]).await;
    let made_at = world.head().await;
    world
        .accept(world.post(&alice, group, "one \u{1f426}"))
        .await;
    let position = world.head().await;
    let asked = [made_at, position, Position::new(u64::from(u32::MAX))];
    let previews = world.store.previews(&asked).await.unwrap();
    let expected = Preview {
        position,
        conversation: group,
        seq: Seq::new(2),
        sender: alice.name().as_str().to_owned(),
        text: "one \u{1f426}".to_owned(),
    };
    assert_eq!(previews, [expected]);
}

/// D8.
pub(in crate::store) async fn what_came_while_a_wake_was_unanswered_is_owed(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    world.accept(world.to(&alice, &bob, "one")).await;
    let first = world.head().await;
    assert_eq!(record(&world, phone, first, NOON).await.len(), 1);
    world.accept(world.to(&bob, &alice, "mine")).await;
    world.accept(world.to(&alice, &bob, "two")).await;
    let second = world.head().await;
    // It came, stored the first, and was gone again.
    confirm(&world, phone, first.get()).await;
    // While what it lacks is fresh, it may be about to store it.
    let early = NOON + DEADLINE_MS_MAX - 1;
    assert_eq!(world.store.due_wakes(early, 10, &[1]).await, Ok(Vec::new()));
    let again = due(&world, NOON + 2 * DEADLINE_MS_MAX).await;
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].position, again[0].tries), (second, 1));
    confirm(&world, phone, second.get()).await;
    assert_eq!(due(&world, NOON + 10 * DEADLINE_MS_MAX).await, []);
}

/// D8. What lies in between is little of theirs, and much of it worth no wake.
pub(in crate::store) async fn who_is_far_behind_is_woken_for_a_message_of_others(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    let tea = world.group(&alice, &[]).await;
    let say = async |count: usize, by: &Player, text: &str| {
        let said: Vec<_> = (0..count).map(|_| world.post(by, tea, text)).collect();
        world.append(&said).await;
        world.head().await
    };
    say(20, &alice, "without bob").await;
    world.add(&alice, tea, &[&bob]).await;
    let last = say(3, &bob, "mine").await;
    set(&world, phone, "token-of-bob").await;
    assert_eq!(due(&world, LATER).await, []);

    let quiet = world.group(&alice, &[&bob]).await;
    let first = say(1, &alice, "one").await;
    say(5, &alice, "two").await;
    for cursor in [Position::ZERO, last] {
        confirm(&world, phone, cursor.get()).await;
        set(&world, phone, "token-of-bob").await;
        let owed = due(&world, LATER).await;
        let owed: Vec<_> = owed.iter().map(|it| (it.position, it.tries)).collect();
        assert_eq!(owed, [(first, 1)], "behind {cursor:?}");
        assert_eq!(world.store.clear_push(phone, None).await, Ok(true));
    }
    let head = world.head().await;
    confirm(&world, phone, head.get()).await;
    set(&world, phone, "token-of-bob").await;
    assert_eq!(due(&world, LATER).await, []);

    // Where so many events are worth no wake, nobody looks for one that is.
    let many = 1 + usize::try_from(NEXT_EVENTS_MAX).unwrap();
    say(many, &bob, "mine").await;
    world.accept(world.post(&alice, quiet, "three")).await;
    set(&world, phone, "token-of-bob").await;
    assert_eq!(due(&world, LATER).await.len(), 1);
}

/// D8.
pub(in crate::store) async fn a_deleted_message_wakes_nobody(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    let (direct, deleted) = world.accept(world.to(&alice, &bob, "one")).await;
    world
        .accept(world.request(&alice, delete(direct, deleted)))
        .await;
    let worthy = world.store.worthy_events(Position::ZERO, 100).await;
    assert_eq!(worthy.unwrap().events, []);
    set(&world, phone, "token-of-bob").await;
    assert_eq!(due(&world, LATER).await, []);

    world.accept(world.to(&alice, &bob, "two")).await;
    let head = world.head().await;
    let worthy = world.store.worthy_events(Position::ZERO, 100).await;
    assert_eq!(worthy.unwrap().events.len(), 1);
    set(&world, phone, "token-of-bob").await;
    assert_eq!(due(&world, LATER).await[0].position, head);
}

/// D8.
pub(in crate::store) async fn no_wake_waits_for_a_clock_that_was_ahead(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    world.accept(world.to(&alice, &bob, "one")).await;
    let head = world.head().await;
    record(&world, phone, head, NOON + 20 * SCHEDULE[2]).await;
    assert_eq!(due(&world, NOON).await[0].tries, 2);
    assert_eq!(due(&world, NOON + SCHEDULE[1] - 1).await, []);
}

/// D8.
pub(in crate::store) async fn what_came_before_the_token_was_known_is_owed(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = bob.actor.device;
    attach_anew(&world, phone, Attachment::Away).await;
    world.accept(world.to(&alice, &bob, "one")).await;
    set(&world, phone, "late").await;
    let owed = due(&world, LATER).await;
    assert_eq!(owed.len(), 1);
    assert_eq!((owed[0].device, owed[0].tries), (phone, 1));
}

pub(in crate::store) async fn a_try_that_was_not_sent_does_not_count(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    world.accept(world.to(&alice, &bob, "one")).await;
    let position = world.head().await;
    let sent = record(&world, phone, position, NOON).await;
    let unsent = [(phone, sent[0].id), (phone, 17)];
    let postponed = world.store.postpone_wakes(&unsent, NOON + 10_000).await;
    assert_eq!(postponed, Ok(()));
    assert_eq!(due(&world, NOON + 9_999).await, []);
    assert_eq!(due(&world, NOON + 10_000).await[0].tries, 1);
}

pub(in crate::store) async fn the_newest_connection_says_how_a_device_is_there(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    let position = world.head().await;
    let attachment = async || candidates(&world, direct, position).await[0].attachment;
    assert_eq!(attachment().await, Attachment::Away);
    let older = attach_anew(&world, phone, Attachment::Background).await;
    assert_eq!(attachment().await, Attachment::Background);
    let newer = attach_anew(&world, phone, Attachment::Foreground).await;
    world.store.detach(&[(phone, older)], NOON).await.unwrap();
    assert_eq!(attachment().await, Attachment::Foreground);
    world.store.detach(&[(phone, newer)], NOON).await.unwrap();
    assert_eq!(attachment().await, Attachment::Away);
}

pub(in crate::store) async fn the_wake_cursor_never_falls(world: World) {
    let lease = async || world.store.lease_wakes(Shard::FIRST, 1, 60_000).await;
    assert_eq!(lease().await, Ok(Some(Position::ZERO)));
    for (to, is_at) in [(7, 7), (3, 7)] {
        let to = Position::new(to);
        let advanced = world.store.advance_wakes(Shard::FIRST, 1, to).await;
        assert_eq!(advanced, Ok(true));
        assert_eq!(lease().await, Ok(Some(Position::new(is_at))));
    }
}
