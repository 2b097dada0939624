//! What only a log of several shards can get wrong.

use magpie_sim::postgres;

use super::{cluster, open};
use crate::store::{
    Append, Outcome, Refusal, Shard, SharedStore, Store as _,
    conformance::{NOON, World, send},
    direct_conversation,
};
use magpie_protocol::wire::Target;

async fn world(shards: usize) -> (World, String) {
    let url = cluster().create_database().await.unwrap();
    let store: SharedStore = open(&url, Some(shards), [5; 32]).await.unwrap();
    (World::new((store, Box::new(()))), url)
}

/// D3. One id is one message, also when both are on their way at the same time.
#[tokio::test]
async fn the_same_id_in_two_shards_is_one_message_and_a_conflict() {
    if postgres::is_skipped() {
        return;
    }
    let (world, _) = world(2).await;
    let alice = world.player("alice").await;
    let mut groups = [None; 2];
    while groups.contains(&None) {
        let group = world.group(&alice, &[]).await;
        groups[Shard::of_conversation(group, 2).index()] = Some(group);
    }
    for round in 0..20 {
        let first = world.post(&alice, groups[0].unwrap(), "hello");
        let second = Append {
            command: send(Target::Conversation(groups[1].unwrap()), "hello"),
            ..first.clone()
        };
        let batch = [first, second];
        let shards = world.store.shards_of(&batch).await.unwrap();
        assert_ne!(shards[0], shards[1]);
        let [first, second] = batch;
        let (a, b) = tokio::join!(
            world.store.append(shards[0], [first].into(), NOON),
            world.store.append(shards[1], [second].into(), NOON),
        );
        let outcomes = [a.unwrap().outcomes, b.unwrap().outcomes].concat();
        let accepted = outcomes
            .iter()
            .filter(|it| matches!(it, Outcome::Accepted { .. }));
        assert_eq!(accepted.count(), 1, "round {round}: {outcomes:?}");
        assert!(outcomes.contains(&Outcome::Refused(Refusal::Conflict)));
    }
}

/// Whoever came to exist while a message to them waited is not found, and
/// everything else in its batch is stored.
#[tokio::test]
async fn a_name_that_was_looked_up_too_early_is_not_found() {
    if postgres::is_skipped() {
        return;
    }
    let (world, _) = world(2).await;
    let alice = world.player("alice").await;
    let group = loop {
        let group = world.group(&alice, &[]).await;
        if Shard::of_conversation(group, 2) == Shard::FIRST {
            break group;
        }
    };
    let mut number = 0;
    let late = loop {
        let late = world.player(&format!("late{number}")).await;
        let direct = direct_conversation(alice.id(), late.id());
        if Shard::of_conversation(direct, 2) != Shard::FIRST {
            break late;
        }
        number += 1;
    };
    let batch = [
        world.post(&alice, group, "before"),
        world.to(&alice, &late, "too early"),
        world.post(&alice, group, "behind"),
    ];
    let committed = world.store.append(Shard::FIRST, batch.into(), NOON).await;
    let committed = committed.unwrap();
    assert_eq!(committed.outcomes[1], Outcome::Refused(Refusal::NotFound));
    assert_eq!(committed.events.len(), 2);
}

#[tokio::test]
async fn the_number_of_shards_is_fixed_when_the_log_is_made() {
    if postgres::is_skipped() {
        return;
    }
    let (world, url) = world(3).await;
    assert_eq!(world.store.shard_count(), 3);
    let asked = open(&url, Some(2), [5; 32]).await;
    let refused = match asked {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    };
    assert!(refused.contains("has 3 shard(s), not 2"), "{refused}");
    let found = open(&url, None, [5; 32]).await.unwrap();
    assert_eq!(found.shard_count(), 3);
    assert_eq!(world.heads().await.count(), 3);
}
