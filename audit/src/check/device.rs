//! One device's notes, line by line: a copy of its database is kept beside them.

use std::collections::{BTreeMap, HashMap, HashSet};

use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
};

use super::{
    Findings,
    Invariant::{I2, I3, I5, I9, I10, I12, I13, I14, I15},
    Kind,
    facts::{Facts, when},
};
use crate::history::{Device, Event, Line, Place, Record};

/// What a device knew of a conversation when it sent something there.
#[derive(Clone, Copy)]
pub(super) struct Cause {
    pub(super) message_id: MessageId,
    pub(super) known: Place,
    pub(super) epoch: u64,
}

/// What is left at the end of the notes.
#[derive(Default)]
pub(super) struct Walked {
    /// The device's database.
    pub(super) store: HashMap<ConversationId, BTreeMap<Seq, Event>>,
    pub(super) causes: Vec<Cause>,
    /// What its person asked for, as far as the database remembers.
    pub(super) sent: Vec<(u64, MessageId)>,
    pub(super) stored_count: u64,
    pub(super) shown_count: u64,
}

#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum Mark {
    Own,
    Read(UserId),
    Delivered(UserId),
}

struct Walk<'walk, 'history> {
    facts: &'walk Facts<'history>,
    device: &'history Device,
    findings: &'walk mut Findings,
    walked: Walked,
    by_id: HashMap<MessageId, Place>,
    /// What stood where before each change, to go back.
    undo: Vec<(u64, Place, Option<Event>)>,
    /// All that is for this user up to here is stored.
    reach: HashMap<ConversationId, Seq>,
    /// The highest seq known, and in which epoch.
    known: HashMap<ConversationId, (Seq, u64)>,
    shown: HashSet<MessageId>,
    last_shown: HashMap<ConversationId, Seq>,
    marks: HashMap<(Mark, ConversationId), Seq>,
    epoch: Option<u64>,
    welcomed: u64,
    stored_by: u64,
    cursor: Option<Vec<u64>>,
}

/// Checks what can be seen from one device alone.
pub(super) fn walk<'history>(
    facts: &Facts<'history>,
    device: &'history Device,
    findings: &mut Findings,
) -> Walked {
    let mut walk = Walk {
        facts,
        device,
        findings,
        walked: Walked::default(),
        by_id: HashMap::new(),
        undo: Vec::new(),
        reach: HashMap::new(),
        known: HashMap::new(),
        shown: HashSet::new(),
        last_shown: HashMap::new(),
        marks: HashMap::new(),
        epoch: None,
        welcomed: 0,
        stored_by: 0,
        cursor: None,
    };
    for line in &device.lines {
        walk.take(line);
    }
    walk.walked
}

impl Walk<'_, '_> {
    fn take(&mut self, line: &Line) {
        match &line.record {
            Record::Sent {
                message_id,
                conversation,
                ..
            } => self.sent(line.number, *message_id, *conversation),
            Record::Accepted { place, epoch, .. } => self.knows(*place, *epoch),
            Record::Refused { .. } => {}
            Record::Stored {
                event,
                epoch,
                generation,
            } => {
                self.of_newest(line, *generation);
                self.of_epoch(line, *epoch, "stored an event of");
                self.stored(line, *event);
                self.knows(event.place, *epoch);
            }
            Record::Shown { place, message_id } => self.shown(line, *place, *message_id),
            Record::Dropped {
                conversation,
                above,
            } => self.dropped(line.number, *conversation, *above),
            Record::Cursor(cursor) => self.cursor = Some(cursor.clone()),
            Record::Hello { epoch, cursor } => {
                self.of_epoch(line, *epoch, "introduced itself with");
                self.resumes(line, cursor);
            }
            Record::Welcome { epoch, generation } => self.welcome(line, *epoch, *generation),
            Record::ReadSet(place) => self.mark(line, Mark::Own, *place),
            Record::ReadSeen { user, place } => self.mark(line, Mark::Read(*user), *place),
            Record::DeliveredSeen { user, place } => {
                self.mark(line, Mark::Delivered(*user), *place);
            }
            Record::Restarted => {}
            Record::RolledBack { to } => self.rolled_back(*to),
        }
    }

    fn says(&self, line: &Line, what: &str) -> String {
        format!(
            "{}{} {what} (line {})",
            self.device.name,
            when(self.facts, line.at),
            line.number
        )
    }

    fn sent(&mut self, number: u64, message_id: MessageId, conversation: Option<ConversationId>) {
        self.walked.sent.push((number, message_id));
        if let Some(conversation) = conversation
            && let Some((seq, epoch)) = self.known.get(&conversation).copied()
        {
            self.walked.causes.push(Cause {
                message_id,
                known: Place { conversation, seq },
                epoch,
            });
        }
    }

