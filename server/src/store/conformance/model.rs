//! Random histories, compared with a model that is too simple to be wrong: it
//! goes through the whole log and asks of each event who was there.

mod allowed;
mod asked;
mod blocks;
mod changes;
mod compare;
mod described;
mod friends;
mod groups;
mod invites;
mod marks;
mod people;
mod pins;
mod roles;
mod step;

use std::collections::{BTreeMap, BTreeSet};

use magpie_protocol::{
    id::{ConversationId, UserId},
    wire::v1::event_content::Kind,
};
#[cfg(test)]
use proptest::test_runner::{Config, TestRunner};

#[cfg(fuzzing)]
pub(in crate::store) use self::step::{Own, Update};
pub(in crate::store) use self::{
    changes::Deed,
    step::{History, Step},
};
use self::{changes::kind, invites::Secrets, roles::Roles};
#[cfg(test)]
use super::Opened;
use super::{Player, World, decoded};
use crate::store::{Append, LogEvent, MembershipChange, Outcome};

/// From one batch to the next.
const BATCH_MS: i64 = 60_000;

/// Compares random histories of a store with the model. All happen in one log, each with
/// people of its own: another log for each takes longer than what happens in it.
#[cfg(test)]
pub(in crate::store) fn check<F>(open: impl FnOnce() -> F)
where
    F: Future<Output = Opened>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(async { World::new(open().await) });
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let run = TestRunner::new(config).run(&step::history(), |history| {
        runtime.block_on(compare(&world, &history));
        Ok(())
    });
    run.unwrap();
}

/// Compares one history with the model.
pub(in crate::store) async fn compare(world: &World, history: &History) {
    let mut model = Model::new(world, history.players).await;
    for batch in &history.batches {
        model.play(batch).await;
    }
    for player in &model.players {
        if !model.deleted.contains(&player.id()) {
            model.compare_all(player, history).await;
        }
    }
    model.compare_silent().await;
}

/// An event, and for whom it is.
struct Entry {
    event: LogEvent,
    /// To whose devices it is sent.
    sent: BTreeSet<UserId>,
    /// Who may read it: who joined later too, where a group lets them.
    readers: BTreeSet<UserId>,
    /// Whom it mentions, also once it is deleted.
    mentioned: BTreeSet<UserId>,
}

struct Model<'a> {
    world: &'a World,
    /// What was in the log before.
    base: crate::store::Positions,
    players: Vec<Player>,
    deleted: BTreeSet<UserId>,
    groups: Vec<ConversationId>,
    members: BTreeMap<ConversationId, BTreeSet<UserId>>,
    roles: BTreeMap<ConversationId, Roles>,
    settings: people::Settings,
    secrets: Secrets,
    /// How far each has read.
    marks: BTreeMap<(UserId, ConversationId), u64>,
    log: Vec<Entry>,
}

impl<'a> Model<'a> {
    async fn new(world: &'a World, count: usize) -> Self {
        let mut players = Vec::new();
        for name in ["alice", "bob", "carol", "dave"].iter().take(count) {
            let [.., a, b, c, d] = world.fresh();
            let number = u32::from_be_bytes([a, b, c, d]);
            players.push(world.player(&format!("{name}{number}")).await);
        }
        Self {
            world,
            base: world.heads().await,
            players,
            deleted: BTreeSet::new(),
            groups: Vec::new(),
            members: BTreeMap::new(),
            roles: BTreeMap::new(),
            settings: people::Settings::default(),
            secrets: Secrets::new(),
            marks: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    async fn play(&mut self, batch: &[(usize, Step)]) {
        self.world.wait(BATCH_MS);
        let is_sharded = self.world.store.shard_count() > 1;
        let together = |(_, one): &(usize, Step), (_, next): &(usize, Step)| {
            !one.is_alone(is_sharded) && !next.is_alone(is_sharded)
        };
        for part in batch.chunk_by(together) {
            match part {
                [(player, Step::Read { place, seq })] => self.read(*player, *place, *seq).await,
                [(player, Step::Vanish)] => self.vanish(*player).await,
                part => {
                    let asked = part.iter().filter_map(|(by, step)| self.request(*by, step));
                    let asked: Vec<Append> = asked.collect();
                    self.append(&asked).await;
                }
            }
        }
    }

    /// Appends requests, and checks who was allowed to do what.
    async fn append(&mut self, asked: &[Append]) {
        let committed = self.world.append(asked).await;
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
                self.take(request, events.remove(made));
            }
        }
        assert_eq!(events, []);
    }

