//! `sync`: connects, empties the outbox, catches up, ends.

use std::collections::HashSet;

use magpie_client::{MessageId, OutboxState, Outcome};

use crate::{
    carrier::{Carrier, Noticed, Patience},
    context::Context,
    failure::{Exit, Failure},
    line::Line,
};

pub(crate) async fn run(context: &Context) -> Result<Exit, Failure> {
    let mut carrier = Carrier::own(context)?;
    let mut patience = Patience::new(context.timeout());
    let mut pending = pending(context)?;
    let (mut events, mut sent, mut failed) = (0, 0, 0);
    let (mut caught_up, mut refreshed) = (false, false);
    let progress = context.output.progress("events and requests");
    while !caught_up || !refreshed || !pending.is_empty() {
        let noticed = tokio::select! {
            biased;
            noticed = carrier.next() => noticed?,
            () = patience.over() => return Err(carrier.timed_out(&patience)),
        };
        match noticed {
            Noticed::CaughtUp => {
                caught_up = true;
                // What the server has forgotten was put back meanwhile.
                pending.extend(self::pending(context)?);
            }
            Noticed::Refreshed => refreshed = true,
            // Bytes that are taken are an answer.
            Noticed::Uploading { .. } => {}
            Noticed::Dropped(dropped) => context.output.line(&Line::dropped(dropped))?,
            Noticed::Stored(count) => events += count,
            Noticed::Answered(id, outcome) => {
                if pending.remove(&id) {
                    count_outcome(&outcome, &mut sent, &mut failed);
                }
            }
            // Events may have been dropped, and marks are not counted: look,
            // but not each time through a long outbox.
            Noticed::Changed => {
                for outcome in unanswered(context, &mut pending, caught_up)? {
                    count_outcome(&outcome, &mut sent, &mut failed);
                }
                continue;
            }
            Noticed::Connected
            | Noticed::Typing { .. }
            | Noticed::Presence { .. }
            | Noticed::Disconnected => continue,
        }
        if let Some(progress) = &progress {
            progress.set(events + sent + failed);
        }
        patience.restart();
    }
    drop(progress);
    carrier.shutdown().await;
    context.output.line(&Line::Synced {
        events,
        sent,
        failed,
    })?;
    Ok(if failed == 0 {
        Exit::Done
    } else {
        Exit::Refused
    })
}

fn count_outcome(outcome: &Outcome, sent: &mut u64, failed: &mut u64) {
    match outcome {
        Outcome::Accepted(_) | Outcome::NothingToDo(_) => *sent += 1,
        Outcome::Failed(_) => *failed += 1,
        Outcome::Read { .. } => {}
    }
}

/// What the outbox holds that still has to be sent.
fn pending(context: &Context) -> Result<HashSet<MessageId>, Failure> {
    let mut pending = HashSet::new();
    for entry in context.home.outbox() {
        let entry = entry?;
        if entry.state == OutboxState::Pending {
            pending.insert(entry.id);
        }
    }
    Ok(pending)
}

/// The outcomes that nobody told us of; once caught up.
fn unanswered(
    context: &Context,
    pending: &mut HashSet<MessageId>,
    caught_up: bool,
) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    if !caught_up {
        return Ok(outcomes);
    }
    for id in pending.iter().copied().collect::<Vec<_>>() {
        if let Some(outcome) = context.home.outcome(id)? {
            pending.remove(&id);
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}
