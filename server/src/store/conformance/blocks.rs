//! Who blocks whom, and what is hidden for it.

use magpie_protocol::{
    id::ConversationId,
    limits::PINS_MAX,
    setting::Setting,
    wire::{FetchMembers, v1, v1::event_content::Kind},
};
use prost::Message as _;

use super::{
    ALL, NOON, Player, World, create,
    messages::{delete, edit, react, unreact},
    pins::pin,
    seqs,
    wakes::{candidates, due, record, with_push},
};
use crate::store::{
    AccountChange, Append, Attachment, Command, Confirm, DEADLINE_MS_MAX, LogEvent, Outcome,
    Refusal, Shard, direct_conversation,
};

fn set(world: &World, by: &Player, whom: &Player, blocked: bool) -> Append {
    let user = whom.id();
    let setting = Setting::Block { user, blocked };
    world.request(by, Command::ChangeAccount { setting })
}

pub(in crate::store) async fn block(world: &World, by: &Player, whom: &Player) {
    world.accept(set(world, by, whom, true)).await;
}

pub(in crate::store) async fn unblock(world: &World, by: &Player, whom: &Player) {
    world.accept(set(world, by, whom, false)).await;
}

/// What a reader gets of an event: `None` of what is hidden from them, of which nothing
/// but its place is told.
pub(super) fn got(event: &LogEvent, reader: &Player) -> Option<Kind> {
    let event = v1::Event::decode(event.encoded_for(reader.id())).unwrap();
    let content = event.content.clone().unwrap().kind.unwrap();
    if content != Kind::Hidden(v1::Hidden {}) {
        return Some(content);
    }
    let alone = v1::Event {
        conversation_id: event.conversation_id.clone(),
        seq: event.seq,
        content: event.content.clone(),
        ..v1::Event::default()
    };
    assert_eq!(event, alone);
    None
}

/// The places of what a user is shown of a conversation.
pub(super) async fn shown(world: &World, of: &Player, conversation: ConversationId) -> Vec<u64> {
    let page = world.all(of, conversation).await;
    let shown = page.events.iter().filter(|it| got(it, of).is_some());
    shown.map(|event| event.seq.get()).collect()
}

async fn there(world: &World, for_whom: &Player, of: ConversationId) -> (u64, u64) {
    let counts = world.described(for_whom, of).await.counts.unwrap();
    (counts.messages, counts.mentions)
}

fn mentioning(world: &World, by: &Player, to: ConversationId, whom: &Player) -> Append {
    let mention = v1::Mention {
        user_id: whom.id().to_wire(),
        start: 0,
        length: 4,
    };
    let message = v1::Message {
        mentions: vec![mention],
        ..v1::Message::from("@bob")
    };
    let to = magpie_protocol::wire::Target::Conversation(to);
    let message = message.try_into().unwrap();
    world.request(by, Command::SendMessage { to, message })
}

/// D10.
pub(in crate::store) async fn what_somebody_blocked_says_is_hidden_for_ever(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    block(&world, &bob, &alice).await;
    let after = world.heads().await;
    // By name, by conversation, with a mention, and among what the other says.
    let batch = [
        world.to(&alice, &bob, "two"),
        world.post(&bob, direct, "three"),
        mentioning(&world, &alice, direct, &bob),
        world.post(&alice, direct, "five"),
        mentioning(&world, &bob, direct, &alice),
    ];
    let appended = world.append(&batch).await;
    let accepted = |it: &Outcome| matches!(it, Outcome::Accepted { .. });
    assert!(appended.outcomes.iter().all(accepted));
    assert_eq!(world.append(&batch).await.outcomes, appended.outcomes);
    world.accept(world.post(&alice, direct, "seven")).await;
    assert_eq!(there(&world, &bob, direct).await, (1, 0));
    assert_eq!(there(&world, &alice, direct).await, (2, 1));

    unblock(&world, &bob, &alice).await;
    world.accept(mentioning(&world, &alice, direct, &bob)).await;
    assert_eq!(there(&world, &bob, direct).await, (2, 1));
    assert_eq!(shown(&world, &bob, direct).await, [1, 3, 6, 8]);
    assert_eq!(
        shown(&world, &alice, direct).await,
        (1..9).collect::<Vec<_>>()
    );
    for (reader, expected) in [(&bob, 3), (&alice, 7)] {
        let page = world.page(reader, after, ALL).await;
        let of_direct = page.events.iter().filter(|it| it.conversation == direct);
        let of_direct: Vec<_> = of_direct.cloned().collect();
        assert_eq!(
            seqs(&of_direct),
            (2..9).collect::<Vec<_>>(),
            "without a hole"
        );
        let shown = of_direct.iter().filter(|it| got(it, reader).is_some());
        assert_eq!(shown.count(), expected);
    }
    // As it is read again, by other nodes.
    let shard = Shard::of_conversation(direct, world.store.shard_count());
    let stretch = world.store.stretch(after.in_shard(shard), ALL).await;
    let read = stretch.unwrap().events;
    assert!(appended.events.iter().all(|it| read.contains(it)));
}

