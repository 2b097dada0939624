//! From what a client sent to what it means: each field checked once, here.

use super::{
    account::{ChangeAccount, ChangePassword, Report},
    fetch::{
        CountReaders, FetchHistory, FetchListed, FetchMembers, parse_bans, parse_conversations,
        parse_history, parse_invites, parse_media_urls, parse_members, parse_readers,
    },
    groups::{Ban, SetRole, UpdateGroup, parse_ban, parse_set_role, parse_update_group},
    invites::{
        CreateInvite, JoinByInvite, RevokeInvite, parse_create_invite, parse_join, parse_look_up,
        parse_revoke_invite,
    },
    messages::{
        DeleteMessage, EditMessage, Pin, React, SendMessage, parse_delete, parse_edit, parse_pin,
        parse_react, parse_send,
    },
    people::{
        ChangeFriendship, KnownProfile, parse_find, parse_friendship, parse_profiles, parse_watch,
    },
    v1,
};
use crate::{
    id::{ConversationId, DeviceId, InvalidId, MediaId, MessageId, UserId},
    invite::InviteSecret,
    limits::NAMES_MAX,
    message::InvalidMessage,
    profile::FindUsers,
    push::{AppId, Platform, PushAddress, PushToken},
    seq::Seq,
    text::{InvalidText, Password, Title, UserName},
};

/// What is wrong with a request. The client must change it; nothing was done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRequest {
    /// An id of the wrong size.
    #[error("{field}: {reason}")]
    Id {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: InvalidId,
    },
    /// A text that is not acceptable.
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// A message that is not acceptable.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
    /// A field without which the request means nothing.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// Numbers that are not in ascending order, each once.
    #[error("{field} must rise")]
    NotRising {
        /// The field.
        field: &'static str,
    },
    /// A number or a size out of its bounds.
    #[error("{field} is {value}, allowed is {min} to {max}")]
    OutOfBounds {
        /// The field.
        field: &'static str,
        /// What it is.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

/// A group to make.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CreateGroup {
    /// The request's identity; its bytes are the conversation's id too.
    pub id: MessageId,
    /// What it is called.
    pub title: Title,
    /// The other members.
    pub names: Vec<UserName>,
}

/// Members to add.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddMembers {
    /// The request's identity.
    pub id: MessageId,
    /// To which group.
    pub conversation: ConversationId,
    /// Whom.
    pub names: Vec<UserName>,
}

/// What a signed-in device asks for, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// Store a message.
    SendMessage(SendMessage),
    /// Say otherwise what a message said.
    EditMessage(EditMessage),
    /// Delete a message for everybody.
    DeleteMessage(DeleteMessage),
    /// React to a message.
    React(React),
    /// Pin a message, or take it off.
    Pin(Pin),
    /// Change a setting of the user's own.
    ChangeAccount(ChangeAccount),
    /// Ask somebody to be friends, or answer them.
    ChangeFriendship(ChangeFriendship),
    /// Make a group.
    CreateGroup(CreateGroup),
    /// Add members to a group.
    AddMembers(AddMembers),
    /// Remove a member from a group.
    RemoveMember {
        /// The request's identity.
        id: MessageId,
        /// From which group.
        conversation: ConversationId,
        /// Whom.
        name: UserName,
    },
    /// Keep a user out of a group, or end that.
    Ban(Ban),
    /// Let whoever has a secret join a group.
    CreateInvite(CreateInvite),
    /// End an invite.
    RevokeInvite(RevokeInvite),
    /// Join the group of an invite.
    JoinByInvite(JoinByInvite),
    /// See to which group an invite leads.
    LookUpInvite {
        /// Which group it says.
        conversation: ConversationId,
        /// What lets into it.
        secret: InviteSecret,
    },
    /// List the invites to a group.
    FetchInvites(FetchListed),
    /// Leave a group.
    LeaveGroup {
        /// The request's identity.
        id: MessageId,
        /// Which group.
        conversation: ConversationId,
    },
    /// Give a member of a group a role.
    SetRole(SetRole),
    /// Change what a group is called, says of itself, and lets its members do.
    UpdateGroup(UpdateGroup),
    /// Move the read mark forward.
    MarkRead {
        /// In which conversation.
        conversation: ConversationId,
        /// To where.
        seq: Seq,
    },
    /// Read events.
    FetchHistory(FetchHistory),
    /// List conversations.
    FetchConversations {
        /// Those with a higher id than this one.
        after: Option<ConversationId>,
        /// How many at the most.
        limit: u32,
    },
    /// List the members of a conversation.
    FetchMembers(FetchMembers),
    /// List who is kept out of a group.
    FetchBans(FetchListed),
    /// Count who has read messages.
    CountReaders(CountReaders),
    /// Leave to upload.
    FetchMediaToken,
    /// Where these are to be had.
    FetchMediaUrls(Vec<MediaId>),
    /// List devices.
    FetchDevices,
    /// End a device's credential.
    RevokeDevice(DeviceId),
    /// End this device's credential.
    SignOut,
    /// Say where this device's pushes go.
    SetPush(PushAddress),
    /// No more pushes to this device.
    ClearPush,
    /// The app goes to the background.
    Detach,
    /// Change the password.
    ChangePassword(ChangePassword),
    /// Delete the user.
    DeleteAccount(Password),
    /// Tell the operators of something.
    Report(Report),
    /// Read what others say of themselves.
    FetchProfiles(Vec<KnownProfile>),
    /// Look for users.
    FindUsers(FindUsers),
    /// See from now on whether these users are there, and no others.
    WatchPresence(Vec<UserId>),
}

