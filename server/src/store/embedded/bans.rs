//! Who is kept out of a group.

use magpie_protocol::{
    id::UserId,
    role::Role,
    wire::{FetchListed, v1},
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{self, OPEN_END, signed, unsigned};
use crate::store::{
    Refusal, StoreError,
    rules::{self, Action, ConversationKind, Person, Place},
};

pub(super) fn is_banned(
    connection: &Connection,
    place: Place,
    person: &Person,
) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM bans WHERE conversation = ?1 AND user = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.exists([place.key, person.key])?)
}

/// The conversation, what it is, and what this member of it is there.
const FIND_MEMBERSHIP: &str = "
    SELECT c.key, c.kind, m.role
      FROM conversations c JOIN members m ON m.conversation = c.key
     WHERE c.conversation_id = ?1 AND m.user = ?2 AND m.to_position = ?3";

/// Who looks after a group, and where.
pub(super) struct Membership {
    pub(super) conversation: i64,
    pub(super) kind: ConversationKind,
    pub(super) role: Role,
}

pub(super) fn membership(
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

/// Who is deleted is nobody to keep out.
pub(super) const FIND_PAGE: &str = "
    SELECT u.user_id, u.name, b.seq
      FROM bans b JOIN users u ON u.key = b.user
     WHERE b.conversation = ?1 AND b.seq > ?2 AND u.state < 2
     ORDER BY b.seq LIMIT ?3";

pub(super) fn bans(
    connection: &Connection,
    user: UserId,
    request: FetchListed,
) -> Result<Result<v1::Bans, Refusal>, StoreError> {
    let Some(membership) = membership(connection, user, &request)? else {
        return Ok(Err(Refusal::NotFound));
    };
    let may = rules::may_list(
        membership.kind,
        membership.role,
        Action::Remove(Role::Member),
    );
    if let Err(refusal) = may {
        return Ok(Err(refusal));
    }
    let limit = i64::from(request.limit);
    let mut statement = connection.prepare_cached(FIND_PAGE)?;
    // One more than asked for tells whether there is more.
    let page = params![
        membership.conversation,
        signed(request.after.get()),
        limit.saturating_add(1)
    ];
    let found = statement.query_map(page, |row| {
        Ok(v1::BannedUser {
            user: Some(v1::User {
                user_id: UserId::new(row.get(0)?).to_wire(),
                name: row.get(1)?,
            }),
            seq: unsigned(row.get(2)?),
        })
    })?;
    let mut users: Vec<v1::BannedUser> = found.collect::<Result<_, _>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let complete = users.len() <= limit;
    users.truncate(limit);
    Ok(Ok(v1::Bans {
        users,
        complete,
        ..Default::default()
    }))
}
