//! Who carries this home's requests to the server: this process, or another
//! one that holds the home's connection.
//!
//! Beside another process the local database is all that is needed: it takes
//! the requests, and the outcomes appear in it. Whoever holds the connection may
//! end at any moment; then this process takes it over.

use std::time::Duration;

use magpie_client::{
    Account, Client, ConnectionLock, ConversationId, DisconnectReason, Dropped, Event, MessageId,
    Options, Outcome, Presence, UserId,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{context::Context, failure::Failure};

/// How often to look at the local database that another process writes.
const WATCH_INTERVAL: Duration = Duration::from_millis(25);

/// How often to look whether the other process is still there, and whether an
/// event of our own driver was dropped.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What happened.
#[derive(Debug)]
pub(crate) enum Noticed {
    /// A session has begun.
    Connected,
    /// All that the server had when the session began is stored.
    CaughtUp,
    /// And what others say of themselves.
    Refreshed,
    /// Somebody types, or does not any more.
    Typing {
        conversation: ConversationId,
        user: UserId,
        typing: bool,
    },
    /// Somebody is there, or not any more.
    Presence { presence: Presence },
    /// Of what a request waits for, so many bytes were sent.
    Uploading { id: MessageId, sent: u64, size: u64 },
    /// So many events were stored.
    Stored(u64),
    /// A request is done.
    Answered(MessageId, Outcome),
    /// The server's history does not hold what was here.
    Dropped(Dropped),
    /// The local database may have changed.
    Changed,
    /// There is no connection; it is tried again.
    Disconnected,
}

/// Who carries this home's requests.
#[derive(Debug)]
pub(crate) struct Carrier<'context> {
    context: &'context Context,
    account: Account,
    way: Way,
    /// Why there is no connection, as far as was said.
    reason: Option<String>,
}

#[derive(Debug)]
enum Way {
    Own(Box<Client>),
    Other { version: u64, look_at: Instant },
}

impl<'context> Carrier<'context> {
    /// This process, which must be alone with the connection.
    pub(crate) fn own(context: &'context Context) -> Result<Self, Failure> {
        let carrier = Self::any(context)?;
        match carrier.way {
            Way::Own(_) => Ok(carrier),
            Way::Other { .. } => Err(Failure::InUse {
                home: context.home_name(),
            }),
        }
    }

    /// This process, with a connection that says that nobody looks.
    pub(crate) fn in_background(context: &'context Context) -> Result<Self, Failure> {
        let carrier = Self::begin(context, true)?;
        carrier.client()?;
        Ok(carrier)
    }

    /// This process, or the one that holds the connection.
    pub(crate) fn any(context: &'context Context) -> Result<Self, Failure> {
        Self::begin(context, false)
    }

    fn begin(context: &'context Context, background: bool) -> Result<Self, Failure> {
        let account = context.signed_in()?;
        let way = match context.home.try_lock_connection()? {
            Some(lock) => start(context, &account, lock, background),
            None => Way::Other {
                version: context.home.data_version()?,
                look_at: Instant::now() + LOOK_INTERVAL,
            },
        };
        Ok(Self {
            context,
            account,
            way,
            reason: None,
        })
    }

    /// The connection, to ask the server something.
    pub(crate) fn client(&self) -> Result<&Client, Failure> {
        match &self.way {
            Way::Own(client) => Ok(client),
            Way::Other { .. } => Err(Failure::InUse {
                home: self.context.home_name(),
            }),
        }
    }

    /// Says that the outbox was written. Another process notices by itself.
    pub(crate) fn wake(&self) {
        if let Way::Own(client) = &self.way {
            client.wake_outbox();
        }
    }

    /// The next thing that happens. May be cancelled without loss.
    pub(crate) async fn next(&mut self) -> Result<Noticed, Failure> {
        loop {
            let noticed = match &mut self.way {
                Way::Own(client) => {
                    let event = tokio::select! {
                        biased;
                        event = client.next_event() => event,
                        () = sleep(LOOK_INTERVAL) => return Ok(Noticed::Changed),
                    };
                    self.notice(event)?
                }
                Way::Other { .. } => {
                    sleep(WATCH_INTERVAL).await;
                    self.watch()?
                }
            };
            if let Some(noticed) = noticed {
                return Ok(noticed);
            }
        }
    }

    /// Beside another process: has it written, and is it still there?
    fn watch(&mut self) -> Result<Option<Noticed>, Failure> {
        let Way::Other { version, look_at } = &mut self.way else {
            return Ok(None);
        };
        let now = self.context.home.data_version()?;
        if *version != now {
            *version = now;
            return Ok(Some(Noticed::Changed));
        }
        if Instant::now() < *look_at {
            return Ok(None);
        }
        *look_at = Instant::now() + LOOK_INTERVAL;
        // It may have found that the credential is of no use, and ended.
        self.account = self.context.signed_in()?;
        if let Some(lock) = self.context.home.try_lock_connection()? {
            self.way = start(self.context, &self.account, lock, false);
        }
        Ok(Some(Noticed::Changed))
    }

