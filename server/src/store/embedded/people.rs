//! What users say of themselves, and by what they are found.

use async_trait::async_trait;
use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::FOUND_COUNT_MAX,
    profile::FindUsers,
    wire::{KnownProfile, v1},
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Embedded, friends,
    operators::limit,
    privacy::is_request,
    rows::{self, unsigned},
    uses,
};
use crate::store::{
    PeopleStore, StoreError,
    people::link_hash,
    rules::{Person, Public},
};

const SET_PROFILE: &str = "
    INSERT INTO profiles (user, version, display_name, status, photo)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (user) DO UPDATE
       SET version = excluded.version, display_name = excluded.display_name,
           status = excluded.status, photo = excluded.photo";

const FIND_PHOTO: &str = "SELECT photo FROM profiles WHERE user = ?1 AND photo IS NOT NULL";

const LIST: &str = "
    INSERT INTO discoverable (name, user) SELECT name, key FROM users WHERE key = ?1
    ON CONFLICT DO NOTHING";

const UNLIST: &str = "DELETE FROM discoverable WHERE user = ?1";

const SET_LINK: &str = "
    INSERT INTO links (user, hash) VALUES (?1, ?2)
    ON CONFLICT (user) DO UPDATE SET hash = excluded.hash";

const UNSET_LINK: &str = "DELETE FROM links WHERE user = ?1";

/// Whether the user `u` and the one whose key is `?1` are members of one conversation.
macro_rules! shares {
    () => {
        " EXISTS (SELECT 1 FROM members theirs
                    JOIN members mine ON mine.conversation = theirs.conversation
                     AND mine.user = ?1 AND mine.to_position = 9223372036854775807
                   WHERE theirs.user = u.key AND theirs.to_position = 9223372036854775807) "
    };
}

/// Whether the one whose key is `?1` may see what the user `u` says of themself.
macro_rules! may_see {
    () => {
        concat!(
            "(u.key = ?1 OR EXISTS (SELECT 1 FROM discoverable d WHERE d.name = u.name) OR",
            shares!(),
            ")"
        )
    };
}
pub(super) use {may_see, shares};

macro_rules! columns {
    () => {
        " u.user_id, u.name, coalesce(p.version, 0), coalesce(p.display_name, ''),
          coalesce(p.status, ''), coalesce((SELECT media_id FROM media WHERE key = p.photo), x'') "
    };
}

