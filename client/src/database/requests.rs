//! Requests as they wait in the outbox: encoded, and named by what they are about.

use magpie_protocol::{
    friendship::FriendAction,
    id::{ConversationId, MessageId},
    invite::InviteLink,
    message::{Edit, Emoji},
    role::Role,
    seq::Seq,
    setting::Setting,
    text::UserName,
    wire::{
        GroupUpdate, InviteBounds,
        v1::{self, client_frame::Body},
    },
};
use prost::Message as _;
use rusqlite::Transaction;

use super::{conversations, friends, settings::setting};
use crate::{
    error::LocalError,
    message::MessagePlace,
    request::{NewRequest, Recipient},
};

fn names(names: Vec<UserName>) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

fn wire_recipient(to: Recipient) -> v1::send_message::To {
    match to {
        Recipient::User(name) => v1::send_message::To::UserName(name.as_str().to_owned()),
        Recipient::Conversation(id) => v1::send_message::To::ConversationId(id.to_wire()),
    }
}

fn wire_reaction(id: MessageId, place: MessagePlace, emoji: &Emoji, removed: bool) -> v1::React {
    v1::React {
        message_id: id.to_wire(),
        conversation_id: place.conversation.to_wire(),
        seq: place.seq.get(),
        emoji: emoji.as_str().to_owned(),
        removed,
    }
}

fn wire_friendship(id: MessageId, name: &UserName, action: FriendAction) -> v1::ChangeFriendship {
    v1::ChangeFriendship {
        message_id: id.to_wire(),
        user_name: name.as_str().to_owned(),
        action: action.number().into(),
    }
}

fn wire_update(
    id: MessageId,
    conversation: ConversationId,
    update: GroupUpdate,
) -> v1::UpdateGroup {
    let photo = update.wire_photo();
    v1::UpdateGroup {
        message_id: id.to_wire(),
        conversation_id: conversation.to_wire(),
        title: update.title.map(|it| it.as_str().to_owned()),
        description: update.description.map(|it| it.as_str().to_owned()),
        announcement_only: update.announcement_only,
        photo,
        history_for_newcomers: update.history_for_newcomers,
    }
}

fn edit(id: MessageId, place: MessagePlace, message: Edit) -> Body {
    Body::EditMessage(v1::EditMessage {
        message_id: id.to_wire(),
        conversation_id: place.conversation.to_wire(),
        seq: place.seq.get(),
        message: Some(message.into_message().into_wire()),
    })
}

fn pin(id: MessageId, place: MessagePlace, pinned: bool) -> Body {
    Body::Pin(v1::Pin {
        message_id: id.to_wire(),
        conversation_id: place.conversation.to_wire(),
        seq: place.seq.get(),
        pinned,
    })
}

fn ban(id: MessageId, conversation: ConversationId, name: &UserName, banned: bool) -> Body {
    Body::Ban(v1::Ban {
        message_id: id.to_wire(),
        conversation_id: conversation.to_wire(),
        user_name: name.as_str().to_owned(),
        banned,
    })
}

fn set_role(id: MessageId, conversation: ConversationId, name: &UserName, role: Role) -> Body {
    Body::SetRole(v1::SetRole {
        message_id: id.to_wire(),
        conversation_id: conversation.to_wire(),
        user_name: name.as_str().to_owned(),
        role: role.to_wire().into(),
    })
}

fn create_invite(id: MessageId, link: InviteLink, bounds: InviteBounds) -> Body {
    Body::CreateInvite(v1::CreateInvite {
        message_id: id.to_wire(),
        conversation_id: link.conversation.to_wire(),
        secret: link.secret.to_wire(),
        expires_at_ms: bounds.expires_at_ms.unwrap_or(0),
        uses_max: bounds.uses_max.unwrap_or(0),
    })
}

fn revoke_invite(id: MessageId, conversation: ConversationId, seq: Seq) -> Body {
    Body::RevokeInvite(v1::RevokeInvite {
        message_id: id.to_wire(),
        conversation_id: conversation.to_wire(),
        seq: seq.get(),
    })
}

fn join(id: MessageId, link: InviteLink) -> Body {
    Body::JoinByInvite(v1::JoinByInvite {
        message_id: id.to_wire(),
        conversation_id: link.conversation.to_wire(),
        secret: link.secret.to_wire(),
    })
}

