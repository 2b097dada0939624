//! What is known to exist and is not stored.
//!
//! A gap is made when an event comes whose predecessors are not here, and only
//! shrinks after that, seq by seq, as its events are stored. Two kinds: *on
//! demand* is history that the server announced and did not send; *missing*
//! should have come, is fetched at once, and nothing above it is shown before.

use magpie_protocol::{id::ConversationId, seq::Seq};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{conversation_at, seq_at, stored};
use crate::{error::LocalError, model::Gap};

pub(super) const ON_DEMAND: i64 = 0;
pub(super) const MISSING: i64 = 1;

/// How many missing gaps a turn reports; the next one reports the rest.
const REPORTED_MAX: i64 = 16;

pub(super) fn open(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    from: Seq,
    to: Seq,
    kind: i64,
) -> Result<(), LocalError> {
    if from > to {
        return Ok(());
    }
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO gaps (conversation, from_seq, to_seq, kind)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            conversation.bytes(),
            stored(from),
            stored(to),
            kind
        ])?;
    Ok(())
}

/// These need not be fetched any more: they are stored, or do not exist for this
/// user. Returns whether a gap changed.
pub(super) fn cover(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    from: Seq,
    to: Seq,
) -> Result<bool, LocalError> {
    let overlapping: Vec<(Seq, Seq, i64)> = transaction
        .prepare_cached(
            "SELECT from_seq, to_seq, kind FROM gaps
              WHERE conversation = ?1 AND from_seq <= ?3 AND to_seq >= ?2",
        )?
        .query_map(
            params![conversation.bytes(), stored(from), stored(to)],
            |row| Ok((seq_at(row, 0)?, seq_at(row, 1)?, row.get(2)?)),
        )?
        .collect::<Result<_, _>>()?;
    for &(gap_from, gap_to, kind) in &overlapping {
        transaction
            .prepare_cached("DELETE FROM gaps WHERE conversation = ?1 AND from_seq = ?2")?
            .execute(params![conversation.bytes(), stored(gap_from)])?;
        if gap_from < from {
            open(transaction, conversation, gap_from, from.previous(), kind)?;
        }
        if to < gap_to {
            open(transaction, conversation, to.next(), gap_to, kind)?;
        }
    }
    Ok(!overlapping.is_empty())
}

/// Whatever was fetched at once and did not come stays visible, and is fetched
/// when somebody asks for it.
pub(super) fn demote(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    from: Seq,
    to: Seq,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached(
            "UPDATE gaps SET kind = 0 WHERE conversation = ?1 AND from_seq >= ?2 AND to_seq <= ?3",
        )?
        .execute(params![conversation.bytes(), stored(from), stored(to)])?;
    Ok(())
}

/// What is left of a gap's answered part becomes one to be fetched on demand.
pub(super) fn demote_inside(
    transaction: &Transaction<'_>,
    gap: Gap,
    answered_to: Seq,
) -> Result<(), LocalError> {
    let left = between(transaction, gap.conversation, gap.from, answered_to)?;
    for part in left.into_iter().filter(|part| !part.on_demand) {
        let (from, to) = (part.from.max(gap.from), part.to.min(answered_to));
        cover(transaction, gap.conversation, from, to)?;
        open(transaction, gap.conversation, from, to, ON_DEMAND)?;
    }
    Ok(())
}

/// The first seq of the conversation that must come before anything above it is
/// shown.
pub(super) fn first_blocking(
    connection: &Connection,
    conversation: ConversationId,
) -> Result<Option<Seq>, LocalError> {
    let first = connection
        .prepare_cached(
            "SELECT from_seq FROM gaps WHERE conversation = ?1 AND kind = 1
              ORDER BY from_seq LIMIT 1",
        )?
        .query_row([conversation.bytes()], |row| seq_at(row, 0))
        .optional()?;
    Ok(first)
}

/// Gaps to be fetched at once.
pub(super) fn missing(connection: &Connection) -> Result<Vec<Gap>, LocalError> {
    let gaps = connection
        .prepare_cached(
            "SELECT conversation, from_seq, to_seq, kind FROM gaps WHERE kind = 1 LIMIT ?1",
        )?
        .query_map([REPORTED_MAX], gap_at)?
        .collect::<Result<_, _>>()?;
    Ok(gaps)
}

/// Nothing above `above` is known to exist any more.
pub(super) fn cut(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    above: Seq,
) -> Result<(), LocalError> {
    for cut in [
        "DELETE FROM gaps WHERE conversation = ?1 AND from_seq > ?2",
        "UPDATE gaps SET to_seq = ?2 WHERE conversation = ?1 AND to_seq > ?2",
    ] {
        transaction
            .prepare_cached(cut)?
            .execute(params![conversation.bytes(), stored(above)])?;
    }
    Ok(())
}

/// The first seq above `above` that is inside a gap.
pub(super) fn first_above(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    above: Seq,
) -> Result<Option<Seq>, LocalError> {
    let first = transaction
        .prepare_cached(
            "SELECT max(from_seq, ?2 + 1) FROM gaps WHERE conversation = ?1 AND to_seq > ?2
              ORDER BY from_seq LIMIT 1",
        )?
        .query_row(params![conversation.bytes(), stored(above)], |row| {
            seq_at(row, 0)
        })
        .optional()?;
    Ok(first)
}

fn gap_at(row: &rusqlite::Row<'_>) -> rusqlite::Result<Gap> {
    let kind: i64 = row.get(3)?;
    Ok(Gap {
        conversation: conversation_at(row, 0)?,
        from: seq_at(row, 1)?,
        to: seq_at(row, 2)?,
        on_demand: kind == ON_DEMAND,
    })
}

/// The gaps of a conversation that touch `from..=to`, in ascending order.
pub(super) fn between(
    connection: &Connection,
    conversation: ConversationId,
    from: Seq,
    to: Seq,
) -> Result<Vec<Gap>, LocalError> {
    let gaps = connection
        .prepare_cached(
            "SELECT conversation, from_seq, to_seq, kind FROM gaps
              WHERE conversation = ?1 AND from_seq <= ?3 AND to_seq >= ?2 ORDER BY from_seq",
        )?
        .query_map(
            params![conversation.bytes(), stored(from), stored(to)],
            gap_at,
        )?
        .collect::<Result<_, _>>()?;
    Ok(gaps)
}
