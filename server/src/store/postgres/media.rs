//! Photos and files.
//!
//! Whatever changes what a user has takes the lock of their row first, so that a blob does
//! not go while another upload finds it.

use async_trait::async_trait;
use magpie_protocol::id::{MediaId, UserId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    Postgres,
    people::{may_see, shares},
    rows,
    session::{Failure, Session, get, get_count, get_id, limit, signed, uuid},
    uses::{keep_used, may_have},
};
use crate::store::{
    BeginUpload, MediaStore, NewBlob, NewUpload, Part, StoreError, StoredMedia, Trash, Upload,
    UploadBounds,
};

const LOCK_USER: &str = "SELECT key FROM users WHERE user_id = $1 FOR NO KEY UPDATE";

const LOCK_OWNER: &str = "
    SELECT u.key FROM users u WHERE u.key = (SELECT user_key FROM media WHERE media_id = $1)
       FOR NO KEY UPDATE";

const SIZE_OF_USER: &str = "
    SELECT coalesce(sum(size), 0)::bigint, count(*) FILTER (WHERE blob_key IS NULL)
      FROM media WHERE user_key = $1";

const INSERT: &str = "
    INSERT INTO media (media_id, user_key, size, wanted_sha256, expires_at_ms)
    VALUES ($1, $2, $3, $4, $5)";

const FIND_UPLOAD: &str = "
    SELECT m.size, m.received, m.wanted_sha256, m.blob_key IS NOT NULL, m.expires_at_ms
      FROM media m JOIN users u ON u.key = m.user_key WHERE m.media_id = $1 AND u.user_id = $2";

const GROW: &str = "
    WITH grown AS (
        UPDATE media SET received = received + $3, expires_at_ms = $4
         WHERE media_id = $1 AND received = $2 AND received + $3 <= size AND blob_key IS NULL
        RETURNING key
    )
    INSERT INTO media_parts (media_key, start, size, name)
    SELECT g.key, p.start, p.size, p.name
      FROM grown g, unnest($5::bigint[], $6::bigint[], $7::uuid[]) AS p (start, size, name)";

const FIND_PARTS: &str = "
    SELECT p.start, p.size, p.name FROM media m JOIN media_parts p ON p.media_key = m.key
     WHERE m.media_id = $1 ORDER BY p.start";

const FIND_WHOLE: &str = "
    SELECT key, user_key, size FROM media
     WHERE media_id = $1 AND received = size AND blob_key IS NULL FOR UPDATE";

const FIND_BLOB: &str = "SELECT key FROM blobs WHERE user_key = $1 AND sha256 = $2";

const KEEP: &str = "DELETE FROM media_trash WHERE kind = 1 AND name = $1 AND NOT is_going";

const INSERT_BLOB: &str = "
    INSERT INTO blobs (name, user_key, sha256, size, content_type) VALUES ($1, $2, $3, $4, $5)
    RETURNING key";

const STORE: &str = "UPDATE media SET blob_key = $2, expires_at_ms = $3 WHERE key = $1";

const DELETE_PARTS: &str = "DELETE FROM media_parts WHERE media_key = $1";

const FIND_REMOVABLE: &str = "
    SELECT m.key, m.blob_key FROM media m JOIN users u ON u.key = m.user_key
     WHERE m.media_id = $1 AND u.user_id = $2 AND m.expires_at_ms IS NOT NULL FOR UPDATE OF m";

const FIND_EXPIRED: &str = "
    SELECT media_id FROM media WHERE expires_at_ms <= $1 ORDER BY expires_at_ms LIMIT $2";

const FIND_STILL_EXPIRED: &str = "
    SELECT key, blob_key FROM media WHERE media_id = $1 AND expires_at_ms <= $2 FOR UPDATE";

const DELETE: &str = "DELETE FROM media WHERE key = $1";

const DELETE_BLOB: &str = "
    DELETE FROM blobs WHERE key = $1 AND NOT EXISTS (SELECT FROM media WHERE blob_key = $1)
    RETURNING name";

const FIND_STORED: &str = "
    SELECT m.media_id, b.name, b.size, b.sha256, b.content_type
      FROM media m JOIN blobs b ON b.key = m.blob_key WHERE m.media_id = $1";

/// Those that are for this user.
pub(super) const FIND_FOR_USER: &str = concat!(
    "SELECT m.media_id, b.name, b.size, b.sha256, b.content_type
       FROM media m JOIN blobs b ON b.key = m.blob_key
      WHERE m.media_id = ANY ($2::uuid[]) AND ",
    may_have!()
);

