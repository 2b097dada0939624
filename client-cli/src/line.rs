//! Every line that this program prints, once for people and once for programs.
//! `docs/cli.md` describes them; fields may be added, never renamed.

mod conversations;
mod events;
mod friends;
mod invite;
mod media;
mod members;
mod message;
mod people;
mod presence;
mod profile;
mod requests;
#[cfg(test)]
pub(crate) mod samples;
mod setting;
mod shown;
mod torture;

pub(crate) use self::{
    conversations::ConversationFields,
    friends::FriendFields,
    invite::InviteFields,
    members::{ReadersFields, role_name},
    message::{CalledFields, MessageFields},
    people::place,
    presence::PresenceFields,
    profile::ProfileFields,
    requests::OutboxFields,
    shown::Shown,
    torture::{BegunFields, FaultFields, HealedFields, StruckFields, TortureFields},
};

use magpie_client::{
    Acceptance, Account, Content, ConversationId, DeviceId, DeviceLine, Dropped, Gap, InviteLink,
    MediaId, MessageId, MessagePlace, Refusal, StoredEvent, User, UserId, date::rfc3339,
};
use serde::Serialize;

use crate::failure::Failure;

/// One line of output.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Line {
    Registered(AccountFields),
    LoggedIn(AccountFields),
    Whoami(AccountFields),
    LoggedOut {
        user: String,
    },
    Device(DeviceFields),
    Revoked {
        device_id: Shown<DeviceId>,
    },
    Queued {
        message_id: Shown<MessageId>,
    },
    Discarded {
        message_id: Shown<MessageId>,
    },
    Progress {
        message_id: Shown<MessageId>,
        sent: u64,
        size: u64,
    },
    Fetching {
        media_id: Shown<MediaId>,
        received: u64,
        size: u64,
    },
    Saved {
        message_id: Option<Shown<MessageId>>,
        media_id: Shown<MediaId>,
        path: String,
        size: u64,
    },
    Accepted {
        message_id: Shown<MessageId>,
        conversation_id: Shown<ConversationId>,
        seq: u64,
        sent_at: String,
    },
    Pending {
        message_id: Shown<MessageId>,
    },
    Error {
        code: String,
        action: String,
        message: String,
        message_id: Option<Shown<MessageId>>,
    },
    NothingToDo {
        message_id: Shown<MessageId>,
        conversation_id: Shown<ConversationId>,
        seq: u64,
    },
    Read {
        message_id: Shown<MessageId>,
        conversation_id: Shown<ConversationId>,
        seq: u64,
    },
    Message(MessageFields),
    Event(EventFields),
    Gap {
        conversation_id: Shown<ConversationId>,
        from_seq: u64,
        to_seq: u64,
    },
    Dropped(DroppedFields),
    CaughtUp,
    PasswordChanged {
        user: String,
        others_signed_out: bool,
    },
    AccountDeleted {
        user: String,
    },
    Reported {
        about: String,
        seq: Option<u64>,
    },
    Exported {
        directory: String,
        conversations: u64,
        events: u64,
        media: Option<u64>,
    },
    PushSet {
        app_id: String,
    },
    PushCleared,
    Asleep,
    Wake {
        wake_id: Option<String>,
        delay_ms: u64,
        priority: &'static str,
    },
    Emulator {
        url: String,
        account: String,
        ca: Option<String>,
    },
    Synced {
        events: u64,
        sent: u64,
        failed: u64,
    },
    Conversation(ConversationFields),
    Readers(ReadersFields),
    Receipts {
        hidden: bool,
    },
    Privacy {
        messages: &'static str,
    },
    Presence(PresenceFields),
    OwnPresence {
        hidden: bool,
    },
    Contact {
        user: String,
        user_id: Shown<UserId>,
        favourite: bool,
        nickname: String,
        blocked: bool,
    },
    Friend(FriendFields),
    Profile(ProfileFields),
    Link {
        link: Option<String>,
    },
    Typing {
        conversation_id: Shown<ConversationId>,
        user: String,
        typing: bool,
        /// Where it is, for people.
        #[serde(skip)]
        place: String,
    },
    InviteLink {
        conversation_id: Shown<ConversationId>,
        link: Shown<InviteLink>,
    },
    Invite(InviteFields),
    InvitePreview {
        conversation_id: Shown<ConversationId>,
        title: String,
        member_count: u64,
    },
    Banned {
        conversation_id: Shown<ConversationId>,
        user: String,
        user_id: Shown<UserId>,
        seq: u64,
    },
    Member {
        conversation_id: Shown<ConversationId>,
        user: String,
        user_id: Shown<UserId>,
        display_name: String,
        role: Option<&'static str>,
        read_seq: u64,
    },
    Members {
        conversation_id: Shown<ConversationId>,
        count: u64,
        listed: u64,
    },
    Outbox(OutboxFields),
    Difference {
        kind: &'static str,
        conversation_id: Shown<ConversationId>,
        seq: u64,
        message_id: Option<Shown<MessageId>>,
        message: String,
    },
    Audit(AuditFields),
    TortureBegun(BegunFields),
    Fault(StruckFields),
    Healed(HealedFields),
    Faults(FaultFields),
    Violation {
        message: String,
    },
    Torture(TortureFields),
}

