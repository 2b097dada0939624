//! Events of one shard for which it is not decided yet who is woken: a cache of
//! the log behind the durable wake cursor, read again after a crash.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use magpie_protocol::{id::ConversationId, seq::Position};

use crate::store::{DEADLINE_MS_MAX, WorthyEvent, WorthyStretch};

/// Events that may be undecided: more are not read. A device that somebody looks at has
/// 15 s to confirm, so this is 3,000 messages a second to those who are connected, in as
/// many conversations; about 20 MB.
const UNDECIDED_MAX: usize = 50_000;

/// Conversations that rest at once; further ones are looked at each time.
const RESTING_MAX: usize = 10_000;

/// What is further ahead than this is looked at now.
const LOOK_MS_MAX: i64 = 2 * DEADLINE_MS_MAX;

/// An event, and when to look again who is owed a wake for it.
#[derive(Clone, Copy, Debug)]
struct Undecided {
    event: WorthyEvent,
    look_at_ms: i64,
}

/// What is read and not decided.
#[derive(Debug)]
pub(super) struct Pending {
    read_upto: Position,
    /// There was more to read.
    is_behind: bool,
    undecided: BTreeMap<Position, Undecided>,
    /// The same, by when to look.
    looks: BTreeSet<(i64, Position)>,
    /// The same, by conversation.
    of: HashMap<ConversationId, BTreeSet<Position>>,
    /// Conversations that are left alone until then.
    resting: HashMap<ConversationId, i64>,
    /// How many devices had time left when a conversation was looked at last.
    waiting: HashMap<ConversationId, usize>,
}

impl Pending {
    /// Begins behind the wake cursor.
    pub(super) fn new(cursor: Position) -> Self {
        Self {
            read_upto: cursor,
            is_behind: true,
            undecided: BTreeMap::new(),
            looks: BTreeSet::new(),
            of: HashMap::new(),
            resting: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    pub(super) const fn read_upto(&self) -> Position {
        self.read_upto
    }

    fn count(&self) -> usize {
        self.undecided.len()
    }

    /// Whether there is more to read at once.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind && !self.is_full()
    }

    /// So much is undecided that no more is read.
    pub(super) fn is_full(&self) -> bool {
        self.count() >= UNDECIDED_MAX
    }

    /// Takes what was read by `now_ms`, which is all there is if it is nothing. An event
    /// of a later time is one of now: a clock that went back does not turn the log around.
    pub(super) fn add(&mut self, stretch: WorthyStretch, now_ms: i64) {
        self.is_behind = stretch.upto > self.read_upto;
        for event in stretch.events {
            let event = WorthyEvent {
                committed_at_ms: event.committed_at_ms.min(now_ms),
                ..event
            };
            let rests_until_ms = self.resting.get(&event.conversation).copied();
            let look_at_ms = event.committed_at_ms.max(rests_until_ms.unwrap_or(0));
            let position = event.position;
            self.looks.insert((look_at_ms, position));
            self.of
                .entry(event.conversation)
                .or_default()
                .insert(position);
            self.undecided
                .insert(position, Undecided { event, look_at_ms });
        }
        self.read_upto = self.read_upto.max(stretch.upto);
    }

    /// The conversations that are to be looked at, each with its undecided
    /// events in their order.
    pub(super) fn to_look_at(&self, now_ms: i64) -> Vec<Vec<WorthyEvent>> {
        // Nothing is put off for so long but by a clock that went back.
        let far_ms = now_ms.saturating_add(LOOK_MS_MAX);
        let due = self.looks.iter().take_while(|(at_ms, _)| *at_ms <= now_ms);
        let far = self.looks.iter().rev();
        let far = far.take_while(|(at_ms, _)| *at_ms > far_ms);
        let event = |position| self.undecided.get(position).map(|it| it.event);
        let conversations: HashSet<ConversationId> = due
            .chain(far)
            .filter_map(|(_, position)| event(position))
            .map(|event| event.conversation)
            .collect();
        let of = conversations.iter().filter_map(|id| self.of.get(id));
        let events = of.map(|positions| positions.iter().filter_map(event).collect());
        let mut due: Vec<Vec<WorthyEvent>> = events.collect();
        // Whoever waits longest first.
        due.sort_by_key(|events| events.first().map(|it| it.position));
        due
    }

    /// Nobody there can be woken now: what comes next is looked at later.
    pub(super) fn rest(&mut self, conversation: ConversationId, now_ms: i64, until_ms: i64) {
        if self.resting.len() >= RESTING_MAX {
            self.resting.retain(|_, until_ms| *until_ms > now_ms);
        }
        if self.resting.len() < RESTING_MAX {
            self.resting.insert(conversation, until_ms);
        }
    }

    /// A conversation was looked at: so many devices have time left, and so many are
    /// owed a wake. How many of those that had time left have confirmed, at least:
    /// one that came meanwhile takes the place of one that did.
    pub(super) fn waited(
        &mut self,
        conversation: ConversationId,
        waiting: usize,
        owed: usize,
    ) -> u64 {
        let before = match waiting {
            0 => self.waiting.remove(&conversation),
            // As many as there are undecided events.
            _ => self.waiting.insert(conversation, waiting),
        };
        before.unwrap_or(0).saturating_sub(waiting + owed) as u64
    }

    /// Everybody is decided for this event.
    pub(super) fn decided(&mut self, event: Position) {
        let Some(it) = self.undecided.remove(&event) else {
            return;
        };
        self.looks.remove(&(it.look_at_ms, event));
        let conversation = it.event.conversation;
        if let Some(positions) = self.of.get_mut(&conversation) {
            positions.remove(&event);
            if positions.is_empty() {
                self.of.remove(&conversation);
            }
        }
    }

    /// Somebody is not decided for this event; look again then.
    pub(super) fn look_again(&mut self, event: Position, at_ms: i64) {
        if let Some(it) = self.undecided.get_mut(&event) {
            self.looks.remove(&(it.look_at_ms, event));
            it.look_at_ms = at_ms;
            self.looks.insert((at_ms, event));
        }
    }

    /// When to look next; `None` if nothing is undecided.
    pub(super) fn next_look_ms(&self) -> Option<i64> {
        self.looks.first().map(|(at_ms, _)| *at_ms)
    }

    /// Everything up to here is decided: where the wake cursor may go.
    pub(super) fn decided_upto(&self) -> Position {
        match self.undecided.first_key_value() {
            Some((first, _)) => first.previous(),
            None => self.read_upto,
        }
    }
}

#[cfg(test)]
mod tests {
    use magpie_protocol::{id::UserId, seq::Seq};

