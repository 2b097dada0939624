//! Every line that this program prints, once for people and once for programs.
//! `docs/cli.md` describes them; fields may be added, never renamed.

use std::fmt;

use magpie_client::{
    Acceptance, Account, Content, ConversationId, ConversationKind, ConversationLine, DeviceId,
    DeviceLine, Gap, MessageId, Operation, OutboxEntry, OutboxState, Refusal, StoredEvent, User,
};
use serde::{Serialize, Serializer};

use crate::{
    failure::Failure,
    moment::{rfc3339, short},
    printable::Printable,
};

/// An id or anything else that is written as it is displayed.
#[derive(Debug)]
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

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
    Device {
        device_id: Shown<DeviceId>,
        device_name: String,
        created_at: String,
        last_seen_at: Option<String>,
        current: bool,
    },
    Revoked {
        device_id: Shown<DeviceId>,
    },
    Queued {
        message_id: Shown<MessageId>,
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
    Read {
        message_id: Shown<MessageId>,
        conversation_id: Shown<ConversationId>,
        seq: u64,
    },
    Message {
        message_id: Option<Shown<MessageId>>,
        conversation_id: Shown<ConversationId>,
        seq: u64,
        sender: Option<String>,
        text: String,
        sent_at: String,
    },
    Event(EventFields),
    Gap {
        conversation_id: Shown<ConversationId>,
        from_seq: u64,
        to_seq: u64,
    },
    CaughtUp,
    Synced {
        events: u64,
        sent: u64,
        failed: u64,
    },
    Conversation(ConversationFields),
    Outbox(OutboxFields),
    Difference {
        kind: &'static str,
        conversation_id: Shown<ConversationId>,
        seq: u64,
        message_id: Option<Shown<MessageId>>,
        message: String,
    },
    Audit {
        conversations: u64,
        events: u64,
        missing: u64,
        extra: u64,
        different: u64,
        unfetched: u64,
    },
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

/// A change of a group, or an event that this version does not know.
#[derive(Debug, Serialize)]
pub(crate) struct EventFields {
    kind: &'static str,
    message_id: Option<Shown<MessageId>>,
    conversation_id: Shown<ConversationId>,
    seq: u64,
    sender: Option<String>,
    sent_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<String>>,
}

/// A conversation as the list shows it.
#[derive(Debug, Serialize)]
pub(crate) struct ConversationFields {
    conversation_id: Shown<ConversationId>,
    kind: &'static str,
    title: String,
    members: Vec<String>,
    first_seq: u64,
    last_seq: Option<u64>,
    head_seq: u64,
    unread: u64,
    last_event_at: Option<String>,
}

/// What is queued and not done.
#[derive(Debug, Serialize)]
pub(crate) struct OutboxFields {
    message_id: Shown<MessageId>,
    state: &'static str,
    kind: &'static str,
    to: Option<String>,
    text: Option<String>,
    queued_at: String,
    code: Option<String>,
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

    pub(crate) fn refused(id: MessageId, refusal: &Refusal) -> Self {
        Self::Error {
            code: refusal.code_name(),
            action: refusal.action_name(),
            message: refusal.to_string(),
            message_id: Some(Shown(id)),
        }
    }

    pub(crate) fn failure(failure: &Failure) -> Self {
        Self::Error {
            code: failure.code(),
            action: failure.action(),
            message: failure.to_string(),
            message_id: None,
        }
    }

    pub(crate) fn gap(gap: &Gap) -> Self {
        Self::Gap {
            conversation_id: Shown(gap.conversation),
            from_seq: gap.from.get(),
            to_seq: gap.to.get(),
        }
    }

    pub(crate) fn device(device: DeviceLine) -> Self {
        Self::Device {
            device_id: Shown(device.id),
            device_name: device.name,
            created_at: rfc3339(device.created_at_ms),
            last_seen_at: device.last_seen_at_ms.map(rfc3339),
            current: device.current,
        }
    }

    pub(crate) fn event(event: StoredEvent) -> Self {
        let names = |users: Vec<User>| Some(users.into_iter().map(|user| user.name).collect());
        let (kind, title, members) = match event.content {
            Content::Message { text } => {
                return Self::Message {
                    message_id: event.message_id.map(Shown),
                    conversation_id: Shown(event.conversation),
                    seq: event.seq.get(),
                    sender: event.sender.map(|user| user.name),
                    text,
                    sent_at: rfc3339(event.committed_at_ms),
                };
            }
            Content::GroupCreated { title, members } => {
                ("group_created", Some(title), names(members))
            }
            Content::MembersAdded { members } => ("members_added", None, names(members)),
            Content::MemberRemoved { member } => {
                ("member_removed", None, names(member.into_iter().collect()))
            }
            Content::MemberLeft => ("member_left", None, None),
            Content::Unknown => ("unknown", None, None),
        };
        Self::Event(EventFields {
            kind,
            message_id: event.message_id.map(Shown),
            conversation_id: Shown(event.conversation),
            seq: event.seq.get(),
            sender: event.sender.map(|user| user.name),
            sent_at: rfc3339(event.committed_at_ms),
            title,
            members,
        })
    }

    pub(crate) fn conversation(line: ConversationLine) -> Self {
        Self::Conversation(ConversationFields {
            conversation_id: Shown(line.id),
            kind: match line.kind {
                ConversationKind::Direct => "direct",
                ConversationKind::Group => "group",
                ConversationKind::Unknown => "unknown",
            },
            title: line.title,
            members: line
                .members
                .into_iter()
                .map(|member| member.user.name)
                .collect(),
            first_seq: line.first_seq.get(),
            last_seq: line.last_seq.map(magpie_client::Seq::get),
            head_seq: line.head_seq.get(),
            unread: line.unread,
            last_event_at: line.last_event_at_ms.map(rfc3339),
        })
    }

    pub(crate) fn outbox(entry: OutboxEntry) -> Self {
        let (kind, to, text) = match entry.operation {
            Operation::Send { to, text } => ("send", Some(to.to_string()), Some(text)),
            Operation::CreateGroup { title, .. } => ("create_group", None, Some(title)),
            Operation::AddMembers { conversation, .. } => {
                ("add_members", Some(conversation.to_string()), None)
            }
            Operation::RemoveMember { conversation, .. } => {
                ("remove_member", Some(conversation.to_string()), None)
            }
            Operation::Leave { conversation } => ("leave", Some(conversation.to_string()), None),
            Operation::MarkRead { conversation, .. } => {
                ("mark_read", Some(conversation.to_string()), None)
            }
        };
        let (state, code) = match entry.state {
            OutboxState::Pending => ("pending", None),
            OutboxState::Failed(refusal) => ("failed", Some(refusal.code_name())),
        };
        Self::Outbox(OutboxFields {
            message_id: Shown(entry.id),
            state,
            kind,
            to,
            text,
            queued_at: rfc3339(entry.queued_at_ms),
            code,
        })
    }
}

/// For people: what others wrote cannot move their cursor or change colours.
impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered(fields) => write!(out, "registered {fields}"),
            Self::LoggedIn(fields) => write!(out, "logged in {fields}"),
            Self::Whoami(fields) => fields.fmt(out),
            Self::LoggedOut { user } => write!(out, "logged out {user}"),
            Self::Device {
                device_id,
                device_name,
                last_seen_at,
                current,
                ..
            } => {
                let seen = last_seen_at.as_deref().map_or("never seen".into(), short);
                let here = if *current { "  this one" } else { "" };
                write!(out, "{device_id}  {seen}  {}{here}", Printable(device_name))
            }
            Self::Revoked { device_id } => write!(out, "revoked {device_id}"),
            Self::Queued { message_id } => write!(out, "queued {message_id}"),
            Self::Accepted {
                conversation_id,
                seq,
                ..
            } => write!(out, "sent: {seq} in {conversation_id}"),
            Self::Pending { message_id } => write!(out, "pending {message_id}: it stays queued"),
            Self::Error { message, .. } => write!(out, "refused: {}", Printable(message)),
            Self::Read { seq, .. } => write!(out, "read up to {seq}"),
            Self::Message {
                seq,
                sender,
                text,
                sent_at,
                ..
            } => {
                let (at, sender) = (short(sent_at), name(sender.as_ref()));
                write!(out, "{at} {seq} {sender}: {}", Printable(text))
            }
            Self::Event(fields) => fields.fmt(out),
            Self::Gap {
                from_seq, to_seq, ..
            } => write!(out, "... {from_seq} to {to_seq} are not fetched yet"),
            Self::CaughtUp => write!(out, "-- caught up --"),
            Self::Synced {
                events,
                sent,
                failed,
            } => write!(out, "synced: {events} new, {sent} sent, {failed} failed"),
            Self::Conversation(fields) => fields.fmt(out),
            Self::Outbox(fields) => fields.fmt(out),
            Self::Difference {
                conversation_id,
                message,
                ..
            } => write!(out, "{conversation_id} {message}"),
            Self::Audit {
                conversations,
                events,
                missing,
                extra,
                different,
                unfetched,
            } => write!(
                out,
                "{conversations} conversations, {events} events: {missing} missing, {extra} extra, \
                 {different} different; {unfetched} not fetched yet"
            ),
        }
    }
}

