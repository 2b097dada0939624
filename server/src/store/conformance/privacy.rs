//! Whom users let reach them without being asked to.

use magpie_protocol::{
    friendship::FriendAction::{Accept, Cancel, Remove, Request},
    id::ConversationId,
    setting::{Reach, Setting},
};

use super::{
    NOON, Player, World, add,
    blocks::{stored, told},
    create,
    friends::befriend,
    wakes::{LATER, candidates, due, record, with_push},
};
use crate::store::{Command, DEADLINE_MS_MAX, Refusal};

pub(in crate::store) async fn let_write(world: &World, user: &Player, messages: Reach) {
    let setting = Setting::Privacy { messages };
    world
        .accept(world.request(user, Command::ChangeAccount { setting }))
        .await;
}

/// Whether what is written there is a request to the one whose device is looked at.
async fn is_request(world: &World, direct: ConversationId) -> bool {
    let head = world.head().await;
    let found = candidates(world, direct, head).await;
    let mut requests = found.iter().map(|it| it.is_request);
    let first = requests.next().unwrap();
    assert_eq!(requests.next(), None);
    first
}

/// D8. Until they are friends, or it is answered.
pub(in crate::store) async fn a_message_of_a_stranger_is_a_request(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    with_push(&world, &bob).await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    assert!(!is_request(&world, direct).await);
    let_write(&world, &bob, Reach::Friends).await;
    world.accept(world.to(&alice, &bob, "two")).await;
    assert!(is_request(&world, direct).await);
    let counts = world.described(&bob, direct).await.counts;
    assert_eq!(counts.unwrap().messages, 2, "it comes all the same");
    assert!(!world.described(&bob, direct).await.answered);

    // To be asked changes nothing, to ask and to be friends does.
    befriend(&world, &alice, &bob, Request).await;
    world.accept(world.to(&alice, &bob, "three")).await;
    assert!(is_request(&world, direct).await);
    befriend(&world, &bob, &alice, Accept).await;
    world.accept(world.to(&alice, &bob, "four")).await;
    assert!(!is_request(&world, direct).await);
    befriend(&world, &bob, &alice, Remove).await;
    world.accept(world.to(&alice, &bob, "five")).await;
    assert!(is_request(&world, direct).await);
    befriend(&world, &bob, &alice, Request).await;
    world.accept(world.to(&alice, &bob, "six")).await;
    assert!(!is_request(&world, direct).await);
    befriend(&world, &bob, &alice, Cancel).await;
    world.accept(world.to(&alice, &bob, "seven")).await;
    assert!(is_request(&world, direct).await);

    let (_, answer) = world.accept(world.to(&bob, &alice, "who are you?")).await;
    world.accept(world.to(&alice, &bob, "eight")).await;
    assert!(!is_request(&world, direct).await);
    world
        .make(&bob, super::messages::delete(direct, answer))
        .await;
    world.accept(world.to(&alice, &bob, "nine")).await;
    assert!(!is_request(&world, direct).await, "it was answered");
    assert!(world.described(&bob, direct).await.answered);
    // In groups there are none.
    let_write(&world, &alice, Reach::Friends).await;
    let tea = world.group(&alice, &[]).await;
    assert!(!world.described(&alice, tea).await.answered);
}

/// D8. Nor does an earlier wake stand for one.
pub(in crate::store) async fn a_request_is_no_reason_to_try_a_wake_again(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    world.accept(world.to(&alice, &bob, "one")).await;
    let first = world.head().await;
    assert_eq!(record(&world, phone, first, NOON).await.len(), 1);
    let_write(&world, &bob, Reach::Friends).await;
    world.accept(world.to(&alice, &bob, "two")).await;
    assert_eq!(due(&world, LATER).await, []);
    // To be asked to be friends is.
    befriend(&world, &alice, &bob, Request).await;
    let asked = world.head().await;
    assert_eq!(record(&world, phone, asked, LATER).await.len(), 1);
    let tried = due(&world, LATER + DEADLINE_MS_MAX).await;
    assert_eq!(tried.len(), 1);
    assert_eq!(tried[0].position, asked);
}

/// D10. Whether somebody is not there or does not want it is the same.
pub(in crate::store) async fn strangers_add_nobody_who_lets_friends_alone(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let carol = world.player("carol").await;
    let tea = world.group(&alice, &[]).await;
    let_write(&world, &bob, Reach::Friends).await;
    befriend(&world, &bob, &alice, Request).await;
    let nobody = Player {
        user: world.new_account("nobody").user,
        ..carol.clone()
    };
    for whom in [&bob, &nobody] {
        for command in [create("Chess", &[whom, &carol]), add(tea, &[&carol, whom])] {
            let refusal = world.refuse(world.request(&alice, command)).await;
            assert_eq!(refusal, Refusal::NotAddable);
        }
    }
    // Who is closed makes groups, and is in those where they are.
    world.group(&bob, &[&alice]).await;
    befriend(&world, &alice, &bob, Accept).await;
    world.add(&alice, tea, &[&bob]).await;
    befriend(&world, &bob, &alice, Remove).await;
    world.add(&alice, tea, &[&bob, &carol]).await;
    let_write(&world, &bob, Reach::Everybody).await;
    world.group(&alice, &[&bob]).await;
}

/// D10. Who asks to be heard is told nothing of the other one before they are.
pub(in crate::store) async fn a_request_is_not_seen_to_be_read(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let_write(&world, &bob, Reach::Friends).await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    let both = [(alice.id(), direct), (bob.id(), direct)];
    let companions = async |of: &Player| {
        let companions = world.store.companions(of.id(), direct, 9).await;
        companions.unwrap()
    };
    world.mark(&bob, direct, 1).await;
    stored(&world, &bob).await;
    assert_eq!(told(&world, &alice, &bob, direct).await, (0, 0));
    assert_eq!(told(&world, &bob, &bob, direct).await, (1, 1));
    assert_eq!(world.store.silent(&both).await, Ok(vec![both[1]]));
    for one in [&alice, &bob] {
        assert_eq!(companions(one).await, []);
    }

    world.accept(world.to(&bob, &alice, "who are you?")).await;
    stored(&world, &bob).await;
    assert_eq!(told(&world, &alice, &bob, direct).await, (2, 1));
    assert_eq!(world.store.silent(&both).await, Ok(vec![]));
    assert_eq!(companions(&alice).await, [bob.id()]);
    assert_eq!(companions(&bob).await, [alice.id()]);
}
