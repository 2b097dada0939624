//! Read marks that the server has not confirmed.

use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::Seq,
};
use rusqlite::{Connection, Transaction, params};

use super::{
    conversation_at, message_id_at,
    outbox::{READ, keep_outcome, now_ms},
    seq_at, stored,
};
use crate::{error::LocalError, model::Refusal, request::Acceptance};

/// The highest read mark that waits, per conversation.
pub(super) fn waiting_reads(
    connection: &Connection,
) -> Result<Vec<(ConversationId, Seq)>, LocalError> {
    let reads = connection
        .prepare_cached(
            "SELECT conversation, max(seq) FROM reads WHERE code IS NULL GROUP BY conversation",
        )?
        .query_map([], |row| Ok((conversation_at(row, 0)?, seq_at(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(reads)
}

/// Queues a read mark.
pub(super) fn queue_read(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    seq: Seq,
) -> Result<(), LocalError> {
    let id = MessageId::new(uuid::Uuid::now_v7().into_bytes());
    insert_read(transaction, id, conversation, seq, now_ms())
}

pub(super) fn insert_read(
    transaction: &Transaction<'_>,
    id: MessageId,
    conversation: ConversationId,
    seq: Seq,
    queued_at_ms: i64,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached(
            "INSERT INTO reads (id, conversation, seq, queued_at_ms) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            id.bytes(),
            conversation.bytes(),
            stored(seq),
            queued_at_ms
        ])?;
    Ok(())
}

/// Read marks that wait go no further than this any more.
pub(super) fn lower_reads(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    to: Seq,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached("UPDATE reads SET seq = ?2 WHERE conversation = ?1 AND seq > ?2")?
        .execute(params![conversation.bytes(), stored(to)])?;
    // To have read nothing need not be said.
    read_taken(transaction, conversation, Seq::ZERO)?;
    Ok(())
}

/// The server has taken a read mark. Returns the requests that it answers.
pub(super) fn read_taken(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    seq: Seq,
) -> Result<Vec<MessageId>, LocalError> {
    let ids: Vec<MessageId> = transaction
        .prepare_cached(
            "DELETE FROM reads WHERE conversation = ?1 AND seq <= ?2 AND code IS NULL
             RETURNING id",
        )?
        .query_map(params![conversation.bytes(), stored(seq)], |row| {
            message_id_at(row, 0)
        })?
        .collect::<Result<_, _>>()?;
    let at = Acceptance {
        conversation,
        seq,
        committed_at_ms: 0,
    };
    for id in &ids {
        keep_outcome(transaction, *id, READ, at)?;
    }
    Ok(ids)
}

/// The server has refused a read mark for good. Returns the requests concerned.
pub(super) fn read_refused(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    seq: Seq,
    refusal: &Refusal,
) -> Result<Vec<MessageId>, LocalError> {
    let ids = transaction
        .prepare_cached(
            "UPDATE reads SET code = ?3, action = ?4, message = ?5
              WHERE conversation = ?1 AND seq <= ?2 AND code IS NULL RETURNING id",
        )?
        .query_map(
            params![
                conversation.bytes(),
                stored(seq),
                i32::from(refusal.code),
                i32::from(refusal.action),
                refusal.message
            ],
            |row| message_id_at(row, 0),
        )?
        .collect::<Result<_, _>>()?;
    Ok(ids)
}
