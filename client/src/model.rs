//! What the SDK gives and takes, in types of its own.

mod audit;
mod members;
mod people;
mod presence;
mod refusal;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use magpie_protocol::{
    friendship::Friendship,
    id::{ConversationId, DeviceId, MediaId, MessageId, UserId},
    role::Role,
    seq::Seq,
    setting::{Notify, Setting},
    wire::InviteBounds,
};

pub use self::{
    audit::{AuditConversation, AuditLine},
    members::{LocalMembers, Member, MembersPlace, Readers},
    people::{Contact, Friend, Profile, User},
    presence::{Presence, PresenceState},
    refusal::Refusal,
};
use crate::message::{Message, MessageState};

/// The account that a home's device belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Whose it is.
    pub user_id: UserId,
    /// The user's name.
    pub name: String,
    /// This device.
    pub device_id: DeviceId,
    /// As it is shown in the list of devices; may be empty.
    pub device_name: String,
    /// `host:port`, as it was given.
    pub server: String,
    /// False once the server has said that the credential is of no use any
    /// more: the same user may sign in again, and keeps history and outbox.
    pub signed_in: bool,
}

/// Which of the server's histories it is: another one after an older backup was
/// restored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct History {
    /// Its epoch.
    pub epoch: u64,
    /// Where it began.
    pub base: u64,
}

/// What a conversation is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConversationKind {
    /// Of two people.
    Direct,
    /// With a title, and members that come and go.
    Group,
    /// The user's account log: what they have set for themself.
    Account,
    /// Of a kind that this version does not know, or not described yet.
    Unknown,
}

/// A conversation, as a list of conversations shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConversationLine {
    /// Its id.
    pub id: ConversationId,
    /// What it is.
    pub kind: ConversationKind,
    /// The group's title, or the other person's name without `@`.
    pub title: String,
    /// What the group says of itself.
    pub description: String,
    /// Admins and the owner of the group alone write.
    pub announcement_only: bool,
    /// The group's photo.
    pub photo: Option<MediaId>,
    /// Who joins the group may read it from its beginning.
    pub history_for_newcomers: bool,
    /// All of its members if there are at most 64, the user themself included; of
    /// more, the user alone ([`Home::members`](crate::Home::members) has the rest).
    /// Empty if not described yet.
    pub members: Vec<Member>,
    /// How many members there are; as of the end, if the user is none any more.
    pub member_count: u64,
    /// The first seq that the user may read.
    pub first_seq: Seq,
    /// The last seq that the user may read, if they are no longer a member.
    pub last_seq: Option<Seq>,
    /// The newest seq that is known to exist.
    pub head_seq: Seq,
    /// The server's commit time of the newest stored event.
    pub last_event_at_ms: Option<i64>,
    /// Messages of others that the user has not read, those that were deleted or hidden included;
    /// the same on all devices, whatever is stored on them.
    pub unread: u64,
    /// So many of them mention the user, or everybody. One that was deleted does not where
    /// it is stored.
    pub unread_mentions: u64,
    /// For what of it the user is woken; besides, what holds in all conversations does
    /// ([`Home::notify`](crate::Home::notify)).
    pub notify: Notify,
    /// How the user and the other person of a direct conversation stand.
    pub friendship: Friendship,
    /// The user lets friends alone write ([`Home::messages_from`](crate::Home::messages_from)),
    /// the other one is none, and the user has sent nothing here: show it apart. It wakes nobody.
    /// To answer, or to be friends, makes it a conversation like others.
    pub request: bool,
    /// What the other person of a direct conversation is to the user, if anything.
    pub contact: Option<Contact>,
    /// What the other person of a direct one says of themself, as far as it is known.
    pub profile: Profile,
}

/// An event of a conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredEvent {
    /// Where it happened.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// Who caused it; `None` if the server does not say.
    pub sender: Option<User>,
    /// How they are called, of what is read from the local database.
    pub called: Called,
    /// The client-made id of what caused it; `None` if the server does not say.
    pub message_id: Option<MessageId>,
    /// The server's commit time, milliseconds since 1970.
    pub committed_at_ms: i64,
    /// What happened.
    pub content: Content,
    /// If it is a message: what became of it since.
    pub state: MessageState,
    /// The event as it came, an encoded `magpie.v1.Event`; of a message that was
    /// deleted, and of its edits, without what they said.
    pub raw: Bytes,
}

/// How a user is called besides the user name, as far as this device knows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Called {
    /// What the user calls them; may be empty.
    pub nickname: String,
    /// What they want to be called; may be empty. Anybody may choose any: show the user name
    /// with it.
    pub display_name: String,
}

impl Called {
    /// What to call them: the nickname, else what they want to be called. `None`: by the
    /// user name alone.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let names = [self.nickname.as_str(), &self.display_name];
        names.into_iter().find(|name| !name.is_empty())
    }
}

impl StoredEvent {
    /// SHA-256 of the encoded content, by which two copies are compared.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        content_digest(&self.raw)
    }
}

