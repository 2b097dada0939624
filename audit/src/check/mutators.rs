//! A checker that finds nothing proves nothing: each damage to a good history is
//! found, and by the invariant that is meant for it.

use std::collections::BTreeMap;

use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
};

use super::{
    Invariant::{self, *},
    judge,
};
use crate::{
    digest::Digest,
    history::{Device, End, Epoch, Event, History, Membership, Place, Record, Wake},
};

const CHAT: ConversationId = ConversationId::new([1; 16]);
const OTHER: ConversationId = ConversationId::new([2; 16]);
/// Of these, the first epoch was restored up to the fourth.
const COUNT: u64 = 8;
const BASE: u64 = 4;

const fn user(number: u8) -> UserId {
    UserId::new([number; 16])
}

const fn id(number: u64) -> MessageId {
    MessageId::new((0xa000_u128 + number as u128).to_be_bytes())
}

const fn place(seq: u64) -> Place {
    Place {
        conversation: CHAT,
        seq: Seq::new(seq),
    }
}

/// The sender of the message with this number: they take turns.
const fn sender(number: u64) -> u8 {
    if number.is_multiple_of(2) { 2 } else { 1 }
}

fn event(number: u64) -> Event {
    Event {
        place: place(number),
        message_id: id(number),
        sender: Some(user(sender(number))),
        digest: Digest::of(&number.to_be_bytes()),
    }
}

const fn epoch_of(number: u64) -> u64 {
    if number <= BASE { 0 } else { 1 }
}

/// Two users who chat, one with a second device; in the middle of it the server
/// is restored from a backup that holds all of it.
fn good() -> History {
    let mut devices = [("alice", 1), ("bob", 2), ("bob's tablet", 2)]
        .map(|(name, number)| Device::new(name, user(number)));
    for device in &mut devices {
        welcome(device, 0, 1, 0);
    }
    for number in 1..=COUNT {
        let at = 1_000 * number;
        for (index, device) in devices.iter_mut().enumerate() {
            if number == BASE + 1 {
                device.note(at - 1, Record::Restarted);
                welcome(device, at - 1, 2, BASE);
            }
            take(device, at, number, index == usize::from(sender(number)) - 1);
        }
    }
    for device in &mut devices {
        device.end = Some(End {
            caught_up: true,
            lines: device.lines.len() as u64,
            cursor: vec![COUNT],
            ..End::default()
        });
    }
    let member = |number, conversation| Membership {
        user: user(number),
        conversation,
        from: Seq::new(1),
        to: None,
    };
    let wake = |at, owed, confirmed| Wake {
        device: 2,
        at,
        epoch: 0,
        owed,
        confirmed,
        again: false,
    };
    History {
        devices: devices.into(),
        members: vec![member(1, CHAT), member(2, CHAT), member(2, OTHER)],
        log: Some((1..=COUNT).map(event).collect()),
        epochs: vec![Epoch {
            number: 1,
            of: 0,
            upto: BTreeMap::from([(CHAT, Seq::new(BASE))]),
        }],
        wakes: vec![wake(3_500, 3, 2), wake(7_500, 7, 6)],
        head: vec![COUNT],
        one_clock: true,
        settled: true,
    }
}

fn welcome(device: &mut Device, at: u64, generation: u64, cursor: u64) {
    let epoch = generation - 1;
    device.note(
        at,
        Record::Hello {
            epoch: 0,
            cursor: vec![cursor],
        },
    );
    device.note(at, Record::Welcome { epoch, generation });
}

fn take(device: &mut Device, at: u64, number: u64, is_own: bool) {
    let event = event(number);
    let (message_id, epoch) = (event.message_id, epoch_of(number));
    if is_own {
        let (conversation, digest) = (Some(CHAT), event.digest);
        device.note(
            at,
            Record::Sent {
                message_id,
                conversation,
                digest,
            },
        );
        let place = event.place;
        device.note(
            at + 100,
            Record::Accepted {
                message_id,
                place,
                epoch,
            },
        );
    }
    let stored = Record::Stored {
        event,
        epoch,
        generation: epoch + 1,
    };
    device.note(at + 200, stored);
    device.note(at + 200, Record::Cursor(vec![number]));
    device.note(
        at + 300,
        Record::Shown {
            place: event.place,
            message_id,
        },
    );
    if is_own {
        device.note(at + 400, Record::ReadSet(event.place));
    } else {
        let user = user(sender(number));
        let place = event.place;
        device.note(at + 450, Record::ReadSeen { user, place });
        device.note(at + 450, Record::DeliveredSeen { user, place });
    }
}

