//! From notes, local databases and the server's log to a verdict.

use std::{collections::HashMap, time::Duration};

use magpie_audit::{
    Digest, End, Event, History, Membership, Place, Record, Verdict,
    compare::{Entry, Gap, compare},
    judge,
};
use magpie_client::{
    AuditConversation, Client, ConversationId, From as HistoryFrom, Home, MessageId, OutboxState,
    Outcome, RequestError, Seq, StoredEvent, UserId,
};
use tokio::time::{Instant, sleep};

use super::notes::{Notes, digest};
use crate::failure::Failure;

/// Events asked for at once.
const HISTORY_MAX: u32 = 200;

/// The log of some conversations.
pub(super) type Log = HashMap<ConversationId, Vec<StoredEvent>>;

/// A device at the end.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) name: String,
    pub(super) user: UserId,
    pub(super) home: Home,
    pub(super) notes: Notes,
    pub(super) has_caught_up: bool,
    pub(super) conversations: Vec<ConversationId>,
}

/// What is found, as sentences, besides the numbers.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) verdict: Verdict,
    /// Devices whose databases differ from the log.
    pub(super) differences: Vec<String>,
}

/// All of a conversation, as the server has it; `None` if it does not give it
/// before the deadline.
pub(super) async fn fetch_log(
    client: &Client,
    id: ConversationId,
    deadline: Instant,
) -> Result<Option<Vec<StoredEvent>>, Failure> {
    let mut log: Vec<StoredEvent> = Vec::new();
    loop {
        let after = log.last().map_or(Seq::ZERO, |event| event.seq);
        match client
            .fetch_history(id, HistoryFrom::After(after), HISTORY_MAX)
            .await
        {
            Ok(page) => {
                let is_last = page.complete || page.events.is_empty();
                log.extend(page.events);
                if is_last {
                    return Ok(Some(log));
                }
            }
            Err(RequestError::NotConnected | RequestError::Refused(_))
                if Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(100)).await;
            }
            Err(RequestError::NotConnected | RequestError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Judges all that is known.
pub(super) fn reach(witnesses: Vec<Witness>, log: &Log) -> Result<Found, Failure> {
    let mut history = History {
        one_clock: true,
        settled: true,
        log: Some(log.values().flatten().map(event).collect()),
        ..History::default()
    };
    let ids = ids_by_text(log);
    let mut differences = Vec::new();
    for witness in witnesses {
        for conversation in &witness.conversations {
            let membership = Membership {
                user: witness.user,
                conversation: *conversation,
                from: Seq::new(1),
                to: None,
            };
            if !history.members.contains(&membership) {
                history.members.push(membership);
            }
        }
        let stored = witness.home.audit()?;
        differences.extend(differences_of(&witness, &stored, log));
        history.devices.push(device(witness, &stored, &ids)?);
    }
    Ok(Found {
        verdict: judge(&history),
        differences,
    })
}

fn event(event: &StoredEvent) -> Event {
    Event {
        place: Place {
            conversation: event.conversation,
            seq: event.seq,
        },
        message_id: event.message_id.unwrap_or(MessageId::new([0; 16])),
        sender: event.sender.as_ref().map(|user| user.id),
        digest: digest(&event.content),
    }
}

fn ids_by_text(log: &Log) -> HashMap<String, MessageId> {
    let mut ids = HashMap::new();
    for event in log.values().flatten() {
        if let (magpie_client::Content::Message(message), Some(id)) =
            (&event.content, event.message_id)
        {
            ids.insert(message.text.clone(), id);
        }
    }
    ids
}

/// What a device noted, with what its database says it was told besides.
fn device(
    witness: Witness,
    stored: &[AuditConversation],
    ids: &HashMap<String, MessageId>,
) -> Result<magpie_audit::Device, Failure> {
    let Witness {
        name,
        user,
        home,
        mut notes,
        has_caught_up,
        ..
    } = witness;
    notes.texts_have_ids(ids);
    for id in notes.unanswered() {
        match home.outcome(id)? {
            Some(Outcome::Accepted(acceptance)) => notes.accepted(
                id,
                Place {
                    conversation: acceptance.conversation,
                    seq: acceptance.seq,
                },
            ),
            Some(Outcome::Failed(_)) => notes.refused(id),
            Some(Outcome::NothingToDo(_) | Outcome::Read { .. }) | None => {}
        }
    }
    let mut device = notes.into_device(&name, user);
    let mut waiting = Vec::new();
    for entry in home.outbox() {
        let entry = entry?;
        if let OutboxState::Failed(_) = entry.state {
            device.note(
                u64::MAX,
                Record::Refused {
                    message_id: entry.id,
                },
            );
        }
        waiting.push(entry.id);
    }
    let gaps = stored.iter().flat_map(|it| &it.gaps);
    device.end = Some(End {
        caught_up: has_caught_up,
        lines: device.lines.len() as u64,
        waiting,
        cursor: Vec::new(),
        gaps: gaps
            .map(|gap| (gap.conversation, gap.from, gap.to))
            .collect(),
    });
    Ok(device)
}

/// As `magpie audit`: the database against the log.
fn differences_of(witness: &Witness, stored: &[AuditConversation], log: &Log) -> Vec<String> {
    let mut differences = Vec::new();
    for id in &witness.conversations {
        let local = stored.iter().find(|it| it.id == *id);
        let events: Vec<Entry> = local
            .into_iter()
            .flat_map(|it| &it.events)
            .map(|line| Entry {
                seq: line.seq,
                message_id: line.message_id,
                sender: line.sender,
                digest: Digest::new(line.digest),
            })
            .collect();
        let gaps: Vec<Gap> = local
            .into_iter()
            .flat_map(|it| &it.gaps)
            .map(|gap| Gap {
                from: gap.from,
                to: gap.to,
            })
            .collect();
        let there: Vec<Entry> = log
            .get(id)
            .into_iter()
            .flatten()
            .map(|event| Entry {
                seq: event.seq,
                message_id: event.message_id,
                sender: event.sender.as_ref().map(|user| user.id),
                digest: Digest::new(event.digest()),
            })
            .collect();
        let verdict = compare(&events, &gaps, &there);
        differences.extend(
            verdict
                .differences
                .iter()
                .map(|it| format!("{}'s database, conversation {id}: {it}", witness.name)),
        );
        if verdict.unfetched > 0 {
            differences.push(format!(
                "{}'s database, conversation {id}: {} were never fetched",
                witness.name, verdict.unfetched
            ));
        }
    }
    differences
}
