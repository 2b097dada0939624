//! What those who look after a group see of it, page by page.

use magpie_protocol::{id::UserId, role::Role, wire::FetchListed};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::rows::{self, OPEN_END, signed};
use crate::store::{
    Refusal, StoreError,
    rules::{self, Action, ConversationKind},
};

/// The conversation, what it is, and what this member of it is there.
const FIND_MEMBERSHIP: &str = "
    SELECT c.key, c.kind, m.role
      FROM conversations c JOIN members m ON m.conversation = c.key
     WHERE c.conversation_id = ?1 AND m.user = ?2 AND m.to_position = ?3";

/// Who looks after a group, and where.
struct Membership {
    conversation: i64,
    kind: ConversationKind,
    role: Role,
}

fn membership(
    connection: &Connection,
    user: UserId,
    request: &FetchListed,
) -> Result<Option<Membership>, StoreError> {
    let Some(user) = rows::user_key(connection, user)? else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(FIND_MEMBERSHIP)?;
    let params = params![request.conversation.bytes(), user, OPEN_END];
    let found = statement.query_row(params, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let Some((conversation, kind, role)) = found.optional()? else {
        return Ok(None);
    };
    Ok(Some(Membership {
        conversation,
        kind: ConversationKind::from_number(kind)?,
        role: rules::stored_role(role)?,
    }))
}

/// A page of a list, for who may do this there, and whether it is the last one. `find` is
/// given the conversation, behind which seq, and how many.
pub(super) fn listed<T>(
    connection: &Connection,
    user: UserId,
    request: &FetchListed,
    (action, find): (Action, &str),
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Result<(Vec<T>, bool), Refusal>, StoreError> {
    let Some(membership) = membership(connection, user, request)? else {
        return Ok(Err(Refusal::NotFound));
    };
    if let Err(refusal) = rules::may_list(membership.kind, membership.role, action) {
        return Ok(Err(refusal));
    }
    let limit = i64::from(request.limit);
    let mut statement = connection.prepare_cached(find)?;
    // One more than asked for tells whether there is more.
    let page = params![
        membership.conversation,
        signed(request.after.get()),
        limit.saturating_add(1)
    ];
    let found = statement.query_map(page, read)?;
    let mut list: Vec<T> = found.collect::<Result<_, _>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_complete = list.len() <= limit;
    list.truncate(limit);
    Ok(Ok((list, is_complete)))
}
