//! What a person wants done, and what becomes of it.

use std::{fmt, str::FromStr};

use magpie_protocol::{
    friendship::FriendAction,
    id::{ConversationId, MediaId, MessageId},
    invite::InviteLink,
    message::{Edit, Emoji, NewMessage},
    role::Role,
    seq::Seq,
    setting::Setting,
    text::{InvalidText, Title, UserName},
    wire::{GroupUpdate, InviteBounds},
};

use crate::{
    message::{Message, MessagePlace},
    model::Refusal,
};

/// Whom or what a request is for. Written `@NAME` or as a conversation's id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Recipient {
    /// The direct conversation with this user, made by its first message.
    User(UserName),
    /// A conversation of which the user is a member.
    Conversation(ConversationId),
}

/// What was given names no recipient.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRecipient {
    /// `@` is followed by no acceptable name.
    #[error(transparent)]
    Name(#[from] InvalidText),
    /// Neither `@NAME` nor an id.
    #[error("{text:?} names nobody; write @NAME or a conversation's id")]
    Form {
        /// What was given.
        text: String,
    },
}

impl FromStr for Recipient {
    type Err = InvalidRecipient;

    fn from_str(text: &str) -> Result<Self, InvalidRecipient> {
        if let Some(name) = text.strip_prefix('@') {
            return Ok(Self::User(UserName::parse(name)?));
        }
        text.parse()
            .map(Self::Conversation)
            .map_err(|_| InvalidRecipient::Form {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(formatter, "@{name}"),
            Self::Conversation(id) => id.fmt(formatter),
        }
    }
}

/// What a person wants done, to be queued.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NewRequest {
    /// Send a message.
    Send {
        /// To whom.
        to: Recipient,
        /// What it says.
        message: NewMessage,
    },
    /// Say otherwise what a message of the user said.
    Edit {
        /// Which one.
        place: MessagePlace,
        /// What it says now.
        message: Edit,
    },
    /// Delete a message of the user for everybody.
    Delete {
        /// Which one.
        place: MessagePlace,
    },
    /// React to a message, or take a reaction back.
    React {
        /// To which one.
        place: MessagePlace,
        /// How.
        emoji: Emoji,
        /// Take it back.
        removed: bool,
    },
    /// Pin a message for everybody, or take it off.
    Pin {
        /// Which one.
        place: MessagePlace,
        /// Pin it.
        pinned: bool,
    },
    /// Set something for the user alone, on all their devices.
    Set(Setting),
    /// Ask somebody to be friends, or answer them. It is for
    /// [`Setting::Declined`](crate::Setting::Declined) to decline: they are not told.
    ChangeFriendship {
        /// With whom.
        name: UserName,
        /// What.
        action: FriendAction,
    },
    /// Make a group. Its conversation id has the bytes of the request's id.
    CreateGroup {
        /// What it is called.
        title: Title,
        /// The other members.
        names: Vec<UserName>,
    },
    /// Add members to a group.
    AddMembers {
        /// Which group.
        conversation: ConversationId,
        /// Whom; at least one.
        names: Vec<UserName>,
    },
    /// Remove another member from a group.
    RemoveMember {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        name: UserName,
    },
    /// Let whoever has a link join a group.
    CreateInvite {
        /// The link ([`Home::new_invite`](crate::Home::new_invite)); it is of use once this is accepted.
        link: InviteLink,
        /// How long it is.
        bounds: InviteBounds,
    },
    /// End an invite.
    RevokeInvite {
        /// To which group.
        conversation: ConversationId,
        /// The event that created it.
        seq: Seq,
    },
    /// Join the group of an invite.
    Join {
        /// Its link.
        link: InviteLink,
    },
    /// Keep a user out of a group, or end that.
    Ban {
        /// Which group.
        conversation: ConversationId,
        /// Whom; a member is removed.
        name: UserName,
        /// Keep them out.
        banned: bool,
    },
    /// Leave a group.
    Leave {
        /// Which group.
        conversation: ConversationId,
    },
    /// Give another member of a group a role.
    SetRole {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        name: UserName,
        /// Which one. That of the owner is handed over.
        role: Role,
    },
    /// Change what a group is called, says of itself, and lets its members do.
    UpdateGroup {
        /// Which group.
        conversation: ConversationId,
        /// What of it.
        update: GroupUpdate,
    },
    /// Move the user's read mark forward. Not kept in the person's order with
    /// the others: several for one conversation leave as one.
    MarkRead {
        /// A conversation that is known here.
        to: Recipient,
        /// How far; `None`: all that is stored now.
        seq: Option<Seq>,
    },
}

