//! What those who look after a group see of it, page by page.

use magpie_protocol::{id::UserId, role::Role, wire::FetchListed};
use tokio_postgres::Row;

use super::session::{Failure, Params, Session, get, signed, uuid};
use crate::store::{
    Refusal,
    rules::{self, Action, ConversationKind},
};

/// The conversation, what it is, and what this member of it is there.
const FIND_MEMBERSHIP: &str = "
    SELECT c.key, c.kind, m.role
      FROM conversations c
      JOIN users u ON u.user_id = $2
      JOIN members m ON m.user_key = u.key AND m.conversation_key = c.key
     WHERE c.conversation_id = $1 AND m.to_position = 9223372036854775807";

/// Who looks after a group, and where.
struct Membership {
    conversation: i64,
    kind: ConversationKind,
    role: Role,
}

async fn membership(
    session: Session<'_>,
    user: UserId,
    request: &FetchListed,
) -> Result<Option<Membership>, Failure> {
    let (conversation, user) = (uuid(request.conversation.bytes()), uuid(user.bytes()));
    let found = session
        .first(FIND_MEMBERSHIP, &[&conversation, &user])
        .await?;
    let Some(row) = found else {
        return Ok(None);
    };
    Ok(Some(Membership {
        conversation: get(&row, 0)?,
        kind: ConversationKind::from_number(get::<i16>(&row, 1)?.into())?,
        role: rules::stored_role(get::<i16>(&row, 2)?.into())?,
    }))
}

/// A page of a list, for who may do this there, and whether it is the last one. `find` is
/// given the conversation, behind which seq, and how many.
pub(super) async fn listed<T>(
    session: Session<'_>,
    user: UserId,
    request: &FetchListed,
    (action, find): (Action, &str),
    read: fn(&Row) -> Result<T, Failure>,
) -> Result<Result<(Vec<T>, bool), Refusal>, Failure> {
    let Some(membership) = membership(session, user, request).await? else {
        return Ok(Err(Refusal::NotFound));
    };
    if let Err(refusal) = rules::may_list(membership.kind, membership.role, action) {
        return Ok(Err(refusal));
    }
    let limit = i64::from(request.limit);
    // One more than asked for tells whether there is more.
    let (after, more) = (signed(request.after.get()), limit.saturating_add(1));
    let params: Params<'_> = &[&membership.conversation, &after, &more];
    let rows = session.rows(find, params).await?;
    let mut list: Vec<T> = rows.iter().map(read).collect::<Result<_, Failure>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_complete = list.len() <= limit;
    list.truncate(limit);
    Ok(Ok((list, is_complete)))
}
