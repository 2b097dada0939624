//! Who is whose friend.

use magpie_protocol::{
    friendship::{FriendAction, Friendship},
    id::{ConversationId, DeviceId, MessageId},
    limits::FRIEND_REQUESTS_MAX,
    wire::v1::event_content::Kind,
};

use super::{
    Player, World,
    blocks::{block, got, shown, unblock},
    decoded,
    wakes::{candidates, with_push},
};
use crate::store::{
    AccountChange, Actor, Addressed, Append, Command, Departure, Outcome, Refusal,
    direct_conversation,
};

use FriendAction::{Accept, Cancel, Remove, Request};

fn change(world: &World, by: &Player, whom: &Player, action: FriendAction) -> Append {
    let name = whom.name();
    world.request(by, Command::ChangeFriendship { name, action })
}

pub(in crate::store) async fn befriend(
    world: &World,
    by: &Player,
    whom: &Player,
    action: FriendAction,
) -> u64 {
    world.accept(change(world, by, whom, action)).await.1
}

async fn refused(world: &World, by: &Player, whom: &Player, action: FriendAction) -> Refusal {
    world.refuse(change(world, by, whom, action)).await
}

fn direct(one: &Player, other: &Player) -> ConversationId {
    direct_conversation(one.id(), other.id())
}

/// How a user and another stand, as the user is told.
async fn told(world: &World, user: &Player, other: &Player) -> (Friendship, u64) {
    let described = world.described(user, direct(user, other)).await;
    let friendship = Friendship::from_number(described.friendship.into()).unwrap();
    (friendship, described.friendship_seq)
}

async fn are_friends(world: &World, user: &Player, other: &Player) -> bool {
    let are = world.store.are_friends(user.id(), other.id()).await;
    assert_eq!(
        are,
        world.store.are_friends(other.id(), user.id()).await,
        "both or none"
    );
    are.unwrap()
}

pub(in crate::store) async fn two_are_friends_when_both_want_it(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let request = change(&world, &alice, &bob, Request);
    let asked = world.append(std::slice::from_ref(&request)).await;
    assert_eq!(world.append(&[request]).await.outcomes, asked.outcomes);
    let [event] = asked.events.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(event.conversation, direct(&alice, &bob));
    let mut members = [alice.id(), bob.id()];
    members.sort();
    let joined = crate::store::MembershipChange::Joined(members.to_vec());
    assert_eq!(event.change, Some(joined), "it begins the conversation");
    assert_eq!(told(&world, &alice, &bob).await, (Friendship::Asked, 1));
    assert_eq!(told(&world, &bob, &alice).await, (Friendship::WasAsked, 1));
    assert!(!are_friends(&world, &alice, &bob).await);
    // As it is read again.
    let page = world.all(&bob, direct(&alice, &bob)).await;
    assert_eq!(page.events, asked.events);
    assert_eq!(
        refused(&world, &alice, &bob, Request).await,
        Refusal::NothingToDo
    );
    assert_eq!(
        refused(&world, &alice, &bob, Accept).await,
        Refusal::NotAsked
    );

    befriend(&world, &bob, &alice, Accept).await;
    assert!(are_friends(&world, &alice, &bob).await);
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        assert_eq!(told(&world, one, other).await, (Friendship::Friends, 2));
        let friends = world.store.friends(one.id(), 10).await;
        assert_eq!(friends, Ok(vec![other.id()]));
        for action in [Request, Accept] {
            let refusal = refused(&world, one, other, action).await;
            assert_eq!(refusal, Refusal::NothingToDo);
        }
    }
    let counts = world.described(&bob, direct(&alice, &bob)).await.counts;
    assert_eq!(counts.unwrap().messages, 0, "it is no message");

    befriend(&world, &alice, &bob, Remove).await;
    assert!(!are_friends(&world, &alice, &bob).await);
    assert_eq!(world.store.friends(bob.id(), 10).await, Ok(vec![]));
    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        assert_eq!(told(&world, one, other).await, (Friendship::None, 3));
        for action in [Remove, Cancel] {
            let refusal = refused(&world, one, other, action).await;
            assert_eq!(refusal, Refusal::NothingToDo);
        }
    }
}