/// D10. The other is not told that they are blocked by that there is no conversation.
pub(in crate::store) async fn the_first_words_of_somebody_blocked_are_hidden(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    block(&world, &bob, &alice).await;
    let (direct, seq) = world.accept(world.to(&alice, &bob, "one")).await;
    assert_eq!(seq, 1);
    assert_eq!(shown(&world, &bob, direct).await, [0; 0]);
    assert_eq!(shown(&world, &alice, direct).await, [1]);
    assert_eq!(there(&world, &bob, direct).await, (0, 0));
    world.accept(world.to(&bob, &alice, "two")).await;
    assert_eq!(shown(&world, &alice, direct).await, [1, 2]);
    // Nothing else of either is.
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, tea, "to all")).await;
    assert_eq!(shown(&world, &bob, tea).await, [1, 2]);
    let refused = world.refuse(set(&world, &bob, &bob, true)).await;
    assert_eq!(refused, Refusal::NotPossible);
}

/// D10. A direct conversation is told from the others that are there, and were before it.
pub(in crate::store) async fn what_somebody_blocked_does_is_hidden_whatever_else_there_is(
    world: World,
) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    world.make(&bob, create("Tea", &[&alice])).await;
    block(&world, &bob, &alice).await;
    let (direct, at) = world.accept(world.to(&bob, &alice, "one")).await;
    let (_, own) = world.accept(world.to(&alice, &bob, "two")).await;
    world.make(&alice, react(direct, at, "👍")).await;
    world.make(&alice, edit(direct, own, "2")).await;
    assert_eq!(shown(&world, &bob, direct).await, [1]);
    assert_eq!(shown(&world, &alice, direct).await, [1, 2, 3, 4]);
}

pub(in crate::store) async fn what_is_hidden_is_not_there_for_the_other(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    block(&world, &bob, &alice).await;
    let (_, hidden) = world.accept(world.to(&alice, &bob, "two")).await;
    unblock(&world, &bob, &alice).await;
    for command in [
        react(direct, hidden, "👍"),
        delete(direct, hidden),
        edit(direct, hidden, "mine"),
    ] {
        assert_eq!(world.refused(&bob, command).await, Refusal::NotFound);
    }
    // What becomes of it is hidden, too.
    for command in [
        edit(direct, hidden, "three"),
        react(direct, hidden, "👍"),
        unreact(direct, hidden, "👍"),
        react(direct, hidden, "👀"),
    ] {
        world.make(&alice, command).await;
    }
    assert_eq!(shown(&world, &bob, direct).await, [1]);
    assert_eq!(world.all(&bob, direct).await.states, []);
    assert_eq!(world.all(&alice, direct).await.states.len(), 1);
    world.make(&alice, delete(direct, hidden)).await;
    assert_eq!(shown(&world, &bob, direct).await, [1]);
}

