//! What one user reads.

use magpie_protocol::{
    id::ConversationId,
    seq::Position,
    wire::{FetchHistory, HistoryFrom},
};

use super::{ALL, Player, World, seq, seqs};
use crate::store::{
    Append, ChangedDevice, Command, Confirm, Connect, Counts, LogEvent, MarkRead, NewDevice,
    Positions, ReadLimit, ReadMark, Recency, Shard, SnapshotPlace, UserMark, read::MARK_COUNT_MAX,
};

pub(in crate::store) async fn a_page_describes_what_begins_in_it(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "hello")).await;
    let page = world.page(&bob, Position::ZERO, ALL).await;
    assert!(page.complete);
    assert_eq!(page.upto, world.head().await);
    assert_eq!(page.conversations, [world.described(&bob, direct).await]);

    world.accept(world.to(&alice, &bob, "again")).await;
    let page = world.page(&bob, page.upto, ALL).await;
    assert_eq!(seqs(&page.events), [2]);
    assert_eq!(page.conversations, []);
}

pub(in crate::store) async fn a_page_holds_one_event_however_large(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let large = "x".repeat(16_000);
    world.accept(world.to(&alice, &bob, &large)).await;
    world.accept(world.to(&alice, &bob, &large)).await;
    let limit = ReadLimit {
        count: 10,
        size: 100,
    };
    let first = world.page(&bob, Position::ZERO, limit).await;
    assert_eq!((seqs(&first.events), first.complete), (vec![1], false));
    let second = world.page(&bob, first.upto, limit).await;
    assert_eq!((seqs(&second.events), second.complete), (vec![2], true));
}

pub(in crate::store) async fn a_page_ends_before_a_second_beginning(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.remove(&alice, tea, &bob).await;
    world.accept(world.post(&alice, tea, "without bob")).await;
    world.add(&alice, tea, &[&bob]).await;

    let first = world.page(&bob, Position::ZERO, ALL).await;
    assert_eq!((seqs(&first.events), first.complete), (vec![1, 2], false));
    let described = &first.conversations[0];
    assert_eq!((described.first_seq, described.last_seq), (1, 2));
    let second = world.page(&bob, first.upto, ALL).await;
    assert_eq!((seqs(&second.events), second.complete), (vec![4], true));
    assert_eq!(second.conversations[0].first_seq, 4);
}

pub(in crate::store) async fn a_mark_never_falls_and_is_in_the_next_page(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    world.accept(world.to(&alice, &bob, "two")).await;
    let cursor = world.head().await;
    for (asked, marked) in [(0, 0), (2, 2), (1, 2)] {
        assert_eq!(world.mark(&bob, direct, asked).await, Some(marked));
    }
    let page = world.page(&bob, cursor, ALL).await;
    let marks: Vec<_> = page.marks.iter().map(|mark| mark.read_seq).collect();
    assert_eq!(marks, [2]);
    assert_eq!(page.marks[0].user_id, bob.id().to_wire());
    // Others read it in the description.
    assert_eq!(world.page(&alice, cursor, ALL).await.marks, []);
    assert_eq!(member(&world, &alice, direct, &bob).await.1, 2);

    world.accept(world.to(&alice, &bob, "three")).await;
    let later = world.page(&bob, world.head().await, ALL).await;
    assert_eq!(later.marks, []);
}