    fn notice(&mut self, event: Option<Event>) -> Result<Option<Noticed>, Failure> {
        let Some(event) = event else {
            return Err(Failure::Lost("the connection has ended".to_owned()));
        };
        Ok(Some(match event {
            Event::Connected { .. } => {
                self.reason = None;
                Noticed::Connected
            }
            Event::CaughtUp => Noticed::CaughtUp,
            Event::Refreshed => Noticed::Refreshed,
            Event::Typing {
                conversation,
                user,
                typing,
            } => Noticed::Typing {
                conversation,
                user,
                typing,
            },
            Event::Presence { presence } => Noticed::Presence { presence },
            Event::Stored {
                from_seq, to_seq, ..
            } => Noticed::Stored(to_seq.get().saturating_sub(from_seq.get()) + 1),
            Event::Accepted { id, acceptance } => {
                Noticed::Answered(id, Outcome::Accepted(acceptance))
            }
            Event::Failed { id, refusal } => Noticed::Answered(id, Outcome::Failed(refusal)),
            Event::Uploading { id, sent, size } => Noticed::Uploading { id, sent, size },
            Event::Downloading { .. }
            | Event::NothingToDo { .. }
            | Event::Read { .. }
            | Event::Marks { .. }
            | Event::Profile { .. }
            | Event::Missed => Noticed::Changed,
            Event::BeganAnew => {
                self.note("the server began a new history; everything recent comes anew");
                Noticed::Changed
            }
            Event::Dropped(dropped) => Noticed::Dropped(dropped),
            Event::Disconnected { reason, .. } => self.disconnected(reason)?,
            Event::SignedOut { .. } => {
                return Err(Failure::SignedOut {
                    name: self.account.name.clone(),
                });
            }
            Event::UpgradeRequired { refusal } => return Err(Failure::TooOld(refusal)),
            Event::Replaced => return Err(Failure::Replaced),
        }))
    }

    /// Trying again helps unless the reason is on this side; then say it at once.
    fn disconnected(&mut self, reason: DisconnectReason) -> Result<Noticed, Failure> {
        match reason {
            DisconnectReason::Connect(error) if error.is_permanent() => {
                return Err(Failure::Connect(error));
            }
            DisconnectReason::Local(sentence) => return Err(Failure::LocalDatabase(sentence)),
            reason @ (DisconnectReason::Connect(_)
            | DisconnectReason::Closed
            | DisconnectReason::Broken(_)
            | DisconnectReason::Lost(_)
            | DisconnectReason::Violation(_)
            | DisconnectReason::Malformed(_)
            | DisconnectReason::Goodbye(_)
            | DisconnectReason::Held(_)) => {
                let sentence = reason.to_string();
                if self.reason.as_ref() != Some(&sentence) {
                    self.note(&format!("{sentence}; trying again"));
                }
                self.reason = Some(sentence);
            }
        }
        Ok(Noticed::Disconnected)
    }

    fn note(&self, sentence: &str) {
        self.context.output.note(sentence);
    }

    /// Waits until all that the server had is stored.
    pub(crate) async fn until_caught_up(&mut self, patience: &Patience) -> Result<u64, Failure> {
        let mut stored = 0;
        loop {
            let noticed = tokio::select! {
                biased;
                noticed = self.next() => noticed?,
                () = patience.over() => return Err(self.timed_out(patience)),
            };
            match noticed {
                Noticed::CaughtUp => return Ok(stored),
                Noticed::Stored(count) => stored += count,
                Noticed::Connected
                | Noticed::Refreshed
                | Noticed::Typing { .. }
                | Noticed::Presence { .. }
                | Noticed::Uploading { .. }
                | Noticed::Answered(..)
                | Noticed::Dropped(_)
                | Noticed::Changed
                | Noticed::Disconnected => {}
            }
        }
    }

    /// Waits until a session has begun.
    pub(crate) async fn until_connected(&mut self, patience: &Patience) -> Result<(), Failure> {
        loop {
            let noticed = tokio::select! {
                biased;
                noticed = self.next() => noticed?,
                () = patience.over() => return Err(self.timed_out(patience)),
            };
            if matches!(noticed, Noticed::Connected) {
                return Ok(());
            }
        }
    }

    /// That the server did not answer in time, and why as far as is known.
    pub(crate) fn timed_out(&self, patience: &Patience) -> Failure {
        patience.timed_out(
            self.reason
                .as_deref()
                .unwrap_or("the server did not answer"),
        )
    }

    /// Ends the connection, if it is this process's.
    pub(crate) async fn shutdown(self) {
        if let Way::Own(client) = self.way {
            client.shutdown().await;
        }
    }
}

fn start(context: &Context, account: &Account, lock: ConnectionLock, background: bool) -> Way {
    let options = Options {
        client_name: "magpie".to_owned(),
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
        background,
        watch_interval: Some(WATCH_INTERVAL),
        ..Options::default()
    };
    let server = context.server(Some(account));
    let client = Client::start(context.home.clone(), lock, server, options);
    Way::Own(Box::new(client))
}

/// How long to wait for the server without an answer.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Option<Duration>,
    since: Instant,
}

impl Patience {
    /// Beginning now; `None`: for ever.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            since: Instant::now(),
        }
    }

    /// There was an answer, or there is only now something to wait for.
    pub(crate) fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// That it is over.
    pub(crate) fn timed_out(&self, reason: &str) -> Failure {
        Failure::TimedOut {
            reason: reason.to_owned(),
            seconds: self.limit.unwrap_or_default().as_secs(),
        }
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        match self.limit {
            Some(limit) => sleep_until(self.since + limit).await,
            None => std::future::pending().await,
        }
    }
}
