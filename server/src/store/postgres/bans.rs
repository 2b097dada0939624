//! Who is kept out of a group.

use std::{collections::HashSet, sync::Arc};

use magpie_protocol::{
    id::UserId,
    role::Role,
    wire::{FetchListed, v1},
};

use super::session::{Failure, Params, Session, get, get_count, get_id, signed, uuid};
use crate::store::{
    Refusal,
    rules::{self, Action, ConversationKind, Person, Place},
};

/// Which of these people are kept out, by their keys.
pub(super) async fn banned(
    session: Session<'_>,
    place: Place,
    people: &[Arc<Person>],
) -> Result<HashSet<i64>, Failure> {
    let sql = "SELECT user_key FROM bans WHERE conversation_key = $1 AND user_key = ANY($2)";
    let keys: Vec<i64> = people.iter().map(|person| person.key).collect();
    let rows = session.rows(sql, &[&place.key, &keys]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// The conversation, what it is, and what this member of it is there.
const FIND_MEMBERSHIP: &str = "
    SELECT c.key, c.kind, m.role
      FROM conversations c
      JOIN users u ON u.user_id = $2
      JOIN members m ON m.user_key = u.key AND m.conversation_key = c.key
     WHERE c.conversation_id = $1 AND m.to_position = 9223372036854775807";

/// Who looks after a group, and where.
pub(super) struct Membership {
    pub(super) conversation: i64,
    pub(super) kind: ConversationKind,
    pub(super) role: Role,
}

pub(super) async fn membership(
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

/// Who is deleted is nobody to keep out.
const FIND_PAGE: &str = "
    SELECT u.user_id, u.name, b.seq
      FROM bans b JOIN users u ON u.key = b.user_key
     WHERE b.conversation_key = $1 AND b.seq > $2 AND u.state < 2
     ORDER BY b.seq LIMIT $3";

pub(super) async fn bans(
    session: Session<'_>,
    user: UserId,
    request: FetchListed,
) -> Result<Result<v1::Bans, Refusal>, Failure> {
    let Some(membership) = membership(session, user, &request).await? else {
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
    // One more than asked for tells whether there is more.
    let (after, more) = (signed(request.after.get()), limit.saturating_add(1));
    let params: Params<'_> = &[&membership.conversation, &after, &more];
    let rows = session.rows(FIND_PAGE, params).await?;
    let users = rows.iter().map(|row| {
        Ok(v1::BannedUser {
            user: Some(v1::User {
                user_id: UserId::new(get_id(row, 0)?).to_wire(),
                name: get(row, 1)?,
            }),
            seq: get_count(row, 2)?,
        })
    });
    let mut users: Vec<v1::BannedUser> = users.collect::<Result<_, Failure>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let complete = users.len() <= limit;
    users.truncate(limit);
    Ok(Ok(v1::Bans {
        users,
        complete,
        ..Default::default()
    }))
}
