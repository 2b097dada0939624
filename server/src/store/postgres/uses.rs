//! Which messages refer to which photos and files.
//!
//! Messages of two shards may refer to the same: whoever adds or forgets takes the locks
//! of the media first, in the order of their keys. What expires is looked at once more
//! before it goes.

use magpie_protocol::{id::MediaId, message::NewMessage};
use uuid::Uuid;

use super::{
    log::Log,
    media::sha256,
    session::{Failure, Session, get, get_count, get_id, uuid},
};
use crate::store::rules::{Attached, Person};

/// Whether media `m` are for a user: their own, or out of a message that they may read.
macro_rules! may_have {
    ($user:literal) => {
        concat!(
            "(m.user_key = ",
            $user,
            " OR EXISTS (
                 SELECT FROM media_uses x
                   JOIN members k ON k.user_key = ",
            $user,
            "               AND k.conversation_key = x.conversation_key
                            AND x.seq BETWEEN k.from_seq AND k.to_seq
                  WHERE x.media_key = m.key))"
        )
    };
}
pub(super) use may_have;

/// Nobody removes what is found.
const FIND_ATTACHED: &str = concat!(
    "SELECT m.key, m.media_id, b.size, b.sha256
       FROM media m JOIN blobs b ON b.key = m.blob_key
      WHERE m.media_id = ANY ($2::uuid[]) AND ",
    may_have!("$1"),
    " ORDER BY m.key FOR NO KEY UPDATE OF m"
);

const ADD: &str = "
    INSERT INTO media_uses (media_key, conversation_key, seq)
    SELECT key, $2, $3 FROM unnest($1::bigint[]) AS added (key)";

const KEEP: &str = "UPDATE media SET expires_at_ms = NULL WHERE key = ANY ($1::bigint[])";

const LOCK_USED: &str = "
    SELECT m.key FROM media m
     WHERE m.key IN (SELECT media_key FROM media_uses WHERE conversation_key = $1 AND seq = $2)
     ORDER BY m.key FOR NO KEY UPDATE";

const FORGET: &str = "DELETE FROM media_uses WHERE conversation_key = $1 AND seq = $2";

const EXPIRE: &str = "
    UPDATE media m SET expires_at_ms = $2
     WHERE m.key = ANY ($1::bigint[])
       AND NOT EXISTS (SELECT FROM media_uses x WHERE x.media_key = m.key)";

const IS_USED: &str = "SELECT EXISTS (SELECT FROM media_uses WHERE media_key = $1)";

impl Log<'_> {
    /// What of a message's photos and files the sender may have.
    pub(super) async fn attached(
        &self,
        sender: &Person,
        message: &NewMessage,
    ) -> Result<Vec<Attached>, Failure> {
        let references = message.media();
        if references.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Uuid> = references.iter().map(|it| uuid(it.id.bytes())).collect();
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

/// Whether a message refers to it.
pub(super) async fn is_used(session: Session<'_>, key: i64) -> Result<bool, Failure> {
    let row = session.one(IS_USED, &[&key]).await?;
    get(&row, 0)
}
