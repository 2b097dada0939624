//! What who joins a group may read of what came before.

use magpie_protocol::{
    id::ConversationId,
    wire::{FetchHistory, GroupUpdate, HistoryFrom},
};

use super::{
    ALL, Player, World,
    messages::{edit, react},
    roles::update,
    seq, seqs,
};
use crate::store::{Command, Refusal};

fn history(conversation: ConversationId, on: bool) -> Command {
    let change = GroupUpdate {
        history_for_newcomers: Some(on),
        ..GroupUpdate::default()
    };
    update(conversation, change)
}

impl World {
    /// What somebody may fetch, read in either direction.
    async fn fetched(&self, of: &Player, conversation: ConversationId) -> Vec<u64> {
        let mut both = Vec::new();
        for from in [HistoryFrom::After(seq(0)), HistoryFrom::Before(seq(1_000))] {
            let request = FetchHistory {
                conversation,
                from,
                limit: 100,
            };
            let page = self.store.history(of.id(), request).await.unwrap().unwrap();
            assert!(page.complete);
            both.push(seqs(&page.events));
        }
        assert_eq!(both[0], both[1]);
        both.remove(0)
    }
}

/// D10.
pub(in crate::store) async fn who_joins_reads_what_the_group_lets_them(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (carol, dave) = (world.player("carol").await, world.player("dave").await);
    let tea = world.group(&alice, &[]).await;
    world.accept(world.post(&alice, tea, "first")).await;
    world.add(&alice, tea, &[&bob]).await;
    assert_eq!(
        world.refused(&bob, history(tea, true)).await,
        Refusal::NotAllowed
    );
    world.make(&alice, history(tea, true)).await;
    assert!(world.described(&bob, tea).await.history_for_newcomers);
    let before = world.heads().await;
    assert_eq!(world.add(&bob, tea, &[&carol]).await, 5);
    world.make(&alice, history(tea, false)).await;
    world.add(&bob, tea, &[&dave]).await;
    // What is decided when they join stays.
    assert_eq!(world.fetched(&bob, tea).await, [3, 4, 5, 6, 7]);
    assert_eq!(world.fetched(&carol, tea).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(world.fetched(&dave, tea).await, [7]);
    // It is fetched: what came before is not sent.
    let page = world.page(&carol, before, ALL).await;
    assert_eq!(seqs(&page.events), [5, 6, 7]);
    let described = &page.conversations[0];
    assert_eq!((described.first_seq, described.joined_seq), (1, 5));
    let described = world.described(&dave, tea).await;
    assert_eq!((described.first_seq, described.joined_seq), (7, 7));
    // They may do with it what members may.
    world.make(&carol, react(tea, 2, "👍")).await;
    let of_dave = react(tea, 2, "👍");
    assert_eq!(world.refused(&dave, of_dave).await, Refusal::NotFound);
    assert_eq!(
        world.refused(&carol, edit(tea, 2, "mine")).await,
        Refusal::NotAllowed
    );
    world.remove(&alice, tea, &carol).await;
    world.accept(world.post(&alice, tea, "behind")).await;
    assert_eq!(
        world.fetched(&carol, tea).await,
        [1, 2, 3, 4, 5, 6, 7, 8, 9]
    );
}

pub(in crate::store) async fn what_came_before_who_joins_is_not_unread(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[]).await;
    world.accept(world.post(&alice, tea, "first")).await;
    world.make(&alice, history(tea, true)).await;
    world.add(&alice, tea, &[&bob]).await;
    world.accept(world.post(&alice, tea, "second")).await;
    let described = world.described(&bob, tea).await;
    let counts = [described.counts, described.read_counts];
    let messages = counts.map(|it| it.unwrap().messages);
    assert_eq!(messages, [2, 1]);
}

pub(in crate::store) async fn who_comes_back_reads_all_of_it_once(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let tea = world.group(&alice, &[]).await;
    world.accept(world.post(&alice, tea, "first")).await;
    world.add(&alice, tea, &[&bob]).await;
    world.accept(world.post(&bob, tea, "hello")).await;
    world.remove(&alice, tea, &bob).await;
    world.accept(world.post(&alice, tea, "not bob's")).await;
    world.add(&alice, tea, &[&bob]).await;
    world.remove(&alice, tea, &bob).await;
    assert_eq!(world.fetched(&bob, tea).await, [3, 4, 5, 7, 8]);
    world.make(&alice, history(tea, true)).await;
    world.add(&alice, tea, &[&bob]).await;
    assert_eq!(world.fetched(&bob, tea).await, (1..=10).collect::<Vec<_>>());
    world.remove(&alice, tea, &bob).await;
    world.accept(world.post(&alice, tea, "nor this")).await;
    world.make(&alice, history(tea, false)).await;
    world.add(&alice, tea, &[&bob]).await;
    let expected: Vec<u64> = (1..=11).chain([14]).collect();
    assert_eq!(world.fetched(&bob, tea).await, expected);
    let described = world.described(&bob, tea).await;
    assert_eq!((described.first_seq, described.joined_seq), (1, 14));
}
