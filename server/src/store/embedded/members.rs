//! The members of a conversation, page by page.

use magpie_protocol::{
    id::UserId,
    wire::{FetchMembers, v1},
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    describe::member,
    receipts::read_seq_told,
    rows::{self, OPEN_END, conversation_head, unsigned},
};
use crate::store::StoreError;

/// Where the membership of somebody who is a member began.
const FIND_BEGINNING: &str = "
    SELECT from_position FROM members
     WHERE user = ?1 AND conversation = ?2 AND to_position = ?3";

/// Who was a member at some time behind a position.
const FIND_PLACE: &str = "
    SELECT u.key FROM users u
     WHERE u.user_id = ?1
       AND EXISTS (SELECT 1 FROM members m
                    WHERE m.user = u.key AND m.conversation = ?2 AND m.to_position > ?3)";

/// Members in the order of their keys, which no client sees.
pub(super) const FIND_PAGE: &str = concat!(
    "SELECT u.user_id, u.name, 0, 0,",
    read_seq_told!("?5"),
    ", m.role, b.delivered_seq, b.read_seq
      FROM members m
      JOIN users u ON u.key = m.user
      LEFT JOIN marks k ON k.user = m.user AND k.conversation = m.conversation
      LEFT JOIN blocks b ON b.user = m.user AND b.blocked = ?5 AND m.role = 0
     WHERE m.conversation = ?1 AND m.to_position = ?2 AND m.user > ?3
     ORDER BY m.user LIMIT ?4"
);

pub(super) fn members(
    connection: &Connection,
    user: UserId,
    request: FetchMembers,
) -> Result<Option<v1::Members>, StoreError> {
    let user = rows::user_key(connection, user)?;
    let conversation = rows::conversation_key(connection, request.conversation)?;
    let (Some(user), Some(conversation)) = (user, conversation) else {
        return Ok(None);
    };
    let Some(after) = place(connection, user, conversation, request.after)? else {
        return Ok(None);
    };
    let (head, _) = conversation_head(connection, conversation)?;
    let limit = i64::from(request.limit);
    let mut statement = connection.prepare_cached(FIND_PAGE)?;
    // One more than asked for tells whether there is more.
    let page = params![conversation, OPEN_END, after, limit.saturating_add(1), user];
    let found = statement.query_map(page, |row| member(row, 0, head))?;
    let mut members: Vec<v1::Member> = found.collect::<Result<_, _>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let complete = members.len() <= limit;
    members.truncate(limit);
    Ok(Some(v1::Members {
        members,
        complete,
        at_seq: unsigned(head),
        ..Default::default()
    }))
}

/// Behind which key the page begins; `None` if the user may not know.
fn place(
    connection: &Connection,
    user: i64,
    conversation: i64,
    after: Option<UserId>,
) -> Result<Option<i64>, StoreError> {
    let mut find_beginning = connection.prepare_cached(FIND_BEGINNING)?;
    let began_at: Option<i64> = find_beginning
        .query_row([user, conversation, OPEN_END], |row| row.get(0))
        .optional()?;
    let (Some(began_at), Some(after)) = (began_at, after) else {
        return Ok(began_at.map(|_| 0));
    };
    let mut find_place = connection.prepare_cached(FIND_PLACE)?;
    let place = find_place.query_row(params![after.bytes(), conversation, began_at], |row| {
        row.get(0)
    });
    Ok(place.optional()?)
}
