//! Requests, and what becomes of them, as a person reads them.

use std::fmt::{self, Write as _};

use magpie_client::{
    ConversationId, MessageId, MessagePlace, Operation, OutboxEntry, OutboxState, Refusal,
    date::rfc3339,
};

use serde::Serialize;

use super::{Line, Shown, people::aside, role_name};
use crate::paint::{Painter, Part};

/// What is queued and not done.
#[derive(Debug, Serialize)]
pub(crate) struct OutboxFields {
    pub(super) message_id: Shown<MessageId>,
    pub(super) state: &'static str,
    pub(super) kind: &'static str,
    pub(super) to: Option<String>,
    pub(super) users: Option<Vec<String>>,
    pub(super) text: Option<String>,
    pub(super) queued_at: String,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
}

/// What is asked for: its name, where, about whom, and in which words.
type Asked = (
    &'static str,
    Option<String>,
    Option<Vec<String>>,
    Option<String>,
);

fn queued(operation: Operation) -> Asked {
    let of = |place: MessagePlace| Some(place.conversation.to_string());
    let at = |conversation: ConversationId| Some(conversation.to_string());
    match operation {
        Operation::Send { to, message } => ("send", Some(to.to_string()), None, Some(message.text)),
        Operation::Edit { place, message } => ("edit", of(place), None, Some(message.text)),
        Operation::Delete { place } => ("delete", of(place), None, None),
        Operation::React { place, emoji, .. } => ("react", of(place), None, Some(emoji)),
        Operation::Pin { place, pinned } => {
            let kind = if pinned { "pin" } else { "unpin" };
            (kind, of(place), None, None)
        }
        Operation::Set(setting) => super::setting::queued(setting),
        Operation::ChangeFriendship { name, action } => {
            let action = action.name().to_owned();
            ("change_friendship", None, Some(vec![name]), Some(action))
        }
        Operation::CreateGroup { title, names } => ("create_group", None, Some(names), Some(title)),
        Operation::AddMembers {
            conversation,
            names,
        } => ("add_members", at(conversation), Some(names), None),
        Operation::RemoveMember { conversation, name } => {
            ("remove_member", at(conversation), Some(vec![name]), None)
        }
        Operation::Ban {
            conversation,
            name,
            banned,
        } => {
            let kind = if banned { "ban" } else { "unban" };
            (kind, at(conversation), Some(vec![name]), None)
        }
        Operation::CreateInvite { link, .. } => {
            let text = Some(link.to_string());
            ("create_invite", at(link.conversation), None, text)
        }
        Operation::RevokeInvite { conversation, .. } => {
            ("revoke_invite", at(conversation), None, None)
        }
        Operation::Join { link } => ("join", at(link.conversation), None, None),
        Operation::Leave { conversation } => ("leave", at(conversation), None, None),
        Operation::UpdateGroup {
            conversation,
            title,
            description,
            ..
        } => (
            "update_group",
            at(conversation),
            None,
            title.or(description),
        ),
        Operation::SetRole {
            conversation,
            name,
            role,
        } => {
            let role = Some(role_name(role).to_owned());
            ("set_role", at(conversation), Some(vec![name]), role)
        }
        Operation::MarkRead { conversation, .. } => ("mark_read", at(conversation), None, None),
    }
}

impl Line {
    pub(crate) fn outbox(entry: OutboxEntry) -> Self {
        let (kind, to, users, text) = queued(entry.operation);
        let (state, refusal) = match entry.state {
            OutboxState::Pending => ("pending", None),
            OutboxState::Failed(refusal) => ("failed", Some(refusal)),
        };
        Self::Outbox(OutboxFields {
            message_id: Shown(entry.id),
            state,
            kind,
            to,
            users,
            text,
            queued_at: rfc3339(entry.queued_at_ms),
            code: refusal.as_ref().map(Refusal::code_name),
            message: refusal.map(|refusal| refusal.message),
        })
    }

    /// What became of a request.
    pub(super) fn paint_request(&self, to: &mut Painter) -> fmt::Result {
        if let Self::Queued { message_id } = self {
            to.paint(Part::Waits, "queued")?;
            aside(to, format_args!(" {message_id}"))?;
        }
        if let Self::Discarded { message_id } = self {
            write!(to, "discarded {message_id}")?;
        }
        if let Self::Accepted {
            conversation_id,
            seq,
            ..
        } = self
        {
            to.paint(Part::Done, "accepted")?;
            write!(to, ": {seq}")?;
            aside(to, format_args!(" in {conversation_id}"))?;
        }
        if let Self::Pending { message_id } = self {
            to.paint(Part::Waits, "pending")?;
            write!(to, ": it stays queued")?;
            aside(to, format_args!(" as {message_id}"))?;
        }
        if let Self::NothingToDo { seq, .. } = self {
            to.paint(Part::Done, "done already")?;
            write!(to, ": {seq}")?;
        }
        if let Self::Read { seq, .. } = self {
            write!(to, "read up to {seq}")?;
        }
        if let Self::Error { message, .. } = self {
            to.paint(Part::Wrong, "refused")?;
            write!(to, ": {message}")?;
        }
        Ok(())
    }
}

impl OutboxFields {
    pub(super) fn paint(&self, to: &mut Painter) -> fmt::Result {
        aside(to, &self.message_id)?;
        to.write_str("  ")?;
        let part = if self.code.is_some() {
            Part::Wrong
        } else {
            Part::Waits
        };
        to.column(part, self.state, "pending".len())?;
        write!(to, "  {:13}", self.kind)?;
        if let Some(whom) = &self.to {
            write!(to, " to ")?;
            to.paint(Part::Place, whom)?;
        }
        if let Some(users) = &self.users {
            write!(to, " {}", users.join(", "))?;
        }
        if let Some(text) = &self.text {
            write!(to, ": {text}")?;
        }
        if let Some(message) = &self.message {
            to.write_str("  ")?;
            to.paint(Part::Wrong, format_args!("({message})"))?;
        }
        Ok(())
    }
}