pub(in crate::store) async fn the_tailer_reads_marks_and_changed_devices(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    world.accept(world.to(&alice, &bob, "two")).await;
    let after = world.head().await;
    let marks = [(&bob, 1), (&alice, 2), (&bob, 2)].map(|(of, to)| MarkRead {
        user: of.id(),
        conversation: direct,
        seq: seq(to),
    });
    let marked = world.store.mark_read(Shard::FIRST, &marks).await.unwrap();
    assert_eq!(marked.after, after);
    let again = world.store.mark_read(Shard::FIRST, &marks).await.unwrap();
    assert_eq!((again.after, again.head), (marked.head, marked.head));
    let renewed = NewDevice {
        id: bob.actor.device,
        ..world.new_device()
    };
    world
        .store
        .put_device(&bob.account(), &renewed, 0)
        .await
        .unwrap();
    let tablet = world.new_device();
    world
        .store
        .put_device(&bob.account(), &tablet, 0)
        .await
        .unwrap();
    world
        .store
        .revoke_device(bob.id(), tablet.id)
        .await
        .unwrap();

    let stretch = world.store.stretch(after, ALL).await.unwrap();
    assert_eq!((stretch.upto, stretch.complete), (world.head().await, true));
    let mark = |of: &Player, to, messages| UserMark {
        position: marked.head,
        user: of.id(),
        conversation: direct,
        read: ReadMark {
            seq: seq(to),
            counts: Counts {
                messages,
                mentions: 0,
            },
        },
    };
    let mut found = stretch.marks;
    found.sort_by_key(|mark| mark.user);
    let mut expected = [mark(&alice, 2, 0), mark(&bob, 2, 2)];
    expected.sort_by_key(|mark| mark.user);
    assert_eq!(found, expected);
    let changed = |device, is_revoked| ChangedDevice {
        user: bob.id(),
        device,
        is_revoked,
    };
    let mut devices = stretch.devices;
    devices.sort_by_key(|changed| changed.is_revoked);
    let expected = [changed(renewed.id, false), changed(tablet.id, true)];
    assert_eq!(devices, expected);
    let later = world.store.stretch(stretch.upto, ALL).await.unwrap();
    assert_eq!((later.marks, later.devices), (vec![], vec![]));
}

pub(in crate::store) async fn who_is_far_behind_reads_the_same(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let mut expected: Vec<LogEvent> = Vec::new();
    for round in 0..12 {
        let notes = (0..10).map(|_| world.to(&alice, &alice, "note"));
        let mut batch: Vec<Append> = notes.collect();
        if round % 3 == 0 {
            batch.push(world.to(&alice, &bob, "hello"));
            batch.push(world.to(&bob, &bob, "note"));
        }
        let committed = world.append(&batch).await;
        let for_bob = committed.events.into_iter().skip(10);
        expected.extend(for_bob);
    }
    let mut read = Vec::new();
    let mut after = Position::ZERO.into();
    loop {
        let limit = ReadLimit { count: 3, ..ALL };
        let page = world.page(&bob, after, limit).await;
        read.extend(page.events);
        after = page.upto;
        if page.complete {
            break;
        }
    }
    assert_eq!(read, expected);
    assert_eq!(after, world.head().await);
}

/// D2, for what one device tells another of the same user.
pub(in crate::store) async fn no_own_mark_is_left_out_however_many_there_are(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let mut groups = Vec::new();
    for _ in 0..3 * MARK_COUNT_MAX {
        groups.push(world.group(&alice, &[&bob]).await);
    }
    let mut after = world.heads().await;
    for (number, group) in groups.iter().enumerate() {
        assert_eq!(world.mark(&bob, *group, 1).await, Some(1));
        if number % 5 == 0 {
            world.accept(world.post(&alice, *group, "hello")).await;
        }
    }
    let (mut marked, mut events) = (Vec::new(), 0);
    loop {
        let page = world.page(&bob, after, ALL).await;
        assert!(page.marks.len() <= MARK_COUNT_MAX);
        assert!(page.upto != after || page.complete);
        marked.extend(page.marks.into_iter().map(|mark| mark.conversation_id));
        events += page.events.len();
        after = page.upto;
        if page.complete {
            break;
        }
    }
    let mut expected: Vec<_> = groups.iter().map(|id| id.to_wire()).collect();
    expected.sort_unstable();
    marked.sort_unstable();
    assert_eq!(marked, expected);
    assert_eq!(events, groups.len().div_ceil(5));
}

