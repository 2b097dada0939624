//! `chat`: what was said, then what is said, and each line typed is sent.
//!
//! Line by line and nothing more: it works in any terminal, and without one.

use std::collections::VecDeque;

use magpie_client::{
    ConversationId, MessageId, MessageText, NewRequest, Outcome, Presence, PresenceState,
    Recipient, Seq,
};
use tokio::sync::mpsc::Receiver;

use crate::{
    args::message::Attached,
    carrier::{Carrier, Noticed, Patience},
    command::{input, listen::Stop, message::compose},
    context::Context,
    failure::{Exit, Failure},
    line::{Line, Shown},
};

/// Events shown before the first line is typed.
const SHOWN_FIRST: usize = 20;

/// Events read from the local database at once.
const PAGE: usize = 200;

/// Messages typed and not answered; a longer paste waits.
const OPEN_MAX: usize = 512;

pub(crate) async fn run(context: &Context, to: Recipient) -> Result<Exit, Failure> {
    let carrier = Carrier::own(context)?;
    let mut chat = Chat {
        context,
        carrier,
        to,
        conversation: None,
        shown: Seq::ZERO,
        own: VecDeque::new(),
        refused: false,
    };
    chat.show_first()?;
    context
        .output
        .note("connecting; each line is a message, /quit ends");
    let exit = chat.talk(input::messages()).await;
    chat.carrier.shutdown().await;
    exit
}

struct Chat<'context> {
    context: &'context Context,
    carrier: Carrier<'context>,
    to: Recipient,
    /// None before the first message.
    conversation: Option<ConversationId>,
    /// The newest seq that was shown.
    shown: Seq,
    /// Typed here and not answered, oldest first.
    own: VecDeque<MessageId>,
    refused: bool,
}