const ADD_TRASH: &str = "
    INSERT INTO media_trash (kind, name, due_at_ms) VALUES ($1, $2, $3)
    ON CONFLICT (kind, name) DO UPDATE SET due_at_ms = excluded.due_at_ms";

/// Takes what is due; others take others, or the same once more if this ends.
const TAKE_TRASH: &str = "
    WITH due AS MATERIALIZED (
        SELECT kind, name FROM media_trash WHERE due_at_ms <= $1
         ORDER BY due_at_ms LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    UPDATE media_trash t SET is_going = true FROM due
     WHERE t.kind = due.kind AND t.name = due.name
    RETURNING t.kind, t.name";

const DELETE_TRASH: &str = "
    DELETE FROM media_trash t USING unnest($1::smallint[], $2::uuid[]) AS gone (kind, name)
     WHERE t.kind = gone.kind AND t.name = gone.name";

fn stored(row: &Row) -> Result<StoredMedia, Failure> {
    Ok(StoredMedia {
        id: MediaId::new(get_id(row, 0)?),
        blob: get_id(row, 1)?,
        size: get_count(row, 2)?,
        sha256: sha256(get(row, 3)?)?,
        content_type: get(row, 4)?,
    })
}

pub(super) fn sha256(bytes: &[u8]) -> Result<[u8; 32], Failure> {
    let exact = bytes.try_into();
    exact.map_err(|_| Failure::corrupt("a SHA-256 of another size"))
}

async fn add_trash(session: Session<'_>, trash: Trash, due_at_ms: i64) -> Result<(), Failure> {
    let (kind, name) = (trash.number(), uuid(trash.name()));
    session
        .execute(ADD_TRASH, &[&kind, &name, &due_at_ms])
        .await?;
    Ok(())
}

/// Removes media that were found under the lock of their owner.
async fn remove(
    session: Session<'_>,
    id: MediaId,
    found: &Row,
    trash_at_ms: i64,
) -> Result<(), Failure> {
    let (key, blob): (i64, Option<i64>) = (get(found, 0)?, get(found, 1)?);
    session.execute(DELETE_PARTS, &[&key]).await?;
    session.execute(DELETE, &[&key]).await?;
    let Some(blob) = blob else {
        return add_trash(session, Trash::Parts(id), trash_at_ms).await;
    };
    if let Some(gone) = session.first(DELETE_BLOB, &[&blob]).await? {
        let trash = Trash::Blob(get_id(&gone, 0)?);
        add_trash(session, trash, trash_at_ms).await?;
    }
    Ok(())
}

/// The same, unless something refers to it after all.
async fn remove_unused(
    session: Session<'_>,
    id: MediaId,
    found: Option<&Row>,
    trash_at_ms: i64,
) -> Result<bool, Failure> {
    let Some(found) = found else { return Ok(false) };
    if keep_used(session, get(found, 0)?).await? {
        return Ok(false);
    }
    remove(session, id, found, trash_at_ms).await?;
    Ok(true)
}

async fn begin(
    session: Session<'_>,
    upload: &NewUpload,
    bounds: UploadBounds,
) -> Result<BeginUpload, Failure> {
    let user = session
        .one(LOCK_USER, &[&uuid(upload.user.bytes())])
        .await?;
    let user: i64 = get(&user, 0)?;
    let has = session.one(SIZE_OF_USER, &[&user]).await?;
    if get_count(&has, 0)?.saturating_add(upload.size) > bounds.size_max {
        return Ok(BeginUpload::TooLarge);
    }
    if get_count(&has, 1)? >= bounds.unfinished_max {
        return Ok(BeginUpload::TooMany);
    }
    let (id, size) = (uuid(upload.id.bytes()), signed(upload.size));
    let wanted = upload.sha256.as_ref().map(<[u8; 32]>::as_slice);
    session
        .execute(INSERT, &[&id, &user, &size, &wanted, &upload.expires_at_ms])
        .await?;
    Ok(BeginUpload::Done)
}

async fn finish(
    session: Session<'_>,
    id: MediaId,
    blob: &NewBlob,
    (expires_at_ms, trash_at_ms): (i64, i64),
) -> Result<bool, Failure> {
    let media = uuid(id.bytes());
    session.first(LOCK_OWNER, &[&media]).await?;
    let Some(whole) = session.first(FIND_WHOLE, &[&media]).await? else {
        return Ok(false);
    };
    let (key, user, size): (i64, i64, i64) = (get(&whole, 0)?, get(&whole, 1)?, get(&whole, 2)?);
    let sha256 = blob.sha256.as_slice();
    let same = session.first(FIND_BLOB, &[&user, &sha256]).await?;
    let blob_key: i64 = match same {
        Some(same) => get(&same, 0)?,
        None => {
            let name = uuid(blob.name);
            if session.execute(KEEP, &[&name]).await? == 0 {
                let reason = "a blob was made for so long that it was taken for trash";
                return Err(Failure::Unavailable(reason.to_owned()));
            }
            let made = session
                .one(
                    INSERT_BLOB,
                    &[&name, &user, &sha256, &size, &blob.content_type],
                )
                .await?;
            get(&made, 0)?
        }
    };
    session
        .execute(STORE, &[&key, &blob_key, &expires_at_ms])
        .await?;
    session.execute(DELETE_PARTS, &[&key]).await?;
    add_trash(session, Trash::Parts(id), trash_at_ms).await?;
    Ok(true)
}

impl Postgres {
    /// Removes media that have expired still.
    async fn expire_one(
        &self,
        id: MediaId,
        now_ms: i64,
        trash_at_ms: i64,
    ) -> Result<bool, Failure> {
        let mut taken = self.connections.take().await?;
        let transaction = taken.transaction().await?;
        let session = Session::of(&transaction);
        let media = uuid(id.bytes());
        session.first(LOCK_OWNER, &[&media]).await?;
        let found = session
            .first(FIND_STILL_EXPIRED, &[&media, &now_ms])
            .await?;
        let is_gone = remove_unused(session, id, found.as_ref(), trash_at_ms).await?;
        transaction.commit().await?;
        Ok(is_gone)
    }

    async fn try_begin(
        &self,
        upload: &NewUpload,
        bounds: UploadBounds,
    ) -> Result<BeginUpload, Failure> {
        let mut taken = self.connections.take().await?;
        let transaction = taken.transaction().await?;
        let begun = begin(Session::of(&transaction), upload, bounds).await?;
        transaction.commit().await?;
        Ok(begun)
    }

    async fn try_finish(
        &self,
        id: MediaId,
        blob: &NewBlob,
        times: (i64, i64),
    ) -> Result<bool, Failure> {
        let mut taken = self.connections.take().await?;
        let transaction = taken.transaction().await?;
        let finished = finish(Session::of(&transaction), id, blob, times).await?;
        transaction.commit().await?;
        Ok(finished)
    }

    async fn try_remove(
        &self,
        user: UserId,
        id: MediaId,
        trash_at_ms: i64,
    ) -> Result<bool, Failure> {
        let mut taken = self.connections.take().await?;
        let transaction = taken.transaction().await?;
        let session = Session::of(&transaction);
        let user = uuid(user.bytes());
        session.first(LOCK_USER, &[&user]).await?;
        let found = session
            .first(FIND_REMOVABLE, &[&uuid(id.bytes()), &user])
            .await?;
        let is_gone = remove_unused(session, id, found.as_ref(), trash_at_ms).await?;
        transaction.commit().await?;
        Ok(is_gone)
    }
}

#[async_trait]
impl MediaStore for Postgres {
    async fn begin_upload(
        &self,
        upload: &NewUpload,
        bounds: UploadBounds,
    ) -> Result<BeginUpload, StoreError> {
        Ok(self.try_begin(upload, bounds).await?)
    }

    async fn upload(&self, user: UserId, id: MediaId) -> Result<Option<Upload>, StoreError> {
        let taken = self.connections.take().await?;
        let (id, user) = (uuid(id.bytes()), uuid(user.bytes()));
        let found = Session::over(&taken)
            .first(FIND_UPLOAD, &[&id, &user])
            .await?;
        let Some(row) = found else {
            return Ok(None);
        };
        let wanted: Option<&[u8]> = get(&row, 2)?;
        Ok(Some(Upload {
            size: get_count(&row, 0)?,
            received: get_count(&row, 1)?,
            sha256: wanted.map(sha256).transpose()?,
            is_stored: get(&row, 3)?,
            expires_at_ms: get(&row, 4)?,
        }))
    }

    async fn add_parts(
        &self,
        id: MediaId,
        parts: &[Part],
        expires_at_ms: i64,
    ) -> Result<bool, StoreError> {
        let Some(first) = parts.first() else {
            return Ok(true);
        };
        let taken = self.connections.take().await?;
        let starts: Vec<i64> = parts.iter().map(|part| signed(part.start)).collect();
        let sizes: Vec<i64> = parts.iter().map(|part| signed(part.size)).collect();
        let names: Vec<Uuid> = parts.iter().map(|part| uuid(part.name)).collect();
        let size: i64 = sizes.iter().sum();
        let (id, start) = (uuid(id.bytes()), signed(first.start));
        let added = Session::over(&taken)
            .execute(
                GROW,
                &[&id, &start, &size, &expires_at_ms, &starts, &sizes, &names],
            )
            .await?;
        Ok(added > 0)
    }

    async fn parts(&self, id: MediaId) -> Result<Vec<Part>, StoreError> {
        let taken = self.connections.take().await?;
        let found = Session::over(&taken)
            .rows(FIND_PARTS, &[&uuid(id.bytes())])
            .await?;
        let part = |row: &Row| -> Result<_, Failure> {
            Ok(Part {
                start: get_count(row, 0)?,
                size: get_count(row, 1)?,
                name: get_id(row, 2)?,
            })
        };
        let parts: Result<_, Failure> = found.iter().map(part).collect();
        Ok(parts?)
    }

    async fn finish_upload(
        &self,
        id: MediaId,
        blob: &NewBlob,
        expires_at_ms: i64,
        trash_at_ms: i64,
    ) -> Result<bool, StoreError> {
        Ok(self
            .try_finish(id, blob, (expires_at_ms, trash_at_ms))
            .await?)
    }

    async fn remove_media(
        &self,
        user: UserId,
        id: MediaId,
        trash_at_ms: i64,
    ) -> Result<bool, StoreError> {
        Ok(self.try_remove(user, id, trash_at_ms).await?)
    }

    async fn media_for(
        &self,
        user: UserId,
        ids: &[MediaId],
    ) -> Result<Vec<StoredMedia>, StoreError> {
        let taken = self.connections.take().await?;
        let session = Session::over(&taken);
        let Some(user) = rows::user_key(session, user).await? else {
            return Ok(Vec::new());
        };
        let ids: Vec<Uuid> = ids.iter().map(|id| uuid(id.bytes())).collect();
        let found = session.rows(FIND_FOR_USER, &[&user, &ids]).await?;
        let media: Result<_, Failure> = found.iter().map(stored).collect();
        Ok(media?)
    }

    async fn stored_media(&self, id: MediaId) -> Result<Option<StoredMedia>, StoreError> {
        let taken = self.connections.take().await?;
        let found = Session::over(&taken)
            .first(FIND_STORED, &[&uuid(id.bytes())])
            .await?;
        Ok(found.as_ref().map(stored).transpose()?)
    }

    async fn plan_blob(&self, name: [u8; 16], trash_at_ms: i64) -> Result<(), StoreError> {
        let taken = self.connections.take().await?;
        Ok(add_trash(Session::over(&taken), Trash::Blob(name), trash_at_ms).await?)
    }

    async fn expire_media(
        &self,
        now_ms: i64,
        trash_at_ms: i64,
        count: usize,
    ) -> Result<u64, StoreError> {
        let expired = {
            let taken = self.connections.take().await?;
            Session::over(&taken)
                .rows(FIND_EXPIRED, &[&now_ms, &limit(count)])
                .await?
        };
        let mut gone = 0;
        // Each under the lock of its owner alone: nobody waits in a circle.
        for row in &expired {
            let id = MediaId::new(get_id(row, 0)?);
            gone += u64::from(self.expire_one(id, now_ms, trash_at_ms).await?);
        }
        Ok(gone)
    }

    async fn trash(&self, now_ms: i64, count: usize) -> Result<Vec<Trash>, StoreError> {
        let taken = self.connections.take().await?;
        let found = Session::over(&taken)
            .rows(TAKE_TRASH, &[&now_ms, &limit(count)])
            .await?;
        let mut trash = Vec::with_capacity(found.len());
        for row in &found {
            trash.push(Trash::stored(get::<i16>(row, 0)?.into(), get_id(row, 1)?)?);
        }
        Ok(trash)
    }

    async fn emptied(&self, trash: &[Trash]) -> Result<(), StoreError> {
        let taken = self.connections.take().await?;
        let kinds: Vec<i16> = trash.iter().map(|it| it.number()).collect();
        let names: Vec<Uuid> = trash.iter().map(|it| uuid(it.name())).collect();
        Session::over(&taken)
            .execute(DELETE_TRASH, &[&kinds, &names])
            .await?;
        Ok(())
    }
}
