//! Requests that are queued and not answered, printed in the order in which
//! they were typed.

use std::collections::{HashMap, VecDeque};

use magpie_client::{MessageId, Outcome};

use crate::{
    carrier::{Carrier, Noticed, Patience},
    context::Context,
    failure::{Exit, Failure},
    line::{Line, Shown},
    moving::Moving,
};

/// What was typed and not printed yet, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Open {
    slots: VecDeque<Slot>,
    /// Of the queued ones: what was heard.
    heard: HashMap<MessageId, Option<Outcome>>,
    refused: bool,
    printed: u64,
}

#[derive(Debug)]
enum Slot {
    Queued(MessageId),
    /// Not worth queueing: refused here.
    Refused(Box<Failure>),
}

impl Open {
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// How many lines were printed.
    pub(crate) const fn printed(&self) -> u64 {
        self.printed
    }

    pub(crate) fn push(&mut self, id: MessageId) {
        self.slots.push_back(Slot::Queued(id));
        self.heard.insert(id, None);
    }

    pub(crate) fn push_refused(&mut self, failure: Failure) {
        self.slots.push_back(Slot::Refused(Box::new(failure)));
    }

    /// Takes a note of an outcome; those of earlier runs are not ours to print.
    pub(crate) fn hear(&mut self, id: MessageId, outcome: Outcome) {
        if let Some(heard) = self.heard.get_mut(&id) {
            *heard = Some(outcome);
        }
    }

    /// Prints what is answered, up to the first that is not. With `look`, asks
    /// the local database for what was not heard of.
    pub(crate) fn print_answered(&mut self, context: &Context, look: bool) -> Result<(), Failure> {
        while let Some(slot) = self.slots.front() {
            let line = match slot {
                Slot::Refused(failure) => {
                    self.refused = true;
                    Line::failure(failure)
                }
                Slot::Queued(id) => {
                    let id = *id;
                    let heard = self.heard.get(&id).cloned().flatten();
                    let outcome = match heard {
                        Some(outcome) => Some(outcome),
                        None if look => context.home.outcome(id)?,
                        None => None,
                    };
                    let Some(outcome) = outcome else {
                        return Ok(());
                    };
                    self.heard.remove(&id);
                    self.line(id, outcome)
                }
            };
            self.slots.pop_front();
            self.printed += 1;
            context.output.line(&line)?;
        }
        Ok(())
    }

    fn line(&mut self, id: MessageId, outcome: Outcome) -> Line {
        match outcome {
            Outcome::Accepted(acceptance) => Line::accepted(id, acceptance),
            Outcome::Read { conversation, seq } => Line::Read {
                message_id: Shown(id),
                conversation_id: Shown(conversation),
                seq: seq.get(),
            },
            Outcome::NothingToDo(place) => Line::nothing_to_do(id, place),
            Outcome::Failed(refusal) => {
                self.refused = true;
                Line::refused(id, &refusal)
            }
        }
    }

    /// Prints all that is left: answered, refused, or still pending. True if
    /// something is pending.
    pub(crate) fn print_rest(&mut self, context: &Context) -> Result<bool, Failure> {
        let mut pending = false;
        loop {
            self.print_answered(context, true)?;
            let Some(slot) = self.slots.pop_front() else {
                return Ok(pending);
            };
            let Slot::Queued(id) = slot else {
                continue;
            };
            pending = true;
            self.heard.remove(&id);
            self.printed += 1;
            context.output.line(&Line::Pending {
                message_id: Shown(id),
            })?;
        }
    }

    /// Prints that everything is queued, or why not.
    pub(crate) fn print_queued(&mut self, context: &Context) -> Result<(), Failure> {
        for slot in self.slots.drain(..) {
            let line = match slot {
                Slot::Queued(id) => Line::Queued {
                    message_id: Shown(id),
                },
                Slot::Refused(failure) => {
                    self.refused = true;
                    Line::failure(&failure)
                }
            };
            context.output.line(&line)?;
        }
        Ok(())
    }

    /// The exit code when everything was answered.
    pub(crate) const fn exit(&self) -> Exit {
        if self.refused {
            Exit::Refused
        } else {
            Exit::Done
        }
    }
}

/// Waits for the outcomes and prints them; what is open when the patience ends,
/// or the connection for good, is printed as pending.
pub(crate) async fn until_answered(
    context: &Context,
    mut carrier: Carrier<'_>,
    mut open: Open,
) -> Result<Exit, Failure> {
    let mut patience = Patience::new(context.timeout());
    carrier.wake();
    let mut uploads = Moving::new(&context.output);
    let mut look = true;
    loop {
        let printed = open.printed();
        open.print_answered(context, look)?;
        if open.is_empty() {
            carrier.shutdown().await;
            return Ok(open.exit());
        }
        if open.printed() > printed {
            patience.restart();
        }
        let noticed = tokio::select! {
            biased;
            noticed = carrier.next() => noticed,
            () = patience.over() => Err(carrier.timed_out(&patience)),
        };
        look = match noticed {
            Ok(Noticed::Answered(id, outcome)) => {
                open.hear(id, outcome);
                false
            }
            Ok(Noticed::Changed) => true,
            Ok(Noticed::Uploading { id, sent, size }) => {
                // Bytes that are taken are an answer.
                patience.restart();
                uploads.show((sent, size), || Line::Progress {
                    message_id: Shown(id),
                    sent,
                    size,
                })?;
                false
            }
            Ok(
                Noticed::Connected
                | Noticed::CaughtUp
                | Noticed::Refreshed
                | Noticed::Typing { .. }
                | Noticed::Presence { .. }
                | Noticed::Stored(_)
                | Noticed::Dropped(_)
                | Noticed::Disconnected,
            ) => false,
            Err(failure) => {
                let pending = open.print_rest(context)?;
                carrier.shutdown().await;
                return give_up(context, &open, pending, failure);
            }
        };
    }
}

/// The end of a command that had to give up: with pending lines printed, the
/// reason is a note beside them.
pub(crate) fn give_up(
    context: &Context,
    open: &Open,
    pending: bool,
    failure: Failure,
) -> Result<Exit, Failure> {
    if !pending {
        return Ok(open.exit());
    }
    context.output.failure(&failure.to_string());
    Ok(failure.exit())
}