pub(in crate::store) async fn who_asks_whom_has_asked_them_accepts(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let carol = world.player("carol").await;
    // Both at once, in one batch, behind a message and before one.
    let batch = [
        world.to(&bob, &alice, "hello"),
        change(&world, &alice, &bob, Request),
        change(&world, &bob, &alice, Request),
        world.to(&bob, &alice, "friends"),
        change(&world, &carol, &carol, Request),
    ];
    let appended = world.append(&batch).await;
    let refusal = Outcome::Refused(Refusal::NotPossible);
    assert_eq!(appended.outcomes[4], refusal, "nobody is their own");
    assert!(are_friends(&world, &alice, &bob).await);
    let kinds = appended.events.iter();
    let kinds: Vec<Kind> = kinds.map(|it| got(it, &alice).unwrap()).collect();
    assert!(matches!(kinds[1], Kind::FriendRequested(_)));
    assert!(matches!(&kinds[2], Kind::FriendshipChanged(it) if it.friends));
    assert_eq!(told(&world, &alice, &bob).await, (Friendship::Friends, 3));
}

/// Until they are friends, and they may be asked again when they were.
pub(in crate::store) async fn nobody_is_asked_more_than_three_times(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    for _ in 0..FRIEND_REQUESTS_MAX {
        befriend(&world, &alice, &bob, Request).await;
        befriend(&world, &alice, &bob, Cancel).await;
        assert_eq!(told(&world, &bob, &alice).await.0, Friendship::None);
    }
    let refusal = refused(&world, &alice, &bob, Request).await;
    assert_eq!(refusal, Refusal::AskedEnough);
    assert_eq!(
        refused(&world, &bob, &alice, Accept).await,
        Refusal::NotAsked
    );
    befriend(&world, &bob, &alice, Request).await;
    befriend(&world, &alice, &bob, Request).await;
    assert!(are_friends(&world, &alice, &bob).await);
    befriend(&world, &bob, &alice, Remove).await;
    befriend(&world, &alice, &bob, Request).await;
    assert_eq!(told(&world, &bob, &alice).await.0, Friendship::WasAsked);
}

/// D10.
pub(in crate::store) async fn who_is_blocked_asks_in_vain_and_is_not_told(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let direct = direct(&alice, &bob);
    block(&world, &bob, &alice).await;
    befriend(&world, &alice, &bob, Request).await;
    befriend(&world, &alice, &bob, Cancel).await;
    befriend(&world, &alice, &bob, Request).await;
    unblock(&world, &bob, &alice).await;
    assert_eq!(told(&world, &alice, &bob).await, (Friendship::Asked, 3));
    assert_eq!(told(&world, &bob, &alice).await, (Friendship::None, 0));
    assert_eq!(shown(&world, &bob, direct).await, [0; 0]);
    // Unblocked, what was hidden stays so; and the one who blocked may ask.
    assert_eq!(
        refused(&world, &bob, &alice, Accept).await,
        Refusal::NotAsked
    );
    befriend(&world, &bob, &alice, Request).await;
    assert!(are_friends(&world, &alice, &bob).await);
    assert_eq!(shown(&world, &bob, direct).await, [4]);

    // Nobody is the friend of somebody who does not know.
    befriend(&world, &bob, &alice, Remove).await;
    befriend(&world, &bob, &alice, Request).await;
    block(&world, &bob, &alice).await;
    befriend(&world, &alice, &bob, Accept).await;
    assert_eq!(told(&world, &alice, &bob).await, (Friendship::Friends, 7));
    assert_eq!(told(&world, &bob, &alice).await, (Friendship::Asked, 6));
    assert!(!are_friends(&world, &alice, &bob).await);
    // What takes something back is as visible as that was.
    befriend(&world, &alice, &bob, Remove).await;
    assert_eq!(told(&world, &bob, &alice).await, (Friendship::Asked, 6));
    befriend(&world, &bob, &alice, Cancel).await;
    assert_eq!(shown(&world, &bob, direct).await, [4, 5, 6, 9]);
    assert_eq!(
        shown(&world, &alice, direct).await,
        (1..9).collect::<Vec<_>>()
    );
}