/// SHA-256 of the encoded content of an encoded event.
pub(crate) fn content_digest(event: &Bytes) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = digest(&SHA256, &crate::raw::content(event));
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// A message was sent.
    Message(Message),
    /// A message was sent, and deleted since: it keeps its place.
    DeletedMessage,
    /// The sender says a message otherwise.
    MessageEdited {
        /// Which one.
        seq: Seq,
        /// What it says instead; `None` if the message was deleted since.
        message: Option<Message>,
    },
    /// A message was deleted for everybody.
    MessageDeleted {
        /// Which one.
        seq: Seq,
    },
    /// The sender reacts to a message, or takes that back.
    Reacted {
        /// To which one.
        seq: Seq,
        /// How.
        emoji: String,
        /// It is taken back.
        removed: bool,
    },
    /// A group was made: its first event.
    GroupCreated {
        /// What it is called.
        title: String,
        /// Who was in it from the beginning.
        members: Vec<User>,
    },
    /// Members were added.
    MembersAdded {
        /// Who.
        members: Vec<User>,
    },
    /// A member was removed by another.
    MemberRemoved {
        /// Who.
        member: Option<User>,
    },
    /// A user can neither be added to the group nor join it from here on, or can again.
    MemberBanned {
        /// Who.
        member: Option<User>,
        /// They cannot.
        banned: bool,
        /// They were a member until here.
        removed: bool,
    },
    /// Whoever has the link of this invite may join the group, for so long.
    InviteCreated(InviteBounds),
    /// An invite is of no use any more.
    InviteRevoked {
        /// The event that created it.
        seq: Seq,
    },
    /// The sender joined by an invite.
    MemberJoined {
        /// The event that created it.
        invite_seq: Seq,
    },
    /// The sender left.
    MemberLeft {
        /// Whose the group is from here on, if it was theirs.
        heir: Option<User>,
    },
    /// A member has another role from here on. If it is that of the owner, the sender, who
    /// had it, is an admin now.
    RoleChanged {
        /// Who.
        member: Option<User>,
        /// Which one; `None`: one that this version does not know.
        role: Option<Role>,
    },
    /// The group is otherwise from here on, in what is `Some`.
    GroupUpdated {
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
    /// A message is pinned from here on, or is not any more.
    Pinned {
        /// Which one.
        seq: Seq,
        /// It is.
        pinned: bool,
    },
    /// The user has set something for themself; `None` if this version does not know
    /// what.
    AccountChanged(Option<Setting>),
    /// The sender asks the other one to be friends.
    FriendRequested,
    /// The two are friends from here on, or not any more.
    FriendshipChanged {
        /// They are.
        friends: bool,
    },
    /// What somebody did in the direct conversation with them while the user blocked them.
    /// It has a place, and nothing else is known of it: an app shows nothing.
    Hidden,
    /// Something that this version does not know, or cannot read. It is stored
    /// as it came.
    Unknown,
}

/// A message that is pinned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PinnedMessage {
    /// Its place in its conversation.
    pub seq: Seq,
    /// The message; `None` if it is not stored here: it is in a gap that can be filled.
    pub event: Option<StoredEvent>,
}

/// Events that exist on the server and are not stored here.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Gap {
    /// In which conversation.
    pub conversation: ConversationId,
    /// The first of them.
    pub from: Seq,
    /// The last of them.
    pub to: Seq,
    /// True for history that is fetched when somebody asks for it
    /// ([`Client::fill`](crate::Client::fill)); false for one that the driver
    /// fills by itself, at once when connected.
    pub on_demand: bool,
}

/// What the server's history does not hold of a conversation, after an older
/// backup was restored: it is not stored here any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dropped {
    /// Which conversation.
    pub conversation: ConversationId,
    /// What it is, or was.
    pub kind: ConversationKind,
    /// The group's title, or the other person's name without `@`.
    pub title: String,
    /// Everything above was dropped. What stands there from now on is another
    /// event, or the same one at another place.
    pub above: Seq,
    /// How many events that were.
    pub events: u64,
    /// So many of them are the user's own messages, and what the user did to messages
    /// that are still there: they wait in the outbox to be sent again, under their
    /// old ids.
    pub resent: u64,
    /// So many are changes that the user made to a group, or to messages that are not
    /// there any more. They are not made again.
    pub changes: u64,
}

/// A part of a conversation from the local database.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LocalHistory {
    /// In ascending order of seq.
    pub events: Vec<StoredEvent>,
    /// What is missing between and below these events, in ascending order.
    pub gaps: Vec<Gap>,
}

/// Events as the server has them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HistoryPage {
    /// In ascending order of seq.
    pub events: Vec<StoredEvent>,
    /// There are no more in the direction that was asked for.
    pub complete: bool,
}

/// Conversations as the server has them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConversationPage {
    /// In ascending order of their ids. `last_event_at_ms` is `None` and `request` false: the
    /// server does not say.
    pub conversations: Vec<ConversationLine>,
    /// There are no more behind the last of these.
    pub complete: bool,
}

/// A user who is kept out of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BannedUser {
    /// Who.
    pub user: User,
    /// The event by which they were banned.
    pub seq: Seq,
}

/// An invite to a group that was not revoked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invite {
    /// The event that created it.
    pub seq: Seq,
    /// Who did; `None` if the server does not say.
    pub creator: Option<User>,
    /// The server's commit time, milliseconds since 1970.
    pub created_at_ms: i64,
    /// How long it is of use.
    pub bounds: InviteBounds,
    /// How many have joined by it.
    pub uses: u32,
}

/// To which group an invite leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvitePreview {
    /// What the group is called.
    pub title: String,
    /// How many members it has.
    pub member_count: u64,
}

/// One of the user's devices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceLine {
    /// Its id.
    pub id: DeviceId,
    /// Its name; may be empty.
    pub name: String,
    /// When it was signed in, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it was last connected; `None` if never.
    pub last_seen_at_ms: Option<i64>,
    /// It is this one.
    pub current: bool,
}
