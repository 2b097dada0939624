//! One command under the log head's lock: groups, what begins a direct conversation,
//! and what is done to messages that are there. Its facts are found here, `rules` decides, and `log` writes.

use std::sync::Arc;

use magpie_protocol::{
    id::ConversationId, role::Role, seq::Seq, setting::Setting, text::UserName, wire::GroupUpdate,
};
use tokio_postgres::Row;

use super::{
    bans,
    blocks::is_sender_blocked,
    invites,
    log::{Log, Request, role},
    session::{Failure, get, get_count, uuid},
    uses,
};
use crate::store::{
    Append, LogEvent, Outcome, Refusal,
    rules::{
        self, Asked, Attached, Change, ConversationKind, Effect, FriendPermit, InvitePermit,
        Joined, Known, Named, Permit, Person, Place, Reacted, Standing, Subject,
    },
};

/// What a request with the same id became before, and how the actor stands: whether
/// the device may act, the conversation, the actor's role if they are a member, the newest
/// event's seq, whether the actor is deleted, and whether they are blocked by the user with the
/// key $5, or by the other member of a direct conversation.
pub(super) const JUDGE: &str = concat!(
    "SELECT k.seq, k.committed_at_ms, k.digest,
           EXISTS (SELECT FROM devices d
                    WHERE d.device_id = $3 AND d.user_key = $1 AND NOT d.is_revoked),
           c.key, c.kind,
           (SELECT m.role FROM members m
             WHERE m.user_key = $1 AND m.conversation_key = c.key
               AND m.to_position = 9223372036854775807 LIMIT 1),
           coalesce(last.seq, 0),
           EXISTS (SELECT FROM users u WHERE u.key = $1 AND u.state = 2),
           coalesce(last.message_count, 0),
           c.announcement_only,
           EXISTS (SELECT FROM blocks b WHERE b.user_key = $5 AND b.blocked_key = $1) OR ",
    is_sender_blocked!("$1", "c.key"),
    "  FROM (SELECT 1) one
      LEFT JOIN LATERAL (
          SELECT e.seq, e.committed_at_ms, e.digest FROM events e
           WHERE e.sender_key = $1 AND e.message_id = $2 LIMIT 1
      ) k ON true
      LEFT JOIN conversations c ON c.conversation_id = $4
      LEFT JOIN LATERAL (
          SELECT e.seq, e.message_count FROM events e WHERE e.conversation_key = c.key
           ORDER BY e.seq DESC LIMIT 1
      ) last ON true"
);

/// Why a command ends early. Until its effect is decided a command may stop with a
/// refusal; behind that only with a failure, which undoes the whole batch.
enum Stop {
    Refused(Refusal),
    Failed(Failure),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn known(row: &Row, asked: Option<&Asked>) -> Result<Option<Known>, Failure> {
    if get::<Option<i64>>(row, 0)?.is_none() {
        return Ok(None);
    }
    let digest: &[u8] = get(row, 2)?;
    Ok(Some(Known {
        is_same: asked.is_some_and(|asked| asked.digest == digest),
        seq: Seq::new(get_count(row, 0)?),
        committed_at_ms: get(row, 1)?,
    }))
}

fn standing(row: &Row) -> Result<Standing, Failure> {
    let place = match get::<Option<i64>>(row, 4)? {
        Some(key) => Some(Place {
            key,
            kind: ConversationKind::from_number(get::<i16>(row, 5)?.into())?,
            head: Seq::new(get_count(row, 7)?),
            messages: get_count(row, 9)?,
            announcement_only: get(row, 10)?,
        }),
        None => None,
    };
    Ok(Standing {
        has_device: get(row, 3)?,
        is_deleted: get(row, 8)?,
        place,
        role: role(row, 6)?,
        is_blocked: get(row, 11)?,
    })
}

impl<'a> Log<'a> {
    /// Does it, or says why not.
    pub(super) async fn append(
        &mut self,
        append: &'a Append,
    ) -> Result<(Outcome, Option<LogEvent>), Failure> {
        match self.try_append(append).await {
            Ok(done) => Ok(done),
            Err(Stop::Refused(refusal)) => Ok((Outcome::Refused(refusal), None)),
            Err(Stop::Failed(failure)) => Err(failure),
        }
    }

