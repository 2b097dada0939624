//! The world as the checker sees it.

use magpie_audit::{
    self as audit, End, Epoch, Event, History, Invariant, Line, Membership, Record, judge,
};
use magpie_protocol::seq::Seq;

use super::{Broken, World, place::Place};

impl World {
    /// What everybody noted so far, and what the log holds. `settled`: the world
    /// was healthy for so long that all must have come right.
    #[must_use]
    pub fn history(&self, settled: bool) -> History {
        let devices = self.devices.iter().map(|it| {
            let mut notes = it.notes.clone();
            self.forgive_forged(&mut notes.lines);
            notes.end = Some(End {
                caught_up: settled,
                lines: notes.lines.len() as u64,
                waiting: it.local.unsent(),
                cursor: Place::open(&it.local.cursor).1.0,
                gaps: Vec::new(),
            });
            notes
        });
        let members = self
            .log
            .members()
            .flat_map(|((conversation, user), stretches)| {
                stretches.iter().map(move |(from, to)| Membership {
                    user,
                    conversation,
                    from: Seq::new(*from),
                    to: Some(Seq::new(*to)).filter(|to| to.get() != u64::MAX),
                })
            });
        let log = self.log.entries().map(|it| Event {
            place: audit::Place {
                conversation: it.conversation,
                seq: Seq::new(it.seq),
            },
            message_id: it.id,
            sender: Some(it.sender),
            digest: it.digest(),
        });
        let epochs = self.log.begun.iter().map(|it| Epoch {
            number: it.number,
            of: it.of,
            upto: it
                .upto
                .iter()
                .map(|(id, seq)| (*id, Seq::new(*seq)))
                .collect(),
        });
        History {
            devices: devices.collect(),
            members: members.collect(),
            log: Some(log.collect()),
            epochs: epochs.collect(),
            wakes: self.wakes.clone(),
            head: self.log.head().0,
            one_clock: true,
            settled,
        }
    }

    /// Takes out what others were told of a device because somebody else had said
    /// so in its name; the lines are numbered without a hole again.
    fn forgive_forged(&self, lines: &mut Vec<Line>) {
        let mut taken_out = Vec::new();
        lines.retain(|line| {
            let Record::DeliveredSeen { user, place } = &line.record else {
                return true;
            };
            let forged = self.forged.get(&(place.conversation, *user));
            let stays = forged.is_none_or(|forged| place.seq.get() > *forged);
            if !stays {
                taken_out.push(line.number);
            }
            stays
        });
        let renumber = |number: &mut u64| {
            *number -= taken_out.partition_point(|it| it <= number) as u64;
        };
        for line in lines {
            renumber(&mut line.number);
            if let Record::RolledBack { to } = &mut line.record {
                renumber(to);
            }
        }
    }

    /// Lets the checker look at everything so far.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn judge(&self, settled: bool) -> Result<(), Broken> {
        self.check_refused()?;
        let verdict = judge(&self.history(settled));
        match verdict.violations.first() {
            Some(first) => Err(Broken::new(promise(first.invariant), first.to_string())),
            None => Ok(()),
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all but one stand for what they say"
)]
const fn promise(invariant: Invariant) -> &'static str {
    match invariant {
        Invariant::I1 => "D1",
        other => other.promise(),
    }
}
