//! `listen`: every message, once per home, as it comes.
//!
//! A line is printed and flushed, and only then marked as printed. A kill
//! between the two prints that one line again; nothing is passed over.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::{
    carrier::{Carrier, Noticed, Patience},
    context::{Context, Places},
    failure::{Exit, Failure},
    line::Line,
};

/// Events read from the local database at once.
const BATCH_MAX: usize = 256;

pub(crate) async fn run(
    context: &Context,
    until_idle: Option<u64>,
    ephemeral: bool,
) -> Result<Exit, Failure> {
    let mut carrier = Carrier::own(context)?;
    let mut stop = Stop::new()?;
    let mut places = Places::new(context);
    // Who waits for the end of it does not wait for ever.
    let mut patience = Patience::new(context.timeout().filter(|_| until_idle.is_some()));
    let until_idle = until_idle.map(Duration::from_secs);
    // Some while this session is caught up: since when it is quiet.
    let mut quiet_since: Option<Instant> = None;
    print_new(&mut places, &mut stop).await?;
    loop {
        let idle_at = until_idle.and_then(|idle| quiet_since.map(|since| since + idle));
        let noticed = tokio::select! {
            biased;
            () = stop.asked() => break,
            noticed = carrier.next() => noticed?,
            () = at(idle_at) => break,
            () = patience.over(), if quiet_since.is_none() => {
                let failure = carrier.timed_out(&patience);
                carrier.shutdown().await;
                return Err(failure);
            }
        };
        let printed = print_new(&mut places, &mut stop).await?;
        match noticed {
            Noticed::CaughtUp => {
                context.output.line(&Line::CaughtUp)?;
                quiet_since = Some(Instant::now());
            }
            Noticed::Typing {
                conversation,
                user,
                typing,
            } if ephemeral => {
                let known = context.home.profile(user)?;
                let name = known.map_or_else(|| user.to_string(), |(user, _)| user.name);
                let place = places.of(conversation)?;
                let line = Line::typing(conversation, name, typing, place);
                context.output.line(&line)?;
            }
            Noticed::Refreshed
            | Noticed::Typing { .. }
            | Noticed::Presence { .. }
            | Noticed::Uploading { .. } => {}
            Noticed::Connected => quiet_since = None,
            Noticed::Disconnected => {
                if quiet_since.take().is_some() {
                    patience.restart();
                }
            }
            Noticed::Dropped(dropped) => {
                context.output.line(&Line::dropped(dropped))?;
            }
            Noticed::Stored(_) | Noticed::Answered(..) | Noticed::Changed => {
                if printed {
                    patience.restart();
                    quiet_since = quiet_since.map(|_| Instant::now());
                }
            }
        }
    }
    carrier.shutdown().await;
    Ok(Exit::Done)
}

/// Prints what is not printed yet; true if there was something.
pub(crate) async fn print_new(places: &mut Places<'_>, stop: &mut Stop) -> Result<bool, Failure> {
    let context = places.context;
    let mut printed = false;
    loop {
        let events = context.home.unprinted(BATCH_MAX)?;
        if events.is_empty() {
            return Ok(printed);
        }
        for event in events {
            let mark = (event.conversation, event.seq);
            let mut line = Line::event(event);
            if !context.output.is_json() {
                line = line.in_place(places.of(mark.0)?);
            }
            context.output.line(&line)?;
            context.home.mark_printed(&[mark])?;
            printed = true;
        }
        if stop.is_asked().await {
            return Ok(printed);
        }
    }
}

/// The end was asked for: Ctrl-C, or SIGTERM.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    asked: bool,
}

impl Stop {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::Input)?,
            terminate: signal(SignalKind::terminate()).map_err(Failure::Input)?,
            asked: false,
        })
    }

    /// Waits until it is asked for, now or before.
    pub(crate) async fn asked(&mut self) {
        if self.asked {
            return;
        }
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        self.asked = true;
    }

    /// Whether it was asked for.
    async fn is_asked(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.asked() => true,
            () = std::future::ready(()) => false,
        }
    }
}

/// Waits until `moment`; without one, for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