/// What an entry of the outbox asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Send a message.
    Send {
        /// To whom.
        to: Recipient,
        /// What it says.
        message: Message,
    },
    /// Edit a message.
    Edit {
        /// Which one.
        place: MessagePlace,
        /// What it says now.
        message: Message,
    },
    /// Delete a message for everybody.
    Delete {
        /// Which one.
        place: MessagePlace,
    },
    /// React to a message.
    React {
        /// Which one.
        place: MessagePlace,
        /// How.
        emoji: String,
        /// Take it back.
        removed: bool,
    },
    /// Pin a message, or take it off.
    Pin {
        /// Which one.
        place: MessagePlace,
        /// Pin it.
        pinned: bool,
    },
    /// Set something for the user alone.
    Set(Setting),
    /// Ask somebody to be friends, or answer them.
    ChangeFriendship {
        /// With whom.
        name: String,
        /// What.
        action: FriendAction,
    },
    /// Make a group.
    CreateGroup {
        /// What it is called.
        title: String,
        /// The other members.
        names: Vec<String>,
    },
    /// Add members to a group.
    AddMembers {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        names: Vec<String>,
    },
    /// Remove a member from a group.
    RemoveMember {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        name: String,
    },
    /// Let whoever has a link join a group.
    CreateInvite {
        /// The link.
        link: InviteLink,
        /// How long it is.
        bounds: InviteBounds,
    },
    /// End an invite.
    RevokeInvite {
        /// To which group.
        conversation: ConversationId,
        /// The event that created it.
        seq: Seq,
    },
    /// Join the group of an invite.
    Join {
        /// Its link.
        link: InviteLink,
    },
    /// Keep a user out of a group, or end that.
    Ban {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        name: String,
        /// Keep them out.
        banned: bool,
    },
    /// Leave a group.
    Leave {
        /// Which group.
        conversation: ConversationId,
    },
    /// Give a member of a group a role.
    SetRole {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        name: String,
        /// Which one.
        role: Role,
    },
    /// Change a group, in what is `Some`.
    UpdateGroup {
        /// Which group.
        conversation: ConversationId,
        /// What it is called.
        title: Option<String>,
        /// What it says of itself.
        description: Option<String>,
        /// Admins and the owner alone write.
        announcement_only: Option<bool>,
        /// Its photo; the inner `None`: it has none.
        photo: Option<Option<MediaId>>,
        /// Who joins may read what came before.
        history_for_newcomers: Option<bool>,
    },
    /// Move the read mark.
    MarkRead {
        /// Where.
        conversation: ConversationId,
        /// How far.
        seq: Seq,
    },
}

/// What is queued and not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutboxEntry {
    /// The request's id.
    pub id: MessageId,
    /// What it asks for.
    pub operation: Operation,
    /// By this device's clock, milliseconds since 1970.
    pub queued_at_ms: i64,
    /// Where it stands.
    pub state: OutboxState,
}

/// Where an entry of the outbox stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OutboxState {
    /// To be sent, or sent and not answered.
    Pending,
    /// Refused for good. It stays until somebody discards it.
    Failed(Refusal),
}

/// What became of a queued request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is committed.
    Accepted(Acceptance),
    /// The read mark stands there, or further.
    Read {
        /// In which conversation.
        conversation: ConversationId,
        /// How far.
        seq: Seq,
    },
    /// This message, or how the user and another one stand since this event, is as the request
    /// wanted it already: another device of the user, or somebody else, was first.
    NothingToDo(MessagePlace),
    /// It was refused for good.
    Failed(Refusal),
}

/// Where a request was committed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Acceptance {
    /// In which conversation.
    pub conversation: ConversationId,
    /// Where there.
    pub seq: Seq,
    /// The server's commit time, milliseconds since 1970.
    pub committed_at_ms: i64,
}
