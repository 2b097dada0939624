//! What users say of themselves, and by what they are found.

use async_trait::async_trait;
use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::FOUND_COUNT_MAX,
    profile::FindUsers,
    wire::{KnownProfile, v1},
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    Postgres, friends,
    privacy::is_request,
    rows,
    session::{Failure, Session, get, get_count, get_id, limit, signed, uuid},
    uses,
};
use crate::store::{
    PeopleStore, StoreError,
    people::link_hash,
    rules::{Person, Public},
};

const SET_PROFILE: &str = "
    INSERT INTO profiles (user_key, version, display_name, status, photo_key)
    VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (user_key) DO UPDATE
       SET version = excluded.version, display_name = excluded.display_name,
           status = excluded.status, photo_key = excluded.photo_key";

const LIST: &str = "
    INSERT INTO discoverable (name, user_key) SELECT name, key FROM users WHERE key = $1
        ON CONFLICT DO NOTHING";

const UNLIST: &str = "DELETE FROM discoverable WHERE user_key = $1";

const SET_LINK: &str = "
    INSERT INTO links (user_key, hash) VALUES ($1, $2)
        ON CONFLICT (user_key) DO UPDATE SET hash = excluded.hash";

const UNSET_LINK: &str = "DELETE FROM links WHERE user_key = $1";

/// Whether the user `u` and the one whose key is `$1` are members of one conversation.
macro_rules! shares {
    () => {
        " EXISTS (SELECT FROM members theirs
                    JOIN members mine ON mine.conversation_key = theirs.conversation_key
                     AND mine.user_key = $1 AND mine.to_position = 9223372036854775807
                   WHERE theirs.user_key = u.key
                     AND theirs.to_position = 9223372036854775807) "
    };
}

/// Whether the one whose key is `$1` may see what the user `u` says of themself.
macro_rules! may_see {
    () => {
        concat!(
            "(u.key = $1 OR EXISTS (SELECT FROM discoverable d WHERE d.name = u.name) OR",
            shares!(),
            ")"
        )
    };
}
pub(super) use {may_see, shares};

macro_rules! columns {
    () => {
        " u.user_id, u.name, coalesce(p.version, 0), coalesce(p.display_name, ''),
          coalesce(p.status, ''), coalesce((SELECT uuid_send(media_id) FROM media WHERE key = p.photo_key), ''::bytea) "
    };
}

