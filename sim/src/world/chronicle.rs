//! Which histories there were, and what a restore makes of the log.
//!
//! A backup knows the epochs that had begun when it was made, and no others. So a
//! restore undoes what began after its backup: of such a history the log knows
//! nothing, and nothing is certain of what it has in common with it.

use std::collections::BTreeMap;

use magpie_protocol::id::{ConversationId, UserId};

use super::{
    Mutant,
    log::{Entry, Log, Row},
    place::Place,
};

/// The first history, which no restore began.
pub(crate) const FIRST: u64 = 1;

/// The beginning of a history.
#[derive(Clone, Debug)]
pub(crate) struct Epoch {
    pub(crate) number: u64,
    /// The history that the backup was of.
    pub(crate) of: u64,
    pub(crate) base: Place,
    pub(crate) upto: BTreeMap<ConversationId, u64>,
    /// Commits before it.
    began: usize,
}

/// A copy of the store.
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    /// In the order of commit.
    entries: Vec<Entry>,
    epochs: Vec<Epoch>,
}

impl Backup {
    /// The copy that was made when there were so many commits less.
    fn without_last(mut self, lost: usize) -> Self {
        let keep = self.entries.len().saturating_sub(lost);
        self.entries.truncate(keep);
        self.epochs.retain(|it| it.began <= keep);
        self
    }
}

impl Log {
    pub(crate) fn epoch(&self) -> u64 {
        self.epochs.last().map_or(FIRST, |it| it.number)
    }

    fn back_up(&self) -> Backup {
        Backup {
            entries: self.entries_in_order().collect(),
            epochs: self.epochs.clone(),
        }
    }

    /// The last `lost` commits were never written: [`Mutant::AnswersBeforeCommit`].
    pub(crate) fn forget(&mut self, lost: usize) {
        let epochs = self.epochs.clone();
        let backup = self.back_up().without_last(lost);
        self.put_back(Backup { epochs, ..backup }, Place::lower_of);
    }

    /// Whether there is a copy of the history that the last restore ended.
    pub(crate) const fn has_former(&self) -> bool {
        self.former.is_some()
    }

    /// The store is a copy of `lost` commits before, or, if it `is_former`, of so
    /// many before the end of the history that the last restore ended. A new epoch
    /// begins there.
    pub(crate) fn restore(&mut self, lost: usize, is_former: bool, mutant: Mutant) {
        let now = self.back_up();
        let former = self.former.take().filter(|_| is_former);
        let backup = former.map_or_else(|| now.clone(), |it| *it);
        // What a device had confirmed of the history before says nothing of what it
        // holds of this one: whoever sleeps is woken, and asks.
        let confirmed: fn(&Place, &Place) -> Place = if mutant == Mutant::TrustsRestoredCursors {
            Place::lower_of
        } else {
            |_, _| Place::default()
        };
        self.put_back(backup.without_last(lost), confirmed);
        self.former = Some(Box::new(now));
        if mutant == Mutant::RestoresSilently {
            return;
        }
        let epoch = Epoch {
            number: self.begun.last().map_or(FIRST, |it| it.number) + 1,
            of: self.epoch(),
            base: self.head(),
            upto: self.heads.clone(),
            began: self.length(),
        };
        self.begun.push(epoch.clone());
        self.epochs.push(epoch);
    }

    fn put_back(&mut self, backup: Backup, confirmed: fn(&Place, &Place) -> Place) {
        let rows = std::mem::take(&mut self.rows);
        let begun = std::mem::take(&mut self.begun);
        *self = Self::new(self.shard_count(), std::mem::take(&mut self.founders));
        for entry in backup.entries {
            let (position, seq) = self.reserve(entry.conversation);
            debug_assert_eq!(seq, entry.seq, "a prefix is dense");
            self.place(self.shard(entry.conversation), position, entry);
        }
        self.epochs = backup.epochs;
        self.begun = begun;
        let head = self.head();
        // The generations go on: what an older connection says counts for nothing.
        self.rows = rows
            .into_iter()
            .map(|(device, row)| {
                let row = Row {
                    generation: row.generation + 1,
                    confirmed: confirmed(&row.confirmed, &head),
                    lowered: false,
                    woken: None,
                };
                (device, row)
            })
            .collect();
    }

    /// Where a device goes on that comes with this cursor, and holds events of the
    /// history `held` if that is another one.
    pub(crate) fn resume(
        &self,
        held: Option<u64>,
        (epoch, place): (u64, Place),
        mutant: Mutant,
    ) -> Place {
        if mutant == Mutant::QueuePerSession {
            self.head()
        } else if epoch == self.epoch() {
            place.lower_of(&self.head())
        } else if held == Some(epoch) {
            place.lower_of(&self.common(epoch, mutant))
        } else {
            Place::default()
        }
    }

    /// Up to where this history has what the one of the epoch `held` had: the
    /// lowest base since then.
    pub(crate) fn common(&self, held: u64, mutant: Mutant) -> Place {
        let head = self.head();
        let is_known = held == FIRST || self.epochs.iter().any(|it| it.number == held);
        if mutant == Mutant::HeadInsteadOfBase {
            head
        } else if mutant == Mutant::LastBaseOnly {
            self.epochs.last().map_or(head, |it| it.base.clone())
        } else if is_known || mutant == Mutant::TakesUndoneEpochForKnown {
            let newer = self.epochs.iter().filter(|it| it.number > held);
            newer.fold(head, |common, it| common.lower_of(&it.base))
        } else {
            Place::default()
        }
    }

    /// What a device that holds the history `held` is told of each of a user's
    /// conversations: its first seq for them, and the last one that is common.
    pub(crate) fn in_common(
        &self,
        user: UserId,
        held: u64,
        mutant: Mutant,
    ) -> Vec<(ConversationId, u64, u64)> {
        let place = self.common(held, mutant);
        self.members()
            .filter(|((_, member), _)| *member == user)
            .filter_map(|((conversation, _), stretches)| {
                let (first, _) = stretches.first()?;
                Some((conversation, *first, self.seq_at(conversation, &place)))
            })
            .collect()
    }

    /// The last seq of a conversation up to a place.
    fn seq_at(&self, conversation: ConversationId, place: &Place) -> u64 {
        let shard = self.shard(conversation);
        (1..=place.at(shard))
            .rev()
            .filter_map(|position| self.entry(shard, position))
            .find(|it| it.conversation == conversation)
            .map_or(0, |it| it.seq)
    }
}
