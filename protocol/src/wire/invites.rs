//! Invites to groups, checked.

use super::{
    convert::{InvalidRequest, Request, conversation_id, event_seq, message_id},
    v1,
};
use crate::{
    id::{ConversationId, MessageId},
    invite::InviteSecret,
    seq::Seq,
};

/// An invite to make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CreateInvite {
    /// The request's identity.
    pub id: MessageId,
    /// To which group.
    pub conversation: ConversationId,
    /// What lets into it.
    pub secret: InviteSecret,
    /// Until when it does.
    pub bounds: InviteBounds,
}

/// How long an invite is of use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct InviteBounds {
    /// Until then, milliseconds since 1970; `None`: until it is revoked.
    pub expires_at_ms: Option<i64>,
    /// So often; `None`: any number of times.
    pub uses_max: Option<u32>,
}

impl InviteBounds {
    /// From the numbers of an invite, which are 0 for `None`.
    #[must_use]
    pub fn of(expires_at_ms: i64, uses_max: u32) -> Self {
        Self {
            expires_at_ms: Some(expires_at_ms).filter(|at| *at != 0),
            uses_max: Some(uses_max).filter(|max| *max != 0),
        }
    }
}

/// An invite to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RevokeInvite {
    /// The request's identity.
    pub id: MessageId,
    /// To which group it is.
    pub conversation: ConversationId,
    /// The event that created it.
    pub seq: Seq,
}

/// A group to join.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JoinByInvite {
    /// The request's identity.
    pub id: MessageId,
    /// Which group.
    pub conversation: ConversationId,
    /// What lets into it.
    pub secret: InviteSecret,
}

pub(super) fn parse_create_invite(it: &v1::CreateInvite) -> Result<Request, InvalidRequest> {
    if it.expires_at_ms < 0 {
        return Err(InvalidRequest::OutOfBounds {
            field: "expires_at_ms",
            value: 0,
            min: 1,
            max: i64::MAX.unsigned_abs(),
        });
    }
    Ok(Request::CreateInvite(CreateInvite {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        secret: secret(&it.secret)?,
        bounds: InviteBounds::of(it.expires_at_ms, it.uses_max),
    }))
}

pub(super) fn parse_revoke_invite(it: &v1::RevokeInvite) -> Result<Request, InvalidRequest> {
    Ok(Request::RevokeInvite(RevokeInvite {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        seq: event_seq(it.seq)?,
    }))
}

pub(super) fn parse_join(it: &v1::JoinByInvite) -> Result<Request, InvalidRequest> {
    Ok(Request::JoinByInvite(JoinByInvite {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        secret: secret(&it.secret)?,
    }))
}

pub(super) fn parse_look_up(it: &v1::LookUpInvite) -> Result<Request, InvalidRequest> {
    Ok(Request::LookUpInvite {
        conversation: conversation_id(&it.conversation_id)?,
        secret: secret(&it.secret)?,
    })
}

fn secret(bytes: &[u8]) -> Result<InviteSecret, InvalidRequest> {
    let field = "secret";
    InviteSecret::try_from(bytes).map_err(|reason| InvalidRequest::Id { field, reason })
}