    use super::*;

    /// Later than all that is read here.
    const NOON: i64 = 43_200_000;

    fn event(position: u64, conversation: u8, at_ms: i64) -> WorthyEvent {
        WorthyEvent {
            position: Position::new(position),
            conversation: ConversationId::new([conversation; 16]),
            seq: Seq::new(position),
            sender: UserId::new([0; 16]),
            committed_at_ms: at_ms,
            is_message: true,
        }
    }

    fn stretch(events: Vec<WorthyEvent>) -> WorthyStretch {
        let upto = Position::new(9);
        WorthyStretch { events, upto }
    }

    #[test]
    fn the_wake_cursor_never_passes_an_undecided_event() {
        let mut pending = Pending::new(Position::new(4));
        pending.add(stretch(vec![event(5, 1, 0), event(7, 2, 0)]), NOON);
        assert_eq!(pending.decided_upto(), Position::new(4));
        pending.decided(Position::new(7));
        assert_eq!(pending.decided_upto(), Position::new(4));
        pending.decided(Position::new(5));
        assert_eq!(pending.decided_upto(), Position::new(9));
    }

    #[test]
    fn more_is_read_at_once_as_long_as_there_is_more() {
        let from_to = |from: u64, upto: u64| WorthyStretch {
            events: (from..=upto).map(|at| event(at, 1, 0)).collect(),
            upto: Position::new(upto),
        };
        let mut pending = Pending::new(Position::ZERO);
        assert!(pending.is_behind());
        let full = UNDECIDED_MAX as u64;
        pending.add(from_to(1, full), NOON);
        assert!(pending.is_full());
        assert!(!pending.is_behind(), "what is full waits for decisions");
        pending.decided(Position::new(1));
        assert!(pending.is_behind());
        pending.add(from_to(full + 1, full), NOON);
        assert!(!pending.is_behind(), "nothing new was all there was");
    }

    #[test]
    fn who_had_time_left_and_is_no_candidate_any_more_has_confirmed() {
        let mut pending = Pending::new(Position::ZERO);
        let conversation = ConversationId::new([1; 16]);
        assert_eq!(pending.waited(conversation, 5, 0), 0);
        assert_eq!(pending.waited(conversation, 2, 1), 2);
        assert_eq!(pending.waited(conversation, 0, 1), 1);
        assert_eq!(pending.waited(conversation, 0, 0), 0);
    }

    #[test]
    fn a_conversation_that_rests_is_looked_at_later() {
        let mut pending = Pending::new(Position::ZERO);
        pending.rest(ConversationId::new([1; 16]), 0, 500);
        pending.add(stretch(vec![event(1, 1, 100), event(2, 2, 100)]), NOON);
        assert_eq!(pending.to_look_at(499).len(), 1);
        assert_eq!(pending.to_look_at(500).len(), 2);
    }

    #[test]
    fn a_conversation_is_looked_at_with_all_its_events_when_one_is_due() {
        let mut pending = Pending::new(Position::ZERO);
        pending.add(
            stretch(vec![event(1, 1, 100), event(2, 2, 100), event(3, 1, 300)]),
            NOON,
        );
        assert_eq!(pending.to_look_at(99), Vec::<Vec<WorthyEvent>>::new());
        let due = pending.to_look_at(100);
        assert_eq!(due.len(), 2);
        assert_eq!(due[0].len(), 2);
        pending.look_again(Position::new(1), 500);
        pending.decided(Position::new(2));
        assert_eq!(pending.next_look_ms(), Some(300));
    }

    /// D8.
    #[test]
    fn a_clock_that_went_back_delays_no_wake_by_more_than_a_minute() {
        const DAY: i64 = 86_400_000;
        let mut pending = Pending::new(Position::ZERO);
        pending.rest(ConversationId::new([2; 16]), NOON, NOON + 1_000);
        pending.add(stretch(vec![event(1, 1, NOON)]), NOON);
        pending.look_again(Position::new(1), NOON + 15_000);
        assert_eq!(pending.to_look_at(NOON).len(), 0);
        // It is the day before; what is committed now has the time of the last one.
        pending.add(
            stretch(vec![event(2, 2, NOON), event(3, 3, NOON)]),
            NOON - DAY,
        );
        let looked_at = pending.to_look_at(NOON - DAY);
        assert_eq!(looked_at.len(), 3);
        let times: Vec<i64> = looked_at.iter().map(|it| it[0].committed_at_ms).collect();
        assert_eq!(times, [NOON, NOON - DAY, NOON - DAY]);
    }
}
