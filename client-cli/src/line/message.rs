//! Messages, and what is done to them, as they are printed.

use std::fmt::{self, Write as _};

use magpie_client::{
    Called, Content, ConversationId, Media, Message, MessageId, Seq, StoredEvent,
    date::{rfc3339, short},
};
use serde::Serialize;

use super::{
    EventFields, Line, Shown,
    people::{NAME_WIDTH, aside, head, name},
};
use crate::paint::{Painter, Part};

/// A message.
#[derive(Debug, Default, Serialize)]
pub(crate) struct MessageFields {
    pub(super) message_id: Option<Shown<MessageId>>,
    pub(super) conversation_id: Shown<ConversationId>,
    pub(super) seq: u64,
    pub(super) sender: Option<String>,
    #[serde(flatten)]
    pub(super) called: CalledFields,
    pub(super) text: String,
    pub(super) sent_at: String,
    #[serde(flatten)]
    pub(super) more: MoreFields,
    /// Where it was said, for people who watch several conversations.
    #[serde(skip)]
    pub(super) place: Option<String>,
}

/// How a sender is called here, if not by the user name alone.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CalledFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sender_name: Option<String>,
    /// The user has chosen it, so it is nobody else's.
    #[serde(skip)]
    pub(super) is_nickname: bool,
}

impl CalledFields {
    pub(super) fn of(called: &Called) -> Self {
        Self {
            sender_name: called.name().map(str::to_owned),
            is_nickname: !called.nickname.is_empty(),
        }
    }

    /// For people: what somebody calls themself does not stand alone.
    pub(super) fn shown(&self, sender: &str) -> String {
        match &self.sender_name {
            Some(name) if self.is_nickname => name.clone(),
            Some(name) => format!("{name} (@{sender})"),
            None => sender.to_owned(),
        }
    }
}

/// What few messages have: left out where there is nothing to say.
#[derive(Debug, Default, Serialize)]
pub(crate) struct MoreFields {
    #[serde(skip_serializing_if = "is_false")]
    pub(super) deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_to_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) forwarded_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) forwarded_sent_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) mentions: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) mentions_everybody: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    /// Hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) media: Vec<MediaFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edited_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reactions: Vec<ReactionFields>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) pending: bool,
    /// The user blocks its sender.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) blocked: bool,
}

/// A photo or file.
#[derive(Debug, Serialize)]
pub(crate) struct MediaFields {
    pub(super) media_id: String,
    pub(super) media_type: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_name: Option<String>,
}

impl MediaFields {
    fn of(it: &Media) -> Self {
        Self {
            media_id: it.id.to_string(),
            media_type: it.content_type.clone(),
            size: it.size,
            sha256: hexadecimal(&it.sha256),
            width: it.pixels.map(|(width, _)| width),
            height: it.pixels.map(|(_, height)| height),
            file_name: it.file_name.clone(),
        }
    }
}

/// How many react alike.
#[derive(Debug, Serialize)]
pub(crate) struct ReactionFields {
    pub(super) emoji: String,
    pub(super) count: u32,
    pub(super) own: bool,
}

const fn is_false(value: &bool) -> bool {
    !*value
}

