//! What users set for themselves, and what is left of who is deleted.

use std::collections::{BTreeMap, BTreeSet};

use magpie_protocol::{
    friendship::Friendship,
    id::{ConversationId, DeviceId, MessageId, UserId},
    setting::{Reach, Setting},
    wire::v1::{self, event_content::Kind},
};
use prost::Message as _;

use super::{Model, blocks::sender, changes::kind};
use crate::store::{
    AccountChange, Actor, Append, Command, LogEvent, Look, conformance::Player, direct_conversation,
};

/// What users set.
#[derive(Default)]
pub(super) struct Settings {
    /// Who blocks whom, and how far they had read when they began to.
    pub(super) blocks: BTreeMap<(UserId, UserId), u64>,
    /// Whom friends alone reach.
    pub(super) closed: BTreeSet<UserId>,
    pub(super) hiding_receipts: BTreeSet<UserId>,
    pub(super) hiding_presence: BTreeSet<UserId>,
}

fn set(of: &mut BTreeSet<UserId>, user: UserId, is: bool) {
    match is {
        true => of.insert(user),
        false => of.remove(&user),
    };
}

impl Model<'_> {
    /// Takes over what a user sets.
    pub(super) fn follow_settings(&mut self, event: &LogEvent) {
        let Kind::AccountChanged(changed) = kind(event) else {
            return;
        };
        let by = sender(event);
        let setting: Setting = changed.change.unwrap().try_into().unwrap();
        let settings = &mut self.settings;
        match setting {
            Setting::Block {
                user,
                blocked: true,
            } => {
                let mark = self.marks.get(&(by, direct_conversation(by, user)));
                let mark = mark.copied().unwrap_or(0);
                settings.blocks.entry((by, user)).or_insert(mark);
            }
            Setting::Block {
                user,
                blocked: false,
            } => {
                settings.blocks.remove(&(by, user));
            }
            Setting::Privacy { messages } => {
                set(&mut settings.closed, by, messages == Reach::Friends);
            }
            Setting::Receipts { hidden } => set(&mut settings.hiding_receipts, by, hidden),
            Setting::Presence { hidden } => set(&mut settings.hiding_presence, by, hidden),
            Setting::Notify { .. }
            | Setting::Hide { .. }
            | Setting::Contact { .. }
            | Setting::Profile(_)
            | Setting::Discoverable(_)
            | Setting::Link(_)
            | Setting::Declined { .. } => {}
        }
    }

    /// Of what a user who is deleted is still a part.
    fn departures(&self, user: UserId) -> BTreeSet<ConversationId> {
        let conversations = self.members.keys().copied();
        let departs = conversations.filter(|id| {
            let leave = Command::LeaveGroup { conversation: *id };
            self.may_depart(user, &leave)
        });
        departs.collect()
    }

    /// Whether a user who is deleted leaves it.
    pub(super) fn may_depart(&self, user: UserId, command: &Command) -> bool {
        let Command::LeaveGroup { conversation } = *command else {
            return false;
        };
        let is_there = self.is_member(conversation, user);
        if self.is_group(conversation) {
            return is_there;
        }
        is_there
            && self.peer(user, conversation).is_some_and(|peer| {
                let both = [self.friendship(user, peer).0, self.friendship(peer, user).0];
                both != [Friendship::None; 2]
            })
    }

    /// A player is deleted, and the server does what is to be done for it.
    pub(super) async fn vanish(&mut self, number: usize) {
        let Player { user, actor } = self.players[number].clone();
        let store = &self.world.store;
        let changed = store.change_account(user.id, None, &AccountChange::Delete);
        let expected = match self.deleted.insert(user.id) {
            true => Some(vec![actor.device]),
            false => None,
        };
        assert_eq!(changed.await, Ok(expected));
        self.settings.blocks.retain(|(by, _), _| *by != user.id);
        self.settings.closed.remove(&user.id);
        self.blank_name(user.id);
        let departures = store.departures(None, 100).await.unwrap();
        assert!(departures.iter().all(|it| it.user == user.id));
        let departures: BTreeSet<_> = departures.iter().map(|it| it.conversation).collect();
        assert_eq!(departures, self.departures(user.id));
        let leave = |conversation| Append {
            actor: Actor {
                device: DeviceId::new([0; 16]),
                ..actor
            },
            id: MessageId::new(self.world.fresh()),
            command: Command::LeaveGroup { conversation },
        };
        let asked: Vec<Append> = departures.into_iter().map(leave).collect();
        self.append(&asked).await;
        assert_eq!(self.departures(user.id), BTreeSet::new());
    }

    /// What somebody said is said by nobody with a name.
    fn blank_name(&mut self, user: UserId) {
        let entries = self.log.iter_mut().map(|it| &mut it.event);
        for event in entries.filter(|event| sender(event) == user) {
            let blanked = v1::Event {
                sender: Some(v1::User {
                    user_id: user.to_wire(),
                    name: String::new(),
                }),
                ..super::decoded(event)
            };
            event.encoded = blanked.encode_to_vec().into();
        }
    }

    /// Whom a player may see come and go.
    pub(super) async fn compare_presences(&self, player: &Player) {
        let looks = self.players.iter().map(|other| Look {
            watcher: player.id(),
            watched: other.id(),
        });
        let looks: Vec<Look> = looks.collect();
        let expected: Vec<bool> = looks.iter().map(|look| self.may_see(look)).collect();
        let store = &self.world.store;
        let seen = store.presences(&looks, self.world.now_ms()).await.unwrap();
        let seen: Vec<bool> = seen.iter().map(Option::is_some).collect();
        assert_eq!(seen, expected);
    }

    fn may_see(&self, look: &Look) -> bool {
        let (one, other) = (look.watcher, look.watched);
        let writes = |user| self.writes(user, direct_conversation(one, other));
        let is_either =
            |test: &dyn Fn(UserId, UserId) -> bool| test(one, other) || test(other, one);
        let blocks = |by, whom| self.settings.blocks.contains_key(&(by, whom));
        let hides = |user, _| self.settings.hiding_presence.contains(&user);
        let are_friends = [self.friendship(one, other).0, self.friendship(other, one).0]
            == [Friendship::Friends; 2];
        one != other
            && !self.deleted.contains(&other)
            && !is_either(&blocks)
            && !is_either(&hides)
            && (are_friends || (writes(one) && writes(other)))
    }

    /// Whether what is said to a user in a conversation is a request.
    pub(super) fn is_request(&self, user: UserId, conversation: ConversationId) -> bool {
        let Some(peer) = self.peer(user, conversation) else {
            return false;
        };
        let is_closed = match self.friendship(user, peer).0 {
            Friendship::None | Friendship::WasAsked => self.settings.closed.contains(&user),
            Friendship::Asked | Friendship::Friends => false,
        };
        is_closed && !self.writes(user, conversation)
    }

    pub(super) fn writes(&self, user: UserId, conversation: ConversationId) -> bool {
        let mut events = self.of(conversation);
        events.any(|it| sender(it) == user && matches!(kind(it), Kind::Message(_)))
    }

    /// Who tells whom nothing, and who tells nobody.
    pub(super) async fn compare_silent(&self) {
        let users: Vec<UserId> = self.players.iter().map(Player::id).collect();
        let asked = users.iter().flat_map(|user| {
            let conversations = self.members.keys().copied();
            let own = conversations.filter(|it| self.is_member(*it, *user));
            own.map(|conversation| (*user, conversation))
        });
        let asked: Vec<_> = asked.collect();
        let silent = self.world.store.silent(&asked).await.unwrap();
        let silent: BTreeSet<_> = silent.into_iter().collect();
        let is_silent = |(user, conversation): &(UserId, ConversationId)| {
            self.peer(*user, *conversation).is_some_and(|peer| {
                let blocks = self.settings.blocks.contains_key(&(*user, peer));
                blocks || self.is_request(*user, *conversation)
            })
        };
        assert_eq!(silent, asked.into_iter().filter(is_silent).collect());
        let hiding = self.world.store.hiding_receipts(&users).await.unwrap();
        let hiding: BTreeSet<_> = hiding.into_iter().collect();
        assert_eq!(hiding, self.settings.hiding_receipts);
    }
}
