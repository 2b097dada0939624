//! What is asked of the log, and what becomes of it.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use magpie_protocol::{
    friendship::FriendAction,
    id::{ConversationId, DeviceId, MessageId, UserId},
    invite::InviteSecret,
    message::{Edit, Emoji, NewMessage},
    role::Role,
    seq::{Position, Seq},
    setting::Setting,
    text::{Title, UserName},
    wire::{GroupUpdate, InviteBounds, Target},
};

use super::event::encode_hidden;

/// Who asks for a change of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Actor {
    /// The user, as the connection proved it.
    pub user: UserId,
    /// The device, as the connection proved it. A revoked one is refused.
    pub device: DeviceId,
}

/// A request that changes the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Append {
    /// Who asks.
    pub actor: Actor,
    /// The request's identity: it is done at most once per (user, id).
    pub id: MessageId,
    /// What to do.
    pub command: Command,
}

/// What to do to the log. Each makes at most one event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Store a message. The first one to a user makes the direct conversation.
    SendMessage {
        /// Where it goes.
        to: Target,
        /// What it says.
        message: NewMessage,
    },
    /// Say otherwise what a message of the actor said.
    EditMessage {
        /// Where the message is.
        conversation: ConversationId,
        /// Its place there.
        seq: Seq,
        /// What it says now.
        message: Edit,
        /// For how long after its commit it may be edited; `None`: for ever.
        within: Option<Duration>,
    },
    /// Delete a message of the actor for everybody.
    DeleteMessage {
        /// Where the message is.
        conversation: ConversationId,
        /// Its place there.
        seq: Seq,
    },
    /// React to a message, or take a reaction back.
    React {
        /// Where the message is.
        conversation: ConversationId,
        /// Its place there.
        seq: Seq,
        /// How.
        emoji: Emoji,
        /// Take it back.
        removed: bool,
    },
    /// Pin a message for everybody, or take it off.
    Pin {
        /// Where the message is.
        conversation: ConversationId,
        /// Its place there.
        seq: Seq,
        /// Pin it.
        pinned: bool,
    },
    /// Change a setting of the actor's own. The first one makes their account log.
    ChangeAccount {
        /// What is to be.
        setting: Setting,
    },
    /// Ask somebody to be friends, or answer them. To ask makes the direct conversation.
    ChangeFriendship {
        /// Whom.
        name: UserName,
        /// What.
        action: FriendAction,
    },
    /// Make a group whose id is the request's.
    CreateGroup {
        /// What it is called.
        title: Title,
        /// Its members besides the actor.
        names: Vec<UserName>,
    },
    /// Add members to a group; those who are members already are passed over.
    AddMembers {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        names: Vec<UserName>,
    },
    /// Remove another member from a group.
    RemoveMember {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        name: UserName,
    },
    /// Keep a user out of a group, or end that.
    Ban {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        name: UserName,
        /// Keep them out.
        banned: bool,
    },
    /// Something about an invite to a group.
    Invite {
        /// Which group.
        conversation: ConversationId,
        /// What.
        deed: InviteDeed,
    },
    /// Leave a group. Who is deleted leaves friends too, by the direct conversation with
    /// each.
    LeaveGroup {
        /// Which group.
        conversation: ConversationId,
    },
    /// Give another member of a group a role. That of the owner is handed over.
    SetRole {
        /// Which group.
        conversation: ConversationId,
        /// Whom.
        name: UserName,
        /// Which one.
        role: Role,
    },
    /// Change what a group is called, says of itself, and lets its members do.
    UpdateGroup {
        /// Which group.
        conversation: ConversationId,
        /// What of it.
        update: GroupUpdate,
    },
}

impl Command {
    /// The user to whose direct conversation it goes, if it names one.
    pub(in crate::store) const fn peer(&self) -> Option<&UserName> {
        match self {
            Self::SendMessage {
                to: Target::User(name),
                ..
            }
            | Self::ChangeFriendship { name, .. } => Some(name),
            Self::SendMessage {
                to: Target::Conversation(_),
                ..
            }
            | Self::EditMessage { .. }
            | Self::DeleteMessage { .. }
            | Self::React { .. }
            | Self::Pin { .. }
            | Self::ChangeAccount { .. }
            | Self::CreateGroup { .. }
            | Self::AddMembers { .. }
            | Self::RemoveMember { .. }
            | Self::Ban { .. }
            | Self::Invite { .. }
            | Self::LeaveGroup { .. }
            | Self::SetRole { .. }
            | Self::UpdateGroup { .. } => None,
        }
    }

    /// The users whom it names.
    pub(in crate::store) fn names(&self) -> &[UserName] {
        match self {
            Self::SendMessage {
                to: Target::User(name),
                ..
            }
            | Self::ChangeFriendship { name, .. }
            | Self::RemoveMember { name, .. }
            | Self::Ban { name, .. }
            | Self::SetRole { name, .. } => std::slice::from_ref(name),
            Self::CreateGroup { names, .. } | Self::AddMembers { names, .. } => names,
            Self::SendMessage {
                to: Target::Conversation(_),
                ..
            }
            | Self::EditMessage { .. }
            | Self::DeleteMessage { .. }
            | Self::React { .. }
            | Self::Pin { .. }
            | Self::ChangeAccount { .. }
            | Self::Invite { .. }
            | Self::LeaveGroup { .. }
            | Self::UpdateGroup { .. } => &[],
        }
    }
}