impl Request {
    /// The identity that the client gave it, if it changes the log.
    #[must_use]
    pub const fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::SendMessage(SendMessage { id, .. })
            | Self::EditMessage(EditMessage { id, .. })
            | Self::DeleteMessage(DeleteMessage { id, .. })
            | Self::React(React { id, .. })
            | Self::Pin(Pin { id, .. })
            | Self::ChangeAccount(ChangeAccount { id, .. })
            | Self::ChangeFriendship(ChangeFriendship { id, .. })
            | Self::CreateGroup(CreateGroup { id, .. })
            | Self::AddMembers(AddMembers { id, .. })
            | Self::RemoveMember { id, .. }
            | Self::LeaveGroup { id, .. }
            | Self::SetRole(SetRole { id, .. })
            | Self::Ban(Ban { id, .. })
            | Self::CreateInvite(CreateInvite { id, .. })
            | Self::RevokeInvite(RevokeInvite { id, .. })
            | Self::JoinByInvite(JoinByInvite { id, .. })
            | Self::UpdateGroup(UpdateGroup { id, .. }) => Some(*id),
            Self::MarkRead { .. }
            | Self::FetchHistory(_)
            | Self::FetchConversations { .. }
            | Self::FetchMembers(_)
            | Self::FetchBans(_)
            | Self::LookUpInvite { .. }
            | Self::FetchInvites(_)
            | Self::CountReaders(_)
            | Self::FetchMediaToken
            | Self::FetchMediaUrls(_)
            | Self::FetchDevices
            | Self::RevokeDevice(_)
            | Self::SignOut
            | Self::SetPush(_)
            | Self::ClearPush
            | Self::Detach
            | Self::ChangePassword(_)
            | Self::DeleteAccount(_)
            | Self::Report(_)
            | Self::FetchProfiles(_)
            | Self::FindUsers(_)
            | Self::WatchPresence(_) => None,
        }
    }
}

/// Checks the body of a sequenced client frame; `None` if it is a control
/// frame's.
///
/// # Errors
///
/// [`InvalidRequest`] names the first field that is wrong.
pub fn parse_request(body: v1::client_frame::Body) -> Option<Result<Request, InvalidRequest>> {
    use v1::client_frame::Body;
    Some(match body {
        Body::Hello(_)
        | Body::Register(_)
        | Body::SignIn(_)
        | Body::Ping(_)
        | Body::Typing(_)
        | Body::Goodbye(_) => {
            return None;
        }
        Body::SendMessage(it) => parse_send(it),
        Body::EditMessage(it) => parse_edit(it),
        Body::DeleteMessage(it) => parse_delete(&it),
        Body::React(it) => parse_react(it),
        Body::Pin(it) => parse_pin(&it),
        Body::ChangeAccount(it) => ChangeAccount::try_from(it).map(Request::ChangeAccount),
        Body::ChangeFriendship(it) => parse_friendship(&it),
        Body::CreateGroup(it) => parse_create(it),
        Body::AddMembers(it) => parse_add(it),
        Body::RemoveMember(it) => parse_remove(it),
        Body::LeaveGroup(it) => parse_leave(it),
        Body::SetRole(it) => parse_set_role(&it),
        Body::Ban(it) => parse_ban(&it),
        Body::CreateInvite(it) => parse_create_invite(&it),
        Body::RevokeInvite(it) => parse_revoke_invite(&it),
        Body::JoinByInvite(it) => parse_join(&it),
        Body::LookUpInvite(it) => parse_look_up(&it),
        Body::FetchInvites(it) => parse_invites(&it),
        Body::UpdateGroup(it) => parse_update_group(it),
        Body::MarkRead(it) => conversation_id(&it.conversation_id).map(|conversation| {
            let seq = Seq::new(it.seq);
            Request::MarkRead { conversation, seq }
        }),
        Body::FetchHistory(it) => parse_history(it),
        Body::FetchConversations(it) => parse_conversations(it),
        Body::FetchMembers(it) => parse_members(it),
        Body::FetchBans(it) => parse_bans(&it),
        Body::CountReaders(it) => parse_readers(it),
        Body::FetchMediaToken(_) => Ok(Request::FetchMediaToken),
        Body::FetchMediaUrls(it) => parse_media_urls(&it),
        Body::FetchDevices(_) => Ok(Request::FetchDevices),
        Body::RevokeDevice(it) => device_id(&it.device_id).map(Request::RevokeDevice),
        Body::SignOut(_) => Ok(Request::SignOut),
        Body::SetPush(it) => parse_push(&it).map(Request::SetPush),
        Body::ClearPush(_) => Ok(Request::ClearPush),
        Body::Detach(_) => Ok(Request::Detach),
        Body::ChangePassword(it) => ChangePassword::try_from(it).map(Request::ChangePassword),
        Body::DeleteAccount(it) => parse_delete_account(it),
        Body::Report(it) => Report::try_from(it).map(Request::Report),
        Body::FetchProfiles(it) => parse_profiles(it),
        Body::FindUsers(it) => parse_find(it),
        Body::WatchPresence(it) => parse_watch(&it),
    })
}

