//! A device in this process: the SDK, and somebody who writes and reads.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use magpie_audit::{Event as LogEvent, Place};
use magpie_client::{
    Client, ConversationId, Event, Home, MessageId, NewRequest, Options, Recipient, Seq, Server,
    Trust, UserId,
};
use magpie_proxy::Random;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    board::Board,
    notes::{Notes, digest, sender_of, text},
};
use crate::failure::Failure;

/// How often what has come is read: many events at once cost little more than
/// one.
const READ_INTERVAL: Duration = Duration::from_millis(100);

/// How long a request may take while nothing is broken yet.
const CALM_TIMEOUT: Duration = Duration::from_secs(60);

/// Events read at once.
const READ_MAX: usize = 1_000;

/// Bytes that a text may have more than it needs.
const FILLING_MAX: u64 = 150;

/// What all do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// They write.
    Writing,
    /// They only read.
    Silent,
    /// They end.
    Over,
}

/// Who a device is, and how it gets to its server.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) number: usize,
    /// Tells devices apart in stories.
    pub(super) name: String,
    pub(super) user: UserId,
    pub(super) directory: PathBuf,
    pub(super) address: String,
    pub(super) ca: Option<PathBuf>,
    /// Where it may write.
    pub(super) conversations: Vec<ConversationId>,
    /// Between two of its messages.
    pub(super) pause: Duration,
    pub(super) board: Arc<Board>,
}

impl Seat {
    pub(super) fn server(&self) -> Server {
        Server {
            address: self.address.clone(),
            trust: self.ca.clone().map_or(Trust::System, Trust::CaFile),
        }
    }

    /// The next text of this device, its `count`th.
    pub(super) fn text(&self, count: u64, random: &mut Random) -> String {
        text(self.number, count, random.between(0, FILLING_MAX))
    }

    /// Where to write now.
    pub(super) fn target(&self, random: &mut Random) -> Option<ConversationId> {
        let last = self.conversations.len().checked_sub(1)?;
        let index = usize::try_from(random.between(0, last as u64)).ok()?;
        self.conversations.get(index).copied()
    }

    /// Until the next message: neither all at once nor in step.
    pub(super) fn pause(&self, random: &mut Random) -> Duration {
        self.pause * u32::try_from(random.between(50, 150)).unwrap_or(100) / 100
    }
}

/// A device that runs here.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) seat: Seat,
    pub(super) home: Home,
    pub(super) notes: Notes,
    random: Random,
    /// How many messages it has sent.
    count: u64,
    client: Option<Client>,
    back_at: Instant,
    has_news: bool,
}

impl Device {
    pub(super) fn new(seat: Seat, home: Home, notes: Notes, random: Random) -> Self {
        Self {
            seat,
            home,
            notes,
            random,
            count: 0,
            client: None,
            back_at: Instant::now(),
            has_news: true,
        }
    }

    /// The connection, if it has one.
    pub(super) const fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Connects, and waits until all that there was has come.
    pub(super) async fn until_caught_up(&mut self) -> Result<(), Failure> {
        self.calmly(|event| matches!(event, Event::CaughtUp)).await
    }

    /// Sends something while nothing is broken yet. Gives where it is.
    pub(super) async fn ask(
        &mut self,
        text: String,
        request: NewRequest,
    ) -> Result<Place, Failure> {
        let number = self.notes.sends(text, None);
        let id = self.home.queue(request)?;
        self.notes.has_id(number, id);
        if let Some(client) = &self.client {
            client.wake_outbox();
        }
        let mut place = None;
        self.calmly(|event| {
            if let Event::Accepted { id: of, acceptance } = event
                && *of == id
            {
                place = Some(Place {
                    conversation: acceptance.conversation,
                    seq: acceptance.seq,
                });
            }
            matches!(event, Event::Failed { id: of, .. } if *of == id) || place.is_some()
        })
        .await?;
        let place = place.ok_or_else(|| Failure::Lost("a first message was refused".to_owned()))?;
        self.seat.board.is_committed(place);
        self.notes.accepted(id, place);
        Ok(place)
    }

    /// Waits for an event while nothing is broken yet.
    async fn calmly(&mut self, mut is_it: impl FnMut(&Event) -> bool) -> Result<(), Failure> {
        let waiting = async {
            let mut reason = "the server did not answer".to_owned();
            loop {
                self.connect()?;
                let Some(client) = &mut self.client else {
                    sleep(READ_INTERVAL).await;
                    continue;
                };
                match client.next_event().await {
                    Some(event) if is_it(&event) => return Ok(()),
                    Some(Event::Disconnected { reason: why, .. }) => reason = why.to_string(),
                    Some(Event::SignedOut { refusal } | Event::UpgradeRequired { refusal }) => {
                        return Err(Failure::Refused(refusal));
                    }
                    Some(_) => {}
                    None => return Err(Failure::Lost(reason)),
                }
            }
        };
        let waited = timeout(CALM_TIMEOUT, waiting).await;
        waited.unwrap_or_else(|_| Err(Failure::Lost("the server did not answer".to_owned())))
    }

