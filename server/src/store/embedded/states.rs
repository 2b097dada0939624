//! What became of messages: for a device that has not all that came after them.

use magpie_protocol::{seq::Seq, wire::v1};
use rusqlite::{Connection, params};

use super::rows::{OPEN_END, unsigned};
use crate::store::{
    StoreError,
    event::stored_message,
    read::{Edited, Messages, states},
};

/// Whether the user may read the event at a seq.
macro_rules! readable {
    ($seq:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM members m WHERE m.user = ?4 AND m.conversation = ?1 AND ",
            $seq,
            " BETWEEN m.history_seq AND m.to_seq)"
        )
    };
}

/// The newest edit of each.
pub(super) const FIND_EDITS: &str = concat!(
    "SELECT t.seq, e.seq, e.committed_at_ms, e.body
       FROM (SELECT x.seq, max(x.edit_seq) AS edit_seq FROM edits x
              WHERE x.conversation = ?1 AND x.seq BETWEEN ?2 AND ?3 AND x.edit_seq <= ?5
                AND ",
    readable!("x.edit_seq"),
    "           AND (NOT x.hidden OR EXISTS (
                    SELECT 1 FROM events o
                     WHERE o.conversation = ?1 AND o.seq = x.seq AND o.sender = ?4))
              GROUP BY x.seq) t
       JOIN events e ON e.conversation = ?1 AND e.seq = t.edit_seq
      ORDER BY t.seq"
);

/// How many react how, in the order in which that began.
pub(super) const FIND_REACTIONS: &str = concat!(
    "SELECT r.seq, r.emoji, count(DISTINCT r.user), max(r.user = ?4)
       FROM reactions r
      WHERE r.conversation = ?1 AND r.seq BETWEEN ?2 AND ?3 AND r.added_seq <= ?5
        AND ",
    readable!("r.added_seq"),
    "   AND (NOT r.hidden OR r.user = ?4)
        AND (r.removed_seq > ?5 OR NOT ",
    readable!("r.removed_seq"),
    ")
      GROUP BY r.seq, r.emoji
      ORDER BY r.seq, min(r.added_seq)"
);

pub(super) fn message_states(
    connection: &Connection,
    messages: &Messages,
) -> Result<Vec<v1::MessageState>, StoreError> {
    let (first, last) = messages.range;
    let upto = messages.upto.min(OPEN_END - 1);
    let params = params![messages.conversation, first, last, messages.user, upto];
    let mut statement = connection.prepare_cached(FIND_EDITS)?;
    let mut rows = statement.query(params)?;
    let mut edits = Vec::new();
    while let Some(row) = rows.next()? {
        let body = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        // Nothing of a message that was deleted.
        let Some(message) = stored_message(body)? else {
            continue;
        };
        edits.push(Edited {
            seq: Seq::new(unsigned(row.get(0)?)),
            edited_seq: Seq::new(unsigned(row.get(1)?)),
            edited_at_ms: row.get(2)?,
            message,
        });
    }
    let mut statement = connection.prepare_cached(FIND_REACTIONS)?;
    let reactions = statement.query_map(params, |row| {
        let count: u32 = row.get(2)?;
        Ok((
            Seq::new(unsigned(row.get(0)?)),
            v1::Reaction {
                emoji: row.get(1)?,
                count,
                own: row.get(3)?,
            },
        ))
    })?;
    Ok(states(edits, reactions.collect::<Result<_, _>>()?))
}
