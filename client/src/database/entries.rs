//! The outbox as a person looks at it, page by page.

use magpie_protocol::{
    friendship::FriendAction,
    id::{ConversationId, MediaId},
    invite::{InviteLink, InviteSecret},
    role::Role,
    seq::Seq,
    text::UserName,
    wire::{
        InviteBounds,
        v1::{self, client_frame::Body},
    },
};

use super::{
    Database, conversation_at, message_id_at, outbox::refusal_at, requests::decode, seq_at,
    settings::setting,
};
use crate::{
    error::LocalError,
    message::{Message, MessagePlace},
    model::Refusal,
    request::{Operation, OutboxEntry, OutboxState, Recipient},
};

/// Where an entry stands in the outbox: behind all requests come the read marks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OutboxPlace {
    Request(i64),
    Read(i64),
}

impl OutboxPlace {
    /// Before everything.
    pub(crate) const START: Self = Self::Request(i64::MIN);
}

impl Database {
    /// The entries behind a place, in the person's order, at most `limit`; fewer
    /// only at the end. Read marks stand behind everything else.
    pub(crate) fn outbox(
        &self,
        behind: OutboxPlace,
        limit: usize,
    ) -> Result<Vec<(OutboxPlace, OutboxEntry)>, LocalError> {
        let mut entries = Vec::new();
        if let OutboxPlace::Request(place) = behind {
            self.requests_behind(place, limit, &mut entries)?;
        }
        self.reads_behind(behind, limit, &mut entries)?;
        Ok(entries)
    }

    fn requests_behind(
        &self,
        place: i64,
        limit: usize,
        entries: &mut Vec<(OutboxPlace, OutboxEntry)>,
    ) -> Result<(), LocalError> {
        let mut ask = self.connection.prepare_cached(
            "SELECT id, frame, queued_at_ms, code, action, message, place
               FROM outbox WHERE place > ?1 ORDER BY place",
        )?;
        let mut rows = ask.query([place])?;
        // No limit in SQL: what this version cannot read is passed over.
        while entries.len() < limit
            && let Some(row) = rows.next()?
        {
            let frame: Vec<u8> = row.get(1)?;
            if let Some(operation) = decode(&frame).and_then(operation) {
                let entry = OutboxEntry {
                    id: message_id_at(row, 0)?,
                    operation,
                    queued_at_ms: row.get(2)?,
                    state: state(refusal_at(row, 3)?),
                };
                entries.push((OutboxPlace::Request(row.get(6)?), entry));
            }
        }
        Ok(())
    }

    fn reads_behind(
        &self,
        behind: OutboxPlace,
        limit: usize,
        entries: &mut Vec<(OutboxPlace, OutboxEntry)>,
    ) -> Result<(), LocalError> {
        let place = match behind {
            OutboxPlace::Request(_) => 0,
            OutboxPlace::Read(place) => place,
        };
        let mut ask = self.connection.prepare_cached(
            "SELECT id, conversation, seq, queued_at_ms, code, action, message, place
               FROM reads WHERE place > ?1 ORDER BY place",
        )?;
        let mut rows = ask.query([place])?;
        while entries.len() < limit
            && let Some(row) = rows.next()?
        {
            let entry = OutboxEntry {
                id: message_id_at(row, 0)?,
                operation: Operation::MarkRead {
                    conversation: conversation_at(row, 1)?,
                    seq: seq_at(row, 2)?,
                },
                queued_at_ms: row.get(3)?,
                state: state(refusal_at(row, 4)?),
            };
            entries.push((OutboxPlace::Read(row.get(7)?), entry));
        }
        Ok(())
    }

