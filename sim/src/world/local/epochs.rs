//! Taking over another history, conversation by conversation.
//!
//! Until the page that says that all has come, the device holds something of both
//! histories and goes on calling itself one of the old one: whatever ends it in
//! between, the next connection begins with the same question.

use magpie_audit::Record;
use magpie_protocol::{id::ConversationId, seq::Seq};

use super::{Local, Notes, Pending};
use crate::world::{Context, Mutant};

impl Local {
    /// The history that the server was last heard to serve.
    pub(crate) const fn served(&self) -> u64 {
        if self.takes_over() {
            self.next_epoch
        } else {
            self.epoch
        }
    }

    /// Whether it holds something of another history than the server's. Then
    /// nothing leaves: what it has yet to put back into the outbox comes first.
    pub(crate) const fn takes_over(&self) -> bool {
        self.next_epoch != 0
    }

    /// What a hello calls the history whose events it holds.
    pub(crate) fn named(&self, mutant: Mutant) -> u64 {
        if mutant == Mutant::NamesEpochTooSoon {
            self.served()
        } else {
            self.epoch
        }
    }

    /// The server's history has a name. If it is another one than before, it is
    /// taken over with the pages that follow; what was taken over of a third one
    /// between them is undone.
    pub(crate) fn welcome(
        &mut self,
        epoch: u64,
        generation: u64,
        context: Context,
        notes: &mut Notes<'_>,
    ) {
        notes.note(Record::Welcome { epoch, generation });
        self.generation = generation;
        let served = self.served();
        if served == epoch {
            return;
        }
        if served == 0 || context.mutant == Mutant::TrustsOldEpoch {
            self.epoch = epoch;
            return;
        }
        for (conversation, common) in std::mem::take(&mut self.taken_over) {
            self.drop_above(conversation, common, notes);
        }
        self.next_epoch = epoch;
    }

    /// The histories have everything of a conversation in common up to a seq.
    pub(super) fn take_over(
        &mut self,
        conversation: ConversationId,
        common: u64,
        notes: &mut Notes<'_>,
    ) {
        if self.takes_over() && !self.taken_over.contains_key(&conversation) {
            self.drop_above(conversation, common, notes);
            self.taken_over.insert(conversation, common);
        }
    }

    /// All of the history has come. Conversations that it did not show are not in it.
    pub(super) fn finish(&mut self, notes: &mut Notes<'_>) {
        if !self.takes_over() {
            return;
        }
        let taken_over = std::mem::take(&mut self.taken_over);
        let all: Vec<_> = self.reach.keys().copied().collect();
        for conversation in all {
            if !taken_over.contains_key(&conversation) {
                self.drop_above(conversation, 0, notes);
            }
        }
        self.epoch = std::mem::take(&mut self.next_epoch);
    }

    /// Drops what stands above a seq; own messages among it wait again, in front
    /// and under their old ids.
    fn drop_above(&mut self, conversation: ConversationId, above: u64, notes: &mut Notes<'_>) {
        if let Some(reach) = self.reach.get_mut(&conversation) {
            reach.next = reach.next.min(above + 1);
            reach.shown = reach.shown.min(above + 1);
        }
        self.store
            .retain(|(it, seq), _| *it != conversation || *seq <= above);
        self.by_id
            .retain(|_, (it, seq)| *it != conversation || *seq <= above);
        self.latest
            .retain(|it, (seq, _)| *it != conversation || *seq <= above);
        let is_forgotten =
            |it: &mut super::Acked| it.pending.conversation == conversation && it.seq > above;
        let forgotten: Vec<Pending> = self
            .acked
            .extract_if(.., is_forgotten)
            .map(|it| it.pending)
            .collect();
        for pending in forgotten.into_iter().rev() {
            self.outbox.push_front(pending);
        }
        notes.note(Record::Dropped {
            conversation,
            above: Seq::new(above),
        });
    }
}
