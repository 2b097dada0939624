//! What is read in every way, compared with the model.

use std::{cmp::Reverse, collections::BTreeMap};

use magpie_protocol::{
    id::ConversationId,
    seq::Position,
    wire::{FetchHistory, HistoryFrom},
};

use super::{History, Model};
use crate::store::{
    LogEvent, MembershipChange, Positions, ReadLimit, Recency, SnapshotPlace,
    conformance::{ALL, Player, decoded, pages::conversation_id, seq, seqs},
};

/// So many positions behind others in each shard, but not beyond `end`.
fn behind(base: &Positions, end: &Positions, count: u64) -> Positions {
    let each = base.each().zip(end.each());
    let each = each.map(|(base, end)| Position::new(base.get() + count).min(end));
    Positions::from_each(&each.collect::<Vec<_>>()).unwrap()
}

impl Model<'_> {
    /// All that a player is told, in every way.
    pub(super) async fn compare_all(&self, player: &Player, history: &History) {
        let History {
            count, since, at, ..
        } = *history;
        self.compare_pages(player, count, since).await;
        self.compare_snapshots(player, count, since, at).await;
        self.compare_history(player, count).await;
        self.compare_described(player).await;
        self.compare_readers(player).await;
        self.compare_bans(player, count).await;
        self.compare_invites(player).await;
        self.compare_friends(player).await;
        self.compare_presences(player).await;
    }

    /// So many positions into the log; of none, its very beginning.
    fn since(&self, end: &Positions, count: u64) -> Positions {
        match count {
            0 => Positions::origin(end.count()),
            count => behind(&self.base, end, count),
        }
    }

    pub(super) async fn compare_pages(&self, player: &Player, count: usize, since: u64) {
        let heads = self.world.heads().await;
        let since = self.since(&heads, since);
        // In the order of shards, and in each in that of the log.
        let expected = self.sent(player).filter(|it| !since.covers(it.position));
        let mut expected: Vec<_> = expected.collect();
        expected.sort_by_key(|it| it.position);
        let small = match count {
            1 => ReadLimit { size: 1, ..ALL },
            count => ReadLimit { count, ..ALL },
        };
        for limit in [ALL, small] {
            let mut after = since;
            let mut read: Vec<LogEvent> = Vec::new();
            loop {
                let page = self.world.page(player, after, limit).await;
                for described in &page.conversations {
                    let id = conversation_id(described);
                    let first = page.events.iter().find(|event| {
                        event.conversation == id && event.seq.get() == described.first_seq
                    });
                    assert!(first.is_some(), "described without beginning");
                }
                assert!(page.upto != after || page.complete);
                after = page.upto;
                read.extend(page.events);
                if page.complete {
                    break;
                }
            }
            assert_eq!(read.iter().collect::<Vec<_>>(), expected);
            assert_eq!(after, heads);
        }
    }

    pub(super) async fn compare_snapshots(
        &self,
        player: &Player,
        count: usize,
        since: u64,
        at: u64,
    ) {
        let at = behind(&self.base, &self.world.heads().await, at);
        let since = self.since(&at, since);
        let expected = self.snapshot(player, &since, &at);
        for limit in [ALL, ReadLimit { count, ..ALL }] {
            let below = Recency::LAST;
            let mut next = Some(SnapshotPlace { since, at, below });
            let mut read: Vec<(ConversationId, Vec<u64>)> = Vec::new();
            while let Some(place) = next {
                let page = self
                    .world
                    .store
                    .snapshot_page(player.id(), place, None, limit)
                    .await;
                let page = page.unwrap();
                for described in &page.conversations {
                    let id = conversation_id(described);
                    let mut events = page.events.clone();
                    events.retain(|event| event.conversation == id);
                    read.push((id, seqs(&events)));
                }
                next = page.next;
            }
            assert_eq!(read, expected);
        }
    }

    /// Conversations that changed, and what is new in the user's latest
    /// membership of each.
    fn snapshot(
        &self,
        player: &Player,
        since: &Positions,
        at: &Positions,
    ) -> Vec<(ConversationId, Vec<u64>)> {
        let mut runs: BTreeMap<ConversationId, Vec<&LogEvent>> = BTreeMap::new();
        for event in self.sent(player).filter(|it| at.covers(it.position)) {
            let run = runs.entry(event.conversation).or_default();
            // A beginning is a new membership, also directly behind an old one.
            let begins = matches!(&event.change, Some(MembershipChange::Joined(joined))
                if joined.contains(&player.id()));
            if begins {
                run.clear();
            }
            run.push(event);
        }
        let mut runs: Vec<_> = runs.into_iter().collect();
        runs.retain(|(_, run)| run.last().is_some_and(|last| !since.covers(last.position)));
        let recency = |event: &&LogEvent| Recency {
            committed_at_ms: decoded(event).committed_at_ms,
            position: event.position,
        };
        runs.sort_by_key(|(_, run)| Reverse(run.last().map(recency)));
        let new = |run: Vec<&LogEvent>| {
            let new = run
                .into_iter()
                .filter(|event| !since.covers(event.position));
            new.map(|event| event.seq.get()).collect::<Vec<_>>()
        };
        runs.into_iter()
            .map(|(id, run)| (id, new(run)))
            .map(|(id, run)| (id, run[run.len().saturating_sub(50)..].to_vec()))
            .collect()
    }

    pub(super) async fn compare_history(&self, player: &Player, count: usize) {
        for conversation in self.members.keys().copied() {
            let readable = self.readable(player.id(), conversation);
            let readable: Vec<u64> = readable.map(|event| event.seq.get()).collect();
            let limit = u32::try_from(3 * count).unwrap();
            let read = |from| {
                let request = FetchHistory {
                    conversation,
                    from,
                    limit,
                };
                self.world.store.history(player.id(), request)
            };
            let (mut up, mut down) = (Vec::new(), Vec::new());
            let mut states = BTreeMap::new();
            loop {
                let after = seq(up.last().copied().unwrap_or(0));
                let Some(page) = read(HistoryFrom::After(after)).await.unwrap() else {
                    break;
                };
                up.extend(seqs(&page.events));
                states.extend(page.states.into_iter().map(|state| (state.seq, state)));
                if page.complete {
                    break;
                }
            }
            loop {
                let before = seq(down.first().copied().unwrap_or(u64::MAX));
                let Some(page) = read(HistoryFrom::Before(before)).await.unwrap() else {
                    break;
                };
                down.splice(0..0, seqs(&page.events));
                if page.complete {
                    break;
                }
            }
            assert_eq!((&up, &down), (&readable, &readable));
            assert_eq!(states, self.states(player, conversation));
        }
    }
}
