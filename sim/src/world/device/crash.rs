//! What a device loses with its connection, its process or its database.

use magpie_audit::Record;
use magpie_protocol::{id::MessageId, moment::Moment, outbox::Outbox};

use super::{Device, Mutant};

impl Device {
    /// The connection is gone; what arrived and was not stored is gone with it.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a mutant is an exception to a rule for all others"
    )]
    pub(crate) fn lose_connection(&mut self, mutant: Mutant) {
        self.link = None;
        match mutant {
            Mutant::SkipsResend => {
                let waiting = self.unsent();
                self.outbox = Outbox::default();
                waiting.into_iter().for_each(|id| self.outbox.push(id));
            }
            Mutant::ResendsLast => {
                let waiting = self.unsent();
                self.read_outbox(mutant);
                let first = self.unsent();
                self.outbox = Outbox::default();
                waiting
                    .into_iter()
                    .chain(first)
                    .for_each(|id| self.outbox.push(id));
            }
            Mutant::ResendsAnew => {
                for pending in &mut self.local.outbox {
                    let mut bytes = pending.id.bytes();
                    bytes[8] = bytes[8].wrapping_add(1);
                    pending.id = MessageId::new(bytes);
                }
                self.read_outbox(mutant);
            }
            // An epoch may have put back what was accepted: read it anew.
            _ => self.read_outbox(mutant),
        }
    }

    /// What has not left on the connection that is gone.
    fn unsent(&mut self) -> Vec<MessageId> {
        let mut waiting = Vec::new();
        while let Some(id) = self.outbox.next() {
            waiting.push(id);
            self.outbox.remove(id);
        }
        waiting
    }

    pub(super) fn read_outbox(&mut self, mutant: Mutant) {
        let mut order: Vec<MessageId> = self.local.outbox.iter().map(|it| it.id).collect();
        if mutant == Mutant::OrdersByTheClock {
            order.sort();
        }
        self.outbox.connection_lost();
        let stays =
            order.len() == self.outbox.len() && self.outbox.next() == order.first().copied();
        if !stays {
            self.outbox = Outbox::default();
            order.into_iter().for_each(|id| self.outbox.push(id));
        }
    }

    /// The process is killed and started again: only the database is left.
    pub(crate) fn crash(&mut self, now: Moment, mutant: Mutant) {
        self.link = None;
        self.outbox = Outbox::default();
        self.read_outbox(mutant);
        self.note(now, Record::Restarted);
    }

    pub(crate) fn back_up(&mut self) {
        let lines = self.notes.lines.len() as u64;
        self.backup = Some(Box::new((self.local.clone(), lines)));
    }

    /// The database is as it was when it was copied; without a copy, it is new.
    pub(crate) fn roll_back(&mut self, now: Moment, mutant: Mutant) {
        let (local, to) = self.backup.as_deref().cloned().unwrap_or_default();
        self.local = local;
        // Whoever does that has the app in front of them.
        (self.asleep, self.fresh) = (false, true);
        self.note(now, Record::RolledBack { to });
        self.crash(now, mutant);
    }
}
