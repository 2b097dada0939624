//! Who has what by now: asked to find out whether everybody has caught up.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use magpie_audit::Place;
use magpie_client::{ConversationId, Seq};

type Reached = HashMap<ConversationId, Seq>;

/// Of all devices, by their numbers.
#[derive(Debug)]
pub(super) struct Board {
    heads: Mutex<Reached>,
    seats: Vec<Seat>,
    /// A device has ended, for a reason of its own.
    is_lost: AtomicBool,
}

/// Of one device. Its messages are counted 1, 2, 3, ...
#[derive(Debug, Default)]
struct Seat {
    shown: Mutex<Reached>,
    /// Handed in.
    sent: AtomicU64,
    /// Of these, answered.
    answered: AtomicU64,
    /// Of these, seen by another device: committed.
    seen: AtomicU64,
}

/// What all must have: that is to have caught up.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    heads: Reached,
    sent: Vec<u64>,
}

impl Board {
    pub(super) fn new(devices: usize) -> Self {
        Self {
            heads: Mutex::default(),
            seats: (0..devices).map(|_| Seat::default()).collect(),
            is_lost: AtomicBool::new(false),
        }
    }

    /// This user's device must show this conversation.
    pub(super) fn belongs(&self, device: usize, conversation: ConversationId) {
        if let Some(seat) = self.seats.get(device) {
            lock(&seat.shown).entry(conversation).or_default();
        }
    }

    /// A message is in the log.
    pub(super) fn is_committed(&self, place: Place) {
        rise(&self.heads, place);
    }

    pub(super) fn has_shown(&self, device: usize, place: Place) {
        if let Some(seat) = self.seats.get(device) {
            rise(&seat.shown, place);
        }
        rise(&self.heads, place);
    }

    /// A device shows another's message.
    pub(super) fn has_seen(&self, sender: usize, count: u64) {
        if let Some(seat) = self.seats.get(sender) {
            seat.seen.fetch_max(count, Ordering::SeqCst);
        }
    }

    pub(super) fn has_sent(&self, device: usize) {
        if let Some(seat) = self.seats.get(device) {
            seat.sent.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(super) fn is_answered(&self, device: usize) {
        if let Some(seat) = self.seats.get(device) {
            seat.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// So many of its messages have no answer yet.
    pub(super) fn waits_for(&self, device: usize, count: u64) {
        if let Some(seat) = self.seats.get(device) {
            let sent = seat.sent.load(Ordering::SeqCst);
            let answered = sent.saturating_sub(count);
            seat.answered.store(answered, Ordering::SeqCst);
        }
    }

    /// A device has ended, and there is nothing to wait for any more.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::SeqCst)
    }

    pub(super) fn lose(&self) {
        self.is_lost.store(true, Ordering::SeqCst);
    }

    /// Its answers up to here will not come: whoever waited for them is dead.
    pub(super) fn will_not_be_answered(&self, device: usize) {
        if let Some(seat) = self.seats.get(device) {
            let sent = seat.sent.load(Ordering::SeqCst);
            seat.answered.fetch_max(sent, Ordering::SeqCst);
        }
    }

    /// A message of this device is committed, and it was not told.
    pub(super) fn has_untold(&self, device: usize) -> bool {
        self.seats.get(device).is_some_and(|seat| {
            seat.seen.load(Ordering::SeqCst) > seat.answered.load(Ordering::SeqCst)
        })
    }

    /// How many messages of this device were answered.
    pub(super) fn answered_of(&self, device: usize) -> u64 {
        let seat = self.seats.get(device);
        seat.map_or(0, |seat| seat.answered.load(Ordering::SeqCst))
    }

    /// How many messages were answered.
    pub(super) fn answered(&self) -> u64 {
        let answered = self.seats.iter();
        answered
            .map(|seat| seat.answered.load(Ordering::SeqCst))
            .sum()
    }

    /// All that there is now.
    pub(super) fn goal(&self) -> Goal {
        Goal {
            heads: lock(&self.heads).clone(),
            sent: self
                .seats
                .iter()
                .map(|seat| seat.sent.load(Ordering::SeqCst))
                .collect(),
        }
    }

    /// What this device has not got, as a sentence; `None`: it has it all.
    pub(super) fn lacks(&self, device: usize, goal: &Goal) -> Option<String> {
        let (seat, sent) = self.seats.get(device).zip(goal.sent.get(device))?;
        let answered = seat.answered.load(Ordering::SeqCst);
        if answered < *sent {
            let open = sent - answered;
            return Some(format!("device {device} waits for {open} answers"));
        }
        let shown = lock(&seat.shown);
        let mut behind = shown.iter().filter_map(|(id, seq)| {
            let head = goal.heads.get(id).filter(|head| seq < head)?;
            Some(format!(
                "device {device} shows conversation {id} up to seq {seq}, which goes up to {head}"
            ))
        });
        behind.next()
    }

    /// Whether this device has it all.
    pub(super) fn has_reached(&self, device: usize, goal: &Goal) -> bool {
        self.lacks(device, goal).is_none()
    }

    /// What each of those who have not got it all has not got.
    pub(super) fn lacking(&self, goal: &Goal) -> Vec<String> {
        (0..self.seats.len())
            .filter_map(|device| self.lacks(device, goal))
            .collect()
    }

    /// Whether everybody has it all.
    pub(super) fn have_all_reached(&self, goal: &Goal) -> bool {
        (0..self.seats.len()).all(|device| self.has_reached(device, goal))
    }
}

fn rise(reached: &Mutex<Reached>, place: Place) {
    let mut reached = lock(reached);
    let seq = reached.entry(place.conversation).or_default();
    *seq = place.seq.max(*seq);
}

fn lock(reached: &Mutex<Reached>) -> MutexGuard<'_, Reached> {
    reached.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64) -> Place {
        Place {
            conversation: ConversationId::new([1; 16]),
            seq: Seq::new(seq),
        }
    }

    #[test]
    fn nobody_has_caught_up_before_all_show_everything_and_are_answered() {
        let board = Board::new(2);
        (0..2).for_each(|device| board.belongs(device, place(0).conversation));
        board.has_sent(0);
        let goal = board.goal();
        assert!(!board.have_all_reached(&goal), "it has no answer");
        board.is_answered(0);
        board.is_committed(place(1));
        assert!(
            board.have_all_reached(&goal),
            "what came later is not asked"
        );
        let goal = board.goal();
        board.has_shown(0, place(1));
        assert!(!board.have_all_reached(&goal), "the other does not show it");
        board.has_shown(1, place(1));
        assert!(board.have_all_reached(&goal));
    }
}
