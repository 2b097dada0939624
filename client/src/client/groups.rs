//! What admins ask of their groups.

use magpie_protocol::{
    id::ConversationId,
    invite::InviteLink,
    limits::MEMBERS_COUNT_MAX,
    seq::Seq,
    session::Answer,
    wire::{
        InviteBounds,
        v1::{self, client_frame::Body},
    },
};

use super::Client;
use crate::{
    database::wire_user,
    error::RequestError,
    model::{BannedUser, Invite, InvitePreview},
};

impl Client {
    /// Asks the server who is banned from a group, behind the event `after`, in the order in
    /// which they were. Whether these are all.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; who is neither an admin nor the owner is refused.
    pub async fn bans(
        &self,
        conversation: ConversationId,
        after: Seq,
    ) -> Result<(Vec<BannedUser>, bool), RequestError> {
        let request = v1::FetchBans {
            conversation_id: conversation.to_wire(),
            after_seq: after.get(),
            limit: MEMBERS_COUNT_MAX,
        };
        let answered = self.ask(Body::FetchBans(request)).await?;
        let Answer::Bans(page) = answered.answer else {
            return Err(RequestError::WrongAnswer);
        };
        let users = page.users.into_iter().map(|it| {
            Some(BannedUser {
                user: it.user.and_then(wire_user)?,
                seq: Seq::new(it.seq),
            })
        });
        let users: Option<Vec<_>> = users.collect();
        let goes_on = |users: &Vec<_>| page.complete || !users.is_empty();
        let users = users.filter(goes_on).ok_or(RequestError::WrongAnswer)?;
        Ok((users, page.complete))
    }

    /// Asks the server for the invites to a group that were not revoked, behind the event
    /// `after`, in the order in which they were created. Whether these are all.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; who is neither an admin nor the owner is refused.
    pub async fn invites(
        &self,
        conversation: ConversationId,
        after: Seq,
    ) -> Result<(Vec<Invite>, bool), RequestError> {
        let request = v1::FetchInvites {
            conversation_id: conversation.to_wire(),
            after_seq: after.get(),
            limit: MEMBERS_COUNT_MAX,
        };
        let answered = self.ask(Body::FetchInvites(request)).await?;
        let Answer::Invites(page) = answered.answer else {
            return Err(RequestError::WrongAnswer);
        };
        if page.invites.is_empty() && !page.complete {
            return Err(RequestError::WrongAnswer);
        }
        let invites = page.invites.into_iter().map(|it| Invite {
            seq: Seq::new(it.seq),
            creator: it.creator.and_then(wire_user),
            created_at_ms: it.created_at_ms,
            bounds: InviteBounds::of(it.expires_at_ms, it.uses_max),
            uses: it.uses,
        });
        Ok((invites.collect(), page.complete))
    }

    /// Asks the server to which group an invite leads.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; one that is of no use is refused, whatever the reason.
    pub async fn look_up_invite(&self, link: InviteLink) -> Result<InvitePreview, RequestError> {
        let request = v1::LookUpInvite {
            conversation_id: link.conversation.to_wire(),
            secret: link.secret.to_wire(),
        };
        let answered = self.ask(Body::LookUpInvite(request)).await?;
        let Answer::InvitePreview(preview) = answered.answer else {
            return Err(RequestError::WrongAnswer);
        };
        Ok(InvitePreview {
            title: preview.title,
            member_count: preview.member_count,
        })
    }
}