    async fn try_append(
        &mut self,
        append: &'a Append,
    ) -> Result<(Outcome, Option<LogEvent>), Stop> {
        let sender = self.known.person(append.actor.user);
        let sender = sender.ok_or(Refusal::DeviceRevoked)?;
        // A user who did not exist when the shard was looked up is not found: the
        // conversation with them may be in another one.
        let asked = self.known.asked(append);
        let asked = asked.filter(|asked| self.shard.holds(asked.conversation));
        let nowhere = ConversationId::new([0; 16]);
        let conversation = asked.map_or(nowhere, |asked| asked.conversation);
        let peer = append.command.peer().and_then(|it| self.known.named(it));
        let peer = peer.map_or(0, |peer| peer.key);
        let judged = self
            .session
            .one(
                JUDGE,
                &[
                    &sender.key,
                    &uuid(append.id.bytes()),
                    &uuid(append.actor.device.bytes()),
                    &uuid(conversation.bytes()),
                    &peer,
                ],
            )
            .await?;
        let known = known(&judged, asked.as_ref())?;
        let asked = match rules::to_do(asked, known.as_ref()) {
            Ok(asked) => asked,
            Err(outcome) => return Ok((outcome, None)),
        };
        let standing = standing(&judged)?;
        let permit = rules::permit(append, &asked, &standing)?;
        let decided = self.decide(permit, sender, standing.is_blocked).await?;
        let request = Request {
            append,
            sender,
            asked,
        };
        let event = self.carry_out(&request, decided).await?;
        let outcome = Outcome::Accepted {
            conversation: asked.conversation,
            seq: event.seq,
            committed_at_ms: self.committed_at_ms,
        };
        Ok((outcome, Some(event)))
    }

    async fn decide_update(
        &self,
        joined: Joined,
        sender: &Person,
        update: &GroupUpdate,
    ) -> Result<Effect, Stop> {
        let media = update.media();
        if update.photo.is_some() {
            let last = uses::group_photo(self.session, joined.place.key).await?;
            uses::lock(self.session, &media, last).await?;
        }
        let found = self.attached(sender, &media).await?;
        let said = self.said(joined.place).await?;
        Ok(rules::update_group(joined, update, &said, &found)?)
    }

    /// Finds the rest of the facts. With whether the event is hidden from others.
    async fn decide(
        &self,
        permit: Permit<'_>,
        sender: &Arc<Person>,
        is_blocked: bool,
    ) -> Result<(Effect, bool), Stop> {
        let mut hidden = is_blocked && permit.says_something();
        let effect = match permit {
            Permit::Post(place, message) => {
                let found = self.attached(sender, &message.media()).await?;
                rules::post(place, message, &found)?
            }
            Permit::BeginDirect(peer, message) => {
                let peer = self.known.named(peer).ok_or(Refusal::NotFound)?;
                let found = self.attached(sender, &message.media()).await?;
                rules::begin_direct(sender, peer, message, &found)?
            }
            Permit::Change(joined, seq, change) => {
                let facts = self.facts((joined.place, seq), change, sender).await?;
                hidden = rules::is_hidden(change, is_blocked, &facts);
                rules::change((joined, seq), change, sender, facts, self.committed_at_ms)?
            }
            Permit::ChangeAccount(place, setting) => {
                let found = self.attached_to_account(sender, setting).await?;
                rules::change_account(place, sender, setting, &found)?
            }
            Permit::Friendship(permit) => {
                return self.decide_friendship(permit, sender, is_blocked).await;
            }
            Permit::CreateGroup(title, names) => {
                let members_max = self.known.members_max;
                let people = self.people(names)?;
                let closed = self.closed(sender, &people).await?;
                rules::create_group(sender, title, people, &closed, members_max)?
            }
            Permit::AddMembers(place, names) => {
                let people = self.people(names)?;
                let named = self.find_named(place, sender, &people).await?;
                rules::add_members(place, people, &named, self.count(place).await?)?
            }
            Permit::RemoveMember(joined, name) => {
                let (person, role) = self.member(joined.place, name).await?;
                rules::remove_member(joined, sender, person, role)?
            }
            Permit::Ban(joined, name, banned) => {
                let (person, role) = self.member(joined.place, name).await?;
                let found = std::slice::from_ref(&person);
                let found = bans::banned(self.session, joined.place, found).await?;
                rules::ban(joined, sender, (person, role), !found.is_empty(), banned)?
            }
            Permit::Invite(permit) => self.decide_invite(permit, sender).await?,
            Permit::Leave(Joined { place, role }) => {
                let heir = match role {
                    Role::Owner => self.heir(place).await?,
                    Role::Member | Role::Admin => None,
                };
                rules::leave(place, sender, heir)
            }
            Permit::UpdateGroup(joined, update) => {
                self.decide_update(joined, sender, update).await?
            }
            Permit::SetRole(joined, name, role) => {
                let (person, from) = self.member(joined.place, name).await?;
                rules::set_role(joined, sender, person, from, role)?
            }
        };
        Ok((effect, hidden))
    }

