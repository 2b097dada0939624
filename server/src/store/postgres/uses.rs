//! Which messages, users and groups refer to which photos and files.
//!
//! Two shards may refer to the same: whoever adds or forgets takes the locks
//! of the media first, in the order of their keys. What expires is looked at once more
//! before it goes.

use magpie_protocol::{id::MediaId, media::MediaReference};
use uuid::Uuid;

use super::{
    log::Log,
    media::sha256,
    people::{may_see, shares},
    session::{Failure, Session, get, get_count, get_id, uuid},
};
use crate::store::rules::{Attached, Person};

/// Whether media `m` are for the user `$1`: their own, out of a message that they may read,
/// the photo of somebody of whom they may see what they say of themself, or of a group
/// of which they are a member.
macro_rules! may_have {
    () => {
        concat!(
            "(m.user_key = $1 OR EXISTS (
                 SELECT FROM media_uses x
                   JOIN members k ON k.user_key = $1 AND k.conversation_key = x.conversation_key
                                 AND x.seq BETWEEN k.history_seq AND k.to_seq
                  WHERE x.media_key = m.key)
              OR EXISTS (
                 SELECT FROM profiles p JOIN users u ON u.key = p.user_key
                  WHERE p.photo_key = m.key AND ",
            may_see!(),
            ")
              OR EXISTS (
                 SELECT FROM conversations c
                   JOIN members k ON k.user_key = $1 AND k.conversation_key = c.key
                                 AND k.to_position = 9223372036854775807
                  WHERE c.photo_key = m.key))"
        )
    };
}
pub(super) use may_have;

/// Nobody removes what is found.
pub(super) const FIND_ATTACHED: &str = concat!(
    "SELECT m.key, m.media_id, b.size, b.sha256
       FROM media m JOIN blobs b ON b.key = m.blob_key
      WHERE m.media_id = ANY ($2::uuid[]) AND ",
    may_have!(),
    " ORDER BY m.key FOR NO KEY UPDATE OF m"
);

const LOCK: &str = "
    SELECT key FROM media WHERE media_id = ANY ($1::uuid[]) OR key = $2
     ORDER BY key FOR NO KEY UPDATE";

const FIND_PROFILE_PHOTO: &str = "SELECT photo_key FROM profiles WHERE user_key = $1";

const FIND_GROUP_PHOTO: &str = "SELECT photo_key FROM conversations WHERE key = $1";

const ADD: &str = "
    INSERT INTO media_uses (media_key, conversation_key, seq)
    SELECT key, $2, $3 FROM unnest($1::bigint[]) AS added (key)";

const KEEP: &str = "UPDATE media SET expires_at_ms = NULL WHERE key = ANY ($1::bigint[])";

const LOCK_USED: &str = "
    SELECT m.key FROM media m
     WHERE m.key IN (SELECT media_key FROM media_uses WHERE conversation_key = $1 AND seq = $2)
     ORDER BY m.key FOR NO KEY UPDATE";

const FORGET: &str = "DELETE FROM media_uses WHERE conversation_key = $1 AND seq = $2";

/// Whether something refers to the media `m`.
macro_rules! used {
    () => {
        "(EXISTS (SELECT FROM media_uses x WHERE x.media_key = m.key)
          OR EXISTS (SELECT FROM profiles p WHERE p.photo_key = m.key)
          OR EXISTS (SELECT FROM conversations c WHERE c.photo_key = m.key))"
    };
}

pub(super) const EXPIRE: &str = concat!(
    "UPDATE media m SET expires_at_ms = $2 WHERE m.key = ANY ($1::bigint[]) AND NOT ",
    used!()
);

pub(super) const KEEP_USED: &str = concat!(
    "UPDATE media m SET expires_at_ms = NULL WHERE m.key = $1 AND ",
    used!()
);

impl Log<'_> {
    /// What of that which is referred to the sender may have.
    pub(super) async fn attached(
        &self,
        sender: &Person,
        references: &[MediaReference],
    ) -> Result<Vec<Attached>, Failure> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        let ids = ids(references);
        let found = self
            .session
            .rows(FIND_ATTACHED, &[&sender.key, &ids])
            .await?;
        let mut attached = Vec::with_capacity(found.len());
        for row in &found {
            attached.push(Attached {
                key: get(row, 0)?,
                id: MediaId::new(get_id(row, 1)?),
                size: get_count(row, 2)?,
                sha256: sha256(get(row, 3)?)?,
            });
        }
        Ok(attached)
    }
}

/// A message refers to these, whose locks are taken.
pub(super) async fn add(
    session: Session<'_>,
    (conversation, seq): (i64, i64),
    media: &[i64],
) -> Result<(), Failure> {
    session.execute(ADD, &[&media, &conversation, &seq]).await?;
    session.execute(KEEP, &[&media]).await?;
    Ok(())
}

/// A message was deleted: what nothing else refers to goes.
pub(super) async fn forget(
    session: Session<'_>,
    (conversation, seq): (i64, i64),
    at_ms: i64,
) -> Result<(), Failure> {
    let used = session.rows(LOCK_USED, &[&conversation, &seq]).await?;
    let used: Result<Vec<i64>, Failure> = used.iter().map(|row| get(row, 0)).collect();
    let used = used?;
    if used.is_empty() {
        return Ok(());
    }
    session.execute(FORGET, &[&conversation, &seq]).await?;
    session.execute(EXPIRE, &[&used, &at_ms]).await?;
    Ok(())
}

/// Keeps it after all, if something refers to it. Whether something does.
pub(super) async fn keep_used(session: Session<'_>, key: i64) -> Result<bool, Failure> {
    Ok(session.execute(KEEP_USED, &[&key]).await? > 0)
}

/// The photo that a user shows, by its key.
pub(super) async fn profile_photo(
    session: Session<'_>,
    user: &Person,
) -> Result<Option<i64>, Failure> {
    let found = session.first(FIND_PROFILE_PHOTO, &[&user.key]).await?;
    Ok(match found {
        Some(row) => get(&row, 0)?,
        None => None,
    })
}

/// The photo of a group, by its key.
pub(super) async fn group_photo(session: Session<'_>, group: i64) -> Result<Option<i64>, Failure> {
    let found = session.one(FIND_GROUP_PHOTO, &[&group]).await?;
    get(&found, 0)
}

/// Takes the locks of these, and of what they replace.
pub(super) async fn lock(
    session: Session<'_>,
    references: &[MediaReference],
    last: Option<i64>,
) -> Result<(), Failure> {
    session.rows(LOCK, &[&ids(references), &last]).await?;
    Ok(())
}

/// The photo of somebody, or of a group, is another one now, or none. The locks of both are taken.
pub(super) async fn replace(
    session: Session<'_>,
    last: Option<i64>,
    photo: Option<i64>,
    at_ms: i64,
) -> Result<(), Failure> {
    if let Some(key) = photo {
        session.execute(KEEP, &[&[key].as_slice()]).await?;
    }
    if let Some(key) = last.filter(|_| last != photo) {
        session
            .execute(EXPIRE, &[&[key].as_slice(), &at_ms])
            .await?;
    }
    Ok(())
}

fn ids(references: &[MediaReference]) -> Vec<Uuid> {
    references.iter().map(|it| uuid(it.id.bytes())).collect()
}
