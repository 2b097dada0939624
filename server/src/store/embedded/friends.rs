//! Who is whose friend.

use std::sync::Arc;

use magpie_protocol::id::UserId;
use rusqlite::{Connection, params};

use super::{
    log::Log,
    rows::{OPEN_END, signed, unsigned},
    writer::find_person,
};
use crate::store::{
    StoreError,
    rules::{Bond, Bonds, Changed, Person, Place, Side},
};

pub(super) const FIND_SIDES: &str = "SELECT user, bond, asks FROM friends WHERE conversation = ?1";

/// Who thought already that they were friends is not told by the event, so it is not since
/// then that they know.
const SET_SIDE: &str = "
    INSERT INTO friends (conversation, user, peer, bond, seq, asks)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (conversation, user) DO UPDATE
       SET bond = excluded.bond, asks = excluded.asks,
           seq = CASE WHEN bond IN (3, 4) AND excluded.bond IN (3, 4)
                      THEN seq ELSE excluded.seq END";

const FIND_PEER: &str = "
    SELECT u.key, u.user_id, u.name
      FROM members m JOIN users u ON u.key = m.user
     WHERE m.conversation = ?1 AND m.to_position = ?3 AND m.user <> ?2";

pub(super) const ARE_FRIENDS: &str = "
    SELECT EXISTS (SELECT 1 FROM friends f
                    WHERE f.user = (SELECT key FROM users WHERE user_id = ?1)
                      AND f.peer = (SELECT key FROM users WHERE user_id = ?2) AND f.bond = 3)";

pub(super) const FIND_FRIENDS: &str = "
    SELECT o.user_id
      FROM users u JOIN friends f ON f.user = u.key AND f.bond = 3 JOIN users o ON o.key = f.peer
     WHERE u.user_id = ?1 ORDER BY f.peer LIMIT ?2";

pub(super) const FIND_BOND: &str = "
    SELECT coalesce((SELECT bond FROM friends WHERE conversation = ?1 AND user = ?2), 0),
           coalesce((SELECT seq FROM friends WHERE conversation = ?1 AND user = ?2), 0),
           EXISTS (SELECT 1 FROM events WHERE conversation = ?1 AND sender = ?2 AND kind = 1)";

impl Log<'_> {
    /// How a user and the other member of a direct conversation stand.
    pub(super) fn bonds(&self, place: Option<Place>, user: &Person) -> Result<Bonds, StoreError> {
        let mut bonds = Bonds::default();
        let Some(place) = place else {
            return Ok(bonds);
        };
        let mut statement = self.connection.prepare_cached(FIND_SIDES)?;
        let mut rows = statement.query([place.key])?;
        while let Some(row) = rows.next()? {
            let of: i64 = row.get(0)?;
            let side = Side {
                bond: Bond::from_number(row.get(1)?)?,
                asks: unsigned(row.get(2)?),
            };
            match of == user.key {
                true => bonds.mine = side,
                false => bonds.theirs = side,
            }
        }
        Ok(bonds)
    }

    /// The other member of a direct conversation.
    pub(super) fn peer(
        &self,
        place: Place,
        user: &Person,
    ) -> Result<Option<Arc<Person>>, StoreError> {
        find_person(
            self.connection,
            FIND_PEER,
            params![place.key, user.key, OPEN_END],
        )
    }
}

/// Writes down how two users stand since the event at `by`.
pub(super) fn set(
    connection: &Connection,
    (conversation, by): (i64, i64),
    (user, peer): (&Person, &Person),
    changed: &Changed,
) -> Result<(), StoreError> {
    let mut set = connection.prepare_cached(SET_SIDE)?;
    let sides = [
        (user, peer, Some(changed.mine)),
        (peer, user, changed.theirs),
    ];
    for (of, other, side) in sides {
        let Some(side) = side else { continue };
        let (bond, asks) = (side.bond.number(), signed(side.asks));
        set.execute(params![conversation, of.key, other.key, bond, by, asks])?;
    }
    Ok(())
}

/// How a user stands with the other member of a direct conversation, which event says so, and
/// whether the user has sent a message there.
pub(super) fn described(
    connection: &Connection,
    conversation: i64,
    user: i64,
) -> Result<(Bond, u64, bool), StoreError> {
    let (bond, seq, answered): (i64, i64, bool) = connection
        .prepare_cached(FIND_BOND)?
        .query_row([conversation, user], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    Ok((Bond::from_number(bond)?, unsigned(seq), answered))
}

/// See [`crate::store::PeopleStore::are_friends`].
pub(super) fn are_friends(
    connection: &Connection,
    user: UserId,
    other: UserId,
) -> Result<bool, StoreError> {
    let mut ask = connection.prepare_cached(ARE_FRIENDS)?;
    Ok(ask.query_row([user.bytes(), other.bytes()], |row| row.get(0))?)
}

/// See [`crate::store::PeopleStore::friends`].
pub(super) fn friends(
    connection: &Connection,
    user: UserId,
    count: i64,
) -> Result<Vec<UserId>, StoreError> {
    let mut find = connection.prepare_cached(FIND_FRIENDS)?;
    let found = find.query_map(params![user.bytes(), count], |row| {
        row.get(0).map(UserId::new)
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}
