//! What is done to members of a group, checked.

use bytes::Bytes;

use super::{
    convert::{InvalidRequest, Request, conversation_id, message_id},
    v1,
};
use crate::{
    id::{ConversationId, MediaId, MessageId},
    media::MediaReference,
    role::Role,
    text::{Description, Title, UserName},
};

/// A role to give.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetRole {
    /// The request's identity.
    pub id: MessageId,
    /// In which group.
    pub conversation: ConversationId,
    /// To whom.
    pub name: UserName,
    /// Which one.
    pub role: Role,
}

pub(super) fn parse_set_role(it: &v1::SetRole) -> Result<Request, InvalidRequest> {
    let field = "role";
    Ok(Request::SetRole(SetRole {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        name: UserName::parse(&it.user_name)?,
        role: Role::from_number(it.role.into()).ok_or(InvalidRequest::Missing { field })?,
    }))
}

/// A user to keep out of a group, or whose ban ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ban {
    /// The request's identity.
    pub id: MessageId,
    /// Which group.
    pub conversation: ConversationId,
    /// Whom.
    pub name: UserName,
    /// Keep them out.
    pub banned: bool,
}

pub(super) fn parse_ban(it: &v1::Ban) -> Result<Request, InvalidRequest> {
    Ok(Request::Ban(Ban {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        name: UserName::parse(&it.user_name)?,
        banned: it.banned,
    }))
}

/// What is to be otherwise in a group: what is present.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpdateGroup {
    /// The request's identity.
    pub id: MessageId,
    /// Which group.
    pub conversation: ConversationId,
    /// What of it.
    pub update: GroupUpdate,
}

/// What is to be otherwise: what is `Some`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GroupUpdate {
    /// What the group is called.
    pub title: Option<Title>,
    /// What it says of itself.
    pub description: Option<Description>,
    /// Admins and the owner alone write.
    pub announcement_only: Option<bool>,
    /// Its photo; the inner `None`: it has none.
    pub photo: Option<Option<MediaId>>,
    /// Who joins from there on may read the group from its beginning.
    pub history_for_newcomers: Option<bool>,
}

impl GroupUpdate {
    /// The photo on the wire; empty: none.
    #[must_use]
    pub fn wire_photo(&self) -> Option<Bytes> {
        let photo = self.photo;
        photo.map(|it| it.map_or_else(Bytes::new, MediaId::to_wire))
    }

    /// The photo that it refers to, if there is one.
    #[must_use]
    pub fn media(&self) -> Vec<MediaReference> {
        let photo = self.photo.flatten();
        photo.into_iter().map(MediaReference::of).collect()
    }
}

fn photo(bytes: &[u8]) -> Result<Option<MediaId>, InvalidRequest> {
    let field = "photo";
    match bytes {
        [] => Ok(None),
        bytes => MediaId::try_from(bytes)
            .map(Some)
            .map_err(|reason| InvalidRequest::Id { field, reason }),
    }
}

pub(super) fn parse_update_group(it: v1::UpdateGroup) -> Result<Request, InvalidRequest> {
    let update = GroupUpdate {
        title: it.title.map(Title::try_from).transpose()?,
        description: it.description.map(Description::try_from).transpose()?,
        announcement_only: it.announcement_only,
        photo: it.photo.map(|id| photo(&id)).transpose()?,
        history_for_newcomers: it.history_for_newcomers,
    };
    if update == GroupUpdate::default() {
        return Err(InvalidRequest::Missing { field: "title" });
    }
    Ok(Request::UpdateGroup(UpdateGroup {
        id: message_id(&it.message_id)?,
        conversation: conversation_id(&it.conversation_id)?,
        update,
    }))
}