/// D2. What was deleted is nowhere, also where its sender is blocked.
pub(in crate::store) async fn what_takes_back_what_was_seen_is_seen(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    let (_, other) = world.accept(world.to(&bob, &alice, "two")).await;
    world.make(&alice, react(direct, other, "👍")).await;
    block(&world, &bob, &alice).await;
    let hidden = world.make(&alice, edit(direct, 1, "spam")).await;
    world.make(&alice, react(direct, other, "👀")).await;
    assert_eq!(
        (hidden, shown(&world, &bob, direct).await),
        (4, vec![1, 2, 3])
    );
    let states = world.all(&bob, direct).await.states;
    assert_eq!(states.len(), 1, "{states:?}");
    assert_eq!((states[0].seq, states[0].reactions.len()), (other, 1));
    let states = world.all(&alice, direct).await.states;
    assert_eq!((states.len(), states[1].reactions.len()), (2, 2));

    for command in [
        unreact(direct, other, "👍"),
        unreact(direct, other, "👀"),
        delete(direct, 1),
    ] {
        world.make(&alice, command).await;
    }
    assert_eq!(shown(&world, &bob, direct).await, [1, 2, 3, 6, 8]);
    assert_eq!(world.all(&bob, direct).await.states, []);
}

/// D8, and nobody is woken by whom they block, also in a group.
pub(in crate::store) async fn nobody_is_woken_by_whom_they_block(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    let first = world.head().await;
    let tea = world.group(&alice, &[&bob]).await;
    assert_eq!(record(&world, phone, first, NOON).await.len(), 1);
    block(&world, &bob, &alice).await;
    let after = world.head().await;
    world.make(&alice, edit(direct, 1, "spam")).await;
    world.accept(world.to(&alice, &bob, "two")).await;
    let hidden = world.head().await;
    world.accept(world.post(&alice, tea, "three")).await;
    let in_group = world.head().await;
    let worthy = world.store.worthy_events(after, 100).await.unwrap().events;
    let worthy: Vec<_> = worthy.iter().map(|it| it.position).collect();
    assert_eq!(worthy, [in_group]);
    assert_eq!(candidates(&world, tea, in_group).await, []);
    let previews = world.store.previews(&[first, hidden]).await.unwrap();
    let texts: Vec<_> = previews.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(texts, ["one"]);
    // Nor is a wake for what they said before tried again.
    let later = NOON + DEADLINE_MS_MAX;
    assert_eq!(due(&world, later).await, []);
    unblock(&world, &bob, &alice).await;
    world.accept(world.post(&alice, tea, "four")).await;
    let last = world.head().await;
    assert_eq!(candidates(&world, tea, last).await.len(), 1);
}

/// How far a member has come, as another is told: stored, and read.
pub(super) async fn told(
    world: &World,
    to: &Player,
    of: &Player,
    in_which: ConversationId,
) -> (u64, u64) {
    let described = world.described(to, in_which).await;
    let is_wanted = |it: &&v1::Member| it.user.as_ref().unwrap().user_id == of.id().to_wire();
    let found = described.members.iter().find(is_wanted).unwrap();
    let request = FetchMembers {
        conversation: in_which,
        after: None,
        limit: 10,
    };
    let members = world.store.members(to.id(), request).await.unwrap();
    let members = members.unwrap().members;
    let listed = members.iter().find(is_wanted).unwrap();
    assert_eq!(listed.read_seq, found.read_seq);
    (found.delivered_seq, found.read_seq)
}

/// A player's device has stored everything so far, on a connection of its own.
pub(super) async fn stored(world: &World, of: &Player) {
    let device = of.actor.device;
    let begun = magpie_protocol::seq::Position::ZERO;
    let generation = super::wakes::attach(world, device, begun, Attachment::Foreground).await;
    let confirm = Confirm {
        device,
        generation,
        cursor: world.heads().await,
    };
    world.store.confirm(&[confirm]).await.unwrap();
}