pub(super) const FIND_PROFILE: &str = concat!(
    "SELECT",
    columns!(),
    "FROM users u LEFT JOIN profiles p ON p.user = u.key
      WHERE u.user_id = ?2 AND coalesce(p.version, 0) <> ?3
        AND (u.key = ?1 OR",
    shares!(),
    ")"
);

pub(super) const FIND_BY_NAME: &str = concat!(
    "SELECT",
    columns!(),
    "FROM users u LEFT JOIN profiles p ON p.user = u.key AND ",
    may_see!(),
    " WHERE u.name = ?2 AND u.state <> 2"
);

pub(super) const FIND_BY_LINK: &str = concat!(
    "SELECT",
    columns!(),
    "FROM users u JOIN links l ON l.user = u.key LEFT JOIN profiles p ON p.user = u.key
      WHERE u.name = ?1 AND l.hash = ?2 AND u.state = 0"
);

pub(super) const FIND_BY_PREFIX: &str = concat!(
    "SELECT",
    columns!(),
    "FROM discoverable d JOIN users u ON u.key = d.user LEFT JOIN profiles p ON p.user = u.key
      WHERE d.name >= ?1 AND d.name < ?2 AND u.state = 0
      ORDER BY d.name LIMIT ?3"
);

const FIND_ACQUAINTANCES: &str = "
    SELECT DISTINCT u.user_id
      FROM members mine
      JOIN conversations c ON c.key = mine.conversation AND c.member_count <= ?2
      JOIN members theirs ON theirs.conversation = mine.conversation
       AND theirs.to_position = 9223372036854775807 AND theirs.user <> mine.user
      JOIN users u ON u.key = theirs.user
     WHERE mine.user = ?1 AND mine.to_position = 9223372036854775807
     LIMIT ?3";

pub(super) const FIND_COMPANIONS: &str = concat!(
    "SELECT u.user_id
      FROM conversations c
      JOIN members mine ON mine.conversation = c.key AND mine.user = ?1
       AND mine.to_position = 9223372036854775807
      JOIN members theirs ON theirs.conversation = c.key
       AND theirs.to_position = 9223372036854775807 AND theirs.user <> ?1
      JOIN users u ON u.key = theirs.user
     WHERE c.conversation_id = ?2 AND c.member_count <= ?3
       AND (c.announcement_only = 0 OR mine.role >= 2)
       AND NOT EXISTS (SELECT 1 FROM blocks WHERE user = ?1 AND blocked = theirs.user)
       AND NOT EXISTS (SELECT 1 FROM blocks WHERE user = theirs.user AND blocked = ?1)
       AND NOT",
    is_request!("?1", "c.key"),
    "AND NOT",
    is_request!("theirs.user", "c.key"),
);

/// Writes what a user lets others know; the event that says so is at `seq`.
pub(super) fn write(
    connection: &Connection,
    user: &Person,
    (seq, at_ms): (i64, i64),
    said: &Public,
) -> Result<(), StoreError> {
    match said {
        Public::Profile(it, photo) => {
            let (name, status) = (it.display_name.as_str(), it.status.as_str());
            let last = photo_of(connection, user.key)?;
            let mut set = connection.prepare_cached(SET_PROFILE)?;
            set.execute(params![user.key, seq, name, status, photo])?;
            uses::replace(connection, last, *photo, at_ms)?;
        }
        Public::Discoverable(is) => {
            let sql = if *is { LIST } else { UNLIST };
            connection.prepare_cached(sql)?.execute([user.key])?;
        }
        Public::Link(Some(secret)) => {
            let mut set = connection.prepare_cached(SET_LINK)?;
            set.execute(params![user.key, link_hash(secret)])?;
        }
        Public::Link(None) => {
            connection.prepare_cached(UNSET_LINK)?.execute([user.key])?;
        }
    }
    Ok(())
}

/// Nobody is told anything of a user any more.
pub(super) fn forget(connection: &Connection, user: i64) -> Result<(), StoreError> {
    let photo = photo_of(connection, user)?;
    let sqls = ["DELETE FROM profiles WHERE user = ?1", UNLIST, UNSET_LINK];
    for sql in sqls {
        connection.prepare_cached(sql)?.execute([user])?;
    }
    // At once, whatever the time.
    uses::replace(connection, photo, None, 0)
}

fn photo_of(connection: &Connection, user: i64) -> Result<Option<i64>, StoreError> {
    let mut find = connection.prepare_cached(FIND_PHOTO)?;
    Ok(find.query_row([user], |row| row.get(0)).optional()?)
}

fn profile(row: &Row<'_>) -> rusqlite::Result<v1::UserProfile> {
    Ok(v1::UserProfile {
        user: Some(v1::User {
            user_id: UserId::new(row.get(0)?).to_wire(),
            name: row.get(1)?,
        }),
        version: unsigned(row.get(2)?),
        display_name: row.get(3)?,
        status: row.get(4)?,
        photo_id: row.get::<_, Vec<u8>>(5)?.into(),
    })
}

#[async_trait]
impl PeopleStore for Embedded {
    async fn profiles(
        &self,
        user: UserId,
        known: &[KnownProfile],
    ) -> Result<Vec<v1::UserProfile>, StoreError> {
        let known = known.to_vec();
        self.read(move |connection| {
            let Some(asker) = rows::user_key(connection, user)? else {
                return Ok(Vec::new());
            };
            let mut find = connection.prepare_cached(FIND_PROFILE)?;
            let mut profiles = Vec::new();
            for it in known {
                let params = params![asker, it.user.bytes(), rows::signed(it.version)];
                let found = find.query_map(params, profile)?;
                profiles.extend(found.collect::<Result<Vec<_>, _>>()?);
            }
            Ok(profiles)
        })
        .await
    }

    async fn find_users(
        &self,
        user: UserId,
        by: &FindUsers,
    ) -> Result<Vec<v1::UserProfile>, StoreError> {
        let by = by.clone();
        self.read(move |connection| {
            let Some(asker) = rows::user_key(connection, user)? else {
                return Ok(Vec::new());
            };
            let prepare = |sql| connection.prepare_cached(sql);
            let found: Result<Vec<_>, _> = match &by {
                FindUsers::Name(name) => prepare(FIND_BY_NAME)?
                    .query_map(params![asker, name.as_str()], profile)?
                    .collect(),
                FindUsers::Link(link) => prepare(FIND_BY_LINK)?
                    .query_map(
                        params![link.name.as_str(), link_hash(&link.secret)],
                        profile,
                    )?
                    .collect(),
                FindUsers::Prefix(prefix) => prepare(FIND_BY_PREFIX)?
                    .query_map(
                        params![prefix.as_str(), prefix.end(), limit(FOUND_COUNT_MAX)],
                        profile,
                    )?
                    .collect(),
            };
            Ok(found?)
        })
        .await
    }

    async fn companions(
        &self,
        user: UserId,
        conversation: ConversationId,
        members_max: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        self.read(move |connection| {
            let Some(user) = rows::user_key(connection, user)? else {
                return Ok(Vec::new());
            };
            let mut find = connection.prepare_cached(FIND_COMPANIONS)?;
            let params = params![user, conversation.bytes(), limit(members_max)];
            let found = find.query_map(params, |row| row.get(0).map(UserId::new))?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn are_friends(&self, user: UserId, other: UserId) -> Result<bool, StoreError> {
        self.read(move |connection| friends::are_friends(connection, user, other))
            .await
    }

    async fn friends(&self, user: UserId, count: usize) -> Result<Vec<UserId>, StoreError> {
        self.read(move |connection| friends::friends(connection, user, limit(count)))
            .await
    }

    async fn acquaintances(
        &self,
        user: UserId,
        members_max: usize,
        count: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        self.read(move |connection| {
            let Some(user) = rows::user_key(connection, user)? else {
                return Ok(Vec::new());
            };
            let mut find = connection.prepare_cached(FIND_ACQUAINTANCES)?;
            let found = find.query_map(params![user, limit(members_max), limit(count)], |row| {
                row.get(0).map(UserId::new)
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }
}
