//! One command under the log head's lock: groups, and what begins a direct
//! conversation. The rules are those of the embedded engine, and the conformance
//! suite holds both to them.

use std::{collections::HashSet, sync::Arc};

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::GROUP_MEMBERS_MAX,
    seq::Seq,
    text::UserName,
    wire::v1::{self, event_content::Kind},
};
use tokio_postgres::Row;

use super::{
    known::Person,
    log::{DIRECT, GROUP, Log, NewEvent, Place, Request, Written},
    session::{Failure, get, get_count, uuid},
};
use crate::store::{
    Append, Command, LogEvent, MembershipChange, Outcome, Refusal,
    event::EventKind,
    identity::{is_direct_shaped, request_digest},
};

/// Everything that decides what becomes of a command: what the same id became
/// before, whether the device may act, the conversation, whether the actor is a
/// member, and the newest event's seq. For a deleted user the server acts, and leaves
/// groups.
const JUDGE: &str = "
    SELECT k.seq, k.committed_at_ms, k.digest,
           EXISTS (SELECT FROM devices d
                    WHERE d.device_id = $3 AND d.user_key = $1 AND NOT d.is_revoked)
               OR ($5 AND EXISTS (SELECT FROM users u WHERE u.key = $1 AND u.state = 2)),
           c.key, c.kind,
           EXISTS (SELECT FROM members m
                    WHERE m.user_key = $1 AND m.conversation_key = c.key
                      AND m.to_position = 9223372036854775807),
           coalesce((SELECT e.seq FROM events e WHERE e.conversation_key = c.key
                      ORDER BY e.seq DESC LIMIT 1), 0)
      FROM (SELECT 1) one
      LEFT JOIN LATERAL (
          SELECT e.seq, e.committed_at_ms, e.digest FROM events e
           WHERE e.sender_key = $1 AND e.message_id = $2 LIMIT 1
      ) k ON true
      LEFT JOIN conversations c ON c.conversation_id = $4";

/// Why a command ends early. Until its first write a command may stop with a
/// refusal; behind it only with a failure, which undoes the whole batch.
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

/// What the database says of a command.
struct Judgement {
    /// Of the event that the same id made: seq, commit time, digest.
    known: Option<(Seq, i64, Vec<u8>)>,
    may_act: bool,
    place: Option<Place>,
    is_member: bool,
}