impl MoreFields {
    /// What a message says besides its text.
    fn of(message: &Message) -> Self {
        let mentioned = |start: usize, length: usize| {
            let end = start.checked_add(length)?;
            message.text.get(start..end).map(str::to_owned)
        };
        let mentions = message.mentions.iter();
        let forwarded = message.forwarded.as_ref();
        let body = message.body.as_ref();
        Self {
            reply_to_seq: message.reply_to.map(Seq::get),
            forwarded_from: forwarded.map(|it| it.author.name.clone()),
            forwarded_sent_at: forwarded.map(|it| rfc3339(it.sent_at_ms)),
            mentions: mentions
                .filter_map(|it| mentioned(it.start, it.length))
                .collect(),
            mentions_everybody: message.mentions_everybody,
            content_type: body.map(|it| it.content_type.clone()),
            body: body.map(|it| hexadecimal(&it.bytes)),
            media: message.media.iter().map(MediaFields::of).collect(),
            ..Self::default()
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let digits = [byte >> 4, byte & 0xf].map(|it| char::from_digit(it.into(), 16));
        text.extend(digits.into_iter().flatten());
    }
    text
}

impl Line {
    /// A message as it was sent, whatever became of it.
    pub(crate) fn as_sent(mut event: StoredEvent) -> Self {
        event.state = magpie_client::MessageState::default();
        Self::event(event)
    }
}

/// The line of a message, with what became of it; `None` if the event is none.
pub(super) fn message(event: &StoredEvent) -> Option<MessageFields> {
    let state = &event.state;
    let (text, more) = match &event.content {
        Content::Message(message) => {
            let mut more = MoreFields::of(message);
            let mut text = message.text.clone();
            if let Some(edit) = &state.edit {
                text.clone_from(&edit.message.text);
                more = MoreFields {
                    edited_at: Some(rfc3339(edit.at_ms)),
                    reply_to_seq: more.reply_to_seq,
                    forwarded_from: more.forwarded_from,
                    forwarded_sent_at: more.forwarded_sent_at,
                    media: more.media,
                    ..MoreFields::of(&edit.message)
                };
            }
            (text, more)
        }
        Content::DeletedMessage => (String::new(), MoreFields::default()),
        Content::MessageEdited { .. }
        | Content::MessageDeleted { .. }
        | Content::Reacted { .. }
        | Content::GroupCreated { .. }
        | Content::MembersAdded { .. }
        | Content::MemberRemoved { .. }
        | Content::MemberBanned { .. }
        | Content::InviteCreated(_)
        | Content::InviteRevoked { .. }
        | Content::MemberJoined { .. }
        | Content::MemberLeft { .. }
        | Content::RoleChanged { .. }
        | Content::GroupUpdated { .. }
        | Content::Pinned { .. }
        | Content::AccountChanged(_)
        | Content::FriendRequested
        | Content::FriendshipChanged { .. }
        | Content::Hidden
        | Content::Unknown => return None,
    };
    let reactions = state.reactions.iter().map(|it| ReactionFields {
        emoji: it.emoji.clone(),
        count: it.count,
        own: it.own,
    });
    let more = MoreFields {
        deleted: state.is_deleted || event.content == Content::DeletedMessage,
        reactions: reactions.collect(),
        pending: state.is_pending,
        blocked: state.is_blocked,
        ..more
    };
    Some(MessageFields {
        message_id: event.message_id.map(Shown),
        conversation_id: Shown(event.conversation),
        seq: event.seq.get(),
        sender: event.sender.as_ref().map(|user| user.name.clone()),
        called: CalledFields::of(&event.called),
        text,
        sent_at: rfc3339(event.committed_at_ms),
        more,
        place: None,
    })
}

/// What an event does to a message.
pub(super) fn change(content: &Content, is_blocked: bool) -> EventFields {
    let of = |kind, seq: Seq| EventFields {
        kind,
        target_seq: Some(seq.get()),
        ..EventFields::default()
    };
    match content {
        Content::MessageEdited { seq, message } => EventFields {
            text: message.as_ref().map(|message| message.text.clone()),
            blocked: is_blocked.then_some(true),
            ..of("message_edited", *seq)
        },
        Content::MessageDeleted { seq } => of("message_deleted", *seq),
        Content::Reacted {
            seq,
            emoji,
            removed,
        } => EventFields {
            emoji: Some(emoji.clone()),
            removed: Some(*removed),
            ..of("reacted", *seq)
        },
        Content::Pinned { seq, pinned } => EventFields {
            removed: Some(!pinned),
            ..of("pinned", *seq)
        },
        Content::Message(_)
        | Content::DeletedMessage
        | Content::GroupCreated { .. }
        | Content::MembersAdded { .. }
        | Content::MemberRemoved { .. }
        | Content::MemberBanned { .. }
        | Content::InviteCreated(_)
        | Content::InviteRevoked { .. }
        | Content::MemberJoined { .. }
        | Content::MemberLeft { .. }
        | Content::RoleChanged { .. }
        | Content::GroupUpdated { .. }
        | Content::AccountChanged(_)
        | Content::FriendRequested
        | Content::FriendshipChanged { .. }
        | Content::Hidden
        | Content::Unknown => EventFields {
            kind: "unknown",
            ..EventFields::default()
        },
    }
}

impl MessageFields {
    pub(super) fn paint(&self, to: &mut Painter) -> fmt::Result {
        head(to, &self.sent_at, self.place.as_deref(), self.seq)?;
        let sender = name(self.sender.as_ref());
        let column = format!("{}:", self.called.shown(sender));
        to.column(Part::User(sender), column, NAME_WIDTH)?;
        if self.more.deleted {
            return aside(to, " (deleted)");
        }
        if self.more.blocked {
            return aside(to, " (blocked)");
        }
        self.more.paint_origin(to)?;
        if !self.text.is_empty() {
            write!(to, " {}", self.text)?;
        }
        self.more.paint_media(self.message_id.as_ref(), to)?;
        self.more.paint_state(to)
    }
}

impl MoreFields {
    fn paint_origin(&self, to: &mut Painter) -> fmt::Result {
        if let Some(seq) = self.reply_to_seq {
            aside(to, format_args!(" (to {seq})"))?;
        }
        if let Some(author) = &self.forwarded_from {
            aside(to, " (from ")?;
            to.paint(Part::User(author), author)?;
            aside(to, ")")?;
        }
        Ok(())
    }

