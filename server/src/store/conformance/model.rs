//! Random histories, compared with a model that is too simple to be wrong: it
//! goes through the whole log and asks of each event who was there.

mod blocks;
mod changes;
mod compare;
mod friends;
mod roles;

use std::collections::{BTreeMap, BTreeSet};

use magpie_protocol::{
    friendship::FriendAction,
    id::{ConversationId, UserId},
    role::Role,
    setting::Setting,
};
#[cfg(test)]
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use self::blocks::is_block;
pub(in crate::store) use self::changes::Deed;
use super::{Opened, Player, World, add, create, decoded, remove, seq};
use crate::store::{Append, Command, LogEvent, MembershipChange, Outcome};

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
    Befriend {
        whom: usize,
        action: FriendAction,
    },
    Block {
        whom: usize,
        blocked: bool,
    },
}

/// Something that one of so many players does.
#[cfg(test)]
fn step(players: usize) -> impl Strategy<Value = Step> {
    let player = 0..players;
    let two = (player.clone(), 0..3_usize);
    prop_oneof![
        2 => player.clone().prop_map(|to| Step::Write { to }),
        6 => (0..3_usize).prop_map(|group| Step::WriteToGroup { group }),
        1 => player.clone().prop_map(|with| Step::Create { with }),
        3 => two.clone().prop_map(|(who, group)| Step::Add { who, group }),
        2 => two.clone().prop_map(|(who, group)| Step::Remove { who, group }),
        1 => (0..3_usize).prop_map(|group| Step::Leave { group }),
        1 => Just(Step::Set),
        6 => (player.clone(), 0..4_usize).prop_map(|(whom, action)| {
            Step::Befriend { whom, action: FriendAction::ALL[action] }
        }),
        3 => (player, any::<bool>()).prop_map(|(whom, blocked)| Step::Block { whom, blocked }),
        7 => (0..7_usize, 1..9_u64, 0..4_usize).prop_map(|(group, seq, deed)| {
            Step::Change { group, seq, deed: Deed::ALL[deed] }
        }),
        3 => (two, 0..3_usize).prop_map(|((who, group), role)| {
            Step::SetRole { who, group, role: Role::ALL[role] }
        }),
    ]
}

/// Steps of random players, in batches, and how to read them afterwards.
pub(in crate::store) type History = (Vec<Vec<(usize, Step)>>, usize, u64, u64);

#[cfg(test)]
fn history() -> impl Strategy<Value = History> {
    // Of two alone more happens between them.
    (2..5_usize).prop_flat_map(|players| {
        let batch = prop::collection::vec((0..players, step(players)), 1..8);
        let batches = prop::collection::vec(batch, 1..12);
        (batches, 1..5_usize, 0..40_u64, 0..60_u64)
    })
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
        // Blocks are seen at once by what is in another shard.
        let parts = batch.chunk_by(|(_, one), (_, next)| !is_block(one) && !is_block(next));
        for part in parts {
            model.append(part).await;
        }
    }
    for player in &model.players {
        model.compare_pages(player, *count, *since).await;
        model.compare_snapshots(player, *count, *since, *at).await;
        model.compare_history(player, *count).await;
        model.compare_counts(player).await;
        model.compare_roles(player).await;
        model.compare_friends(player).await;
    }
}

struct Model {
    world: World,
    players: Vec<Player>,
    groups: Vec<ConversationId>,
    members: BTreeMap<ConversationId, BTreeSet<UserId>>,
    roles: BTreeMap<ConversationId, roles::Roles>,
    /// Who blocks whom.
    blocks: BTreeSet<(UserId, UserId)>,
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
            blocks: BTreeSet::new(),
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
    fn request(&mut self, number: usize, step: Step) -> Option<Append> {
        let player = &self.players[number];
        let by = number;
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
            } => match number {
                0..3 => deed.command(group(number)?, seq),
                _ => deed.command(self.direct(by, number % 4), seq),
            },
            Step::Befriend { whom, action } => Command::ChangeFriendship {
                name: self.players[whom].name(),
                action,
            },
            Step::Block { whom, blocked } => Command::ChangeAccount {
                setting: Setting::Block {
                    user: self.players[whom].id(),
                    blocked,
                },
            },
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
            Command::ChangeAccount { setting } => {
                !matches!(setting, Setting::Block { user, .. } if *user == actor)
            }
            Command::ChangeFriendship { name, action } => {
                self.may_befriend(actor, id_of(name), *action)
            }
            Command::CreateGroup { .. } => true,
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
        self.follow_blocks(&event);
        assert_eq!(event.hidden, self.hidden(&event));
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
}