pub(super) const FIND_PROFILES: &str = concat!(
    "SELECT",
    columns!(),
    "FROM unnest($2::uuid[], $3::bigint[]) AS known (user_id, version)
       JOIN users u ON u.user_id = known.user_id
       LEFT JOIN profiles p ON p.user_key = u.key
      WHERE coalesce(p.version, 0) <> known.version
        AND (u.key = $1 OR",
    shares!(),
    ")"
);

pub(super) const FIND_BY_NAME: &str = concat!(
    "SELECT",
    columns!(),
    "FROM users u LEFT JOIN profiles p ON p.user_key = u.key AND ",
    may_see!(),
    " WHERE u.name = $2 AND u.state <> 2"
);

pub(super) const FIND_BY_LINK: &str = concat!(
    "SELECT",
    columns!(),
    "FROM users u JOIN links l ON l.user_key = u.key
       LEFT JOIN profiles p ON p.user_key = u.key
      WHERE u.name = $1 AND l.hash = $2 AND u.state = 0"
);

pub(super) const FIND_BY_PREFIX: &str = concat!(
    "SELECT",
    columns!(),
    "FROM discoverable d JOIN users u ON u.key = d.user_key
       LEFT JOIN profiles p ON p.user_key = u.key
      WHERE d.name >= $1 AND d.name < $2 AND u.state = 0
      ORDER BY d.name LIMIT $3"
);

pub(super) const FIND_ACQUAINTANCES: &str = "
    SELECT DISTINCT u.user_id
      FROM members mine
      JOIN conversations c ON c.key = mine.conversation_key AND c.member_count <= $2
      JOIN members theirs ON theirs.conversation_key = mine.conversation_key
       AND theirs.to_position = 9223372036854775807 AND theirs.user_key <> mine.user_key
      JOIN users u ON u.key = theirs.user_key
     WHERE mine.user_key = $1 AND mine.to_position = 9223372036854775807
     LIMIT $3";

pub(super) const FIND_COMPANIONS: &str = concat!(
    "SELECT u.user_id
      FROM conversations c
      JOIN members mine ON mine.conversation_key = c.key AND mine.user_key = $1
       AND mine.to_position = 9223372036854775807
      JOIN members theirs ON theirs.conversation_key = c.key
       AND theirs.to_position = 9223372036854775807 AND theirs.user_key <> $1
      JOIN users u ON u.key = theirs.user_key
     WHERE c.conversation_id = $2 AND c.member_count <= $3
       AND (NOT c.announcement_only OR mine.role >= 2)
       AND NOT EXISTS (SELECT FROM blocks b
                        WHERE b.user_key = $1 AND b.blocked_key = theirs.user_key)
       AND NOT EXISTS (SELECT FROM blocks b
                        WHERE b.user_key = theirs.user_key AND b.blocked_key = $1)
       AND NOT",
    is_request!("$1", "c.key"),
    "AND NOT",
    is_request!("theirs.user_key", "c.key"),
);

fn users(rows: &[Row]) -> Result<Vec<UserId>, StoreError> {
    let users = rows.iter().map(|row| get_id(row, 0).map(UserId::new));
    let users: Result<_, Failure> = users.collect();
    Ok(users?)
}

/// Writes what a user lets others know; the event that says so is at `seq`.
pub(super) async fn write(
    session: Session<'_>,
    user: &Person,
    (seq, at_ms): (i64, i64),
    said: &Public,
) -> Result<(), Failure> {
    match said {
        Public::Profile(it, photo) => {
            let (name, status) = (it.display_name.as_str(), it.status.as_str());
            let last = uses::profile_photo(session, user).await?;
            session
                .execute(SET_PROFILE, &[&user.key, &seq, &name, &status, photo])
                .await?;
            uses::replace(session, last, *photo, at_ms).await?;
        }
        Public::Discoverable(is) => {
            let sql = if *is { LIST } else { UNLIST };
            session.execute(sql, &[&user.key]).await?;
        }
        Public::Link(Some(secret)) => {
            let hash = link_hash(secret);
            let hash = hash.as_slice();
            session.execute(SET_LINK, &[&user.key, &hash]).await?;
        }
        Public::Link(None) => {
            session.execute(UNSET_LINK, &[&user.key]).await?;
        }
    }
    Ok(())
}

fn profile(row: &Row) -> Result<v1::UserProfile, Failure> {
    Ok(v1::UserProfile {
        user: Some(v1::User {
            user_id: UserId::new(get_id(row, 0)?).to_wire(),
            name: get(row, 1)?,
        }),
        version: get_count(row, 2)?,
        display_name: get(row, 3)?,
        status: get(row, 4)?,
        photo_id: get::<Vec<u8>>(row, 5)?.into(),
    })
}

fn profiles(rows: &[Row]) -> Result<Vec<v1::UserProfile>, StoreError> {
    let profiles: Result<_, Failure> = rows.iter().map(profile).collect();
    Ok(profiles?)
}

#[async_trait]
impl PeopleStore for Postgres {
    async fn profiles(
        &self,
        user: UserId,
        known: &[KnownProfile],
    ) -> Result<Vec<v1::UserProfile>, StoreError> {
        let taken = self.connections.take().await?;
        let session = Session::over(&taken);
        let Some(asker) = rows::user_key(session, user).await? else {
            return Ok(Vec::new());
        };
        let users: Vec<Uuid> = known.iter().map(|it| uuid(it.user.bytes())).collect();
        let versions: Vec<i64> = known.iter().map(|it| signed(it.version)).collect();
        profiles(
            &session
                .rows(FIND_PROFILES, &[&asker, &users, &versions])
                .await?,
        )
    }

    async fn find_users(
        &self,
        user: UserId,
        by: &FindUsers,
    ) -> Result<Vec<v1::UserProfile>, StoreError> {
        let taken = self.connections.take().await?;
        let session = Session::over(&taken);
        let Some(asker) = rows::user_key(session, user).await? else {
            return Ok(Vec::new());
        };
        let found = match by {
            FindUsers::Name(name) => {
                let name = name.as_str();
                session.rows(FIND_BY_NAME, &[&asker, &name]).await?
            }
            FindUsers::Link(link) => {
                let (name, hash) = (link.name.as_str(), link_hash(&link.secret));
                let hash = hash.as_slice();
                session.rows(FIND_BY_LINK, &[&name, &hash]).await?
            }
            FindUsers::Prefix(prefix) => {
                let (from, to) = (prefix.as_str(), prefix.end());
                let count = limit(FOUND_COUNT_MAX);
                session.rows(FIND_BY_PREFIX, &[&from, &to, &count]).await?
            }
        };
        profiles(&found)
    }

    async fn companions(
        &self,
        user: UserId,
        conversation: ConversationId,
        members_max: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        let taken = self.connections.take().await?;
        let session = Session::over(&taken);
        let Some(user) = rows::user_key(session, user).await? else {
            return Ok(Vec::new());
        };
        let (conversation, members_max) = (uuid(conversation.bytes()), limit(members_max));
        users(
            &session
                .rows(FIND_COMPANIONS, &[&user, &conversation, &members_max])
                .await?,
        )
    }

    async fn are_friends(&self, user: UserId, other: UserId) -> Result<bool, StoreError> {
        let taken = self.connections.take().await?;
        Ok(friends::are_friends(Session::over(&taken), user, other).await?)
    }

    async fn friends(&self, user: UserId, count: usize) -> Result<Vec<UserId>, StoreError> {
        let taken = self.connections.take().await?;
        Ok(friends::friends(Session::over(&taken), user, count).await?)
    }

    async fn acquaintances(
        &self,
        user: UserId,
        members_max: usize,
        count: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        let taken = self.connections.take().await?;
        let session = Session::over(&taken);
        let Some(user) = rows::user_key(session, user).await? else {
            return Ok(Vec::new());
        };
        let (members_max, count) = (limit(members_max), limit(count));
        let found = session
            .rows(FIND_ACQUAINTANCES, &[&user, &members_max, &count])
            .await?;
        users(&found)
    }
}
