//! One receiver: takes what comes, and looks at its order.

use std::sync::{Arc, atomic::Ordering};

use anyhow::bail;
use magpie_protocol::{
    session::Incoming,
    wire::v1::{self, event_content::Kind},
};
use tokio::sync::watch;

use super::{Ended, Phase, nanos_since, text};
use crate::{
    connection::{Connection, Rejected, name},
    credentials::Device,
    measure::Tally,
};

pub(super) struct Receiver {
    device: Device,
    connection: Connection,
    run: u32,
    tally: Arc<Tally>,
    phase: watch::Receiver<Phase>,
    /// The number of the next message of this pair.
    upcoming: u32,
    latencies: Vec<u64>,
}

impl Receiver {
    pub(super) fn new(
        (device, connection): (Device, Connection),
        run: u32,
        tally: Arc<Tally>,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self {
            device,
            connection,
            run,
            tally,
            phase,
            upcoming: 0,
            latencies: Vec::new(),
        }
    }

    /// Receives until everything is done.
    pub(super) async fn run(mut self) -> Ended {
        let mut incoming = Vec::new();
        while *self.phase.borrow_and_update() != Phase::Done {
            self.connection.flush().await?;
            tokio::select! {
                biased;
                turned = self.connection.turn(&mut incoming) => turned?,
                changed = self.phase.changed() => changed?,
            }
            for it in incoming.drain(..) {
                self.take(it)?;
            }
            if self.tally.measures() {
                self.tally.deliver.record(&mut self.latencies);
            }
            self.latencies.clear();
        }
        Ok((self.device, self.connection))
    }

    fn take(&mut self, it: Incoming) -> anyhow::Result<()> {
        match it {
            Incoming::Page { number, page } => {
                self.connection.store(number, &page, &mut self.device);
                self.count(&page.events);
            }
            Incoming::Hint(_) | Incoming::Nothing => {}
            Incoming::Goodbye(goodbye) => return Err(Rejected::from(goodbye).into()),
            Incoming::Answer { .. }
            | Incoming::Welcome(_)
            | Incoming::SignedIn(_)
            | Incoming::Refused(_)
            | Incoming::Unsupported => bail!("an unexpected {}", name(&it)),
        }
        Ok(())
    }

    fn count(&mut self, events: &[v1::Event]) {
        let stamps = events.iter().filter_map(|event| {
            let Some(Kind::Message(message)) = &event.content.as_ref()?.kind else {
                return None;
            };
            text::read(self.run, &message.text)
        });
        for stamp in stamps {
            // A hole is a loss, which the counts show; a step back is not.
            if stamp.index < self.upcoming {
                self.tally.disordered.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.upcoming = stamp.index + 1;
            self.tally.delivered.fetch_add(1, Ordering::Relaxed);
            self.latencies.push(nanos_since(stamp.nanos));
        }
    }
}
