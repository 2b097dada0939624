//! What is stored, to be compared with the server's log.

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
};
use rusqlite::{Connection, params};

use super::{Database, conversation_at, gaps, seq_at, stored};
use crate::{
    error::LocalError,
    model::{AuditConversation, AuditLine, content_digest},
};

impl Database {
    pub(crate) fn audit(&mut self) -> Result<Vec<AuditConversation>, LocalError> {
        let view = self.connection.transaction()?;
        let reaches: Vec<(ConversationId, Seq, Seq)> = view
            .prepare_cached("SELECT id, first_seq, next_seq FROM conversations ORDER BY id")?
            .query_map([], |row| {
                Ok((conversation_at(row, 0)?, seq_at(row, 1)?, seq_at(row, 2)?))
            })?
            .collect::<Result<_, _>>()?;
        reaches
            .into_iter()
            .map(|(id, first_seq, next)| {
                Ok(AuditConversation {
                    id,
                    first_seq,
                    head_seq: next.previous(),
                    events: lines(&view, id, next)?,
                    gaps: gaps::between(&view, id, Seq::ZERO, next)?,
                })
            })
            .collect()
    }
}

fn lines(
    connection: &Connection,
    id: ConversationId,
    below: Seq,
) -> Result<Vec<AuditLine>, LocalError> {
    let lines = connection
        .prepare_cached(
            "SELECT seq, message_id, sender, raw FROM events
              WHERE conversation = ?1 AND seq < ?2 ORDER BY seq",
        )?
        .query_map(params![id.bytes(), stored(below)], |row| {
            let raw: Vec<u8> = row.get(3)?;
            Ok(AuditLine {
                seq: seq_at(row, 0)?,
                message_id: row.get::<_, Option<_>>(1)?.map(MessageId::new),
                sender: row.get::<_, Option<_>>(2)?.map(UserId::new),
                digest: content_digest(&Bytes::from(raw)),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(lines)
}
