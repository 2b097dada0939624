//! What a person wants done, in the order in which they said so.

use std::time::{SystemTime, UNIX_EPOCH};

use magpie_protocol::{
    id::{ConversationId, MediaId, MessageId},
    seq::Seq,
    wire::v1::{self, client_frame::Body},
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{
    Database, account, conversation_at, conversations, message_id_at, reads,
    requests::{body, decode, encode, hidden, target, target_seq},
    seq_at, settings, stored, uploads,
};
use crate::{
    error::LocalError,
    media::Object,
    message::MessagePlace,
    model::Refusal,
    request::{Acceptance, NewRequest, Outcome},
};

/// A request that waits to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) place: i64,
    pub(crate) id: MessageId,
    pub(crate) body: Body,
}

/// By this device's clock, milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

fn queue(
    transaction: &Transaction<'_>,
    request: NewRequest,
    objects: &[Object],
    queued_at_ms: i64,
) -> Result<MessageId, LocalError> {
    let id = MessageId::new(uuid::Uuid::now_v7().into_bytes());
    match body(id, request) {
        Ok(body) => {
            let target = target(transaction, &body)?;
            settings::queued(transaction, id, &body)?;
            uploads::insert(transaction, (id, &body), objects)?;
            transaction
                .prepare_cached(
                    "INSERT INTO outbox (id, frame, queued_at_ms, conversation, target)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    id.bytes(),
                    encode(body),
                    queued_at_ms,
                    target.map(|(conversation, _)| conversation.bytes()),
                    target.map(|(_, seq)| stored(seq)),
                ])?;
        }
        Err((to, seq)) => {
            let conversation = conversations::resolve(transaction, &to)?;
            let reach = match conversation {
                Some(conversation) => conversations::reach(transaction, conversation)?
                    .map(|reach| (conversation, reach)),
                None => None,
            };
            let Some((conversation, reach)) = reach else {
                let recipient = to.to_string();
                return Err(LocalError::UnknownConversation { recipient });
            };
            let seq = seq.unwrap_or_else(|| reach.next.previous());
            reads::insert_read(transaction, id, conversation, seq, queued_at_ms)?;
        }
    }
    Ok(id)
}

pub(super) fn refusal_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Refusal>> {
    let Some(code) = row.get::<_, Option<i32>>(index)? else {
        return Ok(None);
    };
    let action: i32 = row.get(index + 1)?;
    Ok(Some(Refusal {
        code: v1::ErrorCode::try_from(code).unwrap_or_default(),
        action: v1::Action::try_from(action).unwrap_or_default(),
        after: std::time::Duration::ZERO,
        message: row.get(index + 2)?,
    }))
}

impl Database {
    pub(crate) fn queue_all(
        &mut self,
        requests: Vec<NewRequest>,
    ) -> Result<Vec<MessageId>, LocalError> {
        let transaction = self.write()?;
        account::me(&transaction)?;
        let now = now_ms();
        let ids = requests
            .into_iter()
            .map(|request| queue(&transaction, request, &[], now))
            .collect::<Result<_, _>>()?;
        transaction.commit()?;
        Ok(ids)
    }

    /// Queues a request that waits until these objects are uploaded.
    pub(crate) fn queue_with(
        &mut self,
        request: NewRequest,
        objects: &[Object],
    ) -> Result<MessageId, LocalError> {
        let transaction = self.write()?;
        account::me(&transaction)?;
        let id = queue(&transaction, request, objects, now_ms())?;
        transaction.commit()?;
        Ok(id)
    }

    /// Removes a failed request. Whether there was one, and which files are of no use now.
    pub(crate) fn discard(&mut self, id: MessageId) -> Result<(bool, Vec<MediaId>), LocalError> {
        let transaction = self.write()?;
        let mut discarded = 0;
        for delete in [
            "DELETE FROM outbox WHERE id = ?1 AND code IS NOT NULL",
            "DELETE FROM reads WHERE id = ?1 AND code IS NOT NULL",
        ] {
            discarded += transaction.execute(delete, [id.bytes()])?;
        }
        let files = match discarded {
            0 => Vec::new(),
            _ => uploads::forget(&transaction, id)?,
        };
        transaction.commit()?;
        Ok((discarded > 0, files))
    }

