//! Who may do what to the log, and what it says then: decided here, for every
//! engine alike. No SQL and no I/O.
//!
//! Under the lock of the log's head an engine finds the facts of a command; the
//! rules answer with a refusal or an [`Effect`]; the engine writes the effect. The
//! facts come in two steps, so that nothing is looked up for somebody who may not
//! act: those of [`Standing`] first, for [`permit`], then what the [`Permit`] asks
//! for.
//!
//! One rule stands in SQL too: `PostgreSQL` writes messages with one statement
//! (`postgres/batch.rs`), which writes those that [`may_post`] lets pass.

use std::{collections::HashSet, sync::Arc};

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::GROUP_MEMBERS_MAX,
    seq::Seq,
    text::{MessageText, Title, UserName},
    wire::{
        Target,
        v1::{self, event_content::Kind},
    },
};

use super::{
    Append, Command, MembershipChange, Outcome, Refusal, StoreError,
    event::EventKind,
    identity::{destination, is_direct_shaped, request_digest},
};

/// A user, as an engine knows them.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Person {
    /// The engine's own.
    pub(super) key: i64,
    pub(super) id: UserId,
    pub(super) name: String,
}

impl Person {
    pub(super) fn to_wire(&self) -> v1::User {
        v1::User {
            user_id: self.id.to_wire(),
            name: self.name.clone(),
        }
    }
}

/// Direct or group, as stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ConversationKind {
    Direct,
    Group,
}

impl ConversationKind {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Direct => 1,
            Self::Group => 2,
        }
    }

    pub(super) fn from_number(number: i64) -> Result<Self, StoreError> {
        match number {
            1 => Ok(Self::Direct),
            2 => Ok(Self::Group),
            _ => Err(StoreError::Corrupt {
                what: format!("a conversation of kind {number}"),
            }),
        }
    }

    pub(super) const fn to_wire(self) -> v1::ConversationKind {
        match self {
            Self::Direct => v1::ConversationKind::Direct,
            Self::Group => v1::ConversationKind::Group,
        }
    }
}

/// A conversation, as it is before the command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The engine's own.
    pub(super) key: i64,
    pub(super) kind: ConversationKind,
    /// The newest event's seq.
    pub(super) head: Seq,
}

/// Where a request goes, and what it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) conversation: ConversationId,
    /// Tells a repeat from a conflict.
    pub(super) digest: [u8; 16],
}

impl Asked {
    /// `None` if it goes to nobody: `find` says who has a name.
    pub(super) fn of(append: &Append, find: impl Fn(&UserName) -> Option<UserId>) -> Option<Self> {
        let conversation = destination(append, find)?;
        Some(Self {
            conversation,
            digest: request_digest(conversation, &append.command),
        })
    }
}

/// What a request with the same sender and id became before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// It asked for the same.
    pub(super) is_same: bool,
    pub(super) seq: Seq,
    pub(super) committed_at_ms: i64,
}

/// What is to be done. `Err`: what is answered at once, to a repeat and to what
/// goes to nobody.
pub(super) fn to_do(asked: Option<Asked>, known: Option<&Known>) -> Result<Asked, Outcome> {
    match (asked, known) {
        (Some(asked), None) => Ok(asked),
        (None, None) => Err(Outcome::Refused(Refusal::NotFound)),
        (Some(asked), Some(known)) if known.is_same => Err(Outcome::Accepted {
            conversation: asked.conversation,
            seq: known.seq,
            committed_at_ms: known.committed_at_ms,
        }),
        // Nothing with this id can have been the same as what goes to nobody.
        (Some(_) | None, Some(_)) => Err(Outcome::Refused(Refusal::Conflict)),
    }
}

/// How the actor stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// The device is the user's and not revoked.
    pub(super) may_act: bool,
    /// The conversation that the request goes to.
    pub(super) place: Option<Place>,
    /// The actor is a member of it now.
    pub(super) is_member: bool,
}

