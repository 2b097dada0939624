//! What others say of themselves, as far as this device was told.
//!
//! A cache: whatever is not here, or older than the server's, is asked for again.

use magpie_protocol::{
    id::{MediaId, UserId},
    limits::PROFILES_COUNT_MAX,
    wire::{KnownProfile, v1},
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{Database, account, settings, user_at};
use crate::{
    error::LocalError,
    model::{Called, Profile, User},
};

/// The version of a profile of another history, and of one that was never told: no
/// server says that it has it.
const NONE: i64 = -1;

/// Whose profiles to ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wanted {
    /// Of those who were never asked for.
    Unknown,
    /// Of those behind this one, in the order of their ids; of the first ones.
    Behind(Option<UserId>),
}

/// Of at most so many as one request takes.
pub(super) fn wanted(
    connection: &Connection,
    wanted: Wanted,
) -> Result<Vec<KnownProfile>, LocalError> {
    let known = |row: &Row<'_>| {
        let version: i64 = row.get(1)?;
        Ok(KnownProfile {
            user: user_at(row, 0)?,
            version: version.cast_unsigned(),
        })
    };
    let count = i64::try_from(PROFILES_COUNT_MAX).unwrap_or(i64::MAX);
    let found: Result<Vec<_>, _> = match wanted {
        Wanted::Unknown => connection
            .prepare_cached(
                "SELECT DISTINCT m.user_id, -1 FROM members m
                  WHERE NOT EXISTS (SELECT 1 FROM profiles p WHERE p.user_id = m.user_id)
                    AND m.user_id <> (SELECT user_id FROM account)
                  LIMIT ?1",
            )?
            .query_map([count], known)?
            .collect(),
        Wanted::Behind(place) => connection
            .prepare_cached(
                "SELECT DISTINCT m.user_id, coalesce(p.version, -1)
                   FROM members m LEFT JOIN profiles p ON p.user_id = m.user_id
                  WHERE m.user_id > ?1 AND m.user_id <> (SELECT user_id FROM account)
                  ORDER BY m.user_id LIMIT ?2",
            )?
            .query_map(
                params![place.map_or_else(Vec::new, |id| id.bytes().to_vec()), count],
                known,
            )?
            .collect(),
    };
    Ok(found?)
}

/// Stores what was answered when these were asked for. Returns whose profile is another
/// one now.
pub(super) fn take(
    transaction: &Transaction<'_>,
    asked: &[UserId],
    found: Vec<v1::UserProfile>,
) -> Result<Vec<UserId>, LocalError> {
    let mut changed = Vec::new();
    for it in found {
        let user = it.user.unwrap_or_default();
        let Ok(user) = UserId::try_from(user.user_id.as_ref()) else {
            continue;
        };
        transaction
            .prepare_cached(
                "INSERT INTO profiles (user_id, version, display_name, status, photo_id)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE
                    SET version = ?2, display_name = ?3, status = ?4, photo_id = ?5",
            )?
            .execute(params![
                user.bytes(),
                it.version.cast_signed(),
                it.display_name,
                it.status,
                it.photo_id.as_ref()
            ])?;
        changed.push(user);
    }
    // Not to be asked for again and again.
    let mut note = transaction.prepare_cached(
        "INSERT INTO profiles (user_id, version) VALUES (?1, 0) ON CONFLICT DO NOTHING",
    )?;
    for user in asked {
        note.execute([user.bytes()])?;
    }
    Ok(changed)
}

/// Another history counts its versions anew.
pub(super) fn distrust(transaction: &Transaction<'_>) -> Result<(), LocalError> {
    transaction.execute("UPDATE profiles SET version = ?1", [NONE])?;
    Ok(())
}

/// What another user says of themself; nothing if that is not known.
pub(super) fn profile(connection: &Connection, user: UserId) -> Result<Profile, LocalError> {
    let found = connection
        .prepare_cached("SELECT display_name, status, photo_id FROM profiles WHERE user_id = ?1")?
        .query_row([user.bytes()], |row| {
            let photo: Vec<u8> = row.get(2)?;
            Ok(Profile {
                display_name: row.get(0)?,
                status: row.get(1)?,
                photo: MediaId::try_from(photo.as_slice()).ok(),
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// How a user, this one too, is called besides the user name.
pub(super) fn called(connection: &Connection, user: UserId) -> Result<Called, LocalError> {
    let mut display_name = profile(connection, user)?.display_name;
    if display_name.is_empty() && account::me(connection).is_ok_and(|me| me.user == user) {
        let own = settings::own_profile(connection)?;
        display_name = own.display_name.as_str().to_owned();
    }
    Ok(Called {
        nickname: settings::nickname(connection, user)?,
        display_name,
    })
}

impl Database {
    /// A user who is known here, and what they say of themself.
    pub(crate) fn profile(&self, user: UserId) -> Result<Option<(User, Profile)>, LocalError> {
        let name = self
            .connection
            .prepare_cached("SELECT name FROM members WHERE user_id = ?1 LIMIT 1")?
            .query_row([user.bytes()], |row| row.get(0))
            .optional()?;
        let Some(name) = name else { return Ok(None) };
        let profile = profile(&self.connection, user)?;
        Ok(Some((User { id: user, name }, profile)))
    }
}