    pub(crate) fn outcome(&self, id: MessageId) -> Result<Option<Outcome>, LocalError> {
        for failed in [
            "SELECT code, action, message FROM outbox WHERE id = ?1",
            "SELECT code, action, message FROM reads WHERE id = ?1",
        ] {
            let refusal = self
                .connection
                .prepare_cached(failed)?
                .query_row([id.bytes()], |row| refusal_at(row, 0))
                .optional()?;
            if let Some(refusal) = refusal {
                return Ok(refusal.map(Outcome::Failed));
            }
        }
        let mut ask = self.connection.prepare_cached(
            "SELECT kind, conversation, seq, committed_at_ms FROM outcomes WHERE id = ?1",
        )?;
        let outcome = ask.query_row([id.bytes()], |row| {
            let (conversation, seq) = (conversation_at(row, 1)?, seq_at(row, 2)?);
            Ok(match row.get::<_, i64>(0)? {
                ACCEPTED => Outcome::Accepted(Acceptance {
                    conversation,
                    seq,
                    committed_at_ms: row.get(3)?,
                }),
                NOTHING_TO_DO => Outcome::NothingToDo(MessagePlace { conversation, seq }),
                _ => Outcome::Read { conversation, seq },
            })
        });
        Ok(outcome.optional()?)
    }
}

pub(super) const ACCEPTED: i64 = 1;
pub(super) const READ: i64 = 2;
const NOTHING_TO_DO: i64 = 3;

/// Waiting requests behind `place`, at most `limit`, in the person's order. What waits for an
/// upload has no place in it yet.
pub(super) fn waiting(
    connection: &Connection,
    behind: i64,
    limit: usize,
) -> Result<Vec<Waiting>, LocalError> {
    let mut ask = connection.prepare_cached(
        "SELECT place, id, frame FROM outbox o WHERE place > ?1 AND code IS NULL
            AND NOT EXISTS (SELECT 1 FROM uploads WHERE request = o.id)
          ORDER BY place LIMIT ?2",
    )?;
    let mut rows = ask.query(params![behind, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut waiting = Vec::new();
    while let Some(row) = rows.next()? {
        let frame: Vec<u8> = row.get(2)?;
        // What this version cannot read, a newer one has queued: it waits for it.
        if let Some(body) = decode(&frame) {
            waiting.push(Waiting {
                place: row.get(0)?,
                id: message_id_at(row, 1)?,
                body,
            });
        }
    }
    Ok(waiting)
}

/// A request is committed: takes it out of the outbox and keeps its outcome.
/// Returns what it asked for, unless that happened before.
///
/// Also one that has failed here for what it refers to: another device of the user had that,
/// and has sent the same request.
pub(super) fn accepted(
    transaction: &Transaction<'_>,
    id: MessageId,
    at: Acceptance,
) -> Result<Option<Body>, LocalError> {
    let frame: Option<Vec<u8>> = transaction
        .prepare_cached(
            "DELETE FROM outbox WHERE id = ?1 AND (code IS NULL OR was_doubted) RETURNING frame",
        )?
        .query_row([id.bytes()], |row| row.get(0))
        .optional()?;
    let Some(frame) = frame else {
        return Ok(None);
    };
    // The other device may have been first while this one uploads.
    uploads::forget(transaction, id)?;
    keep_outcome(transaction, id, ACCEPTED, at)?;
    let body = decode(&frame);
    if let Some(body) = &body {
        settings::accepted(transaction, id, at.seq, body)?;
    }
    Ok(body)
}

pub(super) fn keep_outcome(
    transaction: &Transaction<'_>,
    id: MessageId,
    kind: i64,
    at: Acceptance,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached(
            "INSERT INTO outcomes (id, kind, conversation, seq, committed_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            id.bytes(),
            kind,
            at.conversation.bytes(),
            stored(at.seq),
            at.committed_at_ms
        ])?;
    Ok(())
}

/// A request was refused for good: it stays, marked. Returns whether it was
/// there.
pub(super) fn refused(
    transaction: &Transaction<'_>,
    id: MessageId,
    refusal: &Refusal,
) -> Result<bool, LocalError> {
    let changed = transaction
        .prepare_cached(
            "UPDATE outbox SET code = ?2, action = ?3, message = ?4
              WHERE id = ?1 AND code IS NULL",
        )?
        .execute(params![
            id.bytes(),
            i32::from(refusal.code),
            i32::from(refusal.action),
            refusal.message
        ])?;
    settings::waits_no_more(transaction, id)?;
    Ok(changed == 1)
}

/// A request was refused because it is so already. If it is about a message (somebody else,
/// or another device of the user, was first), then what the person wanted is done: takes it
/// out of the outbox. Returns whether it was such a one.
pub(super) fn nothing_to_do(
    transaction: &Transaction<'_>,
    id: MessageId,
) -> Result<bool, LocalError> {
    let place: Option<(ConversationId, Seq)> = transaction
        .prepare_cached(
            "DELETE FROM outbox WHERE id = ?1 AND code IS NULL AND target IS NOT NULL
             RETURNING conversation, target",
        )?
        .query_row([id.bytes()], |row| {
            Ok((conversation_at(row, 0)?, seq_at(row, 1)?))
        })
        .optional()?;
    let Some((conversation, seq)) = place else {
        return Ok(false);
    };
    let at = Acceptance {
        conversation,
        seq,
        committed_at_ms: 0,
    };
    keep_outcome(transaction, id, NOTHING_TO_DO, at)?;
    Ok(true)
}

/// Whether this device has sent it, and was told that it is accepted.
pub(super) fn was_accepted(
    transaction: &Transaction<'_>,
    id: MessageId,
) -> Result<bool, LocalError> {
    let found = transaction
        .prepare_cached("SELECT 1 FROM outcomes WHERE id = ?1 AND kind = ?2")?
        .exists(params![id.bytes(), ACCEPTED])?;
    Ok(found)
}

/// A request that was done, and is to be done again.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) id: MessageId,
    pub(super) body: Body,
    pub(super) queued_at_ms: i64,
}

