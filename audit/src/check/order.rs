//! One order for all devices, and in it each sender's own.

use std::collections::HashMap;

use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::Seq,
};

use super::{Kind, Outcome, Place, Reader, Sending, Violation};

/// What somebody says is at a place.
#[derive(Clone, Copy)]
struct Claim<'history> {
    place: Place,
    message_id: MessageId,
    by: &'history str,
    told: bool,
}

impl Claim<'_> {
    fn story(&self) -> String {
        let verb = if self.told { "was told" } else { "showed" };
        format!(
            "{} {verb} message {} at {}",
            self.by, self.message_id, self.place
        )
    }
}

/// Every id has one place and every place one id, whoever is asked (D3, D4).
/// Returns the first place claimed for each id.
pub(super) fn one_order_for_all(
    sendings: &[Sending],
    readers: &[Reader],
    violations: &mut Vec<Violation>,
) -> HashMap<MessageId, Place> {
    let told = sendings.iter().filter_map(|sending| match sending.outcome {
        Outcome::Accepted(place) => Some(Claim {
            place,
            message_id: sending.message_id,
            by: &sending.device,
            told: true,
        }),
        Outcome::Refused | Outcome::Unknown => None,
    });
    let shown = readers.iter().flat_map(|reader| {
        reader.shown.iter().map(|shown| Claim {
            place: shown.place,
            message_id: shown.message_id,
            by: &reader.device,
            told: false,
        })
    });
    let mut by_id: HashMap<MessageId, Claim<'_>> = HashMap::new();
    let mut by_place: HashMap<Place, Claim<'_>> = HashMap::new();
    for claim in told.chain(shown) {
        let first = *by_id.entry(claim.message_id).or_insert(claim);
        if first.place != claim.place {
            violations.push(Violation {
                kind: Kind::Duplicated,
                story: vec![first.story(), claim.story()],
            });
        }
        let first = *by_place.entry(claim.place).or_insert(claim);
        if first.message_id != claim.message_id {
            violations.push(Violation {
                kind: Kind::Reordered,
                story: vec![first.story(), claim.story()],
            });
        }
    }
    by_id
        .into_iter()
        .map(|(id, claim)| (id, claim.place))
        .collect()
}

/// What one device sends to one conversation stands there in the order in
/// which it was sent (D6).
pub(super) fn senders_order(
    sendings: &[Sending],
    places: &HashMap<MessageId, Place>,
    violations: &mut Vec<Violation>,
) {
    let mut last: HashMap<(&str, ConversationId), (Seq, MessageId)> = HashMap::new();
    for sending in sendings {
        let Some(place) = places.get(&sending.message_id) else {
            continue;
        };
        let key = (sending.device.as_str(), place.conversation);
        let here = (place.seq, sending.message_id);
        let Some(before) = last.insert(key, here) else {
            continue;
        };
        if before.0 < here.0 {
            continue;
        }
        violations.push(Violation {
            kind: Kind::Reordered,
            story: vec![
                format!(
                    "{} sent message {} and then {}",
                    sending.device, before.1, here.1
                ),
                format!(
                    "they stand at seq {} and {} of conversation {}",
                    before.0, here.0, place.conversation
                ),
            ],
        });
    }
}