impl Judgement {
    fn of(row: &Row) -> Result<Self, Failure> {
        let known = match get::<Option<i64>>(row, 0)? {
            Some(_) => Some((Seq::new(get_count(row, 0)?), get(row, 1)?, get(row, 2)?)),
            None => None,
        };
        let place = match get::<Option<i64>>(row, 4)? {
            Some(key) => Some(Place {
                key,
                is_group: get::<i16>(row, 5)? == GROUP,
                head: Seq::new(get_count(row, 7)?),
            }),
            None => None,
        };
        Ok(Self {
            known,
            may_act: get(row, 3)?,
            place,
            is_member: get(row, 6)?,
        })
    }
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
        let destination = self.known.destination(append);
        let asked = destination.unwrap_or(ConversationId::new([0; 16]));
        let judged = self
            .session
            .one(
                JUDGE,
                &[
                    &sender.key,
                    &uuid(append.id.bytes()),
                    &uuid(append.actor.device.bytes()),
                    &uuid(asked.bytes()),
                    &matches!(append.command, Command::LeaveGroup { .. }),
                ],
            )
            .await?;
        let judged = Judgement::of(&judged)?;
        let Some(conversation) = destination else {
            // To nobody: nothing with this id can have been the same.
            let refusal = judged
                .known
                .map_or(Refusal::NotFound, |_| Refusal::Conflict);
            return Err(refusal.into());
        };
        let digest = request_digest(conversation, &append.command);
        if let Some((seq, committed_at_ms, known)) = judged.known {
            if known != digest {
                return Err(Refusal::Conflict.into());
            }
            let outcome = Outcome::Accepted {
                conversation,
                seq,
                committed_at_ms,
            };
            return Ok((outcome, None));
        }
        let request = Request {
            append,
            sender,
            conversation,
            digest,
        };
        let (seq, event) = self.carry_out(&request, &judged).await?;
        let outcome = Outcome::Accepted {
            conversation,
            seq,
            committed_at_ms: self.committed_at_ms,
        };
        Ok((outcome, Some(event)))
    }

    /// Authorises it and does it.
    async fn carry_out(
        &mut self,
        request: &Request<'a>,
        judged: &Judgement,
    ) -> Result<Written, Stop> {
        if !judged.may_act {
            return Err(Refusal::DeviceRevoked.into());
        }
        match &request.append.command {
            Command::SendMessage { to, text } => match judged.place {
                Some(place) if judged.is_member => {
                    let content = message(text.as_str());
                    Ok(self
                        .write(request, place, EventKind::Message, content, None)
                        .await?)
                }
                Some(_) => Err(Refusal::NotFound.into()),
                None => {
                    let magpie_protocol::wire::Target::User(peer) = to else {
                        return Err(Refusal::NotFound.into());
                    };
                    let peer = self.known.named(peer).ok_or(Refusal::NotFound)?;
                    self.begin_direct(request, peer, text.as_str()).await
                }
            },
            Command::CreateGroup { title, names } => {
                if judged.place.is_some() || is_direct_shaped(request.conversation) {
                    return Err(Refusal::Conflict.into());
                }
                self.create_group(request, title.as_str(), names).await
            }
            Command::AddMembers { names, .. } => {
                let place = member_group(judged)?;
                self.add_members(request, place, names).await
            }
            Command::RemoveMember { name, .. } => {
                let place = member_group(judged)?;
                self.remove_member(request, place, name).await
            }
            Command::LeaveGroup { .. } => {
                let place = member_group(judged)?;
                let event = NewEvent {
                    kind: EventKind::MemberLeft,
                    content: Kind::MemberLeft(v1::MemberLeft {}),
                    change: MembershipChange::Left(request.sender.id),
                };
                Ok(self.end(request, place, request.sender, event).await?)
            }
        }
    }

    /// The first message of a direct conversation makes it.
    async fn begin_direct(
        &mut self,
        request: &Request<'a>,
        peer: &Arc<Person>,
        text: &str,
    ) -> Result<Written, Stop> {
        let mut members = vec![Arc::clone(request.sender)];
        if peer.key != request.sender.key {
            members.push(Arc::clone(peer));
        }
        // The order in which they are read from the log again.
        members.sort_by_key(|member| member.id);
        let place = self.create(request.conversation, DIRECT, "").await?;
        let event = NewEvent {
            kind: EventKind::Message,
            content: message(text),
            change: joined(&members),
        };
        Ok(self.join(request, place, &members, event).await?)
    }

    async fn create_group(
        &mut self,
        request: &Request<'a>,
        title: &str,
        names: &[UserName],
    ) -> Result<Written, Stop> {
        let mut members = self.people(names)?;
        members.retain(|member| member.key != request.sender.key);
        members.insert(0, Arc::clone(request.sender));
        if members.len() > GROUP_MEMBERS_MAX {
            return Err(Refusal::GroupFull.into());
        }
        let content = v1::GroupCreated {
            title: title.to_owned(),
            members: members.iter().map(|member| member.to_wire()).collect(),
        };
        let place = self.create(request.conversation, GROUP, title).await?;
        let event = NewEvent {
            kind: EventKind::GroupCreated,
            content: Kind::GroupCreated(content),
            change: joined(&members),
        };
        Ok(self.join(request, place, &members, event).await?)
    }

    async fn add_members(
        &mut self,
        request: &Request<'a>,
        place: Place,
        names: &[UserName],
    ) -> Result<Written, Stop> {
        let mut joining = self.people(names)?;
        let present = self.present(place, &joining).await?;
        joining.retain(|person| !present.contains(&person.key));
        if joining.is_empty() {
            return Err(Refusal::NothingToDo.into());
        }
        let count = self.member_count(place).await?;
        if count.saturating_add(joining.len() as u64) > GROUP_MEMBERS_MAX as u64 {
            return Err(Refusal::GroupFull.into());
        }
        let members = joining.iter().map(|person| person.to_wire()).collect();
        let event = NewEvent {
            kind: EventKind::MembersAdded,
            content: Kind::MembersAdded(v1::MembersAdded { members }),
            change: joined(&joining),
        };
        Ok(self.join(request, place, &joining, event).await?)
    }

    async fn remove_member(
        &mut self,
        request: &Request<'a>,
        place: Place,
        name: &UserName,
    ) -> Result<Written, Stop> {
        let person = self.known.named(name).ok_or(Refusal::NotFound)?;
        if person.key == request.sender.key {
            return Err(Refusal::NotPossible.into());
        }
        let present = self.present(place, std::slice::from_ref(person)).await?;
        if present.is_empty() {
            return Err(Refusal::NotFound.into());
        }
        let member = Some(person.to_wire());
        let event = NewEvent {
            kind: EventKind::MemberRemoved,
            content: Kind::MemberRemoved(v1::MemberRemoved { member }),
            change: MembershipChange::Left(person.id),
        };
        Ok(self.end(request, place, person, event).await?)
    }

    /// The people with these names, each once.
    fn people(&self, names: &[UserName]) -> Result<Vec<Arc<Person>>, Refusal> {
        let mut people = Vec::with_capacity(names.len());
        let mut seen = HashSet::with_capacity(names.len());
        for name in names {
            let person = self.known.named(name).ok_or(Refusal::NotFound)?;
            if seen.insert(person.key) {
                people.push(Arc::clone(person));
            }
        }
        Ok(people)
    }
}

/// The group of which the actor is a member.
fn member_group(judged: &Judgement) -> Result<Place, Refusal> {
    match judged.place {
        Some(place) if judged.is_member && place.is_group => Ok(place),
        Some(_) if judged.is_member => Err(Refusal::NotPossible),
        Some(_) | None => Err(Refusal::NotFound),
    }
}

fn message(text: &str) -> Kind {
    let text = text.to_owned();
    Kind::Message(v1::Message { text })
}

fn joined(members: &[Arc<Person>]) -> MembershipChange {
    let members: Vec<UserId> = members.iter().map(|member| member.id).collect();
    MembershipChange::Joined(members)
}
