//! Which messages, users and groups refer to which photos and files.

use magpie_protocol::media::MediaReference;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    log::Log,
    people::{may_see, shares},
    rows::unsigned,
};
use crate::store::{
    StoreError,
    rules::{Attached, Person},
};

/// Whether media `m` are for the user `?1`: their own, out of a message that they may read,
/// the photo of somebody of whom they may see what they say of themself, or of a group
/// of which they are a member.
macro_rules! may_have {
    () => {
        concat!(
            "(m.user = ?1 OR EXISTS (
                 SELECT 1 FROM media_uses x
                   JOIN members k ON k.user = ?1 AND k.conversation = x.conversation
                                 AND x.seq BETWEEN k.history_seq AND k.to_seq
                  WHERE x.media = m.key)
              OR EXISTS (
                 SELECT 1 FROM profiles p JOIN users u ON u.key = p.user
                  WHERE p.photo = m.key AND ",
            may_see!(),
            ")
              OR EXISTS (
                 SELECT 1 FROM conversations c
                   JOIN members k ON k.user = ?1 AND k.conversation = c.key
                                 AND k.to_position = 9223372036854775807
                  WHERE c.photo = m.key))"
        )
    };
}
pub(super) use may_have;

pub(super) const FIND_ATTACHED: &str = concat!(
    "SELECT m.key, b.size, b.sha256 FROM media m JOIN blobs b ON b.key = m.blob
      WHERE m.media_id = ?2 AND ",
    may_have!()
);

const ADD: &str = "INSERT INTO media_uses (media, conversation, seq) VALUES (?1, ?2, ?3)";

const KEEP: &str = "UPDATE media SET expires_at_ms = NULL WHERE key = ?1";

const FIND_USED: &str = "SELECT media FROM media_uses WHERE conversation = ?1 AND seq = ?2";

const FORGET: &str = "DELETE FROM media_uses WHERE conversation = ?1 AND seq = ?2";

/// Unless something refers to it still.
const EXPIRE: &str = "
    UPDATE media SET expires_at_ms = ?2
     WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM media_uses WHERE media = ?1)
       AND NOT EXISTS (SELECT 1 FROM profiles WHERE photo = ?1)
       AND NOT EXISTS (SELECT 1 FROM conversations WHERE photo = ?1)";

const FIND_GROUP_PHOTO: &str = "SELECT photo FROM conversations WHERE key = ?1";

impl Log<'_> {
    /// What of that which is referred to the sender may have.
    pub(super) fn attached(
        &self,
        sender: &Person,
        references: &[MediaReference],
    ) -> Result<Vec<Attached>, StoreError> {
        let mut found = Vec::new();
        for MediaReference { id, .. } in references {
            let mut statement = self.connection.prepare_cached(FIND_ATTACHED)?;
            let one = statement.query_row(params![sender.key, id.bytes()], |row| {
                Ok(Attached {
                    key: row.get(0)?,
                    id: *id,
                    size: unsigned(row.get(1)?),
                    sha256: row.get(2)?,
                })
            });
            found.extend(one.optional()?);
        }
        Ok(found)
    }
}

/// A message refers to these.
pub(super) fn add(
    connection: &Connection,
    (conversation, seq): (i64, i64),
    media: &[i64],
) -> Result<(), StoreError> {
    let mut add = connection.prepare_cached(ADD)?;
    let mut keep = connection.prepare_cached(KEEP)?;
    for key in media {
        add.execute([*key, conversation, seq])?;
        keep.execute([*key])?;
    }
    Ok(())
}

/// A message was deleted: what nothing else refers to goes.
pub(super) fn forget(
    connection: &Connection,
    (conversation, seq): (i64, i64),
    at_ms: i64,
) -> Result<(), StoreError> {
    let mut find = connection.prepare_cached(FIND_USED)?;
    let used = find.query_map([conversation, seq], |row| row.get(0))?;
    let used: Vec<i64> = used.collect::<Result<_, _>>()?;
    connection
        .prepare_cached(FORGET)?
        .execute([conversation, seq])?;
    let mut expire = connection.prepare_cached(EXPIRE)?;
    for key in used {
        expire.execute([key, at_ms])?;
    }
    Ok(())
}

/// The photo of a group, by its key.
pub(super) fn group_photo(connection: &Connection, group: i64) -> Result<Option<i64>, StoreError> {
    let mut find = connection.prepare_cached(FIND_GROUP_PHOTO)?;
    Ok(find.query_row([group], |row| row.get(0))?)
}

/// The photo of somebody, or of a group, is another one now, or none.
pub(super) fn replace(
    connection: &Connection,
    last: Option<i64>,
    photo: Option<i64>,
    at_ms: i64,
) -> Result<(), StoreError> {
    if let Some(key) = photo {
        connection.prepare_cached(KEEP)?.execute([key])?;
    }
    if let Some(key) = last.filter(|_| last != photo) {
        connection.prepare_cached(EXPIRE)?.execute([key, at_ms])?;
    }
    Ok(())
}
