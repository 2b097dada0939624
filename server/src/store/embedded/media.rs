//! Photos and files.

use async_trait::async_trait;
use magpie_protocol::id::{MediaId, UserId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Embedded,
    operators::limit,
    people::{may_see, shares},
    rows::{signed, unsigned, user_key},
    uses::may_have,
};
use crate::store::{
    BeginUpload, MediaStore, NewBlob, NewUpload, Part, StoreError, StoredMedia, Trash, Upload,
    UploadBounds,
};

const SIZE_OF_USER: &str = "
    SELECT coalesce(sum(size), 0), count(*) FILTER (WHERE blob IS NULL) FROM media WHERE user = ?1";

const INSERT: &str = "
    INSERT INTO media (media_id, user, size, wanted_sha256, expires_at_ms)
    VALUES (?1, ?2, ?3, ?4, ?5)";

const FIND_UPLOAD: &str = "
    SELECT m.size, m.received, m.wanted_sha256, m.blob IS NOT NULL, m.expires_at_ms
      FROM media m JOIN users u ON u.key = m.user WHERE m.media_id = ?1 AND u.user_id = ?2";

const GROW: &str = "
    UPDATE media SET received = received + ?3, expires_at_ms = ?4
     WHERE media_id = ?1 AND received = ?2 AND received + ?3 <= size AND blob IS NULL
    RETURNING key";

const INSERT_PART: &str = "
    INSERT INTO media_parts (media, start, size, name) VALUES (?1, ?2, ?3, ?4)";

const FIND_PARTS: &str = "
    SELECT p.start, p.size, p.name FROM media m JOIN media_parts p ON p.media = m.key
     WHERE m.media_id = ?1 ORDER BY p.start";

const FIND_WHOLE: &str = "
    SELECT key, user, size FROM media WHERE media_id = ?1 AND received = size AND blob IS NULL";

const FIND_BLOB: &str = "SELECT key FROM blobs WHERE user = ?1 AND sha256 = ?2";

const INSERT_BLOB: &str = "
    INSERT INTO blobs (name, user, sha256, size, content_type) VALUES (?1, ?2, ?3, ?4, ?5)
    RETURNING key";

const STORE: &str = "UPDATE media SET blob = ?2, expires_at_ms = ?3 WHERE key = ?1";

const DELETE_PARTS: &str = "DELETE FROM media_parts WHERE media = ?1";

const FIND_REMOVABLE: &str = "
    SELECT m.key, m.media_id, m.blob FROM media m JOIN users u ON u.key = m.user
     WHERE m.media_id = ?1 AND u.user_id = ?2 AND m.expires_at_ms IS NOT NULL";

const FIND_EXPIRED: &str = "
    SELECT key, media_id, blob FROM media WHERE expires_at_ms <= ?1
     ORDER BY expires_at_ms LIMIT ?2";

const DELETE: &str = "DELETE FROM media WHERE key = ?1";

const DELETE_BLOB: &str = "
    DELETE FROM blobs WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM media WHERE blob = ?1)
    RETURNING name";

const FIND_STORED: &str = "
    SELECT m.media_id, b.name, b.size, b.sha256, b.content_type
      FROM media m JOIN blobs b ON b.key = m.blob WHERE m.media_id = ?1";

/// If it is for this user.
pub(super) const FIND_FOR_USER: &str = concat!(
    "SELECT m.media_id, b.name, b.size, b.sha256, b.content_type
       FROM media m JOIN blobs b ON b.key = m.blob WHERE m.media_id = ?2 AND ",
    may_have!()
);

const ADD_TRASH: &str = "
    INSERT INTO media_trash (kind, name, due_at_ms) VALUES (?1, ?2, ?3)
    ON CONFLICT (kind, name) DO UPDATE SET due_at_ms = excluded.due_at_ms";

const IS_DUE: &str = "SELECT EXISTS (SELECT 1 FROM media_trash WHERE due_at_ms <= ?1)";

const TAKE_TRASH: &str = "
    UPDATE media_trash SET is_going = 1
     WHERE (kind, name) IN (SELECT kind, name FROM media_trash WHERE due_at_ms <= ?1
                             ORDER BY due_at_ms LIMIT ?2)
    RETURNING kind, name";

const KEEP: &str = "DELETE FROM media_trash WHERE kind = 1 AND name = ?1 AND is_going = 0";

const DELETE_TRASH: &str = "DELETE FROM media_trash WHERE kind = ?1 AND name = ?2";

/// Media without which something may go.
struct Removed {
    key: i64,
    id: MediaId,
    blob: Option<i64>,
}

