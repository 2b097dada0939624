//! Appending to the log: the only writer of events, memberships and
//! conversations.

use std::{collections::HashSet, sync::Arc};

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::GROUP_MEMBERS_MAX,
    seq::Seq,
    text::UserName,
    wire::{
        Target,
        v1::{self, event_content::Kind},
    },
};

use super::{
    log::{Log, NewEvent},
    rows,
    writer::{ConversationKind, Person, Place, Writer},
};
use crate::store::{
    Append, Command, Committed, MembershipChange, Outcome, Refusal, StoreError,
    event::EventKind,
    identity::{direct_conversation, is_direct_shaped, request_digest},
};

/// Appends a batch. See [`crate::store::Store::append`].
pub(super) fn append(
    writer: &mut Writer,
    batch: &[Append],
    at_ms: i64,
) -> Result<Committed, StoreError> {
    writer.transaction(|connection, caches| {
        let before = rows::log_head(connection)?;
        let mut log = Log {
            connection,
            caches,
            head: before.position,
            committed_at_ms: at_ms.max(before.committed_at_ms),
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

/// Why a command ends early. Until its first write a command may stop with a
/// refusal; behind it only with an error, which undoes the whole batch.
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

/// What a command may do.
enum Permit {
    /// Write into this conversation.
    In(Place),
    /// Make the direct conversation with this user.
    NewDirect(Arc<Person>),
    /// Make a group.
    NewGroup,
}

/// A command whose names are found.
struct Request<'a> {
    append: &'a Append,
    sender: Arc<Person>,
    /// Where it goes.
    conversation: ConversationId,
    /// To whom it goes, if it says so.
    peer: Option<Arc<Person>>,
    digest: [u8; 16],
}

impl<'a> Request<'a> {
    fn event(
        &'a self,
        place: Place,
        kind: EventKind,
        content: Kind,
        change: Option<MembershipChange>,
    ) -> NewEvent<'a> {
        NewEvent {
            conversation: self.conversation,
            place,
            sender: &self.sender,
            id: self.append.id,
            digest: self.digest,
            kind,
            content,
            change,
        }
    }
}

impl Log<'_> {
    fn append(&mut self, append: &Append) -> Result<Outcome, Stop> {
        let actor = append.actor.user;
        let sender = self.caches.person(self.connection, actor)?;
        let sender = sender.ok_or(Refusal::DeviceRevoked)?;
        let Some(request) = self.find_names(append, Arc::clone(&sender))? else {
            // To nobody: nothing with this id can have been the same.
            let known = self.known(&sender, append.id)?;
            return Err(known
                .map_or(Refusal::NotFound, |_| Refusal::Conflict)
                .into());
        };
        if let Some(known) = self.known(&sender, append.id)? {
            if known.digest != request.digest {
                return Err(Refusal::Conflict.into());
            }
            return Ok(Outcome::Accepted {
                conversation: request.conversation,
                seq: known.seq,
                committed_at_ms: known.committed_at_ms,
            });
        }
        let permit = self.authorise(&request)?;
        let seq = self.carry_out(&request, permit)?;
        Ok(Outcome::Accepted {
            conversation: request.conversation,
            seq,
            committed_at_ms: self.committed_at_ms,
        })
    }

    /// Finds where the command goes; `None` if it goes to nobody.
    fn find_names<'a>(
        &mut self,
        append: &'a Append,
        sender: Arc<Person>,
    ) -> Result<Option<Request<'a>>, StoreError> {
        let mut peer = None;
        let conversation = match &append.command {
            Command::SendMessage { to, text: _ } => match to {
                Target::Conversation(id) => *id,
                Target::User(name) => {
                    let Some(found) = self.caches.named(self.connection, name)? else {
                        return Ok(None);
                    };
                    let id = direct_conversation(sender.id, found.id);
                    peer = Some(found);
                    id
                }
            },
            Command::CreateGroup { .. } => ConversationId::new(append.id.bytes()),
            Command::AddMembers { conversation, .. }
            | Command::RemoveMember { conversation, .. }
            | Command::LeaveGroup { conversation } => *conversation,
        };
        let digest = request_digest(conversation, &append.command);
        Ok(Some(Request {
            append,
            sender,
            conversation,
            peer,
            digest,
        }))
    }

    /// Whether the actor may do this at all: every command passes here, once.
    fn authorise(&mut self, request: &Request<'_>) -> Result<Permit, Stop> {
        let actor = &request.append.actor;
        let may_act = self
            .caches
            .may_act(self.connection, actor.device, actor.user)?;
        if !may_act && !self.is_departure(request)? {
            return Err(Refusal::DeviceRevoked.into());
        }
        let place = self.caches.place(self.connection, request.conversation)?;
        match (&request.append.command, place) {
            (Command::CreateGroup { .. }, None) if !is_direct_shaped(request.conversation) => {
                Ok(Permit::NewGroup)
            }
            (Command::CreateGroup { .. }, _) => Err(Refusal::Conflict.into()),
            (Command::SendMessage { .. }, Some(place)) => {
                self.check_member(place, &request.sender)?;
                Ok(Permit::In(place))
            }
            (Command::SendMessage { .. }, None) => {
                let peer = request.peer.as_ref().ok_or(Refusal::NotFound)?;
                Ok(Permit::NewDirect(Arc::clone(peer)))
            }
            (
                Command::AddMembers { .. }
                | Command::RemoveMember { .. }
                | Command::LeaveGroup { .. },
                place,
            ) => {
                let place = place.ok_or(Refusal::NotFound)?;
                self.check_member(place, &request.sender)?;
                match place.kind {
                    ConversationKind::Direct => Err(Refusal::NotPossible.into()),
                    ConversationKind::Group => Ok(Permit::In(place)),
                }
            }
        }
    }

    /// Whether somebody who is deleted leaves a group: the server does that for them.
    fn is_departure(&self, request: &Request<'_>) -> Result<bool, StoreError> {
        Ok(matches!(request.append.command, Command::LeaveGroup { .. })
            && rows::is_deleted(self.connection, request.sender.key)?)
    }

    fn check_member(&mut self, place: Place, user: &Person) -> Result<(), Stop> {
        if self
            .caches
            .is_member(self.connection, place.key, user.key)?
        {
            return Ok(());
        }
        Err(Refusal::NotFound.into())
    }

    /// Does it. Returns the event's seq.
    fn carry_out(&mut self, request: &Request<'_>, permit: Permit) -> Result<Seq, Stop> {
        match (&request.append.command, permit) {
            (Command::SendMessage { text, .. }, Permit::In(place)) => {
                let event = request.event(place, EventKind::Message, message(text.as_str()), None);
                Ok(self.write(event)?)
            }
            (Command::SendMessage { text, .. }, Permit::NewDirect(peer)) => {
                Ok(self.begin_direct(request, peer, text.as_str())?)
            }
            (Command::CreateGroup { title, names }, Permit::NewGroup) => {
                self.create_group(request, title.as_str(), names)
            }
            (Command::AddMembers { names, .. }, Permit::In(place)) => {
                self.add_members(request, place, names)
            }
            (Command::RemoveMember { name, .. }, Permit::In(place)) => {
                self.remove_member(request, place, name)
            }
            (Command::LeaveGroup { .. }, Permit::In(place)) => Ok(self.end(
                request,
                place,
                &request.sender,
                EventKind::MemberLeft,
                Kind::MemberLeft(v1::MemberLeft {}),
            )?),
            // `authorise` gives no command any other permit.
            (
                Command::SendMessage { .. }
                | Command::CreateGroup { .. }
                | Command::AddMembers { .. }
                | Command::RemoveMember { .. }
                | Command::LeaveGroup { .. },
                Permit::In(_) | Permit::NewDirect(_) | Permit::NewGroup,
            ) => Err(Refusal::NotPossible.into()),
        }
    }

    /// The first message of a direct conversation makes it.
    fn begin_direct(
        &mut self,
        request: &Request<'_>,
        peer: Arc<Person>,
        text: &str,
    ) -> Result<Seq, StoreError> {
        let mut members = vec![Arc::clone(&request.sender)];
        if peer.key != request.sender.key {
            members.push(peer);
        }
        // The order in which they are read from the log again.
        members.sort_by_key(|member| member.id);
        let place = self.create(request.conversation, ConversationKind::Direct, "")?;
        let change = Some(joined(&members));
        let seq = self.write(request.event(place, EventKind::Message, message(text), change))?;
        self.join(place, seq, &members)?;
        Ok(seq)
    }

    fn create_group(
        &mut self,
        request: &Request<'_>,
        title: &str,
        names: &[UserName],
    ) -> Result<Seq, Stop> {
        let mut members = self.people(names)?;
        members.retain(|member| member.key != request.sender.key);
        members.insert(0, Arc::clone(&request.sender));
        if members.len() > GROUP_MEMBERS_MAX {
            return Err(Refusal::GroupFull.into());
        }
        let content = v1::GroupCreated {
            title: title.to_owned(),
            members: wire_users(&members),
        };
        let place = self.create(request.conversation, ConversationKind::Group, title)?;
        let seq = self.write(request.event(
            place,
            EventKind::GroupCreated,
            Kind::GroupCreated(content),
            Some(joined(&members)),
        ))?;
        self.join(place, seq, &members)?;
        Ok(seq)
    }

    fn add_members(
        &mut self,
        request: &Request<'_>,
        place: Place,
        names: &[UserName],
    ) -> Result<Seq, Stop> {
        let mut joining = Vec::with_capacity(names.len());
        for person in self.people(names)? {
            if !self
                .caches
                .is_member(self.connection, place.key, person.key)?
            {
                joining.push(person);
            }
        }
        if joining.is_empty() {
            return Err(Refusal::NothingToDo.into());
        }
        let count = self.member_count(place)?;
        if count.saturating_add(joining.len() as u64) > GROUP_MEMBERS_MAX as u64 {
            return Err(Refusal::GroupFull.into());
        }
        let members = wire_users(&joining);
        let seq = self.write(request.event(
            place,
            EventKind::MembersAdded,
            Kind::MembersAdded(v1::MembersAdded { members }),
            Some(joined(&joining)),
        ))?;
        self.join(place, seq, &joining)?;
        Ok(seq)
    }

    fn remove_member(
        &mut self,
        request: &Request<'_>,
        place: Place,
        name: &UserName,
    ) -> Result<Seq, Stop> {
        let person = self.caches.named(self.connection, name)?;
        let person = person.ok_or(Refusal::NotFound)?;
        if person.key == request.sender.key {
            return Err(Refusal::NotPossible.into());
        }
        self.check_member(place, &person)?;
        let member = Some(wire_user(&person));
        let content = Kind::MemberRemoved(v1::MemberRemoved { member });
        Ok(self.end(request, place, &person, EventKind::MemberRemoved, content)?)
    }

    /// Ends a membership with an event that is the last one its user may read.
    fn end(
        &mut self,
        request: &Request<'_>,
        place: Place,
        leaving: &Person,
        kind: EventKind,
        content: Kind,
    ) -> Result<Seq, StoreError> {
        let change = Some(MembershipChange::Left(leaving.id));
        let seq = self.write(request.event(place, kind, content, change))?;
        self.leave(place, seq, leaving)?;
        Ok(seq)
    }

    /// The people with these names, each once.
    fn people(&mut self, names: &[UserName]) -> Result<Vec<Arc<Person>>, Stop> {
        let mut people: Vec<Arc<Person>> = Vec::with_capacity(names.len());
        let mut seen = HashSet::with_capacity(names.len());
        for name in names {
            let person = self.caches.named(self.connection, name)?;
            let person = person.ok_or(Refusal::NotFound)?;
            if seen.insert(person.key) {
                people.push(person);
            }
        }
        Ok(people)
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

fn wire_users(people: &[Arc<Person>]) -> Vec<v1::User> {
    people.iter().map(|person| wire_user(person)).collect()
}

fn wire_user(person: &Person) -> v1::User {
    v1::User {
        user_id: person.id.to_wire(),
        name: person.name.clone(),
    }
}
