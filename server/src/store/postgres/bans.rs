//! Who is kept out of a group.

use std::{collections::HashSet, sync::Arc};

use magpie_protocol::{
    id::UserId,
    role::Role,
    wire::{FetchListed, v1},
};

use super::{
    listed::listed,
    session::{Failure, Session, get, get_count, get_id},
};
use crate::store::{
    Refusal,
    rules::{Action, Person, Place},
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

/// Who is deleted is nobody to keep out.
const FIND_PAGE: &str = "
    SELECT u.user_id, u.name, b.seq
      FROM bans b JOIN users u ON u.key = b.user_key
     WHERE b.conversation_key = $1 AND b.seq > $2 AND u.state < 2
     ORDER BY b.seq LIMIT $3";

pub(super) async fn bans(
    session: Session<'_>,
    user: UserId,
    request: &FetchListed,
) -> Result<Result<v1::Bans, Refusal>, Failure> {
    let list = (Action::Remove(Role::Member), FIND_PAGE);
    let listed = listed(session, user, request, list, |row| {
        Ok(v1::BannedUser {
            user: Some(v1::User {
                user_id: UserId::new(get_id(row, 0)?).to_wire(),
                name: get(row, 1)?,
            }),
            seq: get_count(row, 2)?,
        })
    });
    Ok(listed.await?.map(|(users, complete)| v1::Bans {
        users,
        complete,
        ..Default::default()
    }))
}
