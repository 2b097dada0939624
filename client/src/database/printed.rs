//! What was shown to the person already.

use magpie_protocol::{id::ConversationId, seq::Seq};
use rusqlite::params;

use super::{Database, events::event_at, stored};
use crate::{error::LocalError, types::StoredEvent};

/// Commit time never falls within a conversation, so this order is that of seq
/// there.
const UNPRINTED: &str = "
    SELECT events.conversation, events.raw
      FROM conversations
      JOIN events ON events.conversation = conversations.id
                 AND events.seq > conversations.printed_seq
     WHERE conversations.next_seq - 1 > conversations.printed_seq
       AND events.printable = 1
       AND events.seq < coalesce(
               (SELECT min(from_seq) FROM gaps
                 WHERE gaps.conversation = conversations.id AND gaps.kind = 1),
               conversations.next_seq)
     ORDER BY events.committed_at_ms, events.conversation, events.seq
     LIMIT ?1";

/// An older mark changes nothing.
const ADVANCE_PRINTED: &str = "
    UPDATE conversations SET printed_seq = ?2 WHERE id = ?1 AND printed_seq < ?2";

impl Database {
    pub(crate) fn unprinted(&self, limit: usize) -> Result<Vec<StoredEvent>, LocalError> {
        let events = self
            .connection
            .prepare_cached(UNPRINTED)?
            .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], event_at)?
            .collect::<Result<_, _>>()?;
        Ok(events)
    }

    pub(crate) fn mark_printed(
        &mut self,
        marks: &[(ConversationId, Seq)],
    ) -> Result<(), LocalError> {
        let transaction = self.write()?;
        for (conversation, seq) in marks {
            transaction
                .prepare_cached(ADVANCE_PRINTED)?
                .execute(params![conversation.bytes(), stored(*seq)])?;
        }
        transaction.commit()?;
        Ok(())
    }
}
