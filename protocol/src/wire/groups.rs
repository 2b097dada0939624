//! What is done to members of a group, checked.

use super::{
    convert::{InvalidRequest, Request, conversation_id, message_id},
    v1,
};
use crate::{
    id::{ConversationId, MessageId},
    role::Role,
    text::UserName,
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
