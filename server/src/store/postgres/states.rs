//! What became of messages: for a device that has not all that came after them.

use magpie_protocol::{seq::Seq, wire::v1};
use tokio_postgres::Row;

use super::{
    rows::OPEN_END,
    session::{Failure, Params, Session, get, get_count},
};
use crate::store::{
    event::stored_message,
    read::{Edited, Messages, states},
};

/// Whether the user may read the event at a seq.
macro_rules! readable {
    ($seq:literal) => {
        concat!(
            "EXISTS (SELECT FROM members m WHERE m.user_key = $4 AND m.conversation_key = $1 AND ",
            $seq,
            " BETWEEN m.history_seq AND m.to_seq)"
        )
    };
}

/// The newest edit of each.
pub(super) const FIND_EDITS: &str = concat!(
    "SELECT t.seq, e.seq, e.committed_at_ms, e.body
       FROM (SELECT x.seq, max(x.edit_seq) AS edit_seq FROM edits x
              WHERE x.conversation_key = $1 AND x.seq BETWEEN $2 AND $3 AND x.edit_seq <= $5
                AND ",
    readable!("x.edit_seq"),
    "           AND (NOT x.hidden OR EXISTS (
                    SELECT FROM events o
                     WHERE o.conversation_key = $1 AND o.seq = x.seq AND o.sender_key = $4))
              GROUP BY x.seq) t
       JOIN events e ON e.conversation_key = $1 AND e.seq = t.edit_seq
      ORDER BY t.seq"
);

/// How many react how, in the order in which that began.
pub(super) const FIND_REACTIONS: &str = concat!(
    "SELECT r.seq, r.emoji, count(DISTINCT r.user_key), bool_or(r.user_key = $4)
       FROM reactions r
      WHERE r.conversation_key = $1 AND r.seq BETWEEN $2 AND $3 AND r.added_seq <= $5
        AND ",
    readable!("r.added_seq"),
    "   AND (NOT r.hidden OR r.user_key = $4)
        AND (r.removed_seq > $5 OR NOT ",
    readable!("r.removed_seq"),
    ")
      GROUP BY r.seq, r.emoji
      ORDER BY r.seq, min(r.added_seq)"
);

pub(super) async fn message_states(
    session: Session<'_>,
    messages: &Messages,
) -> Result<Vec<v1::MessageState>, Failure> {
    let (first, last) = messages.range;
    let upto = messages.upto.min(OPEN_END - 1);
    let params: Params<'_> = &[&messages.conversation, &first, &last, &messages.user, &upto];
    let mut edits = Vec::new();
    for row in session.rows(FIND_EDITS, params).await? {
        edits.extend(edited(&row)?);
    }
    let rows = session.rows(FIND_REACTIONS, params).await?;
    let reactions = rows.iter().map(reaction).collect::<Result<_, _>>()?;
    Ok(states(edits, reactions))
}

/// Nothing of a message that was deleted.
fn edited(row: &Row) -> Result<Option<Edited>, Failure> {
    let Some(message) = stored_message(get(row, 3)?)? else {
        return Ok(None);
    };
    Ok(Some(Edited {
        seq: Seq::new(get_count(row, 0)?),
        edited_seq: Seq::new(get_count(row, 1)?),
        edited_at_ms: get(row, 2)?,
        message,
    }))
}

fn reaction(row: &Row) -> Result<(Seq, v1::Reaction), Failure> {
    Ok((
        Seq::new(get_count(row, 0)?),
        v1::Reaction {
            emoji: get(row, 1)?,
            count: u32::try_from(get_count(row, 2)?).unwrap_or(u32::MAX),
            own: get(row, 3)?,
        },
    ))
}