/// The lines of a device whose record is one of these.
fn find(history: &mut History, device: usize, which: impl Fn(&Record) -> bool) -> &mut Record {
    let lines = &mut history.devices[device].lines;
    &mut lines
        .iter_mut()
        .find(|it| which(&it.record))
        .unwrap()
        .record
}

fn stored(history: &mut History, device: usize, number: u64) -> &mut Event {
    let is_it =
        |it: &Record| matches!(it, Record::Stored { event, .. } if event.message_id == id(number));
    let Record::Stored { event, .. } = find(history, device, is_it) else {
        panic!("not there");
    };
    event
}

fn remove(history: &mut History, device: usize, which: impl Fn(&Record) -> bool) {
    let device = &mut history.devices[device];
    device.lines.retain(|it| !which(&it.record));
    renumber(device);
}

fn renumber(device: &mut Device) {
    for (index, line) in device.lines.iter_mut().enumerate() {
        line.number = index as u64 + 1;
    }
    device.end.as_mut().unwrap().lines = device.lines.len() as u64;
}

fn append(history: &mut History, device: usize, record: Record) {
    let device = &mut history.devices[device];
    device.note(100_000, record);
    renumber(device);
}

fn is_seen(record: &Record, number: u64) -> bool {
    matches!(record, Record::Stored { event, .. } if event.message_id == id(number))
        || matches!(record, Record::Shown { message_id, .. } if *message_id == id(number))
}