    fn knows(&mut self, place: Place, epoch: u64) {
        let known = self.known.entry(place.conversation).or_default();
        *known = (*known).max((place.seq, epoch));
    }

    /// Nothing of an older connection is stored behind something of a newer one.
    fn of_newest(&mut self, line: &Line, generation: u64) {
        if generation < self.stored_by {
            let newer = self.stored_by;
            self.findings.push(Kind::Reordered, I14, || {
                let what = format!("stored an event of connection {generation}");
                vec![
                    format!("connection {newer} had brought events before"),
                    format!(
                        "{} {what} (line {}){}",
                        self.device.name,
                        line.number,
                        when(self.facts, line.at)
                    ),
                ]
            });
        }
        self.stored_by = self.stored_by.max(generation);
    }

    fn of_epoch(&mut self, line: &Line, epoch: u64, did: &str) {
        if self.epoch.is_some_and(|known| known != epoch) {
            let known = self.epoch.unwrap_or_default();
            let story = vec![
                format!("{} was welcomed into epoch {known}", self.device.name),
                self.says(line, &format!("{did} epoch {epoch}")),
            ];
            self.findings.push(Kind::Divergent, I13, || story);
        }
    }

    fn welcome(&mut self, line: &Line, epoch: u64, generation: u64) {
        if self.epoch.is_some_and(|known| epoch < known) {
            let story = vec![self.says(line, &format!("went back to epoch {epoch}"))];
            self.findings.push(Kind::Divergent, I13, || story);
        }
        if generation <= self.welcomed {
            let story = vec![
                format!("connection {} was welcomed before", self.welcomed),
                self.says(line, &format!("was welcomed on connection {generation}")),
            ];
            self.findings.push(Kind::Reordered, I14, || story);
        }
        if self.epoch != Some(epoch) {
            self.cursor = None;
        }
        self.epoch = Some(epoch);
        self.welcomed = self.welcomed.max(generation);
    }

    fn resumes(&mut self, line: &Line, cursor: &[u64]) {
        let Some(stored) = &self.cursor else { return };
        let at = |index: usize| cursor.get(index).copied().unwrap_or_default();
        if stored.iter().enumerate().any(|(index, it)| at(index) < *it) {
            let story = vec![
                format!("{} had stored the cursor {stored:?}", self.device.name),
                self.says(line, &format!("came back with {cursor:?}")),
            ];
            self.findings.push(Kind::Lost, I15, || story);
        }
    }

    fn stored(&mut self, line: &Line, event: Event) {
        self.walked.stored_count += 1;
        let place = event.place;
        if !self.facts.is_entitled(self.device.user, place) {
            let story = vec![
                format!("{} was no member there", self.device.name),
                self.says(line, &stored_what(&event)),
            ];
            self.findings.push(Kind::Leak, I12, || story);
            return;
        }
        self.was_sent(line, &event);
        if let Some(before) = self.by_id.insert(event.message_id, place)
            && before != place
            && self
                .event_at(before)
                .is_some_and(|it| it.message_id == event.message_id)
        {
            let story = vec![
                format!(
                    "{} holds message {} at {before}",
                    self.device.name, event.message_id
                ),
                self.says(line, &stored_what(&event)),
            ];
            self.findings.push(Kind::Duplicated, I2, || story);
        }
        self.put(line.number, place, Some(event));
        self.advance(place.conversation);
    }

    fn event_at(&self, place: Place) -> Option<&Event> {
        self.walked.store.get(&place.conversation)?.get(&place.seq)
    }

    fn put(&mut self, number: u64, place: Place, event: Option<Event>) {
        let events = self.walked.store.entry(place.conversation).or_default();
        let before = match event {
            Some(event) => events.insert(place.seq, event),
            None => events.remove(&place.seq),
        };
        self.undo.push((number, place, before));
    }

    fn was_sent(&mut self, line: &Line, event: &Event) {
        let (invariant, origin) = match self.facts.sent.get(&event.message_id) {
            None => (I3, "nobody sent it".to_owned()),
            Some(sent) => {
                let who = &sent.device.name;
                let is_back = sent.device.end.as_ref().is_none_or(|it| it.caught_up);
                // Until its sender is back, it may not have seen it in the log.
                if is_back && self.facts.refused.contains_key(&event.message_id) {
                    (I9, format!("{who} was told that it is refused"))
                } else if sent.digest != event.digest {
                    (I3, format!("{who} sent another content"))
                } else if sent
                    .conversation
                    .is_some_and(|it| it != event.place.conversation)
                {
                    (I3, format!("{who} sent it to another conversation"))
                } else if event.sender.is_some_and(|it| it != sent.device.user) {
                    (I3, format!("it is {who}'s, and named as somebody else's"))
                } else if event
                    .sender
                    .is_some_and(|it| !self.facts.is_entitled(it, event.place))
                {
                    (I12, format!("{who} was no member there"))
                } else {
                    return;
                }
            }
        };
        let kind = if invariant == I12 {
            Kind::Leak
        } else {
            Kind::Phantom
        };
        let story = vec![origin, self.says(line, &stored_what(event))];
        self.findings.push(kind, invariant, || story);
    }