fn removed(row: &Row<'_>) -> rusqlite::Result<Removed> {
    Ok(Removed {
        key: row.get(0)?,
        id: MediaId::new(row.get(1)?),
        blob: row.get(2)?,
    })
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredMedia> {
    Ok(StoredMedia {
        id: MediaId::new(row.get(0)?),
        blob: row.get(1)?,
        size: unsigned(row.get(2)?),
        sha256: row.get(3)?,
        content_type: row.get(4)?,
    })
}

fn add_trash(connection: &Connection, trash: Trash, due_at_ms: i64) -> Result<(), StoreError> {
    let row = params![trash.number(), trash.name(), due_at_ms];
    connection.prepare_cached(ADD_TRASH)?.execute(row)?;
    Ok(())
}

fn remove(connection: &Connection, it: &Removed, trash_at_ms: i64) -> Result<(), StoreError> {
    connection.prepare_cached(DELETE_PARTS)?.execute([it.key])?;
    connection.prepare_cached(DELETE)?.execute([it.key])?;
    let Some(blob) = it.blob else {
        return add_trash(connection, Trash::Parts(it.id), trash_at_ms);
    };
    let mut delete = connection.prepare_cached(DELETE_BLOB)?;
    let name = delete.query_row([blob], |row| row.get(0)).optional()?;
    if let Some(name) = name {
        add_trash(connection, Trash::Blob(name), trash_at_ms)?;
    }
    Ok(())
}

fn begin(
    connection: &Connection,
    it: &NewUpload,
    bounds: UploadBounds,
) -> Result<BeginUpload, StoreError> {
    let user = user_key(connection, it.user)?.ok_or_else(|| StoreError::Corrupt {
        what: "an upload of nobody".to_owned(),
    })?;
    let mut statement = connection.prepare_cached(SIZE_OF_USER)?;
    let (size, unfinished) = statement.query_row([user], |row| {
        Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
    })?;
    if size.saturating_add(it.size) > bounds.size_max {
        return Ok(BeginUpload::TooLarge);
    }
    if unfinished >= bounds.unfinished_max {
        return Ok(BeginUpload::TooMany);
    }
    let row = params![
        it.id.bytes(),
        user,
        signed(it.size),
        it.sha256,
        it.expires_at_ms
    ];
    connection.prepare_cached(INSERT)?.execute(row)?;
    Ok(BeginUpload::Done)
}

fn grow(
    connection: &Connection,
    id: MediaId,
    parts: &[Part],
    expires_at_ms: i64,
) -> Result<bool, StoreError> {
    let Some(first) = parts.first() else {
        return Ok(true);
    };
    let size: u64 = parts.iter().map(|part| part.size).sum();
    let grown = params![id.bytes(), signed(first.start), signed(size), expires_at_ms];
    let mut statement = connection.prepare_cached(GROW)?;
    let key: Option<i64> = statement.query_row(grown, |row| row.get(0)).optional()?;
    let Some(key) = key else { return Ok(false) };
    let mut insert = connection.prepare_cached(INSERT_PART)?;
    for part in parts {
        insert.execute(params![
            key,
            signed(part.start),
            signed(part.size),
            part.name
        ])?;
    }
    Ok(true)
}

fn finish(
    connection: &Connection,
    id: MediaId,
    blob: &NewBlob,
    (expires_at_ms, trash_at_ms): (i64, i64),
) -> Result<bool, StoreError> {
    let mut whole = connection.prepare_cached(FIND_WHOLE)?;
    let whole = whole.query_row([id.bytes()], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, i64>(2)?,
        ))
    });
    let Some((key, user, size)) = whole.optional()? else {
        return Ok(false);
    };
    let mut find = connection.prepare_cached(FIND_BLOB)?;
    let same = find.query_row(params![user, blob.sha256], |row| row.get(0));
    let blob_key: i64 = match same.optional()? {
        Some(same) => same,
        None => {
            let row = params![blob.name, user, blob.sha256, size, blob.content_type];
            let mut insert = connection.prepare_cached(INSERT_BLOB)?;
            let made = insert.query_row(row, |row| row.get(0))?;
            let kept = connection.prepare_cached(KEEP)?.execute([blob.name])?;
            if kept == 0 {
                return Err(StoreError::Unavailable {
                    reason: "a blob was made for so long that it was taken for trash".to_owned(),
                });
            }
            made
        }
    };
    connection
        .prepare_cached(STORE)?
        .execute([key, blob_key, expires_at_ms])?;
    connection.prepare_cached(DELETE_PARTS)?.execute([key])?;
    add_trash(connection, Trash::Parts(id), trash_at_ms)?;
    Ok(true)
}

#[async_trait]
impl MediaStore for Embedded {
    async fn begin_upload(
        &self,
        upload: &NewUpload,
        bounds: UploadBounds,
    ) -> Result<BeginUpload, StoreError> {
        let upload = *upload;
        self.write(move |writer| {
            writer.transaction(|connection, _caches| begin(connection, &upload, bounds))
        })
        .await
    }

