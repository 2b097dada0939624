//! Histories of which only the outside is known: what senders were told, what
//! readers were shown.

use std::collections::BTreeMap;

use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
};

use super::{Violation, judge};
use crate::{
    digest::Digest,
    history::{Device, End, Event, History, Membership, Place, Record},
};

/// What a sender was told of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is in the log, there.
    Accepted(Place),
    /// It is not in the log and never will be.
    Refused,
    /// Nothing: it may be in the log, at most once.
    Unknown,
}

/// One event that somebody asked for, as its sender knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sending {
    /// The device that sent it; any name that tells devices apart.
    pub device: String,
    /// Its id.
    pub message_id: MessageId,
    /// What it said.
    pub digest: Digest,
    /// What the sender was told.
    pub outcome: Outcome,
}

/// One event as a device showed (or stored) it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shown {
    /// Where.
    pub place: Place,
    /// Its id.
    pub message_id: MessageId,
    /// What it said.
    pub digest: Digest,
}

/// One device that read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reader {
    /// Any name that tells devices apart.
    pub device: String,
    /// The conversations that it must show, each from which seq on.
    pub from: BTreeMap<ConversationId, Seq>,
    /// What it showed, in the order in which it showed it, over all its runs.
    pub shown: Vec<Shown>,
}

/// Checks what senders were told against what readers were shown.
///
/// `sendings` are in the order in which each device sent; how the lists of
/// several devices are merged does not matter. Every event that a reader may
/// have shown belongs in it, group changes too. Returns every violation found;
/// one fault may break several promises.
#[must_use]
pub fn check(sendings: &[Sending], readers: &[Reader]) -> Vec<Violation> {
    let mut history = History::default();
    let mut senders: BTreeMap<&str, Device> = BTreeMap::new();
    for sending in sendings {
        let user = nobody(senders.len());
        let device = senders
            .entry(&sending.device)
            .or_insert_with(|| Device::new(&sending.device, user));
        device.note(
            0,
            Record::Sent {
                message_id: sending.message_id,
                conversation: None,
                digest: sending.digest,
            },
        );
    }
    // Nobody knows when the answers came: behind everything.
    for sending in sendings {
        if let Some(device) = senders.get_mut(sending.device.as_str()) {
            told(device, sending);
        }
    }
    history.devices.extend(senders.into_values());
    for reader in readers {
        let user = nobody(history.devices.len());
        history
            .members
            .extend(reader.from.iter().map(|(conversation, from)| Membership {
                user,
                conversation: *conversation,
                from: *from,
                to: None,
            }));
        history.devices.push(showed(reader, user));
    }
    judge(&history).violations
}

fn told(device: &mut Device, sending: &Sending) {
    let message_id = sending.message_id;
    let record = match sending.outcome {
        Outcome::Accepted(place) => Record::Accepted {
            message_id,
            place,
            epoch: 0,
        },
        Outcome::Refused => Record::Refused { message_id },
        Outcome::Unknown => return,
    };
    device.note(0, record);
}

fn showed(reader: &Reader, user: UserId) -> Device {
    let mut device = Device::new(&reader.device, user);
    for it in &reader.shown {
        let event = Event {
            place: it.place,
            message_id: it.message_id,
            sender: None,
            digest: it.digest,
        };
        let stored = Record::Stored {
            event,
            epoch: 0,
            generation: 0,
        };
        let shown = Record::Shown {
            place: it.place,
            message_id: it.message_id,
        };
        device.note(0, stored);
        device.note(0, shown);
    }
    device.end = Some(End {
        caught_up: true,
        lines: device.lines.len() as u64,
        ..End::default()
    });
    device
}

/// A user for each device: whose they are is not known.
fn nobody(number: usize) -> UserId {
    let mut bytes = [0xff; 16];
    let (_, tail) = bytes.split_at_mut(8);
    tail.copy_from_slice(&(number as u64).to_be_bytes());
    UserId::new(bytes)
}
