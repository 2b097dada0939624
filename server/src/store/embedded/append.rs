//! Appending to the log: the facts of each command are found here, `rules` decides,
//! and `log` writes.

use std::sync::Arc;

use magpie_protocol::{role::Role, setting::Setting, text::UserName, wire::GroupUpdate};

use super::{bans, blocks, invites, log::Log, rows, writer::Writer};
use crate::store::{
    Append, Committed, Outcome, Refusal, StoreError,
    rules::{
        self, Asked, Change, Effect, FriendPermit, InvitePermit, Joined, Named, Permit, Person,
        Place, Reacted, Standing,
    },
};

/// Appends a batch. See [`crate::store::Store::append`].
pub(super) fn append(
    writer: &mut Writer,
    batch: &[Append],
    at_ms: i64,
    members_max: u32,
) -> Result<Committed, StoreError> {
    writer.transaction(|connection, caches| {
        let before = rows::log_head(connection)?;
        let mut log = Log {
            connection,
            caches,
            head: before.position,
            committed_at_ms: at_ms.max(before.committed_at_ms),
            members_max: members_max.into(),
            events: Vec::with_capacity(batch.len()),
        };
        let outcomes = batch
            .iter()
            .map(|append| match log.append(append) {
                Ok(outcome) => Ok(outcome),
                Err(Stop::Refused(refusal)) => Ok(Outcome::Refused(refusal)),
                Err(Stop::Store(error)) => Err(error),
            })
            .collect::<Result<_, _>>()?;
        if !log.events.is_empty() {
            log.store_head()?;
        }
        Ok(Committed {
            after: before.position,
            head: log.head,
            outcomes,
            events: log.events,
        })
    })
}

