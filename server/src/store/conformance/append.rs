//! Messages, ids and order.

use std::sync::Arc;

use magpie_protocol::{
    id::MessageId,
    seq::Position,
    text::UserName,
    wire::{Target, v1},
};

use super::{ALL, NOON, World, add, decoded, send, seq, seqs};
use crate::store::{
    Append, MembershipChange, Outcome, ReadLimit, Refusal, Shard, direct_conversation,
};

pub(in crate::store) async fn the_first_message_makes_the_direct_conversation(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let direct = direct_conversation(alice.id(), bob.id());
    let early = world.post(&alice, direct, "is there anybody?");
    assert_eq!(world.refuse(early).await, Refusal::NotFound);

    let committed = world.append(&[world.to(&alice, &bob, "hello")]).await;
    let accepted = Outcome::Accepted {
        conversation: direct,
        seq: seq(1),
        committed_at_ms: NOON,
    };
    assert_eq!(committed.outcomes, [accepted]);
    let mut members = vec![alice.id(), bob.id()];
    members.sort();
    let change = Some(MembershipChange::Joined(members));
    assert_eq!(committed.events[0].change, change);

    assert_eq!(
        world.accept(world.to(&bob, &alice, "hi")).await,
        (direct, 2)
    );
    assert_eq!(
        world.accept(world.post(&bob, direct, "ho")).await,
        (direct, 3)
    );
}

pub(in crate::store) async fn a_note_to_oneself_has_one_member(world: World) {
    let alice = world.player("alice").await;
    let (direct, _) = world.accept(world.to(&alice, &alice, "milk")).await;
    assert_eq!(direct, direct_conversation(alice.id(), alice.id()));
    assert_eq!(world.described(&alice, direct).await.members.len(), 1);
}

/// D4, D6.
pub(in crate::store) async fn a_batch_is_stored_in_its_order_without_a_hole(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    let before = world.head().await;
    let batch: Vec<Append> = (0..20)
        .map(|number| match number % 2 {
            0 => world.to(&alice, &bob, &number.to_string()),
            _ => world.post(&bob, tea, &number.to_string()),
        })
        .collect();
    let committed = world.append(&batch).await;

    assert_eq!(committed.after, before);
    let positions: Vec<_> = committed
        .events
        .iter()
        .map(|event| event.position)
        .collect();
    assert!(positions.is_sorted_by(|a, b| a < b) && positions[0] > before);
    assert_eq!(committed.head, *positions.last().unwrap());
    let ids: Vec<_> = committed
        .events
        .iter()
        .map(|event| decoded(event).message_id)
        .collect();
    let asked: Vec<_> = batch.iter().map(|append| append.id.to_wire()).collect();
    assert_eq!(ids, asked);
    let in_tea: Vec<_> = committed
        .events
        .into_iter()
        .filter(|it| it.conversation == tea)
        .collect();
    assert_eq!(seqs(&in_tea), (2..=11).collect::<Vec<_>>());
}

/// D3.
pub(in crate::store) async fn the_same_id_is_stored_once(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let hello = world.to(&alice, &bob, "hello");
    let first = world.append(&[hello.clone(), hello.clone()]).await;
    assert_eq!(first.events.len(), 1);
    assert_eq!(first.outcomes[0], first.outcomes[1]);

    let later = world
        .store
        .append(Shard::FIRST, Arc::new([hello]), NOON + 5_000)
        .await
        .unwrap();
    assert_eq!(later.events, []);
    assert_eq!(later.outcomes[0], first.outcomes[0]);
    assert_eq!(first.head, world.head().await);
}

/// D3.
pub(in crate::store) async fn the_same_id_with_other_content_is_a_conflict(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let hello = world.to(&alice, &bob, "hello");
    world.accept(hello.clone()).await;
    let nobody = Target::User(UserName::parse("nobody").unwrap());
    for command in [
        send(Target::User(bob.name()), "another text"),
        send(Target::User(eve.name()), "hello"),
        send(nobody, "hello"),
        super::create("Tea", &[&bob]),
    ] {
        let again = Append {
            command,
            ..hello.clone()
        };
        assert_eq!(world.refuse(again).await, Refusal::Conflict);
    }
    // Also inside one batch: what came first stays.
    let first = world.to(&alice, &bob, "one");
    let second = Append {
        command: send(Target::User(bob.name()), "two"),
        ..first.clone()
    };
    let committed = world.append(&[first, second]).await;
    assert_eq!(committed.events.len(), 1);
    assert_eq!(committed.outcomes[1], Outcome::Refused(Refusal::Conflict));
}

/// D3.
pub(in crate::store) async fn a_repeat_is_answered_even_if_it_would_be_refused_now(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    let hello = world.post(&bob, tea, "hello");
    let accepted = world.accept(hello.clone()).await;
    world.remove(&alice, tea, &bob).await;
    assert_eq!(world.accept(hello).await, accepted);
    let new = world.post(&bob, tea, "am I out?");
    assert_eq!(world.refuse(new).await, Refusal::NotFound);
}

