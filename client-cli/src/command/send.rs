//! `send`: the outbox first, then the server.
//!
//! Lines are queued in batches, each with one write to the disk, while answers
//! to earlier ones come in. A bounded number of them is open at a time, so that
//! a million lines need no more memory than a thousand.

use std::io::{self, IsTerminal as _};

use magpie_client::{MessageText, NewMessage, NewRequest, Recipient};
use tokio::sync::mpsc::Receiver;

use crate::{
    args::message::{Attached, Send},
    carrier::{Carrier, Noticed, Patience},
    command::{input, message::compose},
    context::Context,
    failure::{Exit, Failure},
    line::{Line, Shown},
    progress::Progress,
    wait::{Open, give_up, until_answered},
};

/// Messages that are queued and not printed: several windows, so that the
/// connection never waits for this program.
const OPEN_MAX: usize = 2_048;

/// Messages queued with one write to the disk.
const BATCH_MAX: usize = 256;

type Lines = Receiver<Result<MessageText, Failure>>;

pub(crate) async fn run(context: &Context, asked: Send) -> Result<Exit, Failure> {
    context.signed_in()?;
    let Send {
        to,
        text,
        attached,
        queue,
    } = asked;
    let sending = Sending { context, to };
    // A file may go without a word.
    let text = text.or_else(|| attached.body.as_ref().map(|_| String::new()));
    match (text, queue) {
        (Some(text), true) => sending.queue_one(&text, &attached),
        (Some(text), false) => sending.send_one(&text, &attached).await,
        (None, true) => sending.queue_lines(sending.lines()).await,
        (None, false) => sending.send_lines(sending.lines()).await,
    }
}

struct Sending<'context> {
    context: &'context Context,
    to: Recipient,
}

impl Sending<'_> {
    fn request(&self, message: NewMessage) -> NewRequest {
        NewRequest::Send {
            to: self.to.clone(),
            message,
        }
    }

    /// One message, with what goes with it.
    fn compose(&self, text: &str, attached: &Attached) -> Result<NewRequest, Failure> {
        let message = compose(self.context, &self.to, text, attached)?;
        Ok(self.request(message.try_into()?))
    }

    /// A line that was typed: most mention nobody.
    fn line(&self, text: MessageText) -> Result<NewRequest, Failure> {
        if !text.as_str().contains('@') {
            return Ok(self.request(text.into()));
        }
        self.compose(text.as_str(), &Attached::default())
    }

    /// Standard input; a person who types it is told what happens.
    fn lines(&self) -> Lines {
        if io::stdin().is_terminal() {
            self.context
                .output
                .note("each line is a message, Ctrl-D ends");
        }
        input::messages()
    }

    fn queue_one(&self, text: &str, attached: &Attached) -> Result<Exit, Failure> {
        let request = self.compose(text, attached)?;
        let id = self.context.home.queue(request)?;
        self.context.output.line(&Line::Queued {
            message_id: Shown(id),
        })?;
        Ok(Exit::Done)
    }

    async fn send_one(&self, text: &str, attached: &Attached) -> Result<Exit, Failure> {
        let request = self.compose(text, attached)?;
        let mut open = Open::default();
        open.push(self.context.home.queue(request)?);
        until_answered(self.context, Carrier::any(self.context)?, open).await
    }

    async fn queue_lines(&self, mut lines: Lines) -> Result<Exit, Failure> {
        let mut exit = Exit::Done;
        let mut batch = Vec::new();
        while lines.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let mut open = Open::default();
            self.queue_batch(&mut batch, &mut open)?;
            open.print_queued(self.context)?;
            if open.exit() == Exit::Refused {
                exit = Exit::Refused;
            }
        }
        Ok(exit)
    }

    /// Queues a batch with one write, and keeps the order of what was typed.
    fn queue_batch(
        &self,
        batch: &mut Vec<Result<MessageText, Failure>>,
        open: &mut Open,
    ) -> Result<(), Failure> {
        let mut requests = Vec::with_capacity(batch.len());
        let mut refused = Vec::new();
        for line in batch.drain(..) {
            match line {
                Ok(text) => {
                    requests.push(self.line(text)?);
                    refused.push(None);
                }
                Err(Failure::Input(error)) => return Err(Failure::Input(error)),
                Err(failure) => refused.push(Some(failure)),
            }
        }
        let mut ids = self.context.home.queue_all(requests)?.into_iter();
        for failure in refused {
            match failure {
                Some(failure) => open.push_refused(failure),
                None => ids.by_ref().take(1).for_each(|id| open.push(id)),
            }
        }
        Ok(())
    }

    async fn send_lines(&self, mut lines: Lines) -> Result<Exit, Failure> {
        let mut carrier = Carrier::any(self.context)?;
        let mut open = Open::default();
        // Who types the lines sees them move.
        let is_typed = io::stdin().is_terminal();
        let progress = (!is_typed)
            .then(|| self.context.output.progress("sent"))
            .flatten();
        let ended = self
            .send_while_answered(&mut lines, &mut carrier, &mut open, progress.as_ref())
            .await;
        drop(progress);
        let result = match ended {
            Ok(()) => Ok(open.exit()),
            Err(failure @ (Failure::Output(_) | Failure::Input(_))) => Err(failure),
            Err(failure) => self.queue_the_rest(lines, open, failure).await,
        };
        carrier.shutdown().await;
        result
    }

    async fn send_while_answered(
        &self,
        lines: &mut Lines,
        carrier: &mut Carrier<'_>,
        open: &mut Open,
        progress: Option<&Progress>,
    ) -> Result<(), Failure> {
        let mut patience = Patience::new(self.context.timeout());
        let mut batch = Vec::new();
        let mut input_ended = false;
        let mut look = false;
        loop {
            let printed = open.printed();
            open.print_answered(self.context, look)?;
            if let Some(progress) = progress {
                progress.set(open.printed());
            }
            if open.printed() > printed {
                patience.restart();
            }
            if input_ended && open.is_empty() {
                return Ok(());
            }
            look = false;
            tokio::select! {
                biased;
                noticed = carrier.next() => match noticed? {
                    Noticed::Answered(id, outcome) => open.hear(id, outcome),
                    Noticed::Changed => look = true,
                    Noticed::Connected
                    | Noticed::CaughtUp
                    | Noticed::Refreshed
                    | Noticed::Typing { .. }
                    | Noticed::Presence { .. }
                    | Noticed::Uploading { .. }
                    | Noticed::Stored(_)
                    | Noticed::Dropped(_)
                    | Noticed::Disconnected => {}
                },
                count = lines.recv_many(&mut batch, BATCH_MAX),
                    if !input_ended && open.count() < OPEN_MAX =>
                {
                    input_ended = count == 0;
                    if open.is_empty() {
                        patience.restart();
                    }
                    self.queue_batch(&mut batch, open)?;
                    carrier.wake();
                }
                () = patience.over(), if !open.is_empty() => {
                    return Err(carrier.timed_out(&patience));
                }
            }
        }
    }

    /// Nothing more will be answered: what is still to be read is queued too,
    /// so that nothing that was typed is lost, and printed as pending.
    async fn queue_the_rest(
        &self,
        mut lines: Lines,
        mut open: Open,
        failure: Failure,
    ) -> Result<Exit, Failure> {
        let mut batch = Vec::new();
        let mut pending = open.print_rest(self.context)?;
        while lines.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.queue_batch(&mut batch, &mut open)?;
            pending |= open.print_rest(self.context)?;
        }
        give_up(self.context, &open, pending, failure)
    }
}
