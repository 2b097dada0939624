//! Invites to groups, as they are printed.

use std::fmt::{self, Write as _};

use magpie_client::{
    ConversationId, Invite, InviteBounds, InviteLink, InvitePreview, Seq,
    date::{rfc3339, short},
};
use serde::Serialize;

use super::{EventFields, Line, Shown, people::aside};
use crate::paint::{Painter, Part};

/// An invite as the list shows it.
#[derive(Debug, Serialize)]
pub(crate) struct InviteFields {
    pub(super) conversation_id: Shown<ConversationId>,
    pub(super) seq: u64,
    pub(super) creator: Option<String>,
    pub(super) created_at: String,
    pub(super) expires_at: Option<String>,
    pub(super) uses: u32,
    pub(super) uses_max: Option<u32>,
}

/// The event that created an invite.
pub(super) fn created(bounds: InviteBounds) -> EventFields {
    EventFields {
        kind: "invite_created",
        expires_at: bounds.expires_at_ms.map(rfc3339),
        uses_max: bounds.uses_max,
        ..EventFields::default()
    }
}

/// An event that is about the invite of another.
pub(super) fn about(kind: &'static str, seq: Seq) -> EventFields {
    EventFields {
        kind,
        target_seq: Some(seq.get()),
        ..EventFields::default()
    }
}

impl Line {
    pub(crate) const fn link(link: InviteLink) -> Self {
        Self::InviteLink {
            conversation_id: Shown(link.conversation),
            link: Shown(link),
        }
    }

    pub(crate) fn invite(conversation: ConversationId, invite: Invite) -> Self {
        Self::Invite(InviteFields {
            conversation_id: Shown(conversation),
            seq: invite.seq.get(),
            creator: invite.creator.map(|user| user.name),
            created_at: rfc3339(invite.created_at_ms),
            expires_at: invite.bounds.expires_at_ms.map(rfc3339),
            uses: invite.uses,
            uses_max: invite.bounds.uses_max,
        })
    }

    pub(crate) fn preview(link: InviteLink, preview: InvitePreview) -> Self {
        Self::InvitePreview {
            conversation_id: Shown(link.conversation),
            title: preview.title,
            member_count: preview.member_count,
        }
    }

    /// What is about invites.
    pub(super) fn paint_invites(&self, to: &mut Painter) -> fmt::Result {
        if let Self::InviteLink { link, .. } = self {
            write!(to, "{link}")?;
        }
        if let Self::Invite(invite) = self {
            invite.paint(to)?;
        }
        if let Self::InvitePreview {
            title,
            member_count,
            ..
        } = self
        {
            to.paint(Part::Place, title)?;
            let members = super::people::members(*member_count, *member_count);
            aside(to, format_args!("  {members}"))?;
        }
        Ok(())
    }
}

impl EventFields {
    /// What it is to an invite, behind who does it.
    pub(super) fn paint_invite(&self, to: &mut Painter) -> fmt::Result {
        let seq = self.target_seq.unwrap_or_default();
        match self.kind {
            "invite_revoked" => write!(to, " ended the invite {seq}"),
            "member_joined" => write!(to, " joined by the invite {seq}"),
            _ => write!(to, " made a link to join by"),
        }
    }
}

impl InviteFields {
    fn paint(&self, to: &mut Painter) -> fmt::Result {
        aside(to, short(&self.created_at))?;
        write!(to, "  {}  by ", self.seq)?;
        let creator = self.creator.as_deref().unwrap_or("somebody");
        to.paint(Part::User(creator), creator)?;
        match self.uses_max {
            Some(max) => write!(to, "  used {} of {max} times", self.uses)?,
            None => write!(to, "  used {} times", self.uses)?,
        }
        match &self.expires_at {
            Some(at) => aside(to, format_args!("  until {}", short(at))),
            None => Ok(()),
        }
    }
}