/// What the actor may do, and what must be found for it.
#[derive(Debug)]
pub(super) enum Permit<'a> {
    /// Write a message: see [`post`].
    Post(Place, &'a MessageText),
    /// Make the direct conversation with this user: see [`begin_direct`].
    BeginDirect(&'a UserName, &'a MessageText),
    /// See [`create_group`].
    CreateGroup(&'a Title, &'a [UserName]),
    /// See [`add_members`].
    AddMembers(Place, &'a [UserName]),
    /// See [`remove_member`].
    RemoveMember(Place, &'a UserName),
    /// See [`leave`].
    Leave(Place),
}

/// Whether the actor may write a message into a conversation that exists.
pub(super) const fn may_post(may_act: bool, is_member: bool) -> Result<(), Refusal> {
    match (may_act, is_member) {
        (false, _) => Err(Refusal::DeviceRevoked),
        (true, false) => Err(Refusal::NotFound),
        (true, true) => Ok(()),
    }
}

/// Whether the actor may do this at all: every command passes here, once.
pub(super) fn permit<'a>(
    append: &'a Append,
    asked: &Asked,
    standing: &Standing,
) -> Result<Permit<'a>, Refusal> {
    if !standing.may_act {
        return Err(Refusal::DeviceRevoked);
    }
    match (&append.command, standing.place) {
        (Command::SendMessage { to: _, text }, Some(place)) => {
            may_post(standing.may_act, standing.is_member)?;
            Ok(Permit::Post(place, text))
        }
        (Command::SendMessage { to, text }, None) => match to {
            Target::User(peer) => Ok(Permit::BeginDirect(peer, text)),
            Target::Conversation(_) => Err(Refusal::NotFound),
        },
        (Command::CreateGroup { title, names }, None) if !is_direct_shaped(asked.conversation) => {
            Ok(Permit::CreateGroup(title, names))
        }
        (Command::CreateGroup { .. }, _) => Err(Refusal::Conflict),
        (Command::AddMembers { names, .. }, _) => {
            Ok(Permit::AddMembers(group(standing)?, names))
        }
        (Command::RemoveMember { name, .. }, _) => {
            Ok(Permit::RemoveMember(group(standing)?, name))
        }
        (Command::LeaveGroup { .. }, _) => Ok(Permit::Leave(group(standing)?)),
    }
}

/// The conversation of which the actor is a member.
fn joined_place(standing: &Standing) -> Result<Place, Refusal> {
    let place = standing.place.filter(|_| standing.is_member);
    place.ok_or(Refusal::NotFound)
}

/// The group of which the actor is a member.
fn group(standing: &Standing) -> Result<Place, Refusal> {
    let place = joined_place(standing)?;
    match place.kind {
        ConversationKind::Group => Ok(place),
        ConversationKind::Direct => Err(Refusal::NotPossible),
    }
}

/// What an engine writes: an event, and what goes with it.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) scene: Scene,
    pub(super) kind: EventKind,
    pub(super) content: Kind,
    pub(super) members: Members,
}

/// Where an event is written.
#[derive(Debug)]
pub(super) enum Scene {
    /// Behind the newest event.
    In(Place),
    /// As the first event of a conversation that is made for it.
    New(ConversationKind, String),
}

/// Who is a member from the event on.
#[derive(Debug)]
pub(super) enum Members {
    /// Who was before.
    Same,
    /// These too.
    Join(Vec<Arc<Person>>),
    /// Not this one: it is the last event that they may read.
    Leave(Arc<Person>),
}

impl Members {
    pub(super) fn change(&self) -> Option<MembershipChange> {
        match self {
            Self::Same => None,
            Self::Join(people) => {
                let ids = people.iter().map(|person| person.id).collect();
                Some(MembershipChange::Joined(ids))
            }
            Self::Leave(person) => Some(MembershipChange::Left(person.id)),
        }
    }
}

/// The content of a message's event.
pub(super) fn message(text: &MessageText) -> Kind {
    let text = text.as_str().to_owned();
    Kind::Message(v1::Message { text })
}

