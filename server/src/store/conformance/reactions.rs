//! How people react to what was said.

use magpie_protocol::limits::{OWN_REACTIONS_MAX, REACTIONS_MAX};

use super::{
    Player, World,
    messages::{react, unreact},
};
use crate::store::Refusal;

/// D3.
pub(in crate::store) async fn a_reaction_is_set_and_taken_back_once(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, tea, "cake?")).await;
    let counts = async |of: &Player| {
        let page = world.all(of, tea).await;
        let reactions = page.states.into_iter().flat_map(|state| state.reactions);
        let counts = reactions.map(|it| (it.emoji, it.count, it.own));
        counts.collect::<Vec<_>>()
    };
    let is = |emoji: &str, count, own| (emoji.to_owned(), count, own);
    let bobs = world.request(&bob, react(tea, 2, "👍"));
    assert_eq!(world.accept(bobs.clone()).await.1, 3);
    assert_eq!(
        world.refused(&bob, react(tea, 2, "👍")).await,
        Refusal::NothingToDo
    );
    world.make(&alice, react(tea, 2, "❤")).await;
    world.make(&alice, react(tea, 2, "👍")).await;
    assert_eq!(counts(&bob).await, [is("👍", 2, true), is("❤", 1, false)]);
    world.make(&bob, unreact(tea, 2, "👍")).await;
    assert_eq!(
        world.refused(&bob, unreact(tea, 2, "👍")).await,
        Refusal::NothingToDo
    );
    // The first one again: it was done, and is not done again.
    assert_eq!(world.accept(bobs).await.1, 3);
    assert_eq!(counts(&bob).await, [is("❤", 1, false), is("👍", 1, false)]);
    world.make(&bob, react(tea, 2, "👍")).await;
    assert_eq!(counts(&alice).await, [is("❤", 1, true), is("👍", 2, true)]);
}

/// D9.
pub(in crate::store) async fn so_many_different_reactions_stand_at_a_message(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, tea, "cake?")).await;
    for number in 0..REACTIONS_MAX {
        world
            .make(&alice, react(tea, 2, &format!("+{number}")))
            .await;
    }
    let one_more = react(tea, 2, "👍");
    assert_eq!(
        world.refused(&bob, one_more.clone()).await,
        Refusal::TooMany
    );
    world.make(&bob, react(tea, 2, "+7")).await;
    world.make(&alice, unreact(tea, 2, "+9")).await;
    world.make(&bob, one_more).await;
}

/// D9. What was taken back leaves a trace for ever.
pub(in crate::store) async fn a_user_reacts_to_a_message_so_often(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, tea, "cake?")).await;
    for _ in 1..OWN_REACTIONS_MAX {
        world.make(&alice, react(tea, 2, "👍")).await;
        world.make(&alice, unreact(tea, 2, "👍")).await;
    }
    world.make(&alice, react(tea, 2, "👍")).await;
    for emoji in ["👍", "❤"] {
        let expected = match emoji {
            "👍" => Refusal::NothingToDo,
            _ => Refusal::TooMany,
        };
        assert_eq!(world.refused(&alice, react(tea, 2, emoji)).await, expected);
    }
    world.make(&alice, unreact(tea, 2, "👍")).await;
    let again = react(tea, 2, "👍");
    assert_eq!(world.refused(&alice, again.clone()).await, Refusal::TooMany);
    // Others, and to another message.
    world.make(&bob, again).await;
    world.accept(world.post(&alice, tea, "tea!")).await;
    let seq = world.accept(world.post(&alice, tea, "tea?")).await.1;
    world.make(&alice, react(tea, seq, "👍")).await;
}