    /// Writes and reads until it is over; goes away for as long as it is told.
    pub(super) async fn run(
        mut self,
        mut phase: watch::Receiver<Phase>,
        mut leaves: mpsc::Receiver<Duration>,
    ) -> Result<Self, Failure> {
        self.has_news = true;
        let pause = self.seat.pause(&mut self.random);
        let (mut write_at, mut read_at) = (Instant::now() + pause, Instant::now());
        loop {
            let now = *phase.borrow_and_update();
            if now == Phase::Over {
                self.read()?;
                return Ok(self);
            }
            if Instant::now() >= self.back_at {
                self.connect()?;
            }
            tokio::select! {
                event = next_event(&mut self.client) => self.notice(event),
                () = sleep_until(read_at) => {
                    read_at = Instant::now() + READ_INTERVAL;
                    if std::mem::take(&mut self.has_news) {
                        self.read()?;
                    }
                }
                () = sleep_until(write_at), if now == Phase::Writing => {
                    self.write()?;
                    write_at += self.seat.pause(&mut self.random);
                }
                Some(away) = leaves.recv() => {
                    self.client = None;
                    self.back_at = Instant::now() + away;
                }
                _ = phase.changed() => {}
            }
        }
    }

    fn connect(&mut self) -> Result<(), Failure> {
        if self.client.is_none()
            // The driver before may not have ended yet.
            && let Some(lock) = self.home.try_lock_connection()?
        {
            let options = Options {
                client_name: "magpie-torture".to_owned(),
                client_version: env!("CARGO_PKG_VERSION").to_owned(),
                background: false,
                watch_interval: None,
                ..Options::default()
            };
            let client = Client::start(self.home.clone(), lock, self.seat.server(), options);
            client.wake_outbox();
            self.client = Some(client);
            self.has_news = true;
        }
        Ok(())
    }

    fn notice(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Accepted { id, acceptance }) => {
                let place = Place {
                    conversation: acceptance.conversation,
                    seq: acceptance.seq,
                };
                self.notes.accepted(id, place);
                self.seat.board.is_committed(place);
                self.has_news = true;
            }
            Some(Event::Failed { id, .. }) => {
                self.notes.refused(id);
                self.has_news = true;
            }
            // Of what is missed here, the outbox knows; the verdict asks it. Nothing is
            // restored here: what a device drops, the verdict misses.
            Some(
                Event::Missed
                | Event::Stored { .. }
                | Event::CaughtUp
                | Event::Refreshed
                | Event::Profile { .. }
                | Event::Uploading { .. }
                | Event::Downloading { .. }
                | Event::Typing { .. }
                | Event::Presence { .. }
                | Event::BeganAnew
                | Event::Dropped(_),
            ) => {
                self.has_news = true;
            }
            Some(
                Event::Connected { .. }
                | Event::NothingToDo { .. }
                | Event::Read { .. }
                | Event::Marks { .. }
                | Event::Disconnected { .. }
                | Event::SignedOut { .. }
                | Event::UpgradeRequired { .. }
                | Event::Replaced,
            ) => {}
            // The driver has ended for a reason that a person would look at.
            None => {
                self.client = None;
                self.back_at = Instant::now() + Duration::from_secs(1);
            }
        }
    }

    fn write(&mut self) -> Result<(), Failure> {
        let Some(conversation) = self.seat.target(&mut self.random) else {
            return Ok(());
        };
        self.count += 1;
        let text = self.seat.text(self.count, &mut self.random);
        let number = self.notes.sends(text.clone(), Some(conversation));
        self.seat.board.has_sent(self.seat.number);
        let id = self.home.queue(NewRequest::Send {
            to: Recipient::Conversation(conversation),
            message: text.try_into()?,
        })?;
        self.notes.has_id(number, id);
        if let Some(client) = &self.client {
            client.wake_outbox();
        }
        Ok(())
    }

    /// Reads all that has come.
    pub(super) fn read(&mut self) -> Result<(), Failure> {
        loop {
            let events = self.home.unprinted(READ_MAX)?;
            let mut marks: HashMap<ConversationId, Seq> = HashMap::new();
            for event in &events {
                let place = Place {
                    conversation: event.conversation,
                    seq: event.seq,
                };
                self.notes.showed(LogEvent {
                    place,
                    // An event without one was sent by nobody, which is found.
                    message_id: event.message_id.unwrap_or(MessageId::new([0; 16])),
                    sender: event.sender.as_ref().map(|user| user.id),
                    digest: digest(&event.content),
                });
                self.seat.board.has_shown(self.seat.number, place);
                if let magpie_client::Content::Message(message) = &event.content
                    && let Some((sender, count)) = sender_of(&message.text)
                    && sender != self.seat.number
                {
                    self.seat.board.has_seen(sender, count);
                }
                // Each conversation comes in the order of seq.
                marks.insert(place.conversation, place.seq);
            }
            if events.is_empty() {
                // An answer may have come to a driver that was dropped before it
                // could tell.
                let open = self.home.outbox_count()?;
                self.seat.board.waits_for(self.seat.number, open);
                return Ok(());
            }
            let marks: Vec<_> = marks.into_iter().collect();
            self.home.mark_printed(&marks)?;
        }
    }

    /// Ends the connection in order.
    pub(super) async fn disconnect(&mut self) {
        if let Some(client) = self.client.take() {
            client.shutdown().await;
        }
    }
}

async fn next_event(client: &mut Option<Client>) -> Option<Event> {
    match client {
        Some(client) => client.next_event().await,
        None => std::future::pending().await,
    }
}
