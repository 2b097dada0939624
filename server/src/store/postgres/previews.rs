//! What messages say, for apps whose wakes show it.

use magpie_protocol::{
    id::ConversationId,
    seq::{Position, Seq},
};
use tokio_postgres::Row;

use super::session::{Failure, Session, get, get_count, get_id, signed};
use crate::store::{
    Preview,
    event::{EventKind, shown_text},
};

/// Messages, with what the newest edit of each says instead.
const FIND_MESSAGES: &str = "
    SELECT e.position, c.conversation_id, e.seq, u.name,
           coalesce((SELECT n.body FROM edits x
                       JOIN events n ON n.conversation_key = x.conversation_key
                                    AND n.seq = x.edit_seq
                      WHERE x.conversation_key = e.conversation_key AND x.seq = e.seq
                        AND NOT x.hidden
                      ORDER BY x.edit_seq DESC LIMIT 1), e.body)
      FROM events e
      JOIN conversations c ON c.key = e.conversation_key
      JOIN users u ON u.key = e.sender_key
     WHERE e.position = ANY($1) AND e.kind = $2 AND NOT e.hidden";

pub(super) async fn previews(
    session: Session<'_>,
    positions: &[Position],
) -> Result<Vec<Preview>, Failure> {
    let places: Vec<i64> = positions.iter().map(|it| signed(it.get())).collect();
    let kind = i16::from(EventKind::Message.number());
    let rows = session.rows(FIND_MESSAGES, &[&places, &kind]).await?;
    let mut found = Vec::new();
    for row in &rows {
        found.extend(preview(row)?);
    }
    Ok(found)
}

fn preview(row: &Row) -> Result<Option<Preview>, Failure> {
    let body: Vec<u8> = get(row, 4)?;
    let Some(text) = shown_text(&body)? else {
        return Ok(None);
    };
    Ok(Some(Preview {
        position: Position::new(get_count(row, 0)?),
        conversation: ConversationId::new(get_id(row, 1)?),
        seq: Seq::new(get_count(row, 2)?),
        sender: get(row, 3)?,
        text,
    }))
}
