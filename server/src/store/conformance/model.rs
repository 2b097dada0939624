//! Random histories, compared with a model that is too simple to be wrong: it
//! goes through the whole log and asks of each event who was there.

mod changes;
mod roles;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use magpie_protocol::{
    id::{ConversationId, UserId},
    role::Role,
    seq::Position,
    setting::Setting,
    wire::{FetchHistory, HistoryFrom, v1},
};
#[cfg(test)]
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

pub(in crate::store) use self::changes::Deed;
use super::{
    ALL, Opened, Player, World, add, create, decoded, pages::conversation_id, remove, seq, seqs,
};
use crate::store::{
    Append, Command, LogEvent, MembershipChange, Outcome, Positions, ReadLimit, Recency, Shard,
    SnapshotPlace,
};

/// One step: who does what, with whom, in which of the groups that were made.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Step {
    Write {
        to: usize,
    },
    WriteToGroup {
        group: usize,
    },
    Create {
        with: usize,
    },
    Add {
        who: usize,
        group: usize,
    },
    Remove {
        who: usize,
        group: usize,
    },
    Leave {
        group: usize,
    },
    Change {
        group: usize,
        seq: u64,
        deed: Deed,
    },
    SetRole {
        who: usize,
        group: usize,
        role: Role,
    },
    Set,
}

#[cfg(test)]
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..4_usize).prop_map(|to| Step::Write { to }),
        6 => (0..3_usize).prop_map(|group| Step::WriteToGroup { group }),
        1 => (0..4_usize).prop_map(|with| Step::Create { with }),
        3 => (0..4_usize, 0..3_usize).prop_map(|(who, group)| Step::Add { who, group }),
        2 => (0..4_usize, 0..3_usize).prop_map(|(who, group)| Step::Remove { who, group }),
        1 => (0..3_usize).prop_map(|group| Step::Leave { group }),
        2 => Just(Step::Set),
        5 => (0..3_usize, 1..9_u64, 0..4_usize).prop_map(|(group, seq, deed)| {
            Step::Change { group, seq, deed: Deed::ALL[deed] }
        }),
        3 => (0..4_usize, 0..3_usize, 0..3_usize).prop_map(|(who, group, role)| {
            Step::SetRole { who, group, role: Role::ALL[role] }
        }),
    ]
}

/// Steps of random players, in batches, and how to read them afterwards.
pub(in crate::store) type History = (Vec<Vec<(usize, Step)>>, usize, u64, u64);

#[cfg(test)]
fn history() -> impl Strategy<Value = History> {
    let batch = prop::collection::vec((0..4_usize, step()), 1..8);
    let batches = prop::collection::vec(batch, 1..12);
    (batches, 1..5_usize, 0..40_u64, 0..60_u64)
}

/// Compares random histories of a store with the model.
#[cfg(test)]
pub(in crate::store) fn check<F>(open: impl Fn() -> F)
where
    F: Future<Output = Opened>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let run = TestRunner::new(config).run(&history(), |history| {
        runtime.block_on(async { compare(open().await, &history).await });
        Ok(())
    });
    run.unwrap();
}

/// Compares one history of an empty store with the model.
pub(in crate::store) async fn compare(opened: Opened, history: &History) {
    let (batches, count, since, at) = history;
    let mut model = Model::new(World::new(opened)).await;
    for batch in batches {
        model.append(batch).await;
    }
    for player in &model.players {
        model.compare_pages(player, *count, *since).await;
        model.compare_snapshots(player, *count, *since, *at).await;
        model.compare_history(player, *count).await;
        model.compare_counts(player).await;
        model.compare_roles(player).await;
    }
}

/// So many positions into each shard, but not beyond `end`.
fn behind(end: &Positions, count: u64) -> Positions {
    let each = end.each().map(|end| {
        let origin = Shard::of(end).origin().get();
        Position::new(origin + count).min(end)
    });
    Positions::from_each(&each.collect::<Vec<_>>()).unwrap()
}