    /// Goes on over all that is stored, or known not to be fetched.
    fn advance(&mut self, conversation: ConversationId) {
        let reach = self.reach.entry(conversation).or_default();
        let events = self.walked.store.get(&conversation);
        let gaps = self.device.end.as_ref().map_or(&[][..], |end| &end.gaps);
        while let Some(next) = self
            .facts
            .next_entitled(self.device.user, conversation, *reach)
        {
            let gap = gaps
                .iter()
                .find(|(id, from, to)| *id == conversation && (*from..=*to).contains(&next));
            if events.is_some_and(|events| events.contains_key(&next)) {
                *reach = next;
            } else if let Some((_, _, to)) = gap {
                *reach = *to;
            } else {
                break;
            }
        }
    }

    fn shown(&mut self, line: &Line, place: Place, message_id: MessageId) {
        self.walked.shown_count += 1;
        if !self.facts.is_entitled(self.device.user, place) {
            return;
        }
        let what = format!("showed message {message_id} at {place}");
        if !self.shown.insert(message_id) {
            let story = vec![self.says(line, &format!("{what} for the second time"))];
            self.findings.push(Kind::Duplicated, I2, || story);
            return;
        }
        let reach = self.reach.get(&place.conversation).copied();
        let reach = reach.unwrap_or_default();
        if place.seq > reach {
            let next = self
                .facts
                .next_entitled(self.device.user, place.conversation, reach);
            let story = vec![
                format!(
                    "{} does not hold seq {} of conversation {}",
                    self.device.name,
                    next.unwrap_or_default(),
                    place.conversation
                ),
                self.says(line, &what),
            ];
            self.findings.push(Kind::Gap, I5, || story);
        }
        let last = self.last_shown.entry(place.conversation).or_default();
        if place.seq < *last {
            let last = *last;
            let story = vec![
                format!("{} had shown seq {last} before", self.device.name),
                self.says(line, &what),
            ];
            self.findings.push(Kind::Reordered, I5, || story);
        } else {
            *last = place.seq;
        }
    }

    fn dropped(&mut self, number: u64, conversation: ConversationId, above: Seq) {
        let gone: Vec<Place> = self
            .walked
            .store
            .get(&conversation)
            .into_iter()
            .flat_map(|events| events.range(above.next()..))
            .map(|(_, event)| event.place)
            .collect();
        for place in gone {
            if let Some(id) = self.event_at(place).map(|it| it.message_id) {
                self.shown.remove(&id);
            }
            self.put(number, place, None);
        }
        if let Some(reach) = self.reach.get_mut(&conversation) {
            *reach = above.min(*reach);
        }
        if let Some(last) = self.last_shown.get_mut(&conversation) {
            *last = above.min(*last);
        }
    }

    fn rolled_back(&mut self, to: u64) {
        let mut touched = HashSet::new();
        while let Some((_, place, before)) = self.undo.pop_if(|(number, ..)| *number > to) {
            touched.insert(place.conversation);
            let events = self.walked.store.entry(place.conversation).or_default();
            match before {
                Some(event) => events.insert(place.seq, event),
                None => events.remove(&place.seq),
            };
        }
        while self
            .walked
            .sent
            .pop_if(|(number, _)| *number > to)
            .is_some()
        {}
        for conversation in touched {
            self.reach.remove(&conversation);
            self.advance(conversation);
        }
        self.by_id = self
            .walked
            .store
            .values()
            .flat_map(|events| events.values().map(|it| (it.message_id, it.place)))
            .collect();
        self.shown.clear();
        self.last_shown.clear();
        self.known.clear();
        self.marks.clear();
        self.epoch = None;
        self.cursor = None;
    }

    fn mark(&mut self, line: &Line, mark: Mark, place: Place) {
        let before = self.marks.entry((mark, place.conversation)).or_default();
        if place.seq < *before {
            let before = *before;
            let story = vec![
                format!("{} was at seq {before} with a mark", self.device.name),
                self.says(line, &format!("put it back to {place}")),
            ];
            self.findings.push(Kind::Divergent, I10, || story);
        } else {
            *before = place.seq;
        }
    }
}

fn stored_what(event: &Event) -> String {
    format!("stored message {} at {}", event.message_id, event.place)
}
