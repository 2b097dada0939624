//! Who is whose friend.

use std::sync::Arc;

use magpie_protocol::id::UserId;

use super::{
    known::person,
    log::Log,
    session::{Failure, Params, Session, get, get_count, get_id, limit, signed, uuid},
};
use crate::store::rules::{Bond, Bonds, Changed, Person, Place, Side};

const FIND_SIDES: &str = "SELECT user_key, bond, asks FROM friends WHERE conversation_key = $1";

/// Who thought already that they were friends is not told by the event, so it is not since
/// then that they know.
const SET_SIDES: &str = "
    INSERT INTO friends (conversation_key, user_key, peer_key, bond, seq, asks)
    SELECT $1, user_key, peer_key, bond, $2, asks
      FROM unnest($3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[])
        AS side (user_key, peer_key, bond, asks)
        ON CONFLICT (conversation_key, user_key) DO UPDATE
       SET bond = excluded.bond, asks = excluded.asks,
           seq = CASE WHEN friends.bond IN (3, 4) AND excluded.bond IN (3, 4)
                      THEN friends.seq ELSE excluded.seq END";

const FIND_PEER: &str = "
    SELECT u.key, u.user_id, u.name
      FROM (SELECT m.user_key FROM members m
             WHERE m.conversation_key = $1 AND m.to_position = 9223372036854775807 LIMIT 2) m
      JOIN users u ON u.key = m.user_key
     WHERE m.user_key <> $2";

const ARE_FRIENDS: &str = "
    SELECT EXISTS (SELECT FROM friends f
                    WHERE f.user_key = (SELECT key FROM users WHERE user_id = $1)
                      AND f.peer_key = (SELECT key FROM users WHERE user_id = $2)
                      AND f.bond = 3)";

const FIND_FRIENDS: &str = "
    SELECT o.user_id
      FROM users u
      JOIN friends f ON f.user_key = u.key AND f.bond = 3
      JOIN users o ON o.key = f.peer_key
     WHERE u.user_id = $1 ORDER BY f.peer_key LIMIT $2";

impl Log<'_> {
    /// How a user and the other member of a direct conversation stand.
    pub(super) async fn bonds(
        &self,
        place: Option<Place>,
        user: &Person,
    ) -> Result<Bonds, Failure> {
        let mut bonds = Bonds::default();
        let Some(place) = place else {
            return Ok(bonds);
        };
        for row in self.session.rows(FIND_SIDES, &[&place.key]).await? {
            let side = Side {
                bond: Bond::from_number(get::<i16>(&row, 1)?.into())?,
                asks: get_count(&row, 2)?,
            };
            match get::<i64>(&row, 0)? == user.key {
                true => bonds.mine = side,
                false => bonds.theirs = side,
            }
        }
        Ok(bonds)
    }

    /// The other member of a direct conversation.
    pub(super) async fn peer(
        &self,
        place: Place,
        user: &Person,
    ) -> Result<Option<Arc<Person>>, Failure> {
        let params: Params<'_> = &[&place.key, &user.key];
        let found = self.session.first(FIND_PEER, params).await?;
        let found = found.map(|row| person(&row).map(Arc::new));
        found.transpose()
    }
}

/// Writes down how two users stand since the event at `by`.
pub(super) async fn set(
    session: Session<'_>,
    (conversation, by): (i64, i64),
    (user, peer): (&Person, &Person),
    changed: &Changed,
) -> Result<(), Failure> {
    let mut sides = vec![(user.key, peer.key, changed.mine)];
    sides.extend(changed.theirs.map(|theirs| (peer.key, user.key, theirs)));
    let users: Vec<i64> = sides.iter().map(|(of, ..)| *of).collect();
    let peers: Vec<i64> = sides.iter().map(|(_, other, _)| *other).collect();
    let bonds = sides.iter().map(|(.., side)| side.bond.number().into());
    let bonds: Vec<i16> = bonds.collect();
    let asks: Vec<i64> = sides.iter().map(|(.., side)| signed(side.asks)).collect();
    session
        .execute(
            SET_SIDES,
            &[&conversation, &by, &users, &peers, &bonds, &asks],
        )
        .await?;
    Ok(())
}

/// See [`crate::store::PeopleStore::are_friends`].
pub(super) async fn are_friends(
    session: Session<'_>,
    user: UserId,
    other: UserId,
) -> Result<bool, Failure> {
    let (user, other) = (uuid(user.bytes()), uuid(other.bytes()));
    get(&session.one(ARE_FRIENDS, &[&user, &other]).await?, 0)
}

/// See [`crate::store::PeopleStore::friends`].
pub(super) async fn friends(
    session: Session<'_>,
    user: UserId,
    count: usize,
) -> Result<Vec<UserId>, Failure> {
    let params: Params<'_> = &[&uuid(user.bytes()), &limit(count)];
    let rows = session.rows(FIND_FRIENDS, params).await?;
    let found = rows.iter().map(|row| Ok(UserId::new(get_id(row, 0)?)));
    found.collect()
}
