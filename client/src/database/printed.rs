//! What was shown to the person already.

use magpie_protocol::{id::ConversationId, seq::Seq};
use rusqlite::params;

use super::{Database, conversation_at, events::event_at, states, stored};
use crate::{error::LocalError, model::StoredEvent};

const WITH_NEWS: &str = "
    SELECT id FROM conversations WHERE next_seq - 1 > printed_seq AND kind <> 3 ORDER BY id";

const UNPRINTED: &str = "
    SELECT events.conversation, events.raw
      FROM conversations
      JOIN events ON events.conversation = conversations.id
                 AND events.seq > conversations.printed_seq
     WHERE conversations.id = ?1
       AND events.printable = 1 AND events.kind <> 40
       AND NOT EXISTS (SELECT 1 FROM settings
                        WHERE settings.kind = 2 AND about = ?1 AND about_seq = events.seq)
       AND events.seq < coalesce(
               (SELECT min(from_seq) FROM gaps
                 WHERE gaps.conversation = conversations.id AND gaps.kind = 1),
               conversations.next_seq)
     ORDER BY events.seq
     LIMIT ?2";

/// An older mark changes nothing; nor does one of what was dropped meanwhile.
const ADVANCE_PRINTED: &str = "
    UPDATE conversations SET printed_seq = ?2
     WHERE id = ?1 AND printed_seq < ?2
       AND EXISTS (SELECT 1 FROM events WHERE conversation = ?1 AND seq = ?2)";

impl Database {
    pub(crate) fn unprinted(&mut self, limit: usize) -> Result<Vec<StoredEvent>, LocalError> {
        let view = self.connection.transaction()?;
        let with_news: Vec<ConversationId> = view
            .prepare_cached(WITH_NEWS)?
            .query_map([], |row| conversation_at(row, 0))?
            .collect::<Result<_, _>>()?;
        let mut events: Vec<(i64, StoredEvent)> = Vec::new();
        for id in with_news {
            let room = i64::try_from(limit.saturating_sub(events.len())).unwrap_or(i64::MAX);
            let mut ask = view.prepare_cached(UNPRINTED)?;
            let mut at_ms = i64::MIN;
            for event in ask.query_map(params![id.bytes(), room], event_at)? {
                let mut event = event?;
                states::mark_sender(&view, &mut event)?;
                // Within a conversation commit time never falls, or should not.
                at_ms = at_ms.max(event.committed_at_ms);
                events.push((at_ms, event));
            }
            if events.len() >= limit {
                break;
            }
        }
        // The sort is stable: within a conversation, this order is that of seq.
        events.sort_by_key(|(at_ms, _)| *at_ms);
        Ok(events.into_iter().map(|(_, event)| event).collect())
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