    fn paint_media(&self, id: Option<&Shown<MessageId>>, to: &mut Painter) -> fmt::Result {
        for it in &self.media {
            let name = it.file_name.as_deref().unwrap_or(&it.media_type);
            aside(to, format_args!(" [{name}, {} bytes]", it.size))?;
        }
        match id {
            Some(id) if !self.media.is_empty() => aside(to, format_args!(" ({id})")),
            Some(_) | None => Ok(()),
        }
    }

    fn paint_state(&self, to: &mut Painter) -> fmt::Result {
        if let Some(content_type) = &self.content_type {
            let size = self.body.as_ref().map_or(0, |body| body.len() / 2);
            aside(to, format_args!(" [{content_type}, {size} bytes]"))?;
        }
        if let Some(at) = &self.edited_at {
            aside(to, format_args!(" (edited {})", short(at)))?;
        }
        for ReactionFields { emoji, count, .. } in &self.reactions {
            write!(to, "  {emoji} {count}")?;
        }
        if self.pending {
            to.write_str("  ")?;
            to.paint(Part::Waits, "pending")?;
        }
        Ok(())
    }
}

impl EventFields {
    /// What it does to a message, behind who does it.
    pub(super) fn paint_change(&self, to: &mut Painter) -> fmt::Result {
        let seq = self.target_seq.unwrap_or_default();
        let text = self.text.as_deref();
        match (self.kind, self.removed) {
            ("message_edited", _) if self.blocked == Some(true) => {
                write!(to, " changed {seq}:")?;
                aside(to, " (blocked)")
            }
            ("message_edited", _) => match text {
                Some(text) => write!(to, " changed {seq}: {text}"),
                None => write!(to, " changed {seq}, which was deleted since"),
            },
            ("message_deleted", _) => write!(to, " deleted {seq}"),
            ("pinned", Some(true)) => write!(to, " took {seq} off the pinned messages"),
            ("pinned", _) => write!(to, " pinned {seq}"),
            (_, Some(true)) => {
                let emoji = self.emoji.as_deref().unwrap_or_default();
                write!(to, " takes {emoji} back from {seq}")
            }
            (_, _) => {
                let emoji = self.emoji.as_deref().unwrap_or_default();
                write!(to, " reacts to {seq}: {emoji}")
            }
        }
    }
}