fn is_message(event: &v1::Event) -> bool {
    let content = event.content.as_ref();
    matches!(
        content.and_then(|it| it.kind.as_ref()),
        Some(v1::event_content::Kind::Message(_))
    )
}

struct Model {
    world: World,
    players: Vec<Player>,
    groups: Vec<ConversationId>,
    members: BTreeMap<ConversationId, BTreeSet<UserId>>,
    roles: BTreeMap<ConversationId, roles::Roles>,
    /// Each event and who may read it.
    log: Vec<(LogEvent, BTreeSet<UserId>)>,
}

impl Model {
    async fn new(world: World) -> Self {
        let mut players = Vec::new();
        for name in ["alice", "bob", "carol", "dave"] {
            players.push(world.player(name).await);
        }
        Self {
            world,
            players,
            groups: Vec::new(),
            members: BTreeMap::new(),
            roles: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    /// Appends a batch, and checks who was allowed to do what.
    async fn append(&mut self, batch: &[(usize, Step)]) {
        let mut asked = Vec::new();
        for (player, step) in batch {
            asked.extend(self.request(*player, *step));
        }
        let committed = self.world.append(&asked).await;
        let mut events = committed.events;
        for (request, outcome) in asked.iter().zip(&committed.outcomes) {
            let accepted = matches!(outcome, Outcome::Accepted { .. });
            assert_eq!(
                accepted,
                self.is_allowed(request),
                "{request:?}: {outcome:?}"
            );
            if accepted {
                let id = request.id.to_wire();
                let made = events.iter().position(|it| decoded(it).message_id == id);
                let made = made.expect("an event for each accepted request");
                self.take(events.remove(made));
            }
        }
        assert_eq!(events, []);
    }

    /// The request of a step; none if there is no such group yet.
    fn request(&mut self, player: usize, step: Step) -> Option<Append> {
        let player = &self.players[player];
        let group = |number: usize| self.groups.get(number).copied();
        let command = match step {
            Step::Write { to } => return Some(self.world.to(player, &self.players[to], "word")),
            Step::WriteToGroup { group: number } => {
                return Some(self.world.post(player, group(number)?, "word"));
            }
            Step::Create { with } => create("Tea", &[&self.players[with]]),
            Step::Add { who, group: number } => add(group(number)?, &[&self.players[who]]),
            Step::Remove { who, group: number } => remove(group(number)?, &self.players[who]),
            Step::Leave { group: number } => Command::LeaveGroup {
                conversation: group(number)?,
            },
            Step::Set => Command::ChangeAccount {
                setting: Setting::Hide {
                    conversation: ConversationId::new([7; 16]),
                    seq: seq(1),
                },
            },
            Step::Change {
                group: number,
                seq,
                deed,
            } => deed.command(group(number)?, seq),
            Step::SetRole {
                who,
                group: number,
                role,
            } => Command::SetRole {
                conversation: group(number)?,
                name: self.players[who].name(),
                role,
            },
        };
        let request = self.world.request(player, command);
        if let Step::Create { .. } = step {
            self.groups.push(ConversationId::new(request.id.bytes()));
        }
        Some(request)
    }

    fn is_allowed(&self, request: &Append) -> bool {
        let actor = request.actor.user;
        let id_of = |name| {
            let mut players = self.players.iter();
            players.find(|player| &player.name() == name).unwrap().id()
        };
        let is_member = |group, user| {
            let members = self.members.get(group);
            members.is_some_and(|members| members.contains(&user))
        };
        match &request.command {
            Command::SendMessage { to, .. } => match to {
                magpie_protocol::wire::Target::User(_) => true,
                magpie_protocol::wire::Target::Conversation(group) => is_member(group, actor),
            },
            Command::EditMessage {
                conversation, seq, ..
            } => {
                is_member(conversation, actor) && self.may(request, *conversation, *seq, Deed::Edit)
            }
            Command::DeleteMessage { conversation, seq } => {
                is_member(conversation, actor)
                    && self.may(request, *conversation, *seq, Deed::Delete)
            }
            Command::React {
                conversation,
                seq,
                removed,
                ..
            } => {
                let deed = if *removed { Deed::Unreact } else { Deed::React };
                is_member(conversation, actor) && self.may(request, *conversation, *seq, deed)
            }
            Command::ChangeAccount { .. } | Command::CreateGroup { .. } => true,
            Command::AddMembers {
                conversation,
                names,
            } => is_member(conversation, actor) && !is_member(conversation, id_of(&names[0])),
            Command::RemoveMember { conversation, name } => {
                let of = |user| self.role(*conversation, user);
                match (of(actor), of(id_of(name))) {
                    (Some(own), Some(other)) => own > Role::Member && own > other,
                    (_, None) | (None, _) => false,
                }
            }
            Command::UpdateGroup { .. }
            | Command::Pin { .. }
            | Command::Ban { .. }
            | Command::Invite { .. } => false,
            Command::SetRole {
                conversation,
                name,
                role,
            } => {
                let who = id_of(name);
                let from = self.role(*conversation, who);
                self.role(*conversation, actor) == Some(Role::Owner)
                    && who != actor
                    && from.is_some_and(|from| from != *role)
            }
            Command::LeaveGroup { conversation } => is_member(conversation, actor),
        }
    }

    fn take(&mut self, event: LogEvent) {
        self.follow(&event);
        self.follow_roles(&event);
        let members = self.members.entry(event.conversation).or_default();
        if let Some(MembershipChange::Joined(joined)) = &event.change {
            members.extend(joined);
        }
        let readers = members.clone();
        if let Some(MembershipChange::Left(left)) = &event.change {
            members.remove(left);
        }
        let before = self.log.iter().rev();
        let mut before = before.filter(|(earlier, _)| earlier.conversation == event.conversation);
        let last = before.next().map_or(0, |(earlier, _)| earlier.seq.get());
        assert_eq!(event.seq.get(), last + 1);
        self.log.push((event, readers));
    }

    fn readable(&self, by: &Player) -> impl Iterator<Item = &LogEvent> {
        let by = by.id();
        let readable = self
            .log
            .iter()
            .filter(move |(_, readers)| readers.contains(&by));
        readable.map(|(event, _)| event)
    }

    async fn compare_pages(&self, player: &Player, count: usize, since: u64) {
        let heads = self.world.heads().await;
        let since = behind(&heads, since);
        // In the order of shards, and in each in that of the log.
        let expected = self
            .readable(player)
            .filter(|it| !since.covers(it.position));
        let mut expected: Vec<_> = expected.collect();
        expected.sort_by_key(|it| it.position);
        for limit in [
            ALL,
            ReadLimit { count, ..ALL },
            ReadLimit { size: 1, ..ALL },
        ] {
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

    async fn compare_snapshots(&self, player: &Player, count: usize, since: u64, at: u64) {
        let at = behind(&self.world.heads().await, at);
        let since = behind(&at, since);
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
        for event in self.readable(player).filter(|it| at.covers(it.position)) {
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
        runs.sort_by_key(|(_, run)| Reverse(run.last().map(|last| last.position)));
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

    /// How many messages of others there are up to the last event that they may read.
    async fn compare_counts(&self, player: &Player) {
        let described = self.world.store.conversations(player.id(), None, ALL);
        for described in described.await.unwrap().0 {
            let id = conversation_id(&described);
            let upto = self.log.iter().map(|(event, _)| event);
            let upto = upto.filter(|it| it.conversation == id);
            let of_others = upto
                .filter(|it| it.seq.get() <= described.head_seq)
                .map(decoded)
                .filter(|it| {
                    is_message(it) && it.sender.as_ref().unwrap().user_id != player.id().to_wire()
                });
            let counts = described.counts.unwrap();
            assert_eq!(counts.messages, of_others.count() as u64);
        }
    }

    async fn compare_history(&self, player: &Player, count: usize) {
        for conversation in self.members.keys().copied() {
            let readable = self.readable(player);
            let readable: Vec<u64> = readable
                .filter(|event| event.conversation == conversation)
                .map(|event| event.seq.get())
                .collect();
            let limit = u32::try_from(count).unwrap();
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