    /// How many entries there are, those of a newer version included.
    pub(crate) fn outbox_count(&self) -> Result<u64, LocalError> {
        let count: i64 = self
            .connection
            .prepare_cached("SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM reads)")?
            .query_row([], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }
}

fn recipient(to: v1::send_message::To) -> Option<Recipient> {
    Some(match to {
        v1::send_message::To::UserName(name) => Recipient::User(UserName::parse(&name).ok()?),
        v1::send_message::To::ConversationId(id) => {
            Recipient::Conversation(ConversationId::try_from(id.as_ref()).ok()?)
        }
    })
}

fn operation(body: Body) -> Option<Operation> {
    let conversation = |id: &[u8]| ConversationId::try_from(id).ok();
    Some(match body {
        Body::SendMessage(it) => send(it)?,
        Body::EditMessage(it) => edit(it)?,
        Body::DeleteMessage(it) => Operation::Delete {
            place: place(&it.conversation_id, it.seq)?,
        },
        Body::React(it) => react(it)?,
        Body::Pin(it) => Operation::Pin {
            place: place(&it.conversation_id, it.seq)?,
            pinned: it.pinned,
        },
        Body::CreateGroup(it) => Operation::CreateGroup {
            title: it.title,
            names: it.user_names,
        },
        Body::AddMembers(it) => Operation::AddMembers {
            conversation: conversation(&it.conversation_id)?,
            names: it.user_names,
        },
        Body::RemoveMember(it) => Operation::RemoveMember {
            conversation: conversation(&it.conversation_id)?,
            name: it.user_name,
        },
        Body::Ban(it) => ban(it)?,
        Body::CreateInvite(it) => create_invite(&it)?,
        Body::RevokeInvite(it) => revoke_invite(&it)?,
        Body::JoinByInvite(it) => Operation::Join {
            link: link(&it.conversation_id, &it.secret)?,
        },
        Body::LeaveGroup(it) => Operation::Leave {
            conversation: conversation(&it.conversation_id)?,
        },
        Body::UpdateGroup(it) => update_group(it)?,
        Body::ChangeAccount(it) => Operation::Set(setting(it.change)?),
        Body::ChangeFriendship(it) => Operation::ChangeFriendship {
            name: it.user_name,
            action: FriendAction::from_number(it.action.into())?,
        },
        Body::SetRole(it) => set_role(it)?,
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
        | Body::WatchPresence(_)
        | Body::FindUsers(_) => return None,
    })
}

fn send(it: v1::SendMessage) -> Option<Operation> {
    Some(Operation::Send {
        to: recipient(it.to?)?,
        message: Message::of(it.message?)?,
    })
}

fn edit(it: v1::EditMessage) -> Option<Operation> {
    Some(Operation::Edit {
        place: place(&it.conversation_id, it.seq)?,
        message: Message::of(it.message?)?,
    })
}

fn react(it: v1::React) -> Option<Operation> {
    Some(Operation::React {
        place: place(&it.conversation_id, it.seq)?,
        emoji: it.emoji,
        removed: it.removed,
    })
}

fn ban(it: v1::Ban) -> Option<Operation> {
    Some(Operation::Ban {
        conversation: ConversationId::try_from(it.conversation_id.as_ref()).ok()?,
        name: it.user_name,
        banned: it.banned,
    })
}

fn set_role(it: v1::SetRole) -> Option<Operation> {
    Some(Operation::SetRole {
        conversation: ConversationId::try_from(it.conversation_id.as_ref()).ok()?,
        name: it.user_name,
        role: Role::from_number(it.role.into())?,
    })
}

fn update_group(it: v1::UpdateGroup) -> Option<Operation> {
    Some(Operation::UpdateGroup {
        conversation: ConversationId::try_from(it.conversation_id.as_ref()).ok()?,
        title: it.title,
        description: it.description,
        announcement_only: it.announcement_only,
        photo: it.photo.map(|id| MediaId::try_from(id.as_ref()).ok()),
        history_for_newcomers: it.history_for_newcomers,
    })
}

fn create_invite(it: &v1::CreateInvite) -> Option<Operation> {
    Some(Operation::CreateInvite {
        link: link(&it.conversation_id, &it.secret)?,
        bounds: InviteBounds::of(it.expires_at_ms, it.uses_max),
    })
}

fn revoke_invite(it: &v1::RevokeInvite) -> Option<Operation> {
    Some(Operation::RevokeInvite {
        conversation: ConversationId::try_from(it.conversation_id.as_ref()).ok()?,
        seq: Seq::new(it.seq),
    })
}

fn link(conversation: &[u8], secret: &[u8]) -> Option<InviteLink> {
    Some(InviteLink {
        conversation: ConversationId::try_from(conversation).ok()?,
        secret: InviteSecret::try_from(secret).ok()?,
    })
}

fn place(conversation: &[u8], seq: u64) -> Option<MessagePlace> {
    Some(MessagePlace {
        conversation: ConversationId::try_from(conversation).ok()?,
        seq: Seq::new(seq),
    })
}

fn state(refusal: Option<Refusal>) -> OutboxState {
    refusal.map_or(OutboxState::Pending, OutboxState::Failed)
}