/// Why a command ends early. Until its effect is decided a command may stop with a
/// refusal; behind that only with an error, which undoes the whole batch.
enum Stop {
    Refused(Refusal),
    Store(StoreError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Log<'_> {
    fn append(&mut self, append: &Append) -> Result<Outcome, Stop> {
        let sender = self.caches.person(self.connection, append.actor.user)?;
        let sender = sender.ok_or(Refusal::DeviceRevoked)?;
        let peer = match append.command.peer() {
            Some(name) => self.caches.named(self.connection, name)?,
            None => None,
        };
        let asked = Asked::of(append, |_| peer.as_ref().map(|peer| peer.id));
        let known = self.known(&sender, append.id, asked.as_ref())?;
        let asked = match rules::to_do(asked, known.as_ref()) {
            Ok(asked) => asked,
            Err(outcome) => return Ok(outcome),
        };
        let standing = self.standing(append, &asked, (&sender, peer.as_ref()))?;
        let permit = rules::permit(append, &asked, &standing)?;
        let decided = self.decide(permit, &sender, standing.is_blocked)?;
        let seq = self.carry_out(append, &asked, &sender, decided)?;
        Ok(Outcome::Accepted {
            conversation: asked.conversation,
            seq,
            committed_at_ms: self.committed_at_ms,
        })
    }

    fn standing(
        &mut self,
        append: &Append,
        asked: &Asked,
        (sender, peer): (&Person, Option<&Arc<Person>>),
    ) -> Result<Standing, StoreError> {
        let (device, user) = (append.actor.device, append.actor.user);
        let has_device = self.caches.may_act(self.connection, device, user)?;
        let is_deleted = !has_device && rows::is_deleted(self.connection, sender.key)?;
        let place = self.caches.place(self.connection, asked.conversation)?;
        let role = match place {
            Some(place) => self.role(place, sender)?,
            None => None,
        };
        Ok(Standing {
            has_device,
            is_deleted,
            place,
            role,
            is_blocked: blocks::is_sender_blocked(self.connection, sender, place, peer)?,
        })
    }

    fn decide_setting(
        &self,
        place: Option<Place>,
        sender: &Arc<Person>,
        setting: &Setting,
    ) -> Result<Effect, Stop> {
        let found = self.attached(sender, &setting.media())?;
        Ok(rules::change_account(place, sender, setting, &found)?)
    }

    fn decide_update(
        &self,
        joined: Joined,
        sender: &Person,
        update: &GroupUpdate,
    ) -> Result<Effect, Stop> {
        let found = self.attached(sender, &update.media())?;
        let said = self.said(joined.place)?;
        Ok(rules::update_group(joined, update, &said, &found)?)
    }

    /// Finds the rest of the facts. With whether the event is hidden from others.
    fn decide(
        &mut self,
        permit: Permit<'_>,
        sender: &Arc<Person>,
        is_blocked: bool,
    ) -> Result<(Effect, bool), Stop> {
        let mut hidden = is_blocked && permit.says_something();
        let effect = match permit {
            Permit::Post(place, message) => {
                rules::post(place, message, &self.attached(sender, &message.media())?)?
            }
            Permit::BeginDirect(peer, message) => {
                let peer = self.caches.named(self.connection, peer)?;
                let peer = peer.ok_or(Refusal::NotFound)?;
                let found = self.attached(sender, &message.media())?;
                rules::begin_direct(sender, &peer, message, &found)?
            }
            Permit::Change(joined, seq, change) => {
                let place = joined.place;
                let subject = self.subject(place, seq, sender)?;
                let reacted = match change {
                    Change::React(emoji) | Change::Unreact(emoji) => {
                        self.reacted(place, seq, sender, emoji.as_str())?
                    }
                    Change::Edit(..) | Change::Delete | Change::Pin | Change::Unpin => {
                        Reacted::default()
                    }
                };
                let facts = (subject, reacted);
                hidden = rules::is_hidden(change, is_blocked, &facts);
                rules::change((joined, seq), change, sender, facts, self.committed_at_ms)?
            }
            Permit::ChangeAccount(place, setting) => self.decide_setting(place, sender, setting)?,
            Permit::Friendship(permit) => {
                return self.decide_friendship(permit, sender, is_blocked);
            }
            Permit::CreateGroup(title, names) => {
                let people = self.people(names)?;
                let closed = self.closed(sender, &people)?;
                rules::create_group(sender, title, people, &closed, self.members_max)?
            }
            Permit::AddMembers(place, names) => {
                let people = self.people(names)?;
                let named = self.find_named(place, sender, &people)?;
                rules::add_members(place, people, &named, self.count(place)?)?
            }
            Permit::RemoveMember(joined, name) => {
                let (person, role) = self.member(joined.place, name)?;
                rules::remove_member(joined, sender, person, role)?
            }
            Permit::Ban(joined, name, banned) => {
                let (person, role) = self.member(joined.place, name)?;
                let is_banned = bans::is_banned(self.connection, joined.place, &person)?;
                rules::ban(joined, sender, (person, role), is_banned, banned)?
            }
            Permit::Invite(permit) => self.decide_invite(permit, sender)?,
            Permit::Leave(Joined { place, role }) => {
                let heir = match role {
                    Role::Owner => self.heir(place)?,
                    Role::Member | Role::Admin => None,
                };
                rules::leave(place, sender, heir)
            }
            Permit::UpdateGroup(joined, update) => self.decide_update(joined, sender, update)?,
            Permit::SetRole(joined, name, role) => {
                let (person, from) = self.member(joined.place, name)?;
                rules::set_role(joined, sender, person, from, role)?
            }
        };
        Ok((effect, hidden))
    }

    /// With whether the event is hidden from the other one.
    fn decide_friendship(
        &mut self,
        permit: FriendPermit<'_>,
        sender: &Arc<Person>,
        is_blocked: bool,
    ) -> Result<(Effect, bool), Stop> {
        Ok(match permit {
            FriendPermit::Change(place, peer, action) => {
                let peer = self.caches.named(self.connection, peer)?;
                let pair = (sender, peer.ok_or(Refusal::NotFound)?);
                let bonds = self.bonds(place, sender)?;
                rules::befriend(place, pair, action, bonds, is_blocked)?
            }
            FriendPermit::Part(place) => {
                let peer = self.peer(place, sender)?.ok_or(Refusal::NotFound)?;
                rules::part(place, peer, self.bonds(Some(place), sender)?)?
            }
        })
    }

    /// What must be known of people who are to be added.
    fn find_named(
        &mut self,
        place: Place,
        sender: &Person,
        people: &[Arc<Person>],
    ) -> Result<Named, StoreError> {
        let mut named = Named {
            closed: self.closed(sender, people)?,
            ..Named::default()
        };
        for person in people {
            if self.role(place, person)?.is_some() {
                named.present.insert(person.key);
            } else if bans::is_banned(self.connection, place, person)? {
                named.banned.insert(person.key);
            }
        }
        Ok(named)
    }

    fn decide_invite(&self, permit: InvitePermit, sender: &Arc<Person>) -> Result<Effect, Stop> {
        let now = self.committed_at_ms;
        Ok(match permit {
            InvitePermit::Create(joined, hash, bounds) => {
                let same = invites::by_hash(self.connection, joined.place, &hash)?;
                let count = invites::count(self.connection, joined.place, now)?;
                rules::create_invite(joined, (hash, bounds), same.as_ref(), count, now)?
            }
            InvitePermit::Revoke(joined, seq) => {
                let subject = self.subject(joined.place, seq, sender)?;
                let is_there = invites::is_there(self.connection, joined.place, seq)?;
                rules::revoke_invite((joined, seq), subject, is_there)?
            }
            InvitePermit::Join(place, role, hash) => {
                let invite = invites::by_hash(self.connection, place, &hash)?;
                let is_banned = bans::is_banned(self.connection, place, sender)?;
                let count = self.count(place)?;
                let place = (place, role);
                rules::join(place, sender, invite.as_ref(), is_banned, count, now)?
            }
        })
    }

    fn role(&mut self, place: Place, user: &Person) -> Result<Option<Role>, StoreError> {
        self.caches.role(self.connection, place.key, user.key)
    }

    /// The user with this name, and what they are there if they are a member.
    fn member(
        &mut self,
        place: Place,
        name: &UserName,
    ) -> Result<(Arc<Person>, Option<Role>), Stop> {
        let person = self.caches.named(self.connection, name)?;
        let person = person.ok_or(Refusal::NotFound)?;
        let role = self.role(place, &person)?;
        Ok((person, role))
    }

    /// The people with these names, each once.
    fn people(&mut self, names: &[UserName]) -> Result<Vec<Arc<Person>>, Stop> {
        let found = names
            .iter()
            .map(|name| self.caches.named(self.connection, name))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(rules::each_once(found)?)
    }
}
