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

mod account;
mod bans;
mod friends;
mod groups;
mod invites;
mod media;
mod messages;
mod roles;

use std::sync::Arc;

use magpie_protocol::{
    id::{ConversationId, UserId},
    message::NewMessage,
    profile::{LinkSecret, Profile},
    role::Role,
    seq::Seq,
    setting::{Notify, Setting},
    text::{Title, UserName},
    wire::{
        GroupUpdate, Target,
        v1::{self, event_content::Kind},
    },
};

pub(super) use self::{
    account::change_account,
    bans::{ban, may_list},
    friends::{Bond, Bonds, Changed, FriendPermit, Side, befriend, part},
    groups::{
        Count, Named, Said, add_members, create_group, each_once, leave, may_add, remove_member,
        update_group,
    },
    invites::{Invite, InviteChange, InvitePermit, create_invite, join, revoke_invite},
    media::Attached,
    messages::{
        Change, Reacted, Subject, begin_direct, change, is_hidden, least_role, may_post, mentioned,
        message, post,
    },
    roles::{Action, set_role, stored_role},
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

/// What a conversation is, as stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ConversationKind {
    Direct,
    Group,
    /// A user's account log.
    Account,
}

impl ConversationKind {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Direct => 1,
            Self::Group => 2,
            Self::Account => 3,
        }
    }

    pub(super) fn from_number(number: i64) -> Result<Self, StoreError> {
        match number {
            1 => Ok(Self::Direct),
            2 => Ok(Self::Group),
            3 => Ok(Self::Account),
            _ => Err(StoreError::Corrupt {
                what: format!("a conversation of kind {number}"),
            }),
        }
    }

    pub(super) const fn to_wire(self) -> v1::ConversationKind {
        match self {
            Self::Direct => v1::ConversationKind::Direct,
            Self::Group => v1::ConversationKind::Group,
            Self::Account => v1::ConversationKind::Account,
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
    /// A group in which not every member writes.
    pub(super) announcement_only: bool,
    /// How many messages there are, deleted ones too.
    pub(super) messages: u64,
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
    pub(super) has_device: bool,
    /// The user is deleted; need not be known if the device may act.
    pub(super) is_deleted: bool,
    /// The conversation that the request goes to.
    pub(super) place: Option<Place>,
    /// What the actor is in it, if they are a member now.
    pub(super) role: Option<Role>,
    /// It is direct, or will be, and its other member blocks the actor.
    pub(super) is_blocked: bool,
}

/// A conversation of which the actor is a member, and what they are there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    pub(super) place: Place,
    pub(super) role: Role,
}