pub(in crate::store) async fn a_mark_goes_no_further_than_the_reader(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    assert_eq!(world.mark(&bob, direct, u64::MAX).await, Some(1));
    let eve = world.player("eve").await;
    assert_eq!(world.mark(&eve, direct, 1).await, None);
}

pub(in crate::store) async fn delivered_is_what_a_device_has_stored(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let notes: Vec<Append> = (0..40)
        .map(|number| match number % 3 {
            0 => world.to(&alice, &bob, "for bob"),
            _ => world.to(&alice, &alice, "for me"),
        })
        .collect();
    let committed = world.append(&notes).await;
    let device = bob.actor.device;
    let hello = Connect {
        device,
        cursor: Position::ZERO.into(),
        at_ms: 0,
        attachment: crate::store::Attachment::Foreground,
    };
    let generation = world.store.connect(&[hello]).await.unwrap()[0].unwrap();
    let direct = committed.events[0].conversation;
    for cursor in committed.events.iter().map(|event| event.position) {
        let confirm = Confirm {
            device,
            generation,
            cursor: cursor.into(),
        };
        world.store.confirm(&[confirm]).await.unwrap();
        let stored = committed.events.iter();
        let stored = stored.filter(|it| it.conversation == direct && it.position <= cursor);
        let newest = stored.map(|event| event.seq.get()).max();
        let delivered = member(&world, &alice, direct, &bob).await.0;
        assert_eq!(Some(delivered), newest, "at {cursor}");
    }
}

pub(in crate::store) async fn conversations_are_listed_in_pages(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    for _ in 0..4 {
        world.group(&alice, &[]).await;
    }
    world.accept(world.to(&bob, &alice, "hello")).await;
    world.group(&bob, &[]).await;
    let (all, complete) = world
        .store
        .conversations(alice.id(), None, ALL)
        .await
        .unwrap();
    assert!(complete);
    assert_eq!(all.len(), 5);
    assert!(all.is_sorted_by(|a, b| a.conversation_id < b.conversation_id));

    for limit in [ReadLimit { count: 2, ..ALL }, ReadLimit { size: 1, ..ALL }] {
        let mut listed = Vec::new();
        loop {
            let after = listed.last().map(conversation_id);
            let page = world.store.conversations(alice.id(), after, limit).await;
            let (page, complete) = page.unwrap();
            listed.extend(page);
            if complete {
                break;
            }
        }
        assert_eq!(listed, all);
    }
}

pub(in crate::store) async fn history_is_read_both_ways(world: World) {
    let alice = world.player("alice").await;
    let notes: Vec<Append> = (0..9).map(|_| world.to(&alice, &alice, "note")).collect();
    let conversation = world.append(&notes).await.events[0].conversation;
    for (from, limit, expected, complete) in [
        (HistoryFrom::Before(seq(8)), 3, vec![5, 6, 7], false),
        (HistoryFrom::Before(seq(4)), 3, vec![1, 2, 3], true),
        (HistoryFrom::Before(seq(0)), 3, vec![], true),
        (HistoryFrom::Before(seq(u64::MAX)), 1, vec![9], false),
        (HistoryFrom::After(seq(2)), 3, vec![3, 4, 5], false),
        (HistoryFrom::After(seq(6)), 3, vec![7, 8, 9], true),
        (HistoryFrom::After(seq(u64::MAX)), 3, vec![], true),
    ] {
        let request = FetchHistory {
            conversation,
            from,
            limit,
        };
        let page = world
            .store
            .history(alice.id(), request)
            .await
            .unwrap()
            .unwrap();
        let read = (seqs(&page.events), page.complete);
        assert_eq!(read, (expected, complete), "{from:?}");
    }
}

