//! The end of a run, and what is about more than one device: marks and wakes.

use std::collections::{HashMap, HashSet};

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Seq,
};

use super::{
    Findings,
    Invariant::{I8, I10, I11, I17},
    Kind,
    device::Walked,
    facts::{Facts, when},
};
use crate::history::{Device, Place, Record, Wake};

/// The notes are whole, nothing vanished from them, and if the world was healthy
/// for long enough, nothing is left to do.
pub(super) fn comes_right(facts: &Facts<'_>, walked: &[Walked], findings: &mut Findings) {
    let accepted: HashSet<_> = facts.accepted.iter().map(|it| it.message_id).collect();
    for (device, walked) in facts.history.devices.iter().zip(walked) {
        notes_are_whole(device, findings);
        let Some(end) = &device.end else { continue };
        let waiting: HashSet<_> = end.waiting.iter().copied().collect();
        let stored: HashSet<_> = walked
            .store
            .values()
            .flat_map(|events| events.values().map(|it| it.message_id))
            .collect();
        for (number, id) in &walked.sent {
            let is_told = accepted.contains(id)
                || facts.refused.contains_key(id)
                || waiting.contains(id)
                || stored.contains(id);
            if !is_told {
                findings.push(Kind::Lost, I17, || {
                    let who = &device.name;
                    vec![
                        format!("{who} was asked to send message {id} (line {number})"),
                        format!("{who} shows it neither as sent, nor as failed, nor as waiting"),
                    ]
                });
            }
        }
        if !facts.history.settled {
            continue;
        }
        for id in waiting.iter().filter(|id| !facts.refused.contains_key(*id)) {
            findings.push(Kind::Stuck, I8, || {
                vec![format!("{} still waits to send message {id}", device.name)]
            });
        }
        let at = |index: usize| end.cursor.get(index).copied().unwrap_or_default();
        let heads = facts.history.head.iter().enumerate();
        if !end.caught_up || heads.into_iter().any(|(index, head)| at(index) < *head) {
            findings.push(Kind::Stuck, I8, || {
                let (cursor, head) = (&end.cursor, &facts.history.head);
                vec![format!(
                    "{} stays at {cursor:?}, the log ends at {head:?}",
                    device.name
                )]
            });
        }
    }
}

fn notes_are_whole(device: &Device, findings: &mut Findings) {
    let written = device.end.as_ref().map(|end| end.lines);
    let mut expected = 0;
    let cut = device.lines.iter().find(|line| {
        expected += 1;
        line.number != expected
    });
    let last = device.lines.len() as u64;
    if let Some(line) = cut {
        findings.push(Kind::Gap, I17, || {
            vec![format!(
                "{}'s notes are cut before line {}",
                device.name, line.number
            )]
        });
    } else if written.is_some_and(|written| written != last) {
        findings.push(Kind::Gap, I17, || {
            vec![format!("{}'s notes end at line {last}", device.name)]
        });
    }
}

/// Running maxima over time, of what each user's devices set or stored.
#[derive(Default)]
struct Reached(HashMap<(UserId, ConversationId), Vec<(u64, Seq)>>);

impl Reached {
    fn add(&mut self, user: UserId, at: u64, place: Place) {
        let steps = self.0.entry((user, place.conversation)).or_default();
        steps.push((at, place.seq));
    }

    fn finish(mut self) -> Self {
        for steps in self.0.values_mut() {
            steps.sort_unstable();
            let mut highest = Seq::ZERO;
            for (_, seq) in steps {
                highest = highest.max(*seq);
                *seq = highest;
            }
        }
        self
    }

    /// The highest up to `at`; at any time if `at` is `None`.
    fn upto(&self, user: UserId, conversation: ConversationId, at: Option<u64>) -> Seq {
        let Some(steps) = self.0.get(&(user, conversation)) else {
            return Seq::ZERO;
        };
        let end = at.map_or(steps.len(), |at| steps.partition_point(|(it, _)| *it <= at));
        let last = end.checked_sub(1).and_then(|index| steps.get(index));
        last.map_or(Seq::ZERO, |(_, seq)| *seq)
    }
}

/// Others see of a user's marks only what a device of that user has set or
/// stored before.
pub(super) fn marks_say_what_happened(facts: &Facts<'_>, findings: &mut Findings) {
    let (mut read, mut stored) = (Reached::default(), Reached::default());
    for device in &facts.history.devices {
        for line in &device.lines {
            if let Record::ReadSet(place) = &line.record {
                read.add(device.user, line.at, *place);
            } else if let Record::Stored { event, .. } = &line.record {
                stored.add(device.user, line.at, event.place);
            } else if let Record::Accepted { place, .. } = &line.record {
                // A sender has what it sent.
                stored.add(device.user, line.at, *place);
            }
        }
    }
    let (read, stored) = (read.finish(), stored.finish());
    for device in &facts.history.devices {
        for line in &device.lines {
            let (user, place, reached, did) = if let Record::ReadSeen { user, place } = &line.record
            {
                (*user, *place, &read, "read")
            } else if let Record::DeliveredSeen { user, place } = &line.record {
                (*user, *place, &stored, "stored")
            } else {
                continue;
            };
            let at = facts.history.one_clock.then_some(line.at);
            let reached = reached.upto(user, place.conversation, at);
            if place.seq > reached {
                findings.push(Kind::Phantom, I10, || {
                    vec![
                        format!("user {user} had {did} up to seq {reached}"),
                        format!(
                            "{} showed{} that it is {did} up to {place}",
                            device.name,
                            when(facts, line.at)
                        ),
                    ]
                });
            }
        }
    }
}

/// A wake is for a device that has something to fetch, and there is one at a
/// time (D8).
pub(super) fn wakes_have_a_reason(facts: &Facts<'_>, findings: &mut Findings) {
    let mut last: HashMap<usize, Wake> = HashMap::new();
    for wake in &facts.history.wakes {
        let before = last.insert(wake.device, *wake);
        let name = facts.history.devices.get(wake.device);
        let name = name.map_or("a device", |it| it.name.as_str());
        let woken = || {
            let (at, owed) = (when(facts, wake.at), wake.owed);
            format!("{name} was woken{at} for position {owed}")
        };
        if wake.owed <= wake.confirmed {
            findings.push(Kind::UnsoundWake, I11, || {
                vec![
                    format!("{name} had confirmed position {}", wake.confirmed),
                    woken(),
                ]
            });
        } else if let Some(before) = before
            && !wake.again
            && wake.epoch == before.epoch
            && wake.confirmed < before.owed
        {
            findings.push(Kind::UnsoundWake, I11, || {
                vec![
                    format!("a wake for position {} was not answered yet", before.owed),
                    woken(),
                ]
            });
        }
    }
}