type Mutator = (&'static str, Invariant, fn(&mut History));

const MUTATORS: &[Mutator] = &[
    ("a store is dropped", I1, |it| {
        remove(it, 2, |record| is_seen(record, COUNT));
    }),
    ("acknowledged, then lost by the log", I1, |it| {
        it.log.as_mut().unwrap().pop();
    }),
    ("a log that forgot what the new epoch took over", I1, |it| {
        it.log.as_mut().unwrap().remove(2);
    }),
    ("shown twice", I2, |it| {
        let (place, message_id) = (place(3), id(3));
        append(it, 1, Record::Shown { place, message_id });
    }),
    ("one id at two places", I2, |it| {
        let event = Event {
            place: place(COUNT + 1),
            ..event(7)
        };
        it.log.as_mut().unwrap().push(event);
    }),
    ("another content", I3, |it| {
        stored(it, 1, 3).digest = Digest::of(b"forged");
    }),
    ("another conversation", I3, |it| {
        stored(it, 1, 3).place.conversation = OTHER;
    }),
    ("another sender", I3, |it| {
        stored(it, 1, 3).sender = Some(user(2));
    }),
    ("nobody sent it", I3, |it| {
        remove(
            it,
            0,
            |record| matches!(record, Record::Sent { message_id, .. } if *message_id == id(3)),
        );
    }),
    ("two are swapped", I4, |it| {
        stored(it, 1, 6).place = place(7);
        stored(it, 1, 7).place = place(6);
    }),
    ("numbered anew behind the base", I4, |it| {
        let log = it.log.as_mut().unwrap();
        (log[1].place, log[2].place) = (place(3), place(2));
    }),
    ("shown before what is below", I5, |it| {
        let lines = &mut it.devices[1].lines;
        let index = lines
            .iter()
            .position(|line| is_seen(&line.record, 5))
            .unwrap();
        let line = lines.remove(index);
        lines.push(line);
        renumber(&mut it.devices[1]);
    }),
    ("sent in another order", I6, |it| {
        let lines = &mut it.devices[0].lines;
        let sent: Vec<usize> = (0..lines.len())
            .filter(|index| matches!(lines[*index].record, Record::Sent { .. }))
            .collect();
        let first = lines[sent[0]].record.clone();
        lines[sent[0]].record = std::mem::replace(&mut lines[sent[1]].record, first);
    }),
    ("sent behind what stands after it", I7, |it| {
        let is_sent = |record: &Record| matches!(record, Record::Sent { message_id, .. } if *message_id == id(2));
        let record = find(it, 1, is_sent).clone();
        remove(it, 1, is_sent);
        append(it, 1, record);
    }),
    ("sent after others were told of later places", I7, |it| {
        let lines = &mut it.devices[1].lines;
        let line = lines
            .iter_mut()
            .find(|it| matches!(it.record, Record::Sent { .. }));
        line.unwrap().at = 5_500;
    }),
    ("still in the outbox", I8, |it| {
        it.devices[0].end.as_mut().unwrap().waiting.push(id(99));
    }),
    ("a cursor that stays behind", I8, |it| {
        it.devices[2].end.as_mut().unwrap().cursor = vec![COUNT - 1];
    }),
    ("refused, and there", I9, |it| {
        append(it, 0, Record::Refused { message_id: id(3) });
    }),
    ("a lower read mark", I10, |it| {
        append(it, 0, Record::ReadSet(place(1)));
    }),
    ("a tick too early", I10, |it| {
        let lines = &mut it.devices[0].lines;
        let line = lines
            .iter_mut()
            .find(|it| matches!(it.record, Record::DeliveredSeen { .. }));
        line.unwrap().at = 2_050;
    }),
    ("a wake for nothing", I11, |it| it.wakes[1].confirmed = 7),
    ("two wakes at once", I11, |it| it.wakes[1].confirmed = 2),
    ("shown to somebody who had left", I12, |it| {
        it.members[0].to = Some(Seq::new(COUNT - 1));
    }),
    ("an epoch that falls", I13, |it| {
        let (epoch, generation) = (0, 3);
        append(it, 1, Record::Welcome { epoch, generation });
    }),
    ("an epoch that changes without a welcome", I13, |it| {
        remove(it, 1, |record| {
            matches!(record, Record::Welcome { epoch: 1, .. })
        });
    }),
    ("a store of an older connection", I14, |it| {
        let event = event(COUNT);
        let (epoch, generation) = (1, 1);
        append(
            it,
            1,
            Record::Stored {
                event,
                epoch,
                generation,
            },
        );
    }),
    ("a connection that is not newer", I14, |it| {
        let is_second = |it: &Record| matches!(it, Record::Welcome { epoch: 1, .. });
        *find(it, 1, is_second) = Record::Welcome {
            epoch: 1,
            generation: 1,
        };
    }),
    ("a cursor that a restart forgets", I15, |it| {
        let is_second =
            |it: &Record| matches!(it, Record::Hello { cursor, .. } if *cursor == [BASE]);
        *find(it, 1, is_second) = Record::Hello {
            epoch: 0,
            cursor: vec![BASE - 1],
        };
    }),
    ("copies that say different things", I16, |it| {
        stored(it, 1, 6).digest = Digest::of(b"forged");
    }),
    ("a message that vanishes from the outbox", I17, |it| {
        let (message_id, conversation) = (id(50), Some(CHAT));
        let digest = Digest::of(b"");
        append(
            it,
            0,
            Record::Sent {
                message_id,
                conversation,
                digest,
            },
        );
    }),
    ("notes with a hole", I17, |it| {
        drop(it.devices[1].lines.remove(7))
    }),
    ("notes without an end", I17, |it| {
        drop(it.devices[1].lines.pop())
    }),
];

/// D1. D2. D3. D4. D5. D6. D7. D10. D12.
#[test]
fn a_good_history_is_good() {
    let verdict = judge(&good());
    assert!(verdict.is_ok(), "{verdict}");
    assert_eq!(verdict.tally.sent, COUNT);
    assert_eq!(verdict.tally.stored, 3 * COUNT);
}

/// D1. D2. D3. D4. D5. D6. D7. D10. D12.
#[test]
fn each_mutator_is_caught_by_the_intended_invariant() {
    for (name, intended, mutate) in MUTATORS {
        let mut history = good();
        mutate(&mut history);
        assert_ne!(history, good(), "{name} changes nothing");
        let verdict = judge(&history);
        let caught = verdict
            .violations
            .iter()
            .find(|it| it.invariant == *intended);
        let Some(caught) = caught else {
            panic!("{name}: no {intended:?} in: {verdict}");
        };
        assert!((1..=3).contains(&caught.story.len()), "{name}: {caught}");
        println!("{name}: {caught}");
    }
}

#[test]
fn every_invariant_has_a_mutator() {
    let all = [
        I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I11, I12, I13, I14, I15, I16, I17,
    ];
    for invariant in all {
        let meant = MUTATORS.iter().filter(|(_, it, _)| *it == invariant);
        assert_ne!(meant.count(), 0, "{invariant:?}");
    }
}

/// D11: what the new history did not take over is lost only until its sender is
/// back.
#[test]
fn what_an_older_epoch_accepted_must_come_again() {
    let mut history = good();
    history.epochs[0].upto.insert(CHAT, Seq::new(BASE - 1));
    // The fourth was told in the first epoch, and is behind the base now.
    assert!(judge(&history).is_ok(), "{}", judge(&history));
    history.log.as_mut().unwrap().remove(3);
    assert!(!judge(&history).is_ok());
}

/// A message without an answer that is in the log is recovered, not doubled.
#[test]
fn what_nobody_was_told_of_is_counted_as_recovered() {
    let mut history = good();
    remove(
        &mut history,
        0,
        |record| matches!(record, Record::Accepted { message_id, .. } if *message_id == id(3)),
    );
    let verdict = judge(&history);
    assert!(verdict.is_ok(), "{verdict}");
    assert_eq!(verdict.tally.recovered, 1);
}