    async fn attached_to_account(
        &self,
        sender: &Person,
        setting: &Setting,
    ) -> Result<Vec<Attached>, Failure> {
        if matches!(setting, Setting::Profile(_)) {
            let last = uses::profile_photo(self.session, sender).await?;
            uses::lock(self.session, &setting.media(), last).await?;
        }
        self.attached(sender, &setting.media()).await
    }

    /// What a change of the message at `seq` depends on.
    async fn facts(
        &self,
        (place, seq): (Place, Seq),
        change: Change<'_>,
        sender: &Person,
    ) -> Result<(Option<Subject>, Reacted), Failure> {
        let reacted = match change {
            Change::React(emoji) | Change::Unreact(emoji) => {
                self.reacted(place, seq, sender, emoji.as_str()).await?
            }
            Change::Edit(..) | Change::Delete | Change::Pin | Change::Unpin => Reacted::default(),
        };
        Ok((self.subject(place, seq, sender).await?, reacted))
    }

    /// With whether the event is hidden from the other one.
    async fn decide_friendship(
        &self,
        permit: FriendPermit<'_>,
        sender: &Arc<Person>,
        is_blocked: bool,
    ) -> Result<(Effect, bool), Stop> {
        Ok(match permit {
            FriendPermit::Change(place, peer, action) => {
                let peer = self.known.named(peer).ok_or(Refusal::NotFound)?;
                let pair = (sender, Arc::clone(peer));
                let bonds = self.bonds(place, sender).await?;
                rules::befriend(place, pair, action, bonds, is_blocked)?
            }
            FriendPermit::Part(place) => {
                let peer = self.peer(place, sender).await?;
                let bonds = self.bonds(Some(place), sender).await?;
                rules::part(place, peer.ok_or(Refusal::NotFound)?, bonds)?
            }
        })
    }

    /// What must be known of people who are to be added.
    async fn find_named(
        &self,
        place: Place,
        sender: &Person,
        people: &[Arc<Person>],
    ) -> Result<Named, Failure> {
        let present = self.roles(place, people).await?;
        Ok(Named {
            present: present.into_keys().collect(),
            banned: bans::banned(self.session, place, people).await?,
            closed: self.closed(sender, people).await?,
        })
    }

    async fn decide_invite(
        &self,
        permit: InvitePermit,
        sender: &Arc<Person>,
    ) -> Result<Effect, Stop> {
        let now = self.committed_at_ms;
        Ok(match permit {
            InvitePermit::Create(joined, hash, bounds) => {
                let same = invites::by_hash(self.session, joined.place, &hash).await?;
                let count = invites::count(self.session, joined.place, now).await?;
                rules::create_invite(joined, (hash, bounds), same.as_ref(), count, now)?
            }
            InvitePermit::Revoke(joined, seq) => {
                let subject = self.subject(joined.place, seq, sender).await?;
                let is_there = invites::is_there(self.session, joined.place, seq).await?;
                rules::revoke_invite((joined, seq), subject, is_there)?
            }
            InvitePermit::Join(place, role, hash) => {
                let invite = invites::by_hash(self.session, place, &hash).await?;
                let is_banned = !bans::banned(self.session, place, std::slice::from_ref(sender))
                    .await?
                    .is_empty();
                let count = self.count(place).await?;
                let place = (place, role);
                rules::join(place, sender, invite.as_ref(), is_banned, count, now)?
            }
        })
    }

    /// The user with this name, and what they are there if they are a member.
    async fn member(
        &self,
        place: Place,
        name: &UserName,
    ) -> Result<(Arc<Person>, Option<Role>), Stop> {
        let person = self.known.named(name).ok_or(Refusal::NotFound)?;
        let roles = self.roles(place, std::slice::from_ref(person)).await?;
        Ok((Arc::clone(person), roles.get(&person.key).copied()))
    }

    /// The people with these names, each once.
    fn people(&self, names: &[UserName]) -> Result<Vec<Arc<Person>>, Refusal> {
        rules::each_once(names.iter().map(|name| self.known.named(name).cloned()))
    }
}
