//! Conversations, as they are printed.

use std::fmt::{self, Write as _};

use magpie_client::{
    BannedUser, ConversationId, ConversationKind, ConversationLine, MediaId, User,
    date::{rfc3339, short},
};
use serde::Serialize;

use super::{
    EventFields, Line, Shown,
    people::{MOMENT_WIDTH, aside, members},
};
use crate::paint::{Painter, Part};

/// A conversation as the list shows it.
#[derive(Debug, Serialize)]
pub(crate) struct ConversationFields {
    pub(super) conversation_id: Shown<ConversationId>,
    pub(super) kind: &'static str,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) announcement_only: bool,
    pub(super) photo: Option<Shown<MediaId>>,
    pub(super) history_for_newcomers: bool,
    pub(super) members: Vec<String>,
    pub(super) member_count: u64,
    pub(super) first_seq: u64,
    pub(super) last_seq: Option<u64>,
    pub(super) head_seq: u64,
    pub(super) unread: u64,
    pub(super) unread_mentions: u64,
    pub(super) last_event_at: Option<String>,
    pub(super) notify: &'static str,
    pub(super) notify_until: Option<String>,
    pub(super) friendship: &'static str,
    pub(super) request: bool,
    pub(super) favourite: bool,
    pub(super) blocked: bool,
    pub(super) nickname: String,
    pub(super) display_name: String,
}

/// The event by which somebody was banned, or that ended.
pub(super) fn kept_out(member: Option<User>, banned: bool, removed: bool) -> EventFields {
    let kind = if banned {
        "member_banned"
    } else {
        "member_unbanned"
    };
    EventFields {
        kind,
        members: Some(member.into_iter().map(|user| user.name).collect()),
        removed: Some(removed),
        ..EventFields::default()
    }
}

impl Line {
    pub(crate) fn banned(conversation: ConversationId, banned: BannedUser) -> Self {
        Self::Banned {
            conversation_id: Shown(conversation),
            user: banned.user.name,
            user_id: Shown(banned.user.id),
            seq: banned.seq.get(),
        }
    }

    pub(crate) fn conversation(line: ConversationLine) -> Self {
        Self::Conversation(ConversationFields {
            conversation_id: Shown(line.id),
            kind: match line.kind {
                ConversationKind::Direct => "direct",
                ConversationKind::Group => "group",
                ConversationKind::Account => "account",
                ConversationKind::Unknown => "unknown",
            },
            title: line.title,
            description: line.description,
            announcement_only: line.announcement_only,
            photo: line.photo.map(Shown),
            history_for_newcomers: line.history_for_newcomers,
            members: line
                .members
                .into_iter()
                .map(|member| member.user.name)
                .collect(),
            member_count: line.member_count,
            first_seq: line.first_seq.get(),
            last_seq: line.last_seq.map(magpie_client::Seq::get),
            head_seq: line.head_seq.get(),
            unread: line.unread,
            unread_mentions: line.unread_mentions,
            last_event_at: line.last_event_at_ms.map(rfc3339),
            notify: line.notify.level.name(),
            notify_until: line.notify.until_ms.map(rfc3339),
            request: line.request,
            friendship: line.friendship.name(),
            favourite: line.contact.as_ref().is_some_and(|it| it.favourite),
            blocked: line.contact.as_ref().is_some_and(|it| it.blocked),
            nickname: line.contact.map_or_else(String::new, |it| it.nickname),
            display_name: line.profile.display_name,
        })
    }
}

impl ConversationFields {
    pub(super) fn paint(&self, to: &mut Painter) -> fmt::Result {
        let at = self
            .last_event_at
            .as_deref()
            .map_or_else(String::new, short);
        let unread = match (self.unread, self.unread_mentions) {
            (0, _) => String::new(),
            (unread, 0) => format!("{unread} unread"),
            (unread, mentions) => format!("{unread} unread, @{mentions}"),
        };
        aside(to, &self.conversation_id)?;
        to.write_str("  ")?;
        to.column(Part::Aside, at, MOMENT_WIDTH)?;
        to.write_str("  ")?;
        to.column(Part::Waits, unread, "100 unread, @1".len())?;
        to.write_str("  ")?;
        let sign = if self.kind == "direct" { "@" } else { "" };
        to.paint(Part::Place, format_args!("{sign}{}", self.title))?;
        if self.request {
            aside(to, "  asks to write to you")?;
        }
        self.paint_settings(to)?;
        if self.kind == "group" {
            aside(
                to,
                format_args!("  {}", members(self.member_count, self.member_count)),
            )?;
        }
        if self.last_seq.is_some() {
            aside(to, "  no longer a member")?;
        }
        Ok(())
    }
}
