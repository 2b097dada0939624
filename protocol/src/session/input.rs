//! What the server takes out of a frame, and what it answers.

use bytes::Bytes;

use crate::{
    id::ConversationId,
    seq::FrameNumber,
    wire::{Authenticate, EncodedHistory, Hello, InvalidRequest, Request, v1},
};

/// What a frame from the client means.
#[derive(Clone, Eq, PartialEq)]
pub enum Input {
    /// The device introduces itself. Answer with [`super::ServerSession::welcome`] or
    /// [`super::ServerSession::goodbye`]; until then feed no further frames.
    Hello(Hello),
    /// Answer with [`super::ServerSession::signed_in`] or [`super::ServerSession::refuse`];
    /// until then feed no further frames.
    Register(Authenticate),
    /// As for `Register`.
    SignIn(Authenticate),
    /// Register or sign-in with an unacceptable field: refuse it.
    InvalidAuthenticate(InvalidRequest),
    /// Answer exactly once with [`super::ServerSession::reply`].
    Request {
        /// Names the request in its answer.
        number: FrameNumber,
        /// What it asks for.
        request: Request,
    },
    /// A request with an unacceptable field: answer it with an error.
    InvalidRequest {
        /// Names the request in its answer.
        number: FrameNumber,
        /// What is wrong with it.
        reason: InvalidRequest,
        /// The request's identity, as it came.
        message_id: Bytes,
    },
    /// A critical request that this version does not know: answer it with an error.
    Unsupported {
        /// Names the request in its answer.
        number: FrameNumber,
    },
    /// Answer with [`super::ServerSession::pong`].
    Ping {
        /// The pong repeats it.
        id: u64,
        /// What the device has stored.
        cursor: Bytes,
    },
    /// The user types, or does not any more. May be passed over.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// They do.
        typing: bool,
    },
    /// The client ends the session.
    Goodbye,
    /// Nothing for the caller to do.
    Nothing,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It is committed.
    Accepted(v1::Accepted),
    /// It is done.
    Done,
    /// It is refused.
    Error(v1::Error),
    /// Events, oldest first.
    History(EncodedHistory),
    /// Descriptions of conversations.
    Conversations(v1::Conversations),
    /// Members of a conversation.
    Members(v1::Members),
    /// Who is kept out of a group.
    Bans(v1::Bans),
    /// Invites to a group.
    Invites(v1::Invites),
    /// To which group an invite leads.
    InvitePreview(v1::InvitePreview),
    /// How many have read messages.
    ReaderCounts(v1::ReaderCounts),
    /// Leave to upload.
    MediaToken(v1::MediaToken),
    /// Where photos and files are to be had.
    MediaUrls(v1::MediaUrls),
    /// The user's devices.
    Devices(v1::Devices),
    /// What others say of themselves.
    Profiles(v1::Profiles),
    /// Whether others are there.
    Presences(v1::Presences),
}

/// The message id as it came, also if the rest of the request is unacceptable.
pub(super) fn sent_message_id(body: &v1::client_frame::Body) -> Bytes {
    use v1::client_frame::Body;
    match body {
        Body::SendMessage(it) => it.message_id.clone(),
        Body::CreateGroup(it) => it.message_id.clone(),
        Body::AddMembers(it) => it.message_id.clone(),
        Body::RemoveMember(it) => it.message_id.clone(),
        Body::LeaveGroup(it) => it.message_id.clone(),
        Body::SetRole(it) => it.message_id.clone(),
        Body::Ban(it) => it.message_id.clone(),
        Body::CreateInvite(it) => it.message_id.clone(),
        Body::RevokeInvite(it) => it.message_id.clone(),
        Body::JoinByInvite(it) => it.message_id.clone(),
        Body::UpdateGroup(it) => it.message_id.clone(),
        Body::Pin(it) => it.message_id.clone(),
        Body::EditMessage(it) => it.message_id.clone(),
        Body::DeleteMessage(it) => it.message_id.clone(),
        Body::React(it) => it.message_id.clone(),
        Body::ChangeAccount(it) => it.message_id.clone(),
        Body::ChangeFriendship(it) => it.message_id.clone(),
        Body::Hello(_)
        | Body::Register(_)
        | Body::SignIn(_)
        | Body::Ping(_)
        | Body::Typing(_)
        | Body::Goodbye(_)
        | Body::MarkRead(_)
        | Body::FetchHistory(_)
        | Body::FetchConversations(_)
        | Body::FetchMembers(_)
        | Body::FetchBans(_)
        | Body::LookUpInvite(_)
        | Body::FetchInvites(_)
        | Body::CountReaders(_)
        | Body::FetchMediaToken(_)
        | Body::FetchMediaUrls(_)
        | Body::FetchDevices(_)
        | Body::RevokeDevice(_)
        | Body::SignOut(_)
        | Body::SetPush(_)
        | Body::ClearPush(_)
        | Body::Detach(_)
        | Body::ChangePassword(_)
        | Body::DeleteAccount(_)
        | Body::Report(_)
        | Body::FetchProfiles(_)
        | Body::FindUsers(_)
        | Body::WatchPresence(_) => Bytes::new(),
    }
}