pub(in crate::store) async fn a_name_and_its_conversation_are_the_same_request(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let hello = world.to(&alice, &bob, "hello");
    let accepted = world.accept(hello.clone()).await;
    let by_conversation = Append {
        command: send(Target::Conversation(accepted.0), "hello"),
        ..hello
    };
    assert_eq!(world.accept(by_conversation).await, accepted);
}

pub(in crate::store) async fn two_users_may_use_the_same_id(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let hello = world.to(&alice, &bob, "hello");
    let copied = Append {
        id: hello.id,
        ..world.to(&bob, &alice, "hello")
    };
    assert_eq!(world.accept(hello).await.1, 1);
    assert_eq!(world.accept(copied).await.1, 2);
}

/// D4.
pub(in crate::store) async fn refused_commands_leave_no_hole(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let tea = world.group(&alice, &[&bob]).await;
    let nobody = send(Target::User(UserName::parse("nobody").unwrap()), "?");
    let committed = world
        .append(&[
            world.post(&alice, tea, "one"),
            world.post(&eve, tea, "let me in"),
            world.request(&alice, add(tea, &[&bob])),
            world.request(&alice, nobody),
            world.post(&alice, tea, "two"),
        ])
        .await;
    assert_eq!(seqs(&committed.events), [2, 3]);
    let refused = |place: usize| match committed.outcomes[place] {
        Outcome::Refused(refusal) => refusal,
        Outcome::Accepted { .. } => panic!("{place} is accepted"),
    };
    assert_eq!(refused(1), Refusal::NotFound);
    assert_eq!(refused(2), Refusal::NothingToDo);
    assert_eq!(refused(3), Refusal::NotFound);
    assert_eq!(world.accept(world.post(&bob, tea, "three")).await.1, 4);
}

pub(in crate::store) async fn the_commit_time_never_falls(world: World) {
    let alice = world.player("alice").await;
    let mut times = Vec::new();
    for at_ms in [NOON, NOON - 86_400_000, NOON + 1] {
        let batch: Arc<[Append]> = Arc::new([world.to(&alice, &alice, "tick")]);
        let committed = world
            .store
            .append(Shard::FIRST, batch, at_ms)
            .await
            .unwrap();
        times.push(decoded(&committed.events[0]).committed_at_ms);
    }
    assert_eq!(times, [NOON, NOON, NOON + 1]);
}

pub(in crate::store) async fn the_log_is_read_as_it_was_committed(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let hello = world.to(&alice, &bob, "hello");
    let mut committed = world.append(std::slice::from_ref(&hello)).await.events;
    let tea = world.request(&alice, super::create("Tea", &[&bob]));
    let (id, made) = (
        magpie_protocol::id::ConversationId::new(tea.id.bytes()),
        tea,
    );
    for request in [
        made,
        world.request(&bob, add(id, &[&eve])),
        world.request(&alice, super::remove(id, &eve)),
        world.request(&bob, crate::store::Command::LeaveGroup { conversation: id }),
    ] {
        committed.extend(world.append(&[request]).await.events);
    }
    let stretch = world.store.stretch(Position::ZERO, ALL).await.unwrap();
    assert_eq!(stretch.events, committed);
    assert_eq!(
        decoded(&stretch.events[0]),
        v1::Event {
            conversation_id: direct_conversation(alice.id(), bob.id()).to_wire(),
            seq: 1,
            sender: Some(v1::User {
                user_id: alice.id().to_wire(),
                name: "alice".to_owned(),
            }),
            message_id: MessageId::to_wire(hello.id),
            committed_at_ms: NOON,
            content: Some(v1::EventContent {
                kind: Some(v1::event_content::Kind::Message("hello".into())),
            }),
        }
    );
    let left = |who| Some(MembershipChange::Left(who));
    assert_eq!(stretch.events[3].change, left(eve.id()));
    assert_eq!(stretch.events[4].change, left(bob.id()));
}

pub(in crate::store) async fn the_log_is_read_in_stretches(world: World) {
    let alice = world.player("alice").await;
    let batch: Vec<_> = (0..5).map(|_| world.to(&alice, &alice, "note")).collect();
    let committed = world.append(&batch).await;
    let limit = ReadLimit { count: 2, size: 1 };
    let mut after = Position::ZERO;
    let mut read = Vec::new();
    loop {
        let stretch = world.store.stretch(after, limit).await.unwrap();
        assert!(stretch.events.len() <= 1);
        read.extend(stretch.events);
        after = stretch.upto;
        if stretch.complete {
            break;
        }
    }
    assert_eq!(read, committed.events);
    assert_eq!(committed.head, after);
}

pub(in crate::store) async fn nobody_is_not_found(world: World) {
    let alice = world.player("alice").await;
    let nobody = || Target::User(UserName::parse("nobody").unwrap());
    let to_nobody = world.request(&alice, send(nobody(), "hello"));
    assert_eq!(world.refuse(to_nobody).await, Refusal::NotFound);
    let mut group = world.request(&alice, super::create("Tea", &[]));
    if let crate::store::Command::CreateGroup { names, .. } = &mut group.command {
        names.push(UserName::parse("nobody").unwrap());
    }
    assert_eq!(world.refuse(group).await, Refusal::NotAddable);
}
