//! What messages say, for apps whose wakes show it.

use magpie_protocol::{
    id::ConversationId,
    seq::{Position, Seq},
};
use rusqlite::{Connection, params};

use super::rows::{signed, unsigned};
use crate::store::{
    Preview, StoreError,
    event::{EventKind, shown_text},
};

/// A message, with what its newest edit says instead.
const FIND_MESSAGE: &str = "
    SELECT c.conversation_id, e.seq, u.name,
           coalesce((SELECT n.body FROM edits x
                       JOIN events n ON n.conversation = x.conversation AND n.seq = x.edit_seq
                      WHERE x.conversation = e.conversation AND x.seq = e.seq AND NOT x.hidden
                      ORDER BY x.edit_seq DESC LIMIT 1), e.body)
      FROM events e
      JOIN conversations c ON c.key = e.conversation
      JOIN users u ON u.key = e.sender
     WHERE e.position = ?1 AND e.kind = ?2 AND NOT e.hidden";

pub(super) fn previews(
    connection: &Connection,
    positions: &[Position],
) -> Result<Vec<Preview>, StoreError> {
    let mut statement = connection.prepare_cached(FIND_MESSAGE)?;
    let kind = i64::from(EventKind::Message.number());
    let mut found = Vec::new();
    for position in positions {
        let mut rows = statement.query(params![signed(position.get()), kind])?;
        let Some(row) = rows.next()? else { continue };
        let body: Vec<u8> = row.get(3)?;
        let Some(text) = shown_text(&body)? else {
            continue;
        };
        found.push(Preview {
            position: *position,
            conversation: ConversationId::new(row.get(0)?),
            seq: Seq::new(unsigned(row.get(1)?)),
            sender: row.get(2)?,
            text,
        });
    }
    Ok(found)
}