pub(in crate::store) async fn a_snapshot_has_the_newest_events_of_each_conversation(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    let coffee = world.group(&alice, &[&bob]).await;
    let many: Vec<Append> = (0..60).map(|_| world.post(&alice, tea, "tea?")).collect();
    world.append(&many).await;
    let at = world.head().await;
    world
        .accept(world.post(&alice, coffee, "too late for the snapshot"))
        .await;

    let first = SnapshotPlace {
        since: Position::ZERO.into(),
        at: at.into(),
        below: Recency::LAST,
    };
    let limit = ReadLimit { count: 1, ..ALL };
    let page = world
        .store
        .snapshot_page(bob.id(), first, None, limit)
        .await
        .unwrap();
    assert_eq!(page.conversations, [world.described(&bob, tea).await]);
    assert_eq!(seqs(&page.events), (12..=61).collect::<Vec<_>>());
    let page = world
        .store
        .snapshot_page(bob.id(), page.next.unwrap(), None, limit)
        .await
        .unwrap();
    assert_eq!(page.conversations, [world.described(&bob, coffee).await]);
    assert_eq!((seqs(&page.events), page.next), (vec![1], None));

    let nothing_new = SnapshotPlace {
        since: at.into(),
        ..first
    };
    let page = world
        .store
        .snapshot_page(bob.id(), nothing_new, None, ALL)
        .await
        .unwrap();
    assert_eq!((page.conversations, page.next), (vec![], None));
}

/// D11. Not in the suite: only the engine's own tests can begin an epoch, which
/// `begin` does with this number, where the log is now.
pub(in crate::store) async fn a_snapshot_says_what_histories_share(
    world: World,
    begin: impl AsyncFn(u64),
) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    let left = world.group(&alice, &[&bob]).await;
    world.remove(&alice, left, &bob).await;
    world.accept(world.post(&alice, left, "without bob")).await;
    begin(5).await;
    world.accept(world.to(&alice, &bob, "two")).await;
    world.accept(world.to(&bob, &alice, "three")).await;
    begin(7).await;
    world.accept(world.to(&alice, &bob, "four")).await;
    let young = world.group(&alice, &[&bob]).await;
    let place = SnapshotPlace {
        since: Positions::origin(world.store.shard_count()),
        at: world.heads().await,
        below: Recency::LAST,
    };
    for (held, expected) in [
        (None, [None; 3]),
        (Some(1), [Some(1), Some(2), Some(0)]),
        (Some(5), [Some(3), Some(2), Some(0)]),
        (Some(6), [Some(0); 3]),
        (Some(8), [Some(0); 3]),
    ] {
        let page = world.store.snapshot_page(bob.id(), place, held, ALL).await;
        let described = page.unwrap().conversations;
        let common = [direct, left, young].map(|id| {
            let mut described = described.iter();
            described
                .find(|it| conversation_id(it) == id)
                .unwrap()
                .common_seq
        });
        assert_eq!(common, expected, "{held:?}");
    }
}

pub(in crate::store) async fn a_user_without_conversations_has_caught_up(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[]).await;
    world
        .accept(world.request(&alice, Command::LeaveGroup { conversation: tea }))
        .await;
    let page = world.page(&bob, Position::ZERO, ALL).await;
    assert_eq!((page.upto, page.complete), (world.heads().await, true));
    assert_eq!(page.events, []);
}

/// Delivered and read mark of a member, as another one sees them.
async fn member(world: &World, seen_by: &Player, of: ConversationId, who: &Player) -> (u64, u64) {
    let described = world.described(seen_by, of).await;
    let who = who.id().to_wire();
    let mut members = described.members.into_iter();
    let member = members.find(|member| member.user.as_ref().unwrap().user_id == who);
    let member = member.unwrap();
    (member.delivered_seq, member.read_seq)
}

pub(super) fn conversation_id(of: &magpie_protocol::wire::v1::Conversation) -> ConversationId {
    ConversationId::try_from(of.conversation_id.as_ref()).unwrap()
}
