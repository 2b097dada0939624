//! What the passes look up: who sent what, who may read what, which epoch took
//! over what.

use std::collections::{HashMap, HashSet};

use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
};

use super::Tally;
use crate::{
    digest::Digest,
    history::{Device, Epoch, Event, History, Place, Record},
};

/// Later than every seq.
const OPEN: Seq = Seq::new(u64::MAX);

/// A request as its sender made it.
#[derive(Clone, Copy)]
pub(super) struct Sent<'history> {
    pub(super) device: &'history Device,
    pub(super) conversation: Option<ConversationId>,
    pub(super) digest: Digest,
}

/// An acceptance as its sender was told it.
#[derive(Clone, Copy)]
pub(super) struct Accepted<'history> {
    pub(super) device: &'history Device,
    pub(super) at: u64,
    pub(super) message_id: MessageId,
    pub(super) place: Place,
    pub(super) epoch: u64,
    /// The device does not remember it: its database went back behind it.
    pub(super) forgotten: bool,
}

pub(super) struct Facts<'history> {
    pub(super) history: &'history History,
    pub(super) sent: HashMap<MessageId, Sent<'history>>,
    pub(super) accepted: Vec<Accepted<'history>>,
    pub(super) refused: HashMap<MessageId, &'history Device>,
    entitled: HashMap<(UserId, ConversationId), Vec<(Seq, Seq)>>,
}

impl<'history> Facts<'history> {
    pub(super) fn new(history: &'history History) -> Self {
        let mut facts = Self {
            history,
            sent: HashMap::new(),
            accepted: Vec::new(),
            refused: HashMap::new(),
            entitled: HashMap::new(),
        };
        for device in &history.devices {
            let mine = facts.accepted.len();
            let mut numbers = Vec::new();
            for line in &device.lines {
                if let Record::RolledBack { to } = line.record {
                    let mine = facts.accepted.iter_mut().skip(mine);
                    for (accepted, number) in mine.zip(&numbers) {
                        accepted.forgotten |= *number > to;
                    }
                }
                facts.take(device, line.at, &line.record);
                if matches!(line.record, Record::Accepted { .. }) {
                    numbers.push(line.number);
                }
            }
        }
        for it in &history.members {
            let stretches = facts
                .entitled
                .entry((it.user, it.conversation))
                .or_default();
            stretches.push((it.from, it.to.unwrap_or(OPEN)));
        }
        for stretches in facts.entitled.values_mut() {
            stretches.sort_unstable();
        }
        facts
    }

    fn take(&mut self, device: &'history Device, at: u64, record: &Record) {
        if let Record::Sent {
            message_id,
            conversation,
            digest,
        } = record
        {
            self.sent.entry(*message_id).or_insert(Sent {
                device,
                conversation: *conversation,
                digest: *digest,
            });
        } else if let Record::Accepted {
            message_id,
            place,
            epoch,
        } = record
        {
            // An earlier attempt of what was refused has made it after all.
            self.refused.remove(message_id);
            self.accepted.push(Accepted {
                device,
                at,
                message_id: *message_id,
                place: *place,
                epoch: *epoch,
                forgotten: false,
            });
        } else if let Record::Refused { message_id } = record {
            self.refused.insert(*message_id, device);
        }
    }

    /// What the user may read of a conversation, ascending.
    pub(super) fn stretches(&self, user: UserId, conversation: ConversationId) -> &[(Seq, Seq)] {
        self.entitled
            .get(&(user, conversation))
            .map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_entitled(&self, user: UserId, place: Place) -> bool {
        self.stretches(user, place.conversation)
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&place.seq))
    }

    /// The first seq behind `seq` that the user may read.
    pub(super) fn next_entitled(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: Seq,
    ) -> Option<Seq> {
        self.stretches(user, conversation)
            .iter()
            .find(|(_, to)| *to > seq)
            .map(|(from, _)| seq.next().max(*from))
    }

    /// The last epoch.
    pub(super) fn epoch(&self) -> u64 {
        self.history.epochs.last().map_or(0, |it| it.number)
    }

    /// The epoch in which what stands at this place in `epoch` came to stand
    /// there: those between took it over, each of its backup's. 0 for the first.
    pub(super) fn era(&self, place: Place, epoch: u64) -> u64 {
        let took_over = |it: &Epoch| {
            let upto = it.upto.get(&place.conversation).copied();
            place.seq <= upto.unwrap_or(Seq::ZERO)
        };
        let mut of = epoch;
        for it in self.history.epochs.iter().rev() {
            if it.number == of {
                if !took_over(it) {
                    return it.number;
                }
                of = it.of;
            }
        }
        0
    }

    /// Whether what stood at this place in `epoch` still does in `later`.
    pub(super) fn survives(&self, place: Place, epoch: u64, later: u64) -> bool {
        self.era(place, epoch) == self.era(place, later)
    }

    pub(super) fn tally(&self) -> Tally {
        let accepted: HashSet<_> = self.accepted.iter().map(|it| it.message_id).collect();
        let log = self.history.log.as_deref().unwrap_or_default();
        let silent = |it: &&Event| {
            self.sent.contains_key(&it.message_id) && !accepted.contains(&it.message_id)
        };
        Tally {
            sent: self.sent.len() as u64,
            accepted: accepted.len() as u64,
            refused: self.refused.len() as u64,
            recovered: log.iter().filter(silent).count() as u64,
            ..Tally::default()
        }
    }
}

/// A moment, for a story.
pub(super) fn when(facts: &Facts<'_>, at: u64) -> String {
    if facts.history.one_clock {
        format!(" at {}.{:06} s", at / 1_000_000, at % 1_000_000)
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// D11: the second restore was of a backup made before the first one, and later
    /// than what that one took over.
    #[test]
    fn what_stood_in_a_history_that_was_undone_stands_in_no_later_one() {
        let chat = ConversationId::new([1; 16]);
        let place = |seq| Place {
            conversation: chat,
            seq: Seq::new(seq),
        };
        let epoch = |number, upto| Epoch {
            number,
            of: 0,
            upto: BTreeMap::from([(chat, Seq::new(upto))]),
        };
        let history = History {
            epochs: vec![epoch(1, 2), epoch(2, 4)],
            ..History::default()
        };
        let facts = Facts::new(&history);
        let eras = [1, 2].map(|in_epoch| [2, 3, 5].map(|seq| facts.era(place(seq), in_epoch)));
        assert_eq!(eras, [[0, 1, 1], [0, 0, 2]]);
        assert!(facts.survives(place(3), 0, 2));
        assert!(facts.survives(place(2), 1, 2));
        assert!(!facts.survives(place(3), 1, 2));
    }
}
