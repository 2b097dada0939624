//! What is pinned: as the description says it, and as events change it from there on.

use magpie_protocol::{id::ConversationId, seq::Seq};
use rusqlite::{Transaction, params};

use super::{Database, events::event_at, seq_at, states, stored};
use crate::{error::LocalError, model::PinnedMessage};

/// Takes over what a description says.
pub(super) fn describe(
    transaction: &Transaction<'_>,
    id: ConversationId,
    seqs: &[u64],
) -> Result<(), LocalError> {
    transaction
        .prepare_cached("DELETE FROM pins WHERE conversation = ?1")?
        .execute([id.bytes()])?;
    for seq in seqs {
        set(transaction, id, Seq::new(*seq), true)?;
    }
    Ok(())
}

/// The message is pinned now, or is not.
pub(super) fn set(
    transaction: &Transaction<'_>,
    id: ConversationId,
    seq: Seq,
    pinned: bool,
) -> Result<(), LocalError> {
    let sql = match pinned {
        true => "INSERT INTO pins (conversation, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        false => "DELETE FROM pins WHERE conversation = ?1 AND seq = ?2",
    };
    transaction
        .prepare_cached(sql)?
        .execute(params![id.bytes(), stored(seq)])?;
    Ok(())
}

/// Those that the user may read and has not hidden. Who joined later is told of pins of what
/// came before, too.
const FIND_PINS: &str = "
    SELECT p.seq FROM pins p JOIN conversations c ON c.id = p.conversation
     WHERE p.conversation = ?1 AND p.seq >= c.first_seq AND c.last_seq = 0
       AND NOT EXISTS (SELECT 1 FROM settings
                        WHERE settings.kind = 2 AND about = ?1 AND about_seq = p.seq)
     ORDER BY p.seq";

impl Database {
    pub(crate) fn pins(
        &mut self,
        conversation: ConversationId,
    ) -> Result<Vec<PinnedMessage>, LocalError> {
        let view = self.connection.transaction()?;
        let id = conversation.bytes();
        let seqs: Vec<Seq> = view
            .prepare_cached(FIND_PINS)?
            .query_map([id], |row| seq_at(row, 0))?
            .collect::<Result<_, _>>()?;
        let mut pins = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let mut found: Vec<_> = view
                .prepare_cached(
                    "SELECT conversation, raw FROM events WHERE conversation = ?1 AND seq = ?2",
                )?
                .query_map(params![id, stored(seq)], event_at)?
                .collect::<Result<_, _>>()?;
            states::fill(&view, &mut found)?;
            pins.push(PinnedMessage {
                seq,
                event: found.pop(),
            });
        }
        Ok(pins)
    }
}
