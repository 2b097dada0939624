//! Requests about messages, checked.

use super::{
    convert::{InvalidRequest, Request, conversation_id, event_seq, message_id},
    v1,
};
use crate::{
    id::{ConversationId, MessageId},
    message::{Edit, Emoji, NewMessage},
    seq::Seq,
    text::UserName,
};

/// Where a message goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// A conversation that exists.
    Conversation(ConversationId),
    /// The direct conversation with this user, made by its first message.
    User(UserName),
}

/// A message to store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SendMessage {
    /// Its identity.
    pub id: MessageId,
    /// Where it goes.
    pub to: Target,
    /// What it says.
    pub message: NewMessage,
}

/// A message to change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EditMessage {
    /// The request's identity.
    pub id: MessageId,
    /// Where the message is.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// What it says now.
    pub message: Edit,
}

/// A message to delete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeleteMessage {
    /// The request's identity.
    pub id: MessageId,
    /// Where the message is.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: Seq,
}

/// A reaction to set or take back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct React {
    /// The request's identity.
    pub id: MessageId,
    /// Where the message is.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// How.
    pub emoji: Emoji,
    /// Take it back.
    pub removed: bool,
}

/// A message to pin, or to take off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pin {
    /// The request's identity.
    pub id: MessageId,
    /// Where the message is.
    pub conversation: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// Pin it; else take it off.
    pub pinned: bool,
}

pub(super) fn parse_pin(it: &v1::Pin) -> Result<Request, InvalidRequest> {
    Ok(Request::Pin(Pin {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        seq: event_seq(it.seq)?,
        pinned: it.pinned,
    }))
}

pub(super) fn parse_send(it: v1::SendMessage) -> Result<Request, InvalidRequest> {
    use v1::send_message::To;
    let to = match it.to.ok_or(InvalidRequest::Missing { field: "to" })? {
        To::ConversationId(id) => Target::Conversation(conversation_id(&id)?),
        To::UserName(name) => Target::User(UserName::parse(&name)?),
    };
    Ok(Request::SendMessage(SendMessage {
        id: message_id(&it.message_id)?,
        to,
        message: it.message.unwrap_or_default().try_into()?,
    }))
}

pub(super) fn parse_edit(it: v1::EditMessage) -> Result<Request, InvalidRequest> {
    Ok(Request::EditMessage(EditMessage {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        seq: event_seq(it.seq)?,
        message: it.message.unwrap_or_default().try_into()?,
    }))
}

pub(super) fn parse_delete(it: &v1::DeleteMessage) -> Result<Request, InvalidRequest> {
    Ok(Request::DeleteMessage(DeleteMessage {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        seq: event_seq(it.seq)?,
    }))
}

pub(super) fn parse_react(it: v1::React) -> Result<Request, InvalidRequest> {
    Ok(Request::React(React {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        seq: event_seq(it.seq)?,
        emoji: it.emoji.try_into()?,
        removed: it.removed,
    }))
}
