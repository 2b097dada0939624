//! What a request refers to and the server did not have, as after the restore of an older
//! backup: it is in doubt until the server was asked, and then it is uploaded again, or left
//! out, or nothing can be done. Once for each request: what is refused again is refused.

use magpie_protocol::{
    id::{MediaId, MessageId},
    media::{MediaReference, references},
    wire::v1::{account_change, client_frame::Body},
};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{
    Database,
    requests::{decode, encode},
    uploads::{self, finish, replaced},
};
use crate::{error::LocalError, media::Object};

/// The server did not have all that a request refers to: it waits, outside the order, for
/// what follows. Whether it does; if not, it is refused.
pub(super) fn begin(transaction: &Transaction<'_>, request: MessageId) -> Result<bool, LocalError> {
    let mut ask = transaction.prepare_cached(
        "SELECT frame FROM outbox WHERE id = ?1 AND code IS NULL AND NOT was_doubted",
    )?;
    let frame = ask.query_row([request.bytes()], |row| row.get::<_, Vec<u8>>(0));
    let Some(body) = frame.optional()?.as_deref().and_then(decode) else {
        return Ok(false);
    };
    let referred = referred(&body);
    if referred.is_empty() || is_said_anew(transaction, request, &body)? {
        return Ok(false);
    }
    transaction
        .prepare_cached("UPDATE outbox SET was_doubted = 1 WHERE id = ?1")?
        .execute([request.bytes()])?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO uploads (request, media_id, size, sha256, named, in_doubt)
         VALUES (?1, ?2, ?3, ?4, ?2, 1) ON CONFLICT DO NOTHING",
    )?;
    for it in referred {
        let (size, sha256) = it.exactly.unwrap_or_default();
        insert.execute(params![
            request.bytes(),
            it.id.bytes(),
            uploads::size(size),
            sha256
        ])?;
    }
    Ok(true)
}

/// Whether something that waits says instead what this request said: that is what holds.
fn is_said_anew(
    transaction: &Transaction<'_>,
    request: MessageId,
    body: &Body,
) -> Result<bool, LocalError> {
    let Some(what) = replaced(body) else {
        return Ok(false);
    };
    let later: Vec<Vec<u8>> = transaction
        .prepare_cached(
            "SELECT frame FROM outbox
              WHERE place > (SELECT place FROM outbox WHERE id = ?1) AND code IS NULL",
        )?
        .query_map([request.bytes()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut later = later.iter().filter_map(|frame| decode(frame));
    Ok(later.any(|it| replaced(&it).as_ref() == Some(&what)))
}

/// The photos and files that a request refers to.
fn referred(body: &Body) -> Vec<MediaReference> {
    if let Body::SendMessage(it) = body {
        return it.message.as_ref().map(references).unwrap_or_default();
    }
    let photo = if let Body::ChangeAccount(it) = body
        && let Some(account_change::Kind::Profile(profile)) =
            it.change.as_ref().and_then(|it| it.kind.as_ref())
    {
        Some(&profile.photo_id)
    } else if let Body::UpdateGroup(it) = body {
        it.photo.as_ref()
    } else {
        None
    };
    let photo = photo.and_then(|id| MediaId::try_from(id.as_ref()).ok());
    photo.into_iter().map(MediaReference::of).collect()
}

/// Takes a smaller picture out of what a message says. Whether there is such a one.
fn take_out(body: &mut Body, id: MediaId) -> bool {
    let Body::SendMessage(it) = body else {
        return false;
    };
    let mut found = false;
    for media in it.message.iter_mut().flat_map(|it| &mut it.media) {
        let before = media.thumbnail_ids.len();
        media.thumbnail_ids.retain(|it| *it != id.to_wire());
        found |= media.thumbnail_ids.len() < before;
    }
    found
}

impl Database {
    /// The server does not have it, and it is here: it is to be uploaded like anything else.
    pub(crate) fn upload_again(&mut self, it: &Object) -> Result<(), LocalError> {
        let transaction = self.write()?;
        transaction
            .prepare_cached(
                "UPDATE uploads SET size = ?2, sha256 = ?3, named = NULL, in_doubt = 0
                  WHERE media_id = ?1",
            )?
            .execute(params![it.id.bytes(), uploads::size(it.size), it.sha256])?;
        transaction.commit()?;
        Ok(())
    }

    /// It is nowhere any more: a message does without it, if it is one of its smaller
    /// pictures. `None` if it is not. Else as [`Database::upload_done`].
    pub(crate) fn leave_out(
        &mut self,
        request: MessageId,
        id: MediaId,
    ) -> Result<Option<Vec<(MediaId, MediaId)>>, LocalError> {
        let transaction = self.write()?;
        let frame: Option<Vec<u8>> = transaction
            .prepare_cached("SELECT frame FROM outbox WHERE id = ?1 AND code IS NULL")?
            .query_row([request.bytes()], |row| row.get(0))
            .optional()?;
        let Some(mut body) = frame.as_deref().and_then(decode) else {
            return Ok(None);
        };
        if !take_out(&mut body, id) {
            return Ok(None);
        }
        transaction
            .prepare_cached("UPDATE outbox SET frame = ?2 WHERE id = ?1")?
            .execute(params![request.bytes(), encode(body)])?;
        transaction
            .prepare_cached("DELETE FROM uploads WHERE request = ?1 AND media_id = ?2")?
            .execute([request.bytes(), id.bytes()])?;
        let names = finish(&transaction, request)?.unwrap_or_default();
        transaction.commit()?;
        Ok(Some(names))
    }
}
