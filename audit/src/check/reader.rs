//! What one reader showed: in order, without a hole, only what was sent, all
//! that was accepted.

use std::collections::{HashMap, HashSet};

use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::Seq,
};

use super::{Kind, Outcome, Place, Reader, Sending, Shown, Violation};

/// Each conversation by seq, from where the reader begins, one at a time
/// (D3, D4, D5), and no conversation but its own (D10).
pub(super) fn own_order(reader: &Reader, violations: &mut Vec<Violation>) {
    let mut highest: HashMap<ConversationId, Shown> = HashMap::new();
    let mut seen: HashSet<Place> = HashSet::new();
    for shown in &reader.shown {
        let Place { conversation, seq } = shown.place;
        let Some(from) = reader.from.get(&conversation) else {
            violations.push(violation(Kind::Leaked, vec![story(reader, shown)]));
            continue;
        };
        if !seen.insert(shown.place) {
            let story = format!("{} twice", story(reader, shown));
            violations.push(violation(Kind::Duplicated, vec![story]));
            continue;
        }
        let Some(before) = highest.get(&conversation).copied() else {
            if seq > *from {
                let begin = format!("{} begins at seq {from}", reader.device);
                violations.push(violation(Kind::Gap, vec![begin, story(reader, shown)]));
            }
            highest.insert(conversation, *shown);
            continue;
        };
        let stories = || vec![story(reader, &before), story(reader, shown)];
        if seq < before.place.seq {
            violations.push(violation(Kind::Reordered, stories()));
            continue;
        }
        if seq > before.place.seq.next() {
            violations.push(violation(Kind::Gap, stories()));
        }
        highest.insert(conversation, *shown);
    }
}

/// Each event shown is one that somebody sent, with that content, and that was
/// not refused.
pub(super) fn only_what_was_sent(
    reader: &Reader,
    sent: &HashMap<MessageId, &Sending>,
    violations: &mut Vec<Violation>,
) {
    for shown in &reader.shown {
        let origin = match sent.get(&shown.message_id) {
            None => "nobody sent it".to_owned(),
            Some(sending) if sending.outcome == Outcome::Refused => {
                format!("{} was told that it is refused", sending.device)
            }
            Some(sending) if sending.digest != shown.digest => {
                format!("{} sent another content", sending.device)
            }
            Some(_) => continue,
        };
        violations.push(violation(Kind::Phantom, vec![origin, story(reader, shown)]));
    }
}

/// Each accepted event of the reader's conversations was shown (D1, D2).
pub(super) fn nothing_lost(reader: &Reader, sendings: &[Sending], violations: &mut Vec<Violation>) {
    let shown: HashSet<MessageId> = reader.shown.iter().map(|shown| shown.message_id).collect();
    for sending in sendings {
        let Outcome::Accepted(place) = sending.outcome else {
            continue;
        };
        let Some(from) = reader.from.get(&place.conversation) else {
            continue;
        };
        if place.seq < *from || shown.contains(&sending.message_id) {
            continue;
        }
        violations.push(violation(
            Kind::Lost,
            vec![
                format!(
                    "{} was told that message {} is at {place}",
                    sending.device, sending.message_id
                ),
                last_shown(reader, place),
            ],
        ));
    }
}

/// How far the reader came there: a hole tells another story than an early end.
fn last_shown(reader: &Reader, place: Place) -> String {
    let last: Option<Seq> = reader
        .shown
        .iter()
        .rev()
        .find(|shown| shown.place.conversation == place.conversation)
        .map(|shown| shown.place.seq);
    match last {
        Some(seq) => format!("{} never showed it and ended at seq {seq}", reader.device),
        None => format!("{} showed nothing of that conversation", reader.device),
    }
}

fn story(reader: &Reader, shown: &Shown) -> String {
    format!(
        "{} showed message {} at {}",
        reader.device, shown.message_id, shown.place
    )
}

fn violation(kind: Kind, story: Vec<String>) -> Violation {
    Violation { kind, story }
}