/// D10.
pub(in crate::store) async fn who_is_blocked_learns_not_how_far_the_other_has_come(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let device = bob.actor.device;
    let store = || stored(&world, &bob);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    world.mark(&bob, direct, 1).await;
    world.accept(world.to(&alice, &bob, "two")).await;
    store().await;
    assert_eq!(told(&world, &alice, &bob, direct).await, (2, 1));
    assert_eq!(world.store.silent(&[(bob.id(), direct)]).await, Ok(vec![]));

    block(&world, &bob, &alice).await;
    world.accept(world.to(&alice, &bob, "three")).await;
    world.mark(&bob, direct, 3).await;
    store().await;
    // Blocked once more, nothing is told anew.
    block(&world, &bob, &alice).await;
    assert_eq!(told(&world, &alice, &bob, direct).await, (2, 1));
    assert_eq!(told(&world, &bob, &bob, direct).await, (3, 3));
    let both = [(alice.id(), direct), (bob.id(), direct)];
    let silent = world.store.silent(&both).await;
    assert_eq!(silent, Ok(vec![(bob.id(), direct)]));
    assert_eq!(direct, direct_conversation(alice.id(), bob.id()));

    unblock(&world, &bob, &alice).await;
    assert_eq!(told(&world, &alice, &bob, direct).await, (3, 3));
    assert_eq!(world.store.silent(&[(bob.id(), direct)]).await, Ok(vec![]));
    // Nobody is silent for somebody who is gone.
    block(&world, &bob, &alice).await;
    let delete = AccountChange::Delete;
    let deleted = world.store.change_account(bob.id(), None, &delete).await;
    assert_eq!(deleted, Ok(Some(vec![device])));
    assert_eq!(world.store.silent(&[(bob.id(), direct)]).await, Ok(vec![]));
}

/// D10.
pub(in crate::store) async fn what_somebody_blocked_pins_is_pinned_for_them_alone(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&bob, &alice, "one")).await;
    world.accept(world.to(&bob, &alice, "two")).await;
    block(&world, &bob, &alice).await;
    world.make(&alice, pin(direct, 1, true)).await;
    assert_eq!(shown(&world, &bob, direct).await, [1, 2]);
    assert_eq!(world.pinned(&alice, direct).await, [1]);
    assert_eq!(world.pinned(&bob, direct).await, [0; 0]);
    let not_theirs = world.refused(&bob, pin(direct, 1, false)).await;
    assert_eq!(not_theirs, Refusal::NothingToDo);
    // Taken off, it is as hidden as it was.
    world.make(&alice, pin(direct, 1, false)).await;
    assert_eq!(shown(&world, &bob, direct).await, [1, 2]);
    world.make(&alice, pin(direct, 1, true)).await;
    // It is the other's as well, once they pin it, and comes off for both.
    world.make(&bob, pin(direct, 1, true)).await;
    assert_eq!(world.pinned(&bob, direct).await, [1]);
    world.make(&alice, pin(direct, 1, false)).await;
    assert_eq!(shown(&world, &bob, direct).await, [1, 2, 6, 7]);
    for of in [&alice, &bob] {
        assert_eq!(world.pinned(of, direct).await, [0; 0]);
    }
}

/// D10. Of two who block each other, each has what they pinned, and knows of nothing else.
pub(in crate::store) async fn who_block_each_other_pin_for_themselves(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    for _ in 0..PINS_MAX {
        world.accept(world.to(&alice, &bob, "more")).await;
    }
    block(&world, &alice, &bob).await;
    block(&world, &bob, &alice).await;
    let both = async || {
        let of = [&alice, &bob].map(|of| world.pinned(of, direct));
        let [of_alice, of_bob] = of;
        (of_alice.await, of_bob.await)
    };
    for by in [&alice, &bob] {
        world.make(by, pin(direct, 1, true)).await;
        let again = pin(direct, 1, true);
        assert_eq!(world.refused(by, again).await, Refusal::NothingToDo);
    }
    assert_eq!(both().await, (vec![1], vec![1]));
    world.make(&alice, pin(direct, 1, false)).await;
    assert_eq!(both().await, (vec![], vec![1]));
    let none = pin(direct, 1, false);
    assert_eq!(world.refused(&alice, none).await, Refusal::NothingToDo);
    // As many as there may be for one are none for the other.
    for at in 2..=PINS_MAX {
        world.make(&bob, pin(direct, at, true)).await;
    }
    let one_more = pin(direct, PINS_MAX + 1, true);
    assert_eq!(
        world.refused(&bob, one_more.clone()).await,
        Refusal::TooManyPins
    );
    world.make(&alice, one_more).await;
    world.make(&alice, delete(direct, 2)).await;
    let (of_alice, of_bob) = both().await;
    assert_eq!(of_alice, [PINS_MAX + 1]);
    assert_eq!(of_bob.len() as u64, PINS_MAX - 1, "but what is deleted");
}