/// The request on the wire, unless it is a read mark.
pub(super) fn body(id: MessageId, request: NewRequest) -> Result<Body, (Recipient, Option<Seq>)> {
    let message_id = id.to_wire();
    Ok(match request {
        NewRequest::Send { to, message } => {
            let (to, message) = (Some(wire_recipient(to)), Some(message.into_wire()));
            Body::SendMessage(v1::SendMessage {
                message_id,
                to,
                message,
            })
        }
        NewRequest::Edit { place, message } => edit(id, place, message),
        NewRequest::Delete { place } => Body::DeleteMessage(v1::DeleteMessage {
            message_id,
            conversation_id: place.conversation.to_wire(),
            seq: place.seq.get(),
        }),
        NewRequest::React {
            place,
            emoji,
            removed,
        } => Body::React(wire_reaction(id, place, &emoji, removed)),
        NewRequest::Pin { place, pinned } => pin(id, place, pinned),
        NewRequest::Set(setting) => Body::ChangeAccount(v1::ChangeAccount {
            message_id,
            change: Some(setting.to_wire()),
        }),
        NewRequest::ChangeFriendship { name, action } => {
            Body::ChangeFriendship(wire_friendship(id, &name, action))
        }
        NewRequest::CreateGroup { title, names: whom } => Body::CreateGroup(v1::CreateGroup {
            message_id,
            title: title.as_str().to_owned(),
            user_names: names(whom),
        }),
        NewRequest::AddMembers {
            conversation,
            names: whom,
        } => Body::AddMembers(v1::AddMembers {
            message_id,
            conversation_id: conversation.to_wire(),
            user_names: names(whom),
        }),
        NewRequest::RemoveMember { conversation, name } => Body::RemoveMember(v1::RemoveMember {
            message_id,
            conversation_id: conversation.to_wire(),
            user_name: name.as_str().to_owned(),
        }),
        NewRequest::Ban {
            conversation,
            name,
            banned,
        } => ban(id, conversation, &name, banned),
        NewRequest::CreateInvite { link, bounds } => create_invite(id, link, bounds),
        NewRequest::RevokeInvite { conversation, seq } => revoke_invite(id, conversation, seq),
        NewRequest::Join { link } => join(id, link),
        NewRequest::Leave { conversation } => Body::LeaveGroup(v1::LeaveGroup {
            message_id,
            conversation_id: conversation.to_wire(),
        }),
        NewRequest::UpdateGroup {
            conversation,
            update,
        } => Body::UpdateGroup(wire_update(id, conversation, update)),
        NewRequest::SetRole {
            conversation,
            name,
            role,
        } => set_role(id, conversation, &name, role),
        NewRequest::MarkRead { to, seq } => return Err((to, seq)),
    })
}

/// The event that a request is about, and where that is, if it is known here: a message that
/// it changes or answers, or the one that says how two users stand.
pub(super) fn target(
    transaction: &Transaction<'_>,
    body: &Body,
) -> Result<Option<(ConversationId, Seq)>, LocalError> {
    use v1::send_message::To;
    if let Body::ChangeFriendship(it) = body {
        return friends::place(transaction, &it.user_name);
    }
    let Some(seq) = target_seq(body) else {
        return Ok(None);
    };
    let by_id = |id: &[u8]| ConversationId::try_from(id).ok();
    let id = if let Body::EditMessage(it) = body {
        by_id(&it.conversation_id)
    } else if let Body::DeleteMessage(it) = body {
        by_id(&it.conversation_id)
    } else if let Body::React(it) = body {
        by_id(&it.conversation_id)
    } else if let Body::Pin(it) = body {
        by_id(&it.conversation_id)
    } else if let Body::ChangeAccount(it) = body {
        hidden(it).map(|(id, _)| id)
    } else if let Body::SendMessage(it) = body {
        match &it.to {
            Some(To::ConversationId(id)) => by_id(id),
            Some(To::UserName(name)) => match UserName::parse(name) {
                Ok(name) => conversations::resolve(transaction, &Recipient::User(name))?,
                Err(_) => None,
            },
            None => None,
        }
    } else {
        None
    };
    Ok(id.map(|id| (id, seq)))
}

/// The message that is not to be seen any more.
pub(super) fn hidden(it: &v1::ChangeAccount) -> Option<(ConversationId, Seq)> {
    match setting(it.change.clone())? {
        Setting::Hide { conversation, seq } => Some((conversation, seq)),
        Setting::Notify { .. }
        | Setting::Contact { .. }
        | Setting::Block { .. }
        | Setting::Declined { .. }
        | Setting::Privacy { .. }
        | Setting::Receipts { .. }
        | Setting::Presence { .. }
        | Setting::Profile(_)
        | Setting::Discoverable(_)
        | Setting::Link(_) => None,
    }
}

/// The seq of the message that a request changes or answers.
pub(super) fn target_seq(body: &Body) -> Option<Seq> {
    let seq = if let Body::EditMessage(it) = body {
        it.seq
    } else if let Body::DeleteMessage(it) = body {
        it.seq
    } else if let Body::React(it) = body {
        it.seq
    } else if let Body::Pin(it) = body {
        it.seq
    } else if let Body::ChangeAccount(it) = body {
        return hidden(it).map(|(_, seq)| seq);
    } else if let Body::SendMessage(it) = body {
        it.message.as_ref().map_or(0, |it| it.reply_to_seq)
    } else {
        0
    };
    Some(Seq::new(seq)).filter(|seq| *seq > Seq::ZERO)
}

pub(super) fn encode(body: Body) -> Vec<u8> {
    let frame = v1::ClientFrame {
        body: Some(body),
        ..Default::default()
    };
    frame.encode_to_vec()
}

pub(super) fn decode(frame: &[u8]) -> Option<Body> {
    v1::ClientFrame::decode(frame).ok()?.body
}