/// An account and this device.
#[derive(Debug, Serialize)]
pub(crate) struct AccountFields {
    user: String,
    user_id: String,
    device_id: Shown<DeviceId>,
    device_name: String,
    server: String,
    signed_in: bool,
}

impl From<Account> for AccountFields {
    fn from(account: Account) -> Self {
        Self {
            user: account.name,
            user_id: account.user_id.to_string(),
            device_id: Shown(account.device_id),
            device_name: account.device_name,
            server: account.server,
            signed_in: account.signed_in,
        }
    }
}

/// A device as the list shows it.
#[derive(Debug, Serialize)]
pub(crate) struct DeviceFields {
    device_id: Shown<DeviceId>,
    device_name: String,
    created_at: String,
    last_seen_at: Option<String>,
    current: bool,
}

/// What the server's history does not hold.
#[derive(Debug, Serialize)]
pub(crate) struct DroppedFields {
    conversation_id: Shown<ConversationId>,
    above_seq: u64,
    events: u64,
    resent: u64,
    changes: u64,
    /// Where it was, for people.
    #[serde(skip)]
    place: String,
}

/// The totals of an audit.
#[derive(Debug, Default, Serialize)]
pub(crate) struct AuditFields {
    pub(crate) conversations: u64,
    pub(crate) events: u64,
    pub(crate) missing: u64,
    pub(crate) extra: u64,
    pub(crate) different: u64,
    pub(crate) miscounted: u64,
    pub(crate) unfetched: u64,
}

/// A change of a group or of a message, or an event that this version does not know.
#[derive(Debug, Default, Serialize)]
pub(crate) struct EventFields {
    kind: &'static str,
    message_id: Option<Shown<MessageId>>,
    conversation_id: Shown<ConversationId>,
    seq: u64,
    sender: Option<String>,
    #[serde(flatten)]
    called: CalledFields,
    sent_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    announcement_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<Option<Shown<MediaId>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_for_newcomers: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    friends: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses_max: Option<u32>,
    /// Whom it is about; of an edit, its sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<bool>,
    #[serde(flatten)]
    setting: setting::SettingFields,
    #[serde(skip)]
    place: Option<String>,
}

impl Line {
    pub(crate) fn accepted(id: MessageId, acceptance: Acceptance) -> Self {
        Self::Accepted {
            message_id: Shown(id),
            conversation_id: Shown(acceptance.conversation),
            seq: acceptance.seq.get(),
            sent_at: rfc3339(acceptance.committed_at_ms),
        }
    }

    pub(crate) const fn nothing_to_do(id: MessageId, place: MessagePlace) -> Self {
        Self::NothingToDo {
            message_id: Shown(id),
            conversation_id: Shown(place.conversation),
            seq: place.seq.get(),
        }
    }

    pub(crate) fn refused(id: MessageId, refusal: &Refusal) -> Self {
        Self::Error {
            code: refusal.code_name(),
            action: refusal.action_name(),
            message: refusal.to_string(),
            message_id: Some(Shown(id)),
        }
    }

