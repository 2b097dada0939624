//! What must be uploaded before a request of the outbox can be sent. It has no place in the
//! person's order by then, so that nothing waits for it that was said since.

use bytes::Bytes;
use magpie_protocol::{
    id::{MediaId, MessageId},
    wire::v1::{self, account_change, client_frame::Body},
};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{
    Database, conversation_at, message_id_at,
    outbox::refused,
    requests::{decode, encode},
    seq_at,
};
use crate::{error::LocalError, media::Object, message::MessagePlace, model::Refusal};

/// An object to be uploaded, and how far its request is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Uploading {
    pub(crate) request: MessageId,
    pub(crate) object: Object,
    /// What the server calls it, once it is begun.
    pub(crate) named: Option<MediaId>,
    /// Bytes of the request's objects that are there, and of all of them.
    pub(crate) done_before: u64,
    pub(crate) size_of_all: u64,
    /// The server may have it, as `named`. The object's size is 0 if it is not known.
    pub(crate) in_doubt: bool,
}

/// A request waits for these objects, and for those of requests before it whose effect it
/// replaces: what was said last is what holds.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    (request, body): (MessageId, &Body),
    objects: &[Object],
) -> Result<(), LocalError> {
    if let Some(what) = replaced(body) {
        let waiting: Vec<(MessageId, Vec<u8>)> = transaction
            .prepare_cached(
                "SELECT DISTINCT o.id, o.frame FROM uploads u JOIN outbox o ON o.id = u.request
                  WHERE o.code IS NULL",
            )?
            .query_map([], |row| Ok((message_id_at(row, 0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let mut copy = transaction.prepare_cached(
            "INSERT INTO uploads (request, media_id, size, sha256, named, is_done, in_doubt)
             SELECT ?2, media_id, size, sha256, named, is_done, in_doubt
               FROM uploads WHERE request = ?1
             ON CONFLICT DO NOTHING",
        )?;
        for (earlier, frame) in waiting {
            if decode(&frame).as_ref().and_then(replaced) == Some(what.clone()) {
                copy.execute([earlier.bytes(), request.bytes()])?;
            }
        }
    }
    let mut insert = transaction.prepare_cached(
        "INSERT INTO uploads (request, media_id, size, sha256) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for object in objects {
        insert.execute(params![
            request.bytes(),
            object.id.bytes(),
            size(object.size),
            object.sha256
        ])?;
    }
    Ok(())
}

/// What a request replaces the last value of, if it is such a one.
pub(super) fn replaced(body: &Body) -> Option<Bytes> {
    if let Body::ChangeAccount(it) = body {
        let kind = it.change.as_ref().and_then(|it| it.kind.as_ref());
        return matches!(kind, Some(account_change::Kind::Profile(_))).then(Bytes::new);
    }
    if let Body::UpdateGroup(it) = body
        && it.photo.is_some()
    {
        return Some(it.conversation_id.clone());
    }
    None
}

/// The request is gone. What nothing waits for any more.
pub(super) fn forget(
    transaction: &Transaction<'_>,
    request: MessageId,
) -> Result<Vec<MediaId>, LocalError> {
    let mut gone: Vec<MediaId> = transaction
        .prepare_cached("DELETE FROM uploads WHERE request = ?1 RETURNING media_id")?
        .query_map([request.bytes()], |row| row.get(0).map(MediaId::new))?
        .collect::<Result<_, _>>()?;
    let mut ask = transaction.prepare_cached("SELECT 1 FROM uploads WHERE media_id = ?1")?;
    let mut kept = Vec::new();
    for id in &gone {
        if ask.exists([id.bytes()])? {
            kept.push(*id);
        }
    }
    gone.retain(|id| !kept.contains(id));
    Ok(gone)
}

pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn size_at(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let size: i64 = row.get(index)?;
    Ok(u64::try_from(size).unwrap_or(0))
}

/// Calls a photo or file of a request what the server calls it.
fn rename(body: &mut Body, from: MediaId, to: MediaId) {
    let change = |id: &mut Bytes| {
        if *id == from.to_wire() {
            *id = to.to_wire();
        }
    };
    if let Body::SendMessage(it) = body {
        for media in it.message.iter_mut().flat_map(|it| &mut it.media) {
            change(&mut media.media_id);
            media.thumbnail_ids.iter_mut().for_each(change);
        }
    } else if let Body::ChangeAccount(it) = body
        && let Some(account_change::Kind::Profile(profile)) =
            it.change.as_mut().and_then(|it| it.kind.as_mut())
    {
        change(&mut profile.photo_id);
    } else if let Body::UpdateGroup(it) = body {
        it.photo.iter_mut().for_each(change);
    }
}

impl Database {
    /// What is to be uploaded, the oldest request first. What two requests wait for is there
    /// for each of them.
    pub(crate) fn uploads(&self) -> Result<Vec<Uploading>, LocalError> {
        let mut ask = self.connection.prepare_cached(
            "SELECT u.request, u.media_id, u.size, u.sha256, u.named,
                    (SELECT coalesce(sum(size), 0) FROM uploads d
                      WHERE d.request = u.request AND d.is_done),
                    (SELECT sum(size) FROM uploads d WHERE d.request = u.request), u.in_doubt
               FROM uploads u JOIN outbox o ON o.id = u.request AND o.code IS NULL
              WHERE NOT u.is_done ORDER BY u.place",
        )?;
        let found = ask.query_map([], |row| {
            Ok(Uploading {
                request: message_id_at(row, 0)?,
                object: Object {
                    id: MediaId::new(row.get(1)?),
                    size: size_at(row, 2)?,
                    sha256: row.get(3)?,
                },
                named: row.get::<_, Option<[u8; 16]>>(4)?.map(MediaId::new),
                done_before: size_at(row, 5)?,
                size_of_all: size_at(row, 6)?,
                in_doubt: row.get(7)?,
            })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Where the event of this id is.
    pub(crate) fn find(&self, id: MessageId) -> Result<Option<MessagePlace>, LocalError> {
        let mut ask = self.connection.prepare_cached(
            "SELECT conversation, seq FROM events WHERE message_id = ?1 ORDER BY kind LIMIT 1",
        )?;
        let found = ask.query_row([id.bytes()], |row| {
            let (conversation, seq) = (conversation_at(row, 0)?, seq_at(row, 1)?);
            Ok(MessagePlace { conversation, seq })
        });
        Ok(found.optional()?)
    }

    /// Whether a request waits for it.
    pub(crate) fn is_upload(&self, id: MediaId) -> Result<bool, LocalError> {
        let mut ask = self
            .connection
            .prepare_cached("SELECT 1 FROM uploads WHERE media_id = ?1")?;
        Ok(ask.exists([id.bytes()])?)
    }

    /// The server calls it so, or knows it no more.
    pub(crate) fn name_upload(
        &mut self,
        id: MediaId,
        named: Option<MediaId>,
    ) -> Result<(), LocalError> {
        let transaction = self.write()?;
        transaction
            .prepare_cached("UPDATE uploads SET named = ?2 WHERE media_id = ?1")?
            .execute(params![id.bytes(), named.map(|id| id.bytes())])?;
        transaction.commit()?;
        Ok(())
    }

    /// The server has all of it. Requests for which that was the last go to the end of the
    /// outbox, to be sent. What the server calls each of their objects.
    pub(crate) fn upload_done(
        &mut self,
        id: MediaId,
    ) -> Result<Vec<(MediaId, MediaId)>, LocalError> {
        let transaction = self.write()?;
        transaction
            .prepare_cached("UPDATE uploads SET is_done = 1, in_doubt = 0 WHERE media_id = ?1")?
            .execute([id.bytes()])?;
        let requests: Vec<MessageId> = transaction
            .prepare_cached(
                "SELECT u.request FROM uploads u JOIN outbox o ON o.id = u.request
                  WHERE u.media_id = ?1 ORDER BY o.place",
            )?
            .query_map([id.bytes()], |row| message_id_at(row, 0))?
            .collect::<Result<_, _>>()?;
        let mut names = Vec::new();
        for request in requests {
            names.extend(finish(&transaction, request)?.unwrap_or_default());
        }
        transaction.commit()?;
        Ok(names)
    }

    /// A request fails before it is sent. Whether it was there.
    pub(crate) fn refuse(&mut self, id: MessageId, why: &Refusal) -> Result<bool, LocalError> {
        let transaction = self.write()?;
        let refused = refused(&transaction, id, why)?;
        transaction.commit()?;
        Ok(refused)
    }
}

pub(super) fn finish(
    transaction: &Transaction<'_>,
    request: MessageId,
) -> Result<Option<Vec<(MediaId, MediaId)>>, LocalError> {
    let is_open = transaction
        .prepare_cached("SELECT 1 FROM uploads WHERE request = ?1 AND NOT is_done")?
        .exists([request.bytes()])?;
    let mut ask = transaction.prepare_cached(
        "SELECT frame, queued_at_ms, conversation, target, was_doubted FROM outbox
          WHERE id = ?1 AND code IS NULL",
    )?;
    let waits = ask.query_row([request.bytes()], |row| {
        let more = (row.get(2)?, row.get(3)?, row.get(4)?);
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?, more))
    });
    let Some((frame, queued_at_ms, more)) = waits.optional()?.filter(|_| !is_open) else {
        return Ok(None);
    };
    let (conversation, target, was_doubted): (Option<[u8; 16]>, Option<i64>, bool) = more;
    let Some(mut body) = decode(&frame) else {
        return Ok(None);
    };
    let names: Vec<(MediaId, MediaId)> = transaction
        .prepare_cached("DELETE FROM uploads WHERE request = ?1 RETURNING media_id, named")?
        .query_map([request.bytes()], |row| {
            Ok((MediaId::new(row.get(0)?), MediaId::new(row.get(1)?)))
        })?
        .collect::<Result<_, _>>()?;
    for (from, to) in &names {
        rename(&mut body, *from, *to);
    }
    if let Body::ChangeAccount(it) = &body {
        let change = it.change.clone().unwrap_or_default();
        transaction
            .prepare_cached("UPDATE settings SET queued = ?2 WHERE queued_id = ?1")?
            .execute(params![request.bytes(), encoded(&change)])?;
    }
    // A new place, behind all that there ever was.
    transaction
        .prepare_cached("DELETE FROM outbox WHERE id = ?1")?
        .execute([request.bytes()])?;
    transaction
        .prepare_cached(
            "INSERT INTO outbox (id, frame, queued_at_ms, conversation, target, was_doubted)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            request.bytes(),
            encode(body),
            queued_at_ms,
            conversation,
            target,
            was_doubted
        ])?;
    Ok(Some(names))
}

fn encoded(change: &v1::AccountChange) -> Vec<u8> {
    prost::Message::encode_to_vec(change)
}