/// A message into a conversation that exists.
pub(super) fn post(place: Place, text: &MessageText) -> Effect {
    Effect {
        scene: Scene::In(place),
        kind: EventKind::Message,
        content: message(text),
        members: Members::Same,
    }
}

/// The first message of a direct conversation makes it.
pub(super) fn begin_direct(
    sender: &Arc<Person>,
    peer: &Arc<Person>,
    text: &MessageText,
) -> Effect {
    let mut members = vec![Arc::clone(sender)];
    if peer.key != sender.key {
        members.push(Arc::clone(peer));
    }
    // The order in which they are read from the log again.
    members.sort_by_key(|member| member.id);
    Effect {
        scene: Scene::New(ConversationKind::Direct, String::new()),
        kind: EventKind::Message,
        content: message(text),
        members: Members::Join(members),
    }
}

/// The people who were found by names, each once.
pub(super) fn each_once(
    found: impl IntoIterator<Item = Option<Arc<Person>>>,
) -> Result<Vec<Arc<Person>>, Refusal> {
    let mut seen = HashSet::new();
    let mut people = Vec::new();
    for person in found {
        let person = person.ok_or(Refusal::NotFound)?;
        if seen.insert(person.key) {
            people.push(person);
        }
    }
    Ok(people)
}

/// A group of the sender and these people, each once.
pub(super) fn create_group(
    sender: &Arc<Person>,
    title: &Title,
    mut members: Vec<Arc<Person>>,
) -> Result<Effect, Refusal> {
    members.retain(|member| member.key != sender.key);
    members.insert(0, Arc::clone(sender));
    if members.len() > GROUP_MEMBERS_MAX {
        return Err(Refusal::GroupFull);
    }
    let title = title.as_str().to_owned();
    Ok(Effect {
        scene: Scene::New(ConversationKind::Group, title.clone()),
        kind: EventKind::GroupCreated,
        content: Kind::GroupCreated(v1::GroupCreated {
            title,
            members: wire_users(&members),
        }),
        members: Members::Join(members),
    })
}

/// These people, each once, are members besides the `count` that there are. Those
/// in `present` (by their keys) are already.
pub(super) fn add_members(
    place: Place,
    mut joining: Vec<Arc<Person>>,
    present: &HashSet<i64>,
    count: u64,
) -> Result<Effect, Refusal> {
    joining.retain(|person| !present.contains(&person.key));
    if joining.is_empty() {
        return Err(Refusal::NothingToDo);
    }
    if count.saturating_add(joining.len() as u64) > GROUP_MEMBERS_MAX as u64 {
        return Err(Refusal::GroupFull);
    }
    let members = wire_users(&joining);
    Ok(Effect {
        scene: Scene::In(place),
        kind: EventKind::MembersAdded,
        content: Kind::MembersAdded(v1::MembersAdded { members }),
        members: Members::Join(joining),
    })
}

/// Another member is removed, if they are one.
pub(super) fn remove_member(
    place: Place,
    sender: &Person,
    person: Arc<Person>,
    is_member: bool,
) -> Result<Effect, Refusal> {
    if person.key == sender.key {
        return Err(Refusal::NotPossible);
    }
    if !is_member {
        return Err(Refusal::NotFound);
    }
    let member = Some(person.to_wire());
    Ok(Effect {
        scene: Scene::In(place),
        kind: EventKind::MemberRemoved,
        content: Kind::MemberRemoved(v1::MemberRemoved { member }),
        members: Members::Leave(person),
    })
}

/// The sender leaves.
pub(super) fn leave(place: Place, sender: &Arc<Person>) -> Effect {
    Effect {
        scene: Scene::In(place),
        kind: EventKind::MemberLeft,
        content: Kind::MemberLeft(v1::MemberLeft {}),
        members: Members::Leave(Arc::clone(sender)),
    }
}

fn wire_users(people: &[Arc<Person>]) -> Vec<v1::User> {
    people.iter().map(|person| person.to_wire()).collect()
}