    async fn upload(&self, user: UserId, id: MediaId) -> Result<Option<Upload>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(FIND_UPLOAD)?;
            let found = statement.query_row([id.bytes(), user.bytes()], |row| {
                Ok(Upload {
                    size: unsigned(row.get(0)?),
                    received: unsigned(row.get(1)?),
                    sha256: row.get(2)?,
                    is_stored: row.get(3)?,
                    expires_at_ms: row.get(4)?,
                })
            });
            Ok(found.optional()?)
        })
        .await
    }

    async fn add_parts(
        &self,
        id: MediaId,
        parts: &[Part],
        expires_at_ms: i64,
    ) -> Result<bool, StoreError> {
        let parts = parts.to_vec();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| grow(connection, id, &parts, expires_at_ms))
        })
        .await
    }

    async fn parts(&self, id: MediaId) -> Result<Vec<Part>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(FIND_PARTS)?;
            let found = statement.query_map([id.bytes()], |row| {
                Ok(Part {
                    start: unsigned(row.get(0)?),
                    size: unsigned(row.get(1)?),
                    name: row.get(2)?,
                })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn finish_upload(
        &self,
        id: MediaId,
        blob: &NewBlob,
        expires_at_ms: i64,
        trash_at_ms: i64,
    ) -> Result<bool, StoreError> {
        let blob = blob.clone();
        let times = (expires_at_ms, trash_at_ms);
        self.write(move |writer| {
            writer.transaction(|connection, _caches| finish(connection, id, &blob, times))
        })
        .await
    }

    async fn remove_media(
        &self,
        user: UserId,
        id: MediaId,
        trash_at_ms: i64,
    ) -> Result<bool, StoreError> {
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let mut find = connection.prepare_cached(FIND_REMOVABLE)?;
                let found = find.query_row([id.bytes(), user.bytes()], removed);
                let Some(found) = found.optional()? else {
                    return Ok(false);
                };
                remove(connection, &found, trash_at_ms)?;
                Ok(true)
            })
        })
        .await
    }

    async fn media_for(
        &self,
        user: UserId,
        ids: &[MediaId],
    ) -> Result<Vec<StoredMedia>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |connection| {
            let Some(user) = user_key(connection, user)? else {
                return Ok(Vec::new());
            };
            let mut statement = connection.prepare_cached(FIND_FOR_USER)?;
            let mut found = Vec::new();
            for id in ids {
                let one = statement.query_row(params![user, id.bytes()], stored);
                found.extend(one.optional()?);
            }
            Ok(found)
        })
        .await
    }

    async fn stored_media(&self, id: MediaId) -> Result<Option<StoredMedia>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(FIND_STORED)?;
            Ok(statement.query_row([id.bytes()], stored).optional()?)
        })
        .await
    }

    async fn plan_blob(&self, name: [u8; 16], trash_at_ms: i64) -> Result<(), StoreError> {
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                add_trash(connection, Trash::Blob(name), trash_at_ms)
            })
        })
        .await
    }

    async fn expire_media(
        &self,
        now_ms: i64,
        trash_at_ms: i64,
        count: usize,
    ) -> Result<u64, StoreError> {
        let has_expired = self.read(move |connection| {
            let mut statement = connection.prepare_cached(FIND_EXPIRED)?;
            Ok(statement.exists([now_ms, 1])?)
        });
        if !has_expired.await? {
            return Ok(0);
        }
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let mut find = connection.prepare_cached(FIND_EXPIRED)?;
                let found = find.query_map([now_ms, limit(count)], removed)?;
                let found: Vec<Removed> = found.collect::<Result<_, _>>()?;
                for it in &found {
                    remove(connection, it, trash_at_ms)?;
                }
                Ok(found.len() as u64)
            })
        })
        .await
    }

    async fn trash(&self, now_ms: i64, count: usize) -> Result<Vec<Trash>, StoreError> {
        let is_due = self.read(move |connection| {
            let mut statement = connection.prepare_cached(IS_DUE)?;
            Ok(statement.query_row([now_ms], |row| row.get(0))?)
        });
        // Mostly nothing is, and those who send need not wait for that.
        if !is_due.await? {
            return Ok(Vec::new());
        }
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let mut statement = connection.prepare_cached(TAKE_TRASH)?;
                let mut rows = statement.query([now_ms, limit(count)])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(Trash::stored(row.get(0)?, row.get(1)?)?);
                }
                Ok(found)
            })
        })
        .await
    }

    async fn emptied(&self, trash: &[Trash]) -> Result<(), StoreError> {
        let trash = trash.to_vec();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let mut delete = connection.prepare_cached(DELETE_TRASH)?;
                for it in &trash {
                    delete.execute(params![it.number(), it.name()])?;
                }
                Ok(())
            })
        })
        .await
    }
}