/// What the actor may do, and what must be found for it.
#[derive(Debug)]
pub(super) enum Permit<'a> {
    /// Write a message: see [`post`].
    Post(Place, &'a NewMessage),
    /// Make the direct conversation with this user: see [`begin_direct`].
    BeginDirect(&'a UserName, &'a NewMessage),
    /// Change what the event at this seq says: see [`change`].
    Change(Joined, Seq, Change<'a>),
    /// See [`change_account`].
    ChangeAccount(Option<Place>, &'a Setting),
    /// See [`FriendPermit`].
    Friendship(FriendPermit<'a>),
    /// See [`create_group`].
    CreateGroup(&'a Title, &'a [UserName]),
    /// See [`add_members`].
    AddMembers(Place, &'a [UserName]),
    /// See [`remove_member`].
    RemoveMember(Joined, &'a UserName),
    /// See [`ban`].
    Ban(Joined, &'a UserName, bool),
    /// Something about an invite.
    Invite(InvitePermit),
    /// See [`leave`].
    Leave(Joined),
    /// See [`set_role`].
    SetRole(Joined, &'a UserName, Role),
    /// See [`update_group`].
    UpdateGroup(Joined, &'a GroupUpdate),
}

impl Permit<'_> {
    /// A message, of which a blocked sender's is hidden. Of a [`Self::Change`] see
    /// [`is_hidden`]; what is done about a friendship is decided with it.
    pub(super) const fn says_something(&self) -> bool {
        matches!(self, Self::Post(..) | Self::BeginDirect(..))
    }
}

/// Whether the actor may do this at all: every command passes here, once.
pub(super) fn permit<'a>(
    append: &'a Append,
    asked: &Asked,
    standing: &Standing,
) -> Result<Permit<'a>, Refusal> {
    // For who is deleted the server acts, and leaves their groups and friends.
    let is_departure = standing.is_deleted && matches!(append.command, Command::LeaveGroup { .. });
    if !standing.has_device && !is_departure {
        return Err(Refusal::DeviceRevoked);
    }
    let change = |seq, change| Ok(Permit::Change(joined(standing)?, seq, change));
    match (&append.command, standing.place) {
        (Command::SendMessage { to: _, message }, Some(place)) => {
            may_post(standing.has_device, standing.role, place, message)?;
            Ok(Permit::Post(place, message))
        }
        (Command::SendMessage { to, message }, None) => match to {
            Target::User(_) if message.reply_to().is_some() => Err(Refusal::NotFound),
            Target::User(peer) => Ok(Permit::BeginDirect(peer, message)),
            Target::Conversation(_) => Err(Refusal::NotFound),
        },
        (
            Command::EditMessage {
                seq,
                message,
                within,
                ..
            },
            _,
        ) => change(*seq, Change::Edit(message, *within)),
        (Command::DeleteMessage { seq, .. }, _) => change(*seq, Change::Delete),
        (
            Command::React {
                seq,
                emoji,
                removed,
                ..
            },
            _,
        ) => match removed {
            false => change(*seq, Change::React(emoji)),
            true => change(*seq, Change::Unreact(emoji)),
        },
        (Command::Pin { seq, pinned, .. }, _) => match pinned {
            true => change(*seq, Change::Pin),
            false => change(*seq, Change::Unpin),
        },
        (Command::ChangeAccount { setting }, place) => {
            Ok(Permit::ChangeAccount(own(place, standing)?, setting))
        }
        (Command::ChangeFriendship { name, action }, place) => {
            let permit = FriendPermit::Change(own(place, standing)?, name, *action);
            Ok(Permit::Friendship(permit))
        }
        (Command::CreateGroup { title, names }, None) if !is_direct_shaped(asked.conversation) => {
            Ok(Permit::CreateGroup(title, names))
        }
        (Command::CreateGroup { .. }, _) => Err(Refusal::Conflict),
        (Command::AddMembers { names, .. }, _) => {
            let Joined { place, role } = group(standing)?;
            may_add(role)?;
            Ok(Permit::AddMembers(place, names))
        }
        (Command::RemoveMember { name, .. }, _) => Ok(Permit::RemoveMember(group(standing)?, name)),
        (Command::Ban { name, banned, .. }, _) => Ok(Permit::Ban(group(standing)?, name, *banned)),
        (Command::Invite { deed, .. }, _) => Ok(Permit::Invite(invites::permit(*deed, standing)?)),
        (Command::LeaveGroup { .. }, _) => permit_leave(standing, is_departure),
        (Command::UpdateGroup { update, .. }, _) => {
            Ok(Permit::UpdateGroup(group(standing)?, update))
        }
        (Command::SetRole { name, role, .. }, _) => {
            Ok(Permit::SetRole(group(standing)?, name, *role))
        }
    }
}

/// Who is deleted leaves friends, too.
fn permit_leave<'a>(standing: &Standing, is_departure: bool) -> Result<Permit<'a>, Refusal> {
    let Joined { place, .. } = joined(standing)?;
    if is_departure && place.kind == ConversationKind::Direct {
        return Ok(Permit::Friendship(FriendPermit::Part(place)));
    }
    Ok(Permit::Leave(group(standing)?))
}

/// A conversation that the actor's command makes if it is not there; they are a member if it is.
fn own(place: Option<Place>, standing: &Standing) -> Result<Option<Place>, Refusal> {
    let joined = place.map(|_| joined(standing)).transpose()?;
    Ok(joined.map(|joined| joined.place))
}

/// The conversation of which the actor is a member.
fn joined(standing: &Standing) -> Result<Joined, Refusal> {
    match (standing.place, standing.role) {
        (Some(place), Some(role)) => Ok(Joined { place, role }),
        (_, None) | (None, _) => Err(Refusal::NotFound),
    }
}

/// The group of which the actor is a member.
fn group(standing: &Standing) -> Result<Joined, Refusal> {
    let joined = joined(standing)?;
    match joined.place.kind {
        ConversationKind::Group => Ok(joined),
        ConversationKind::Direct | ConversationKind::Account => Err(Refusal::NotPossible),
    }
}

/// What an engine writes: an event, and what goes with it.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) scene: Scene,
    pub(super) kind: EventKind,
    pub(super) content: Kind,
    pub(super) members: Members,
    pub(super) aside: Aside,
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
    /// These too, each in a role; in a direct conversation in none.
    Join {
        people: Vec<(Arc<Person>, Option<Role>)>,
        /// They may read all that came before, too.
        from_beginning: bool,
    },
    /// Not this one: it is the last event that they may read. If the group was theirs, it is
    /// the heir's from here on.
    Leave {
        person: Arc<Person>,
        heir: Option<Arc<Person>>,
    },
    /// The same, and these have another role.
    SetRoles(Vec<(Arc<Person>, Role)>),
}

impl Members {
    pub(super) fn change(&self) -> Option<MembershipChange> {
        match self {
            Self::Same | Self::SetRoles(_) => None,
            Self::Join { people, .. } => {
                let ids = people.iter().map(|(person, _)| person.id).collect();
                Some(MembershipChange::Joined(ids))
            }
            Self::Leave { person, .. } => Some(MembershipChange::Left(person.id)),
        }
    }
}

/// What is written besides the event: about the message at a seq, the group, or of the
/// sender.
#[derive(Debug)]
pub(super) enum Aside {
    /// Nothing.
    Nothing,
    /// The event is an edit of it.
    Edit(Seq),
    /// It and its edits are blanked where they are, its reactions end, and what it refers
    /// to is of no use any more, unless another message refers to it. Their
    /// rows stay, with place, id and digest, so that a repeat is known for ever.
    Delete(Seq),
    /// The sender's reaction stands from the event on.
    React(Seq, String),
    /// It stood until the event.
    Unreact(Seq, String),
    /// They are kept out of the group from the event on.
    Ban(Arc<Person>),
    /// They were until the event.
    Unban(Arc<Person>),
    /// Of an invite.
    Invite(InviteChange),
    /// It is pinned from the event on.
    Pin(Seq),
    /// It was pinned until the event.
    Unpin(Seq),
    /// The group is otherwise from the event on, in what is `Some`; with its photo's key.
    UpdateGroup(GroupUpdate, Option<i64>),
    /// The message refers to these photos and files, by their keys: they stay as long as
    /// it does.
    Attach(Vec<i64>),
    /// For what the sender is woken from now on, in a conversation or in all.
    Notify(Option<ConversationId>, Notify),
    /// What others may know of the sender from now on.
    Person(Public),
    /// The sender and this user stand so from now on: each of the two, if it changed.
    Befriend(Arc<Person>, Changed),
    /// The sender blocks this user from now on, or does not any more.
    Block(UserId, bool),
    /// Friends alone reach the sender from now on, or everybody does.
    FriendsOnly(bool),
    /// Whether the sender hides their read receipts from now on.
    HideReceipts(bool),
    /// Whether the sender hides their presence from now on.
    HidePresence(bool),
}

/// What a user lets others know.
#[derive(Debug)]
pub(super) enum Public {
    /// What they say of themself, and their photo by its key; the event's seq is its version.
    Profile(Profile, Option<i64>),
    /// Whether a search by the beginning of a name finds them.
    Discoverable(bool),
    /// What finds them.
    Link(Option<LinkSecret>),
}