    pub(crate) fn failure(failure: &Failure) -> Self {
        Self::failure_of(None, failure)
    }

    pub(crate) fn failure_of(id: Option<MessageId>, failure: &Failure) -> Self {
        Self::Error {
            code: failure.code(),
            action: failure.action(),
            message: failure.to_string(),
            message_id: id.map(Shown),
        }
    }

    pub(crate) fn gap(gap: &Gap) -> Self {
        Self::Gap {
            conversation_id: Shown(gap.conversation),
            from_seq: gap.from.get(),
            to_seq: gap.to.get(),
        }
    }

    pub(crate) fn dropped(dropped: Dropped) -> Self {
        Self::Dropped(DroppedFields {
            conversation_id: Shown(dropped.conversation),
            above_seq: dropped.above.get(),
            events: dropped.events,
            resent: dropped.resent,
            changes: dropped.changes,
            place: people::place_of(dropped.kind, &dropped.title),
        })
    }

    pub(crate) fn device(device: DeviceLine) -> Self {
        Self::Device(DeviceFields {
            device_id: Shown(device.id),
            device_name: device.name,
            created_at: rfc3339(device.created_at_ms),
            last_seen_at: device.last_seen_at_ms.map(rfc3339),
            current: device.current,
        })
    }

    pub(crate) fn event(event: StoredEvent) -> Self {
        if let Some(fields) = message::message(&event) {
            return Self::Message(fields);
        }
        let names = |users: Vec<User>| Some(users.into_iter().map(|user| user.name).collect());
        let of = |kind, title, members| EventFields {
            kind,
            title,
            members,
            ..EventFields::default()
        };
        let one = |user: Option<User>| names(user.into_iter().collect());
        let fields = match event.content {
            Content::GroupCreated { title, members } => {
                of("group_created", Some(title), names(members))
            }
            Content::MembersAdded { members } => of("members_added", None, names(members)),
            Content::MemberRemoved { member } => of("member_removed", None, one(member)),
            Content::MemberBanned {
                member,
                banned,
                removed,
            } => conversations::kept_out(member, banned, removed),
            Content::InviteCreated(bounds) => invite::created(bounds),
            Content::InviteRevoked { seq } => invite::about("invite_revoked", seq),
            Content::MemberJoined { invite_seq } => invite::about("member_joined", invite_seq),
            Content::MemberLeft { heir } => EventFields {
                heir: heir.map(|heir| heir.name),
                ..of("member_left", None, None)
            },
            Content::RoleChanged { member, role } => EventFields {
                role: role.map(role_name),
                ..of("role_changed", None, one(member))
            },
            Content::GroupUpdated {
                title,
                description,
                announcement_only,
                photo,
                history_for_newcomers,
            } => EventFields {
                description,
                announcement_only,
                photo: photo.map(|it| it.map(Shown)),
                history_for_newcomers,
                ..of("group_updated", title, None)
            },
            Content::FriendRequested => of("friend_requested", None, None),
            Content::FriendshipChanged { friends } => EventFields {
                friends: Some(friends),
                ..of("friendship_changed", None, None)
            },
            Content::Hidden => of("hidden", None, None),
            Content::AccountChanged(setting) => setting::changed(setting),
            content @ (Content::Message(_)
            | Content::DeletedMessage
            | Content::MessageEdited { .. }
            | Content::MessageDeleted { .. }
            | Content::Reacted { .. }
            | Content::Pinned { .. }
            | Content::Unknown) => message::change(&content, event.state.is_blocked),
        };
        Self::Event(EventFields {
            called: CalledFields::of(&event.called),
            message_id: event.message_id.map(Shown),
            conversation_id: Shown(event.conversation),
            seq: event.seq.get(),
            sender: event.sender.map(|user| user.name),
            sent_at: rfc3339(event.committed_at_ms),
            ..fields
        })
    }

    /// Says to people in which conversation it happened.
    pub(crate) fn in_place(mut self, of: String) -> Self {
        if let Self::Message(MessageFields { place, .. }) | Self::Event(EventFields { place, .. }) =
            &mut self
        {
            *place = Some(of);
        }
        self
    }
}