fn parse_create(it: v1::CreateGroup) -> Result<Request, InvalidRequest> {
    Ok(Request::CreateGroup(CreateGroup {
        id: message_id(&it.message_id)?,
        title: it.title.try_into()?,
        names: user_names(&it.user_names, 0)?,
    }))
}

fn parse_add(it: v1::AddMembers) -> Result<Request, InvalidRequest> {
    Ok(Request::AddMembers(AddMembers {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        names: user_names(&it.user_names, 1)?,
    }))
}

fn parse_remove(it: v1::RemoveMember) -> Result<Request, InvalidRequest> {
    Ok(Request::RemoveMember {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        name: UserName::parse(&it.user_name)?,
    })
}

fn parse_leave(it: v1::LeaveGroup) -> Result<Request, InvalidRequest> {
    Ok(Request::LeaveGroup {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
    })
}

fn parse_push(it: &v1::SetPush) -> Result<PushAddress, InvalidRequest> {
    let field = "platform";
    Ok(PushAddress {
        platform: Platform::from_number(it.platform.into())
            .ok_or(InvalidRequest::Missing { field })?,
        app: AppId::parse(&it.app_id)?,
        token: PushToken::parse(&it.token)?,
    })
}

fn parse_delete_account(it: v1::DeleteAccount) -> Result<Request, InvalidRequest> {
    Ok(Request::DeleteAccount(it.password.try_into()?))
}

/// Of an event that there may be: engines store signed numbers.
pub(crate) fn event_seq(seq: u64) -> Result<Seq, InvalidRequest> {
    const MAX: u64 = i64::MAX.unsigned_abs();
    if (1..=MAX).contains(&seq) {
        return Ok(Seq::new(seq));
    }
    Err(InvalidRequest::OutOfBounds {
        field: "seq",
        value: seq,
        min: 1,
        max: MAX,
    })
}

pub(super) fn size(
    field: &'static str,
    size: usize,
    min: usize,
    max: usize,
) -> Result<(), InvalidRequest> {
    if (min..=max).contains(&size) {
        return Ok(());
    }
    Err(InvalidRequest::OutOfBounds {
        field,
        value: size as u64,
        min: min as u64,
        max: max as u64,
    })
}

fn user_names(names: &[String], min: usize) -> Result<Vec<UserName>, InvalidRequest> {
    size("user_names", names.len(), min, NAMES_MAX)?;
    let mut parsed = names
        .iter()
        .map(|name| UserName::parse(name))
        .collect::<Result<Vec<_>, _>>()?;
    // Naming somebody twice is naming them.
    parsed.sort();
    parsed.dedup();
    Ok(parsed)
}

/// Checks a device's id.
///
/// # Errors
///
/// [`InvalidRequest::Id`] if it does not have 16 bytes.
pub fn device_id(bytes: &[u8]) -> Result<DeviceId, InvalidRequest> {
    DeviceId::try_from(bytes).map_err(|reason| InvalidRequest::Id {
        field: "device_id",
        reason,
    })
}

pub(super) fn conversation_id(bytes: &[u8]) -> Result<ConversationId, InvalidRequest> {
    let field = "conversation_id";
    ConversationId::try_from(bytes).map_err(|reason| InvalidRequest::Id { field, reason })
}

pub(super) fn message_id(bytes: &[u8]) -> Result<MessageId, InvalidRequest> {
    let field = "message_id";
    MessageId::try_from(bytes).map_err(|reason| InvalidRequest::Id { field, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_a_wrong_field_names_it() {
        let body = v1::client_frame::Body::LeaveGroup(v1::LeaveGroup {
            message_id: vec![0; 16].into(),
            conversation_id: vec![0; 12].into(),
        });
        let refused = parse_request(body).unwrap().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "conversation_id: an id has 16 bytes, not 12"
        );
    }
}
