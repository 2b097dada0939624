//! Who is kept out of a group.

use magpie_protocol::{
    id::UserId,
    role::Role,
    wire::{FetchListed, v1},
};
use rusqlite::Connection;

use super::{listed::listed, rows::unsigned};
use crate::store::{
    Refusal, StoreError,
    rules::{Action, Person, Place},
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

/// Who is deleted is nobody to keep out.
pub(super) const FIND_PAGE: &str = "
    SELECT u.user_id, u.name, b.seq
      FROM bans b JOIN users u ON u.key = b.user
     WHERE b.conversation = ?1 AND b.seq > ?2 AND u.state < 2
     ORDER BY b.seq LIMIT ?3";

pub(super) fn bans(
    connection: &Connection,
    user: UserId,
    request: &FetchListed,
) -> Result<Result<v1::Bans, Refusal>, StoreError> {
    let list = (Action::Remove(Role::Member), FIND_PAGE);
    let listed = listed(connection, user, request, list, |row| {
        Ok(v1::BannedUser {
            user: Some(v1::User {
                user_id: UserId::new(row.get(0)?).to_wire(),
                name: row.get(1)?,
            }),
            seq: unsigned(row.get(2)?),
        })
    })?;
    Ok(listed.map(|(users, complete)| v1::Bans {
        users,
        complete,
        ..Default::default()
    }))
}
