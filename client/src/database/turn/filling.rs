//! Gaps, as they are found and filled.

use magpie_protocol::{id::ConversationId, seq::Seq};

use super::{Origin, Worker};
use crate::{
    database::{
        NewEvent,
        conversations::{self, Reach},
        epochs, events, gaps,
    },
    error::LocalError,
    model::Gap,
};

impl Worker<'_> {
    pub(super) fn filled(
        &mut self,
        gap: Gap,
        events: &[NewEvent],
        complete: bool,
    ) -> Result<usize, LocalError> {
        let mut count = 0;
        if !epochs::is_taken_over(self.transaction, &self.me, gap.conversation)? {
            // Events of one history, in a gap of another.
            return Ok(count);
        }
        let inside = |event: &&NewEvent| {
            event.conversation == gap.conversation && (gap.from..=gap.to).contains(&event.seq)
        };
        let origin = Origin::Filled {
            on_demand: gap.on_demand,
        };
        let (mut lowest, mut highest) = (gap.to.next(), gap.from.previous());
        for event in events.iter().filter(inside) {
            count += usize::from(self.take(event, origin)?);
            lowest = lowest.min(event.seq);
            highest = highest.max(event.seq);
        }
        self.gaps_changed = true;
        // Towards the end that was asked for, there is no more.
        let reached_end = complete || lowest > highest;
        if gap.on_demand {
            if reached_end {
                let to = lowest.previous();
                gaps::cover(self.transaction, gap.conversation, gap.from, to)?;
            }
        } else {
            let answered_to = if reached_end { gap.to } else { highest };
            // Inside what was answered and still not here: it is no use to ask
            // at once again, and it must not be skipped in silence.
            gaps::demote_inside(self.transaction, gap, answered_to)?;
        }
        self.show_from(gap.conversation, gap.from)?;
        Ok(count)
    }

    /// Opens a gap, around own events that are stored inside it.
    pub(super) fn open_gap(
        &mut self,
        id: ConversationId,
        from: Seq,
        to: Seq,
        kind: i64,
    ) -> Result<(), LocalError> {
        gaps::open(self.transaction, id, from, to, kind)?;
        for seq in events::seqs_between(self.transaction, id, from, to)? {
            gaps::cover(self.transaction, id, seq, seq)?;
        }
        self.gaps_changed = true;
        Ok(())
    }

    /// The server has sent all it had: what it described and did not send is
    /// history to be fetched on demand.
    pub(super) fn settle_descriptions(&mut self) -> Result<(), LocalError> {
        for (id, head) in conversations::described_alone(self.transaction)? {
            let reach = conversations::reach(self.transaction, id)?.unwrap_or(Reach::UNKNOWN);
            self.open_gap(id, reach.next, head, gaps::ON_DEMAND)?;
            conversations::advance(self.transaction, id, head.next(), reach.ahead)?;
        }
        Ok(())
    }

    /// The server has gone on past own events whose predecessors did not come.
    pub(super) fn settle_events_ahead(&mut self) -> Result<(), LocalError> {
        for id in conversations::with_events_ahead(self.transaction)? {
            let reach = conversations::reach(self.transaction, id)?.unwrap_or(Reach::UNKNOWN);
            self.open_gap(id, reach.next, reach.ahead, gaps::MISSING)?;
            conversations::advance(self.transaction, id, reach.ahead.next(), reach.ahead)?;
            self.touch(id, reach.next, reach.ahead);
        }
        Ok(())
    }

    /// What was held back above a gap can be shown.
    pub(super) fn show_from(&mut self, id: ConversationId, from: Seq) -> Result<(), LocalError> {
        if let Some(reach) = conversations::reach(self.transaction, id)? {
            self.touch(id, from, reach.next.previous());
        }
        self.gaps_changed = true;
        Ok(())
    }
}