impl Chat<'_> {
    async fn talk(
        &mut self,
        mut lines: Receiver<Result<MessageText, Failure>>,
    ) -> Result<Exit, Failure> {
        let mut stop = Stop::new()?;
        let mut patience = Patience::new(self.context.timeout());
        let mut ended = false;
        while !ended || !self.own.is_empty() {
            tokio::select! {
                biased;
                () = stop.asked() => return Ok(self.exit()),
                noticed = self.carrier.next() => {
                    if self.handle_noticed(noticed?)? {
                        patience.restart();
                    }
                }
                line = lines.recv(), if !ended && self.own.len() < OPEN_MAX => match line {
                    None => {
                        ended = true;
                        patience.restart();
                    }
                    Some(Ok(text)) if text.as_str() == "/quit" => {
                        ended = true;
                        patience.restart();
                    }
                    Some(Ok(text)) => self.send(text)?,
                    Some(Err(failure @ Failure::Input(_))) => return Err(failure),
                    Some(Err(failure)) => {
                        self.refused = true;
                        self.context.output.line(&Line::failure(&failure))?;
                    }
                },
                // At the end of the input, what is open gets as long as `send` gives it.
                () = patience.over(), if ended => return self.give_up(&patience),
            }
        }
        Ok(self.exit())
    }

    const fn exit(&self) -> Exit {
        if self.refused {
            Exit::Refused
        } else {
            Exit::Done
        }
    }

    fn give_up(&self, patience: &Patience) -> Result<Exit, Failure> {
        for id in &self.own {
            self.context.output.line(&Line::Pending {
                message_id: Shown(*id),
            })?;
        }
        let failure = self.carrier.timed_out(patience);
        self.context.output.failure(&failure.to_string());
        Ok(failure.exit())
    }

    fn send(&mut self, text: MessageText) -> Result<(), Failure> {
        let to = self.to.clone();
        let message = compose(self.context, &to, text.as_str(), &Attached::default())?;
        let message = message.try_into()?;
        let id = self.context.home.queue(NewRequest::Send { to, message })?;
        self.own.push_back(id);
        self.carrier.wake();
        Ok(())
    }

    /// True if something was answered.
    fn handle_noticed(&mut self, noticed: Noticed) -> Result<bool, Failure> {
        match noticed {
            Noticed::CaughtUp => {
                self.show_new()?;
                self.watch()?;
                if self.context.output.is_json() {
                    self.context.output.line(&Line::CaughtUp)?;
                }
            }
            Noticed::Refreshed | Noticed::Typing { .. } | Noticed::Uploading { .. } => {}
            Noticed::Presence { presence } => self.show_presence(&presence)?,
            Noticed::Connected => self.context.output.note("connected"),
            Noticed::Answered(id, outcome) => {
                self.answered(id, &outcome)?;
                self.show_new()?;
                return Ok(true);
            }
            Noticed::Changed => {
                let answered = self.look()?;
                self.show_new()?;
                return Ok(answered);
            }
            Noticed::Stored(_) => self.show_new()?,
            Noticed::Dropped(dropped) => {
                if self.conversation == Some(dropped.conversation) {
                    self.shown = self.shown.min(dropped.above);
                }
                self.context.output.line(&Line::dropped(dropped))?;
            }
            Noticed::Disconnected => {}
        }
        Ok(false)
    }

    /// Looks at the other one, of two who chat.
    fn watch(&self) -> Result<(), Failure> {
        if let Recipient::User(name) = &self.to
            && let Some(user) = self.context.home.user_named(name)?
        {
            self.carrier.client()?.watch_presence(&[user]);
        }
        Ok(())
    }

    /// What is not told is not worth a line.
    fn show_presence(&self, presence: &Presence) -> Result<(), Failure> {
        if presence.state == PresenceState::Hidden {
            return Ok(());
        }
        if let Recipient::User(name) = &self.to {
            let line = Line::presence(name.to_string(), presence);
            self.context.output.line(&line)?;
        }
        Ok(())
    }

    fn answered(&mut self, id: MessageId, outcome: &Outcome) -> Result<(), Failure> {
        let open = self.own.len();
        self.own.retain(|own| *own != id);
        if self.own.len() == open {
            // Of an earlier run: it is sent, and shown when it comes.
            return Ok(());
        }
        match outcome {
            Outcome::Accepted(acceptance) => {
                self.conversation.get_or_insert(acceptance.conversation);
                // For people the message itself, with its number, is the sign.
                if self.context.output.is_json() {
                    self.context.output.line(&Line::accepted(id, *acceptance))?;
                }
            }
            Outcome::Failed(refusal) => {
                self.refused = true;
                self.context.output.line(&Line::refused(id, refusal))?;
            }
            Outcome::NothingToDo(_) | Outcome::Read { .. } => {}
        }
        Ok(())
    }

    /// What was answered and not heard of.
    fn look(&mut self) -> Result<bool, Failure> {
        let mut answered = false;
        while let Some(id) = self.own.front().copied() {
            let Some(outcome) = self.context.home.outcome(id)? else {
                break;
            };
            self.answered(id, &outcome)?;
            answered = true;
        }
        Ok(answered)
    }

    fn show_first(&mut self) -> Result<(), Failure> {
        self.conversation = self.context.home.resolve(&self.to)?;
        let Some(conversation) = self.conversation else {
            return Ok(());
        };
        let history = self.context.home.history(conversation, None, SHOWN_FIRST)?;
        for event in history.events {
            self.shown = event.seq;
            self.context.output.line(&Line::event(event))?;
        }
        Ok(())
    }

    /// Shows what is stored above what was shown, oldest first.
    fn show_new(&mut self) -> Result<(), Failure> {
        if self.conversation.is_none() {
            self.conversation = self.context.home.resolve(&self.to)?;
        }
        let Some(conversation) = self.conversation else {
            return Ok(());
        };
        loop {
            let events = self.above(conversation)?;
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                self.shown = event.seq;
                self.context.output.line(&Line::event(event))?;
            }
        }
    }

    /// The next stored events above what was shown: a page right above it, or
    /// the newest ones if there is a gap right above it.
    fn above(
        &self,
        conversation: ConversationId,
    ) -> Result<Vec<magpie_client::StoredEvent>, Failure> {
        let home = &self.context.home;
        let page = u64::try_from(PAGE).unwrap_or(u64::MAX);
        let before = Seq::new(self.shown.get().saturating_add(page).saturating_add(1));
        let mut events = home.history(conversation, Some(before), PAGE)?.events;
        events.retain(|event| event.seq > self.shown);
        if events.is_empty() {
            events = home.history(conversation, None, PAGE)?.events;
            events.retain(|event| event.seq > self.shown);
        }
        Ok(events)
    }
}