/// Queues requests of a conversation in front of all others, in their order: what became
/// of them before is void.
pub(super) fn put_in_front(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    requests: Vec<Again>,
) -> Result<(), LocalError> {
    let first: i64 = transaction
        .prepare_cached("SELECT coalesce(min(place), 1) FROM outbox")?
        .query_row([], |row| row.get(0))?;
    let count = i64::try_from(requests.len()).unwrap_or(i64::MAX);
    for (place, again) in (first.saturating_sub(count)..).zip(requests) {
        let id = again.id.bytes();
        transaction
            .prepare_cached("DELETE FROM outcomes WHERE id = ?1")?
            .execute([id])?;
        // A setting is in the account log, and about a message elsewhere.
        let target = if let Body::ChangeAccount(it) = &again.body {
            hidden(it)
        } else {
            target_seq(&again.body).map(|seq| (conversation, seq))
        };
        transaction
            .prepare_cached(
                "INSERT INTO outbox (place, id, frame, queued_at_ms, conversation, target)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING",
            )?
            .execute(params![
                place,
                id,
                encode(again.body),
                again.queued_at_ms,
                target.map(|(conversation, _)| conversation.bytes()),
                target.map(|(_, seq)| stored(seq)),
            ])?;
    }
    Ok(())
}

/// What was accepted above `above` is not in the log any more.
pub(super) fn forget_outcomes(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    above: Seq,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached("DELETE FROM outcomes WHERE conversation = ?1 AND seq > ?2 AND kind = ?3")?
        .execute(params![conversation.bytes(), stored(above), ACCEPTED])?;
    Ok(())
}

/// What waits about messages that are not there any more: changes of them are
/// refused here, since another message may stand in their place, and an answer to one
/// answers nothing.
pub(super) fn forget_targets(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    above: Seq,
) -> Result<(), LocalError> {
    let waiting: Vec<(MessageId, Vec<u8>)> = transaction
        .prepare_cached(
            "SELECT id, frame FROM outbox
              WHERE conversation = ?1 AND target > ?2 AND code IS NULL",
        )?
        .query_map(params![conversation.bytes(), stored(above)], |row| {
            Ok((message_id_at(row, 0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    for (id, frame) in waiting {
        if let Some(Body::SendMessage(mut send)) = decode(&frame) {
            if let Some(message) = &mut send.message {
                message.reply_to_seq = 0;
            }
            transaction
                .prepare_cached("UPDATE outbox SET frame = ?2, target = NULL WHERE id = ?1")?
                .execute(params![id.bytes(), encode(Body::SendMessage(send))])?;
            continue;
        }
        let refusal = Refusal {
            code: v1::ErrorCode::NotFound,
            action: v1::Action::Never,
            after: std::time::Duration::ZERO,
            message: "the message is not in the server's history any more".to_owned(),
        };
        refused(transaction, id, &refusal)?;
    }
    Ok(())
}
