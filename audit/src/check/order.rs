//! One order for all devices; in it each sender's own, and causes first.

use std::collections::HashMap;

use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::Seq,
};

use super::{
    Findings,
    Invariant::{I2, I4, I6, I7},
    Kind,
    device::Walked,
    facts::Facts,
};
use crate::history::{Device, Place, Record};

/// What somebody says is at a place.
#[derive(Clone, Copy)]
struct Claim<'history> {
    place: Place,
    message_id: MessageId,
    epoch: u64,
    by: &'history str,
    verb: &'static str,
}

impl Claim<'_> {
    fn story(&self) -> String {
        let Self {
            place,
            message_id,
            by,
            verb,
            ..
        } = self;
        format!("{by} {verb} message {message_id} at {place}")
    }
}

/// Where each message stands in the history that counts at the end.
pub(super) type Places = HashMap<MessageId, Place>;

fn claims<'history>(facts: &Facts<'history>) -> impl Iterator<Item = Claim<'history>> {
    let last = facts.epoch();
    let log = facts.history.log.iter().flatten().map(move |event| Claim {
        place: event.place,
        message_id: event.message_id,
        epoch: last,
        by: "the log",
        verb: "has",
    });
    let devices = facts.history.devices.iter();
    let told = devices.flat_map(|device| {
        let lines = device.lines.iter();
        lines.filter_map(|line| claim(&device.name, &line.record))
    });
    log.chain(told)
}

fn claim<'history>(by: &'history str, record: &Record) -> Option<Claim<'history>> {
    if let Record::Accepted {
        message_id,
        place,
        epoch,
    } = record
    {
        Some(Claim {
            place: *place,
            message_id: *message_id,
            epoch: *epoch,
            by,
            verb: "was told of",
        })
    } else if let Record::Stored { event, epoch, .. } = record {
        Some(Claim {
            place: event.place,
            message_id: event.message_id,
            epoch: *epoch,
            by,
            verb: "stored",
        })
    } else {
        None
    }
}

/// Every id has one place and every place one id, whoever is asked (D3, D4).
pub(super) fn one_order_for_all(facts: &Facts<'_>, findings: &mut Findings) -> Places {
    let mut by_id: HashMap<MessageId, Claim<'_>> = HashMap::new();
    let mut by_place: HashMap<(Place, u64), Claim<'_>> = HashMap::new();
    for claim in claims(facts) {
        let first = by_id.entry(claim.message_id).or_insert(claim);
        if first.place != claim.place {
            let (older, newer) = if first.epoch <= claim.epoch {
                (*first, claim)
            } else {
                (claim, *first)
            };
            if facts.survives(older.place, older.epoch, newer.epoch) {
                findings.push(Kind::Duplicated, I2, || vec![older.story(), newer.story()]);
            } else {
                *first = newer;
            }
        }
        let era = facts.era(claim.place, claim.epoch);
        let first = *by_place.entry((claim.place, era)).or_insert(claim);
        if first.message_id != claim.message_id {
            findings.push(Kind::Divergent, I4, || vec![first.story(), claim.story()]);
        }
    }
    let last = facts.epoch();
    by_id
        .into_iter()
        .filter(|(_, claim)| facts.survives(claim.place, claim.epoch, last))
        .map(|(id, claim)| (id, claim.place))
        .collect()
}

/// What one device sends to one conversation stands there in the order in
/// which it was sent (D6).
pub(super) fn senders_order(facts: &Facts<'_>, places: &Places, findings: &mut Findings) {
    for device in &facts.history.devices {
        let mut last: HashMap<ConversationId, (Seq, MessageId)> = HashMap::new();
        for message_id in remembered(device) {
            let Some(place) = places.get(&message_id) else {
                continue;
            };
            let here = (place.seq, message_id);
            let Some(before) = last.insert(place.conversation, here) else {
                continue;
            };
            if before.0 > here.0 {
                findings.push(Kind::Reordered, I6, || {
                    vec![
                        format!(
                            "{} sent message {} and then {}",
                            device.name, before.1, here.1
                        ),
                        format!(
                            "they stand at seq {} and {} of conversation {}",
                            before.0, here.0, place.conversation
                        ),
                    ]
                });
            }
        }
    }
}

/// What a device sent and did not forget again: with a database that went back,
/// nobody can keep an order towards what was under way and is not known any more.
fn remembered(device: &Device) -> Vec<MessageId> {
    let mut upto = u64::MAX;
    let mut sent = Vec::new();
    for line in device.lines.iter().rev() {
        if let Record::RolledBack { to } = line.record {
            upto = upto.min(to);
        } else if let Record::Sent { message_id, .. } = line.record
            && line.number <= upto
        {
            sent.push(message_id);
        }
    }
    sent.reverse();
    sent
}

/// What was sent by somebody who knew of an event stands behind it; with one
/// clock, also what was sent after an event was accepted (D4).
pub(super) fn causes_come_first(
    facts: &Facts<'_>,
    places: &Places,
    walked: &[Walked],
    findings: &mut Findings,
) {
    let last = facts.epoch();
    for (device, walked) in facts.history.devices.iter().zip(walked) {
        for cause in &walked.causes {
            let Some(place) = places.get(&cause.message_id) else {
                continue;
            };
            if place.conversation == cause.known.conversation
                && place.seq <= cause.known.seq
                && facts.survives(cause.known, cause.epoch, last)
            {
                findings.push(Kind::Reordered, I7, || {
                    vec![
                        format!("{} knew of {}", device.name, cause.known),
                        format!("it sent message {} after that", cause.message_id),
                        format!("which stands at {place}"),
                    ]
                });
            }
        }
    }
    if facts.history.one_clock {
        real_time(facts, places, findings);
    }
}

fn real_time(facts: &Facts<'_>, places: &Places, findings: &mut Findings) {
    let last = facts.epoch();
    let mut accepted: Vec<_> = facts
        .accepted
        .iter()
        .filter(|it| facts.survives(it.place, it.epoch, last))
        .collect();
    accepted.sort_by_key(|it| it.at);
    let mut accepted = accepted.into_iter().peekable();
    let mut sent: Vec<(u64, MessageId)> = Vec::new();
    for device in &facts.history.devices {
        for line in &device.lines {
            if let Record::Sent { message_id, .. } = line.record {
                sent.push((line.at, message_id));
            }
        }
    }
    sent.sort_unstable();
    let mut highest: HashMap<ConversationId, (Seq, MessageId)> = HashMap::new();
    for (at, message_id) in sent {
        while let Some(it) = accepted.next_if(|it| it.at < at) {
            let highest = highest.entry(it.place.conversation);
            let highest = highest.or_insert((it.place.seq, it.message_id));
            *highest = (*highest).max((it.place.seq, it.message_id));
        }
        let Some(place) = places.get(&message_id) else {
            continue;
        };
        if let Some((seq, earlier)) = highest.get(&place.conversation)
            && place.seq <= *seq
            && *earlier != message_id
        {
            findings.push(Kind::Reordered, I7, || {
                vec![
                    format!("message {earlier} was accepted at seq {seq}"),
                    format!("message {message_id} was sent after that"),
                    format!("and stands at {place}"),
                ]
            });
        }
    }
}