impl fmt::Display for AccountFields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} on {}", self.user, self.server)?;
        write!(out, ", device {}", self.device_id)?;
        if !self.device_name.is_empty() {
            write!(out, " ({})", Printable(&self.device_name))?;
        }
        if !self.signed_in {
            write!(out, ", signed out by the server")?;
        }
        Ok(())
    }
}

impl fmt::Display for EventFields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sender = name(self.sender.as_ref());
        let members = self.members.as_deref().unwrap_or_default().join(", ");
        write!(out, "{} {} * {sender} ", short(&self.sent_at), self.seq)?;
        match self.kind {
            "group_created" => {
                let title = self.title.as_deref().unwrap_or_default();
                write!(out, "made {} with {members}", Printable(title))
            }
            "members_added" => write!(out, "added {members}"),
            "member_removed" => write!(out, "removed {members}"),
            "member_left" => write!(out, "left"),
            _ => write!(out, "did something that this version does not know"),
        }
    }
}

impl fmt::Display for ConversationFields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.kind == "direct" { "@" } else { "" };
        write!(
            out,
            "{}  {at}{}",
            self.conversation_id,
            Printable(&self.title)
        )?;
        if self.unread > 0 {
            write!(out, "  {} unread", self.unread)?;
        }
        if let Some(at) = &self.last_event_at {
            write!(out, "  {}", short(at))?;
        }
        Ok(())
    }
}

impl fmt::Display for OutboxFields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}  {} {}", self.message_id, self.state, self.kind)?;
        if let Some(to) = &self.to {
            write!(out, " to {to}")?;
        }
        if let Some(text) = &self.text {
            write!(out, ": {}", Printable(text))?;
        }
        if let Some(code) = &self.code {
            write!(out, "  ({code})")?;
        }
        Ok(())
    }
}

fn name(sender: Option<&String>) -> &str {
    sender.map_or("somebody", String::as_str)
}