/// D10.
pub(in crate::store) async fn who_thinks_that_they_are_friends_is_not_told_again(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    block(&world, &alice, &bob).await;
    befriend(&world, &alice, &bob, Request).await;
    befriend(&world, &bob, &alice, Accept).await;
    befriend(&world, &alice, &bob, Request).await;
    assert!(are_friends(&world, &alice, &bob).await);
    assert_eq!(told(&world, &alice, &bob).await, (Friendship::Friends, 3));
    assert_eq!(told(&world, &bob, &alice).await, (Friendship::Friends, 2));
    assert_eq!(shown(&world, &bob, direct(&alice, &bob)).await, [1, 2]);
}

/// D8. A request is meant for whom it asks; nothing else of a friendship wakes.
pub(in crate::store) async fn a_friend_request_wakes(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let direct = direct(&alice, &bob);
    with_push(&world, &bob).await;
    befriend(&world, &alice, &bob, Request).await;
    let asked = world.head().await;
    befriend(&world, &bob, &alice, Accept).await;
    befriend(&world, &alice, &bob, Remove).await;
    block(&world, &bob, &alice).await;
    befriend(&world, &alice, &bob, Request).await;
    let worthy = world.store.worthy_events(super::Position::ZERO, 100).await;
    let worthy: Vec<_> = worthy
        .unwrap()
        .events
        .iter()
        .map(|it| it.position)
        .collect();
    assert_eq!(worthy, [asked]);
    unblock(&world, &bob, &alice).await;
    assert_eq!(candidates(&world, direct, asked).await.len(), 1);
    let addressed = world.store.addressed(&[asked]).await;
    let everybody = Addressed {
        position: asked,
        everybody: true,
        users: Vec::new(),
    };
    assert_eq!(addressed, Ok(vec![everybody]));
}

pub(in crate::store) async fn who_is_deleted_is_nobodys_friend(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (carol, dave) = (world.player("carol").await, world.player("dave").await);
    let eve = world.player("eve").await;
    befriend(&world, &alice, &bob, Request).await;
    befriend(&world, &bob, &alice, Accept).await;
    befriend(&world, &alice, &carol, Request).await;
    befriend(&world, &dave, &alice, Request).await;
    befriend(&world, &alice, &eve, Request).await;
    befriend(&world, &alice, &eve, Cancel).await;
    let delete = AccountChange::Delete;
    let deleted = world.store.change_account(alice.id(), None, &delete).await;
    assert!(deleted.unwrap().is_some());
    let departures = world.store.departures(None, 100).await.unwrap();
    let mut left: Vec<_> = departures.iter().map(|it| it.conversation).collect();
    left.sort();
    let mut expected = [&bob, &carol, &dave].map(|other| direct(&alice, other));
    expected.sort();
    assert_eq!(left, expected);
    let leave = |departure: &Departure| Append {
        actor: Actor {
            user: departure.user,
            device: DeviceId::new([0; 16]),
        },
        id: MessageId::new(world.fresh()),
        command: Command::LeaveGroup {
            conversation: departure.conversation,
        },
    };
    let batch: Vec<Append> = departures.iter().map(leave).collect();
    let appended = world.append(&batch).await;
    assert_eq!(appended.events.len(), 3);
    for event in &appended.events {
        assert_eq!(event.change, None, "the conversation stays");
        assert_eq!(decoded(event).sender.unwrap().name, "");
    }
    assert_eq!(world.store.departures(None, 100).await, Ok(vec![]));
    for other in [&bob, &carol, &dave] {
        assert_eq!(told(&world, other, &alice).await.0, Friendship::None);
        assert_eq!(world.store.friends(other.id(), 10).await, Ok(vec![]));
    }
    let again: Vec<Append> = departures.iter().map(leave).collect();
    let refused = Outcome::Refused(Refusal::NotFound);
    assert_eq!(world.append(&again).await.outcomes, vec![refused; 3]);
    // Those who are there leave no friends so.
    let unfriend = Command::LeaveGroup {
        conversation: direct(&bob, &alice),
    };
    let refusal = world.refuse(world.request(&bob, unfriend)).await;
    assert_eq!(refusal, Refusal::NotPossible);
}
