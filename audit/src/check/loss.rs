//! What was accepted is in the log, and what is in the log is with everyone who
//! may read it.

use std::collections::{BTreeMap, HashMap};

use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::Seq,
};

use super::{
    Findings,
    Invariant::{I1, I16},
    Kind,
    device::Walked,
    facts::{Accepted, Facts, when},
};
use crate::{
    compare::{Difference, Entry, Gap, compare},
    fingerprint::{Fingerprint, Sums},
    history::{Device, End, Event, Place},
};

/// The log, by place.
type Log<'history> = HashMap<ConversationId, BTreeMap<Seq, &'history Event>>;

pub(super) fn nothing_lost(facts: &Facts<'_>, walked: &[Walked], findings: &mut Findings) {
    if let Some(log) = &facts.history.log {
        let mut by_place: Log<'_> = HashMap::new();
        for event in log {
            let Place { conversation, seq } = event.place;
            by_place.entry(conversation).or_default().insert(seq, event);
        }
        accepted_is_in_the_log(facts, &by_place, log, findings);
        for (device, end, walked) in caught_up(facts, walked) {
            device_has_the_log(facts, device, end, walked, &by_place, findings);
        }
    } else {
        for (device, _, walked) in caught_up(facts, walked) {
            device_has_what_was_accepted(facts, device, walked, findings);
        }
    }
}

fn caught_up<'a>(
    facts: &Facts<'a>,
    walked: &'a [Walked],
) -> impl Iterator<Item = (&'a Device, &'a End, &'a Walked)> {
    let devices = facts.history.devices.iter().zip(walked);
    devices.filter_map(|(device, walked)| {
        let end = device.end.as_ref().filter(|it| it.caught_up)?;
        Some((device, end, walked))
    })
}

fn told(facts: &Facts<'_>, it: &Accepted<'_>) -> String {
    format!(
        "{} was told{} that message {} is at {}",
        it.device.name,
        when(facts, it.at),
        it.message_id,
        it.place
    )
}

fn accepted_is_in_the_log(
    facts: &Facts<'_>,
    by_place: &Log<'_>,
    log: &[Event],
    findings: &mut Findings,
) {
    let last = facts.epoch();
    let mut ids: HashMap<MessageId, Place> = HashMap::new();
    for event in log {
        ids.insert(event.message_id, event.place);
    }
    for it in &facts.accepted {
        if facts.survives(it.place, it.epoch, last) {
            let there = by_place
                .get(&it.place.conversation)
                .and_then(|events| events.get(&it.place.seq));
            if there.is_none_or(|event| event.message_id != it.message_id) {
                let has = there.map_or_else(
                    || "the log has nothing there".to_owned(),
                    |event| format!("the log has message {} there", event.message_id),
                );
                findings.push(Kind::Lost, I1, || vec![told(facts, it), has]);
            }
        } else if facts.history.settled
            && it.device.end.is_some()
            // Whoever does not remember it, or was told otherwise since, cannot
            // be asked to send it again.
            && !it.forgotten
            && !facts.refused.contains_key(&it.message_id)
            && !ids.contains_key(&it.message_id)
        {
            findings.push(Kind::Lost, I1, || {
                vec![
                    told(facts, it),
                    "the history went back behind it".to_owned(),
                    format!("{} came back, and it is not in the log", it.device.name),
                ]
            });
        }
    }
}

fn device_has_the_log(
    facts: &Facts<'_>,
    device: &Device,
    end: &End,
    walked: &Walked,
    log: &Log<'_>,
    findings: &mut Findings,
) {
    let nothing = BTreeMap::new();
    for (conversation, events) in log {
        let store = walked.store.get(conversation).unwrap_or(&nothing);
        for (from, to) in facts.stretches(device.user, *conversation) {
            let head = events.keys().next_back().copied().unwrap_or_default();
            let to = head
                .max(store.keys().next_back().copied().unwrap_or_default())
                .min(*to);
            if *from > to {
                continue;
            }
            let ours = store.range(*from..=to).map(|(_, event)| entry(event));
            let theirs = events.range(*from..=to).map(|(_, event)| entry(event));
            let [here, there] = [sums(ours.clone()), sums(theirs.clone())];
            // By halves: equal sums need no second look.
            let Some(first) = here.first_difference(&there, *from, to) else {
                continue;
            };
            let gaps: Vec<Gap> = end
                .gaps
                .iter()
                .filter(|(id, ..)| id == conversation)
                .map(|&(_, from, to)| Gap { from, to })
                .collect();
            let ours: Vec<Entry> = ours.skip_while(|it| it.seq < first).collect();
            let theirs: Vec<Entry> = theirs.skip_while(|it| it.seq < first).collect();
            for difference in compare(&ours, &gaps, &theirs).differences {
                differs(facts, device, *conversation, &difference, findings);
            }
        }
    }
}

fn differs(
    facts: &Facts<'_>,
    device: &Device,
    conversation: ConversationId,
    difference: &Difference,
    findings: &mut Findings,
) {
    let (kind, invariant) = match difference {
        Difference::Missing(_) => (Kind::Lost, I1),
        Difference::Extra(_) | Difference::Different { .. } => (Kind::Divergent, I16),
    };
    findings.push(kind, invariant, || {
        let id = match difference {
            Difference::Missing(entry) | Difference::Extra(entry) => entry.message_id,
            Difference::Different { server, .. } => server.message_id,
        };
        let sender = id.and_then(|id| facts.sent.get(&id));
        let mut story: Vec<String> = sender
            .map(|sent| {
                format!(
                    "{} sent message {}",
                    sent.device.name,
                    id.unwrap_or(MessageId::new([0; 16]))
                )
            })
            .into_iter()
            .collect();
        story.push(format!(
            "{} and the log in conversation {conversation}: {difference}",
            device.name
        ));
        story
    });
}

fn entry(event: &Event) -> Entry {
    Entry {
        seq: event.place.seq,
        message_id: Some(event.message_id),
        // Who sent it is looked at where it is stored.
        sender: None,
        digest: event.digest,
    }
}

fn sums(entries: impl Iterator<Item = Entry>) -> Sums {
    Sums::new(entries.map(|it| (it.seq, Fingerprint::of(it.seq, it.message_id, it.digest))))
}

fn device_has_what_was_accepted(
    facts: &Facts<'_>,
    device: &Device,
    walked: &Walked,
    findings: &mut Findings,
) {
    let last = facts.epoch();
    for it in &facts.accepted {
        if !facts.is_entitled(device.user, it.place) || !facts.survives(it.place, it.epoch, last) {
            continue;
        }
        let events = walked.store.get(&it.place.conversation);
        if events.is_some_and(|events| events.contains_key(&it.place.seq)) {
            continue;
        }
        findings.push(Kind::Lost, I1, || {
            let last = events.and_then(|events| events.keys().next_back());
            let end = last.map_or_else(
                || format!("{} stored nothing of that conversation", device.name),
                |seq| format!("{} never stored it and ended at seq {seq}", device.name),
            );
            vec![told(facts, it), end]
        });
    }
}