/// What is done about an invite.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InviteDeed {
    /// Whoever has a secret may join.
    Create {
        /// Of the secret.
        hash: InviteHash,
        /// How long it is of use.
        bounds: InviteBounds,
    },
    /// The invite that was created by this event ends.
    Revoke(Seq),
    /// The actor joins by the one with this hash.
    Join(InviteHash),
}

/// SHA-256 of the secret of an invite: who reads the store cannot join by it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct InviteHash([u8; 32]);

impl InviteHash {
    /// Of this secret.
    #[must_use]
    pub fn of(secret: &InviteSecret) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"magpie invite");
        context.update(&secret.reveal());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> [u8; 32] {
        self.0
    }
}

impl std::fmt::Debug for InviteHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("InviteHash")
    }
}

/// What became of one [`Append`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is in the log, now or since an earlier try.
    Accepted {
        /// In which conversation.
        conversation: ConversationId,
        /// At which place.
        seq: Seq,
        /// Milliseconds since 1970; never falls in the order of the log.
        committed_at_ms: i64,
    },
    /// It is not in the log.
    Refused(Refusal),
}

/// Why a command changed nothing. Final: the same command is refused again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No such conversation, user or event, or not for this actor: the same answer.
    #[error("no such conversation, user or message")]
    NotFound,
    /// The same id was used for something else.
    #[error("the message id was used for something else")]
    Conflict,
    /// A group has as many members as it may have.
    #[error("the group is full")]
    GroupFull,
    /// It is as asked already: everybody named is a member, the message is deleted,
    /// the reaction is set or not, the message is pinned or not, the member has the role,
    /// the user is banned or not, the group is so.
    #[error("it is as asked already")]
    NothingToDo,
    /// A direct conversation has no members to add or remove, and no roles; oneself is
    /// not removed but leaves, and is given no role; only messages are edited, deleted
    /// and reacted to, and an account log has none.
    #[error("not possible in this conversation, or with this event")]
    NotPossible,
    /// The actor may read it, and somebody else may do this with it: its sender, or a
    /// member with a higher role.
    #[error("it is somebody else's, or your role in this group does not allow it")]
    NotAllowed,
    /// Who hides their read receipts is not told those of others.
    #[error("you hide your read receipts, so you are not told those of others")]
    ReceiptsHidden,
    /// Somebody named is not there, or lets friends alone add them: the same answer.
    #[error("no such user, or one whom friends alone may add to groups")]
    NotAddable,
    /// Nobody has asked the actor, or not any more.
    #[error("there is no friend request of theirs to accept")]
    NotAsked,
    /// The actor has asked as often as one may without an answer.
    #[error("you have asked them as often as you may; now it is for them to ask")]
    AskedEnough,
    /// The message was deleted.
    #[error("the message was deleted")]
    Deleted,
    /// The message was committed too long ago, or the invite would have expired.
    #[error("the time in which it was possible is over")]
    TooLate,
    /// The message has as many edits, or different reactions, as there may be.
    #[error("the message has as many edits or reactions as it may have")]
    TooMany,
    /// Somebody who is to be added is kept out of the group.
    #[error("somebody among them is banned from the group: an admin must end that first")]
    Banned,
    /// The invite is unknown, expired, used up or revoked, or not for this actor: the same answer.
    #[error("the invite is of no use: it is wrong, or expired, used up or revoked")]
    NoInvite,
    /// As many invites to the group are of use as may be.
    #[error("the group has as many invites as it may have: revoke one first")]
    TooManyInvites,
    /// As many messages are pinned as may be.
    #[error("as many messages are pinned here as may be: take one off first")]
    TooManyPins,
    /// A photo or file in the message is not stored, or not for the actor, or not as the
    /// message says.
    #[error("a photo or file in it is not there: upload it first")]
    NoMedia,
    /// The actor's device was revoked meanwhile.
    #[error("the device was revoked")]
    DeviceRevoked,
}

/// An event, ready to be delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogEvent {
    /// Its place in the log.
    pub position: Position,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its place in the conversation.
    pub seq: Seq,
    /// Encoded [`Event`](magpie_protocol::wire::v1::Event), as its sender gets it: see
    /// [`Self::encoded_for`].
    pub encoded: Bytes,
    /// How it changes who may read the conversation.
    pub change: Option<MembershipChange>,
    /// Whose it is, if nobody else is shown it: the other member of the direct conversation
    /// blocked them.
    pub hidden: Option<UserId>,
}

impl LogEvent {
    /// As this reader gets it: encoded [`Event`](magpie_protocol::wire::v1::Event).
    #[must_use]
    pub fn encoded_for(&self, reader: UserId) -> Bytes {
        match self.hidden {
            Some(sender) if sender != reader => encode_hidden(self.conversation, self.seq),
            Some(_) | None => self.encoded.clone(),
        }
    }
}

/// A change of who may read a conversation, by the event at whose seq it happens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MembershipChange {
    /// These users may read from this event on. The first event of a
    /// conversation says so of all its members.
    Joined(Vec<UserId>),
    /// This user may read up to this event.
    Left(UserId),
}

/// A batch that is committed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Committed {
    /// The shard's head before the batch: what follows is this batch alone.
    pub after: Position,
    /// The shard's head behind the batch.
    pub head: Position,
    /// One for each [`Append`], in their order.
    pub outcomes: Vec<Outcome>,
    /// What is new in the log, in order of position. Positions may skip.
    pub events: Vec<LogEvent>,
}