    fn take(&mut self, request: &Append, event: LogEvent) {
        self.follow(&event);
        self.follow_roles(&event);
        self.follow_settings(&event);
        self.follow_secrets(request, &event);
        assert_eq!(event.hidden, self.hidden(&event));
        let conversation = event.conversation;
        assert_eq!(event.seq.get(), self.head(conversation) + 1);
        let members = self.members.entry(conversation).or_default();
        if let Some(MembershipChange::Joined(joined)) = &event.change {
            members.extend(joined);
        }
        let sent = members.clone();
        if let Some(MembershipChange::Left(left)) = &event.change {
            members.remove(left);
        }
        let from_beginning = self
            .said(conversation, event.seq.get())
            .history_for_newcomers;
        let earlier = self.log.iter_mut();
        let earlier = earlier.filter(|it| it.event.conversation == conversation);
        if let Some(MembershipChange::Joined(joined)) = &event.change
            && from_beginning
        {
            earlier.for_each(|it| it.readers.extend(joined));
        }
        self.log.push(Entry {
            readers: sent.clone(),
            sent,
            mentioned: self.mentioned(&event),
            event,
        });
    }

    /// Whom a new event mentions.
    fn mentioned(&self, event: &LogEvent) -> BTreeSet<UserId> {
        let sender = blocks::sender(event);
        let mut mentioned = BTreeSet::new();
        if event.hidden.is_none()
            && let Kind::Message(message) = kind(event)
        {
            let named = message.mentions.iter();
            mentioned.extend(named.map(|it| UserId::try_from(it.user_id.as_ref()).unwrap()));
            if message.mentions_everybody {
                mentioned.extend(self.players.iter().map(Player::id));
            }
            mentioned.remove(&sender);
        }
        mentioned
    }

    /// The events of a conversation.
    fn of(&self, conversation: ConversationId) -> impl Iterator<Item = &LogEvent> {
        let events = self.log.iter().map(|it| &it.event);
        events.filter(move |event| event.conversation == conversation)
    }

    /// The newest event's place in a conversation.
    fn head(&self, conversation: ConversationId) -> u64 {
        let last = self.of(conversation).last();
        last.map_or(0, |event| event.seq.get())
    }

    /// What is sent to a user's devices.
    fn sent(&self, to: &Player) -> impl Iterator<Item = &LogEvent> {
        let to = to.id();
        let sent = self.log.iter().filter(move |it| it.sent.contains(&to));
        sent.map(|it| &it.event)
    }

    /// What a user may read of a conversation.
    fn readable(&self, by: UserId, of: ConversationId) -> impl Iterator<Item = &LogEvent> {
        let readable = self.log.iter().filter(move |it| it.readers.contains(&by));
        let readable = readable.map(|it| &it.event);
        readable.filter(move |event| event.conversation == of)
    }

    /// The player with whom a user has this direct conversation; it may be with themself.
    fn peer(&self, user: UserId, conversation: ConversationId) -> Option<UserId> {
        let mut players = self.players.iter().map(Player::id);
        players.find(|it| crate::store::direct_conversation(user, *it) == conversation)
    }

    fn is_member(&self, conversation: ConversationId, user: UserId) -> bool {
        let members = self.members.get(&conversation);
        members.is_some_and(|members| members.contains(&user))
    }
}
