//! What is pinned.

use magpie_protocol::{
    id::ConversationId,
    limits::PINS_MAX,
    role::Role,
    wire::v1::{self, event_content::Kind},
};

use super::{
    Player, World, add,
    messages::{delete, kind},
    seq,
};
use crate::store::{Append, Command, Refusal};

pub(super) fn pin(conversation: ConversationId, at: u64, pinned: bool) -> Command {
    Command::Pin {
        conversation,
        seq: seq(at),
        pinned,
    }
}

impl World {
    pub(super) async fn pinned(&self, of: &Player, conversation: ConversationId) -> Vec<u64> {
        self.described(of, conversation).await.pinned_seqs
    }
}

/// D3.
pub(in crate::store) async fn a_message_is_pinned_and_taken_off_once(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    for text in ["one", "two"] {
        world.accept(world.post(&bob, tea, text)).await;
    }
    let request = world.request(&alice, pin(tea, 3, true));
    let committed = world.append(std::slice::from_ref(&request)).await;
    let pinned = v1::Pinned {
        seq: 3,
        pinned: true,
    };
    assert_eq!(kind(&committed.events[0]), Kind::Pinned(pinned));
    assert_eq!(committed.events[0].change, None);
    assert_eq!(world.accept(request.clone()).await.1, 4);
    let other = Append {
        command: pin(tea, 3, false),
        ..request.clone()
    };
    assert_eq!(world.refuse(other).await, Refusal::Conflict);
    let again = pin(tea, 3, true);
    assert_eq!(world.refused(&alice, again).await, Refusal::NothingToDo);
    let none = pin(tea, 2, false);
    assert_eq!(world.refused(&alice, none).await, Refusal::NothingToDo);
    world.make(&alice, pin(tea, 2, true)).await;
    assert_eq!(world.pinned(&bob, tea).await, [2, 3]);
    world.make(&alice, pin(tea, 3, false)).await;
    assert_eq!(world.pinned(&bob, tea).await, [2]);
    // The first one again: it was done, and is not done again.
    assert_eq!(world.accept(request).await.1, 4);
    assert_eq!(world.pinned(&bob, tea).await, [2]);
}

/// D12.
pub(in crate::store) async fn messages_are_pinned_by_who_may(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let eve = world.player("eve").await;
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&bob, tea, "mine")).await;
    for (by, command, expected) in [
        (&bob, pin(tea, 2, true), Refusal::NotAllowed),
        (&eve, pin(tea, 2, true), Refusal::NotFound),
        (&alice, pin(tea, 1, true), Refusal::NotPossible),
        (&alice, pin(tea, 9, true), Refusal::NotFound),
    ] {
        assert_eq!(world.refused(by, command).await, expected);
    }
    let role = Command::SetRole {
        conversation: tea,
        name: bob.name(),
        role: Role::Admin,
    };
    world.make(&alice, role).await;
    world.make(&bob, pin(tea, 2, true)).await;
    world.accept(world.to(&alice, &bob, "hello")).await;
    let (direct, _) = world.accept(world.to(&bob, &alice, "hi")).await;
    world.make(&bob, pin(direct, 1, true)).await;
    world.make(&alice, pin(direct, 2, true)).await;
    world.make(&alice, pin(direct, 1, false)).await;
    assert_eq!(world.pinned(&bob, direct).await, [2]);
}

pub(in crate::store) async fn a_deleted_message_is_not_pinned(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&bob, tea, "mine")).await;
    world.make(&alice, pin(tea, 2, true)).await;
    world.make(&bob, delete(tea, 2)).await;
    assert_eq!(world.pinned(&bob, tea).await, [0; 0]);
    let off = pin(tea, 2, false);
    assert_eq!(world.refused(&alice, off).await, Refusal::NothingToDo);
    let on = pin(tea, 2, true);
    assert_eq!(world.refused(&alice, on).await, Refusal::Deleted);
}

/// D9.
pub(in crate::store) async fn so_many_messages_are_pinned(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    for at in 2..=PINS_MAX + 2 {
        world.accept(world.post(&alice, tea, &at.to_string())).await;
    }
    for at in 2..=PINS_MAX + 1 {
        world.make(&alice, pin(tea, at, true)).await;
    }
    let one_more = pin(tea, PINS_MAX + 2, true);
    let refusal = world.refused(&alice, one_more.clone()).await;
    assert_eq!(refusal, Refusal::TooManyPins);
    world.make(&alice, pin(tea, 7, false)).await;
    world.make(&alice, one_more).await;
    let pinned = world.pinned(&bob, tea).await;
    assert_eq!(pinned.len() as u64, PINS_MAX);
    assert!(pinned.is_sorted());
}

/// D10.
pub(in crate::store) async fn what_is_pinned_is_told_to_who_may_read_it(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let carol = world.player("carol").await;
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, tea, "before")).await;
    world.make(&alice, pin(tea, 2, true)).await;
    world.make(&alice, add(tea, &[&carol])).await;
    world.accept(world.post(&alice, tea, "behind")).await;
    world.make(&alice, pin(tea, 5, true)).await;
    assert_eq!(world.pinned(&carol, tea).await, [5]);
    world.remove(&alice, tea, &bob).await;
    assert_eq!(world.pinned(&bob, tea).await, [0; 0]);
}
