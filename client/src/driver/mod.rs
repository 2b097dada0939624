//! What keeps a home connected: connects, runs one connection until it ends,
//! waits, and connects again, for ever.
//!
//! Nothing of importance lives here. Every connection begins from the local
//! database: the cursor goes into the hello, the outbox is read anew and all of
//! it is sent again, in the person's order. So a lost connection, a crash and a
//! first start are the same case.

mod connect;
mod connection;
mod ending;
mod incoming;
mod notice;
mod outgoing;
mod presence;
mod profiles;
mod settle;
mod store;
#[cfg(test)]
mod tests;
mod typing;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use magpie_protocol::{
    backoff::Backoff,
    id::{ConversationId, DeviceId},
    session::Answer,
    wire::v1::{Action, ErrorCode, client_frame::Body},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep_until},
};

#[cfg(test)]
pub(crate) use self::connect::tests::acceptor;
pub(crate) use self::{
    connect::{Dial, HTTP_1_1, Stream, TlsDial, pem},
    ending::refusal,
    notice::Notices,
};
use self::{
    connection::Connection,
    ending::{End, Replacements},
    presence::Watched,
    store::Store,
};
use crate::{
    client::{Event, Options},
    error::{ConnectError, DisconnectReason, LocalError, RequestError},
    home::{ConnectionLock, Home},
    model::{Gap, MembersPlace, Refusal},
};

/// Requests of the moment that may wait.
pub(crate) const COMMANDS_MAX: usize = 64;

/// The answer to a request of the moment, with its events as they came.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) raw: Vec<Bytes>,
}

/// Where an answer goes. Dropped unanswered when the connection is lost.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, RequestError>>;

/// What the app wants of the running connection.
#[derive(Debug)]
pub(crate) enum Command {
    Ask {
        body: Box<Body>,
        reply: Reply<Answered>,
    },
    Fill {
        gap: Gap,
        limit: u32,
        reply: Reply<usize>,
    },
    Members {
        rest: MembersPlace,
        reply: Reply<bool>,
    },
    Typing {
        conversation: ConversationId,
        typing: bool,
        reply: Reply<()>,
    },
    /// Ends the credential, one way or the other.
    SignOut { body: Box<Body>, reply: Reply<()> },
}

/// What the app rings to get the driver's attention.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bells {
    /// The outbox was written.
    pub(crate) outbox: Arc<Notify>,
    /// Something is to be uploaded, or can be now.
    pub(crate) uploads: Arc<Notify>,
    /// Say goodbye and end.
    pub(crate) stop: Arc<Notify>,
    /// Whose presence is watched.
    pub(crate) watched: Watched,
}

/// The device's side of every hello.
struct Device {
    id: DeviceId,
    token: Bytes,
}

pub(crate) struct Driver {
    home: Home,
    dial: Result<Box<dyn Dial>, ConnectError>,
    options: Options,
    notices: Notices,
    commands: mpsc::Receiver<Command>,
    bells: Bells,
    store: Store,
    backoff: Backoff,
    replacements: Replacements,
    /// What came and could not be placed.
    unplaced_count: usize,
    _lock: ConnectionLock,
}

impl Driver {
    pub(crate) fn new(
        home: Home,
        lock: ConnectionLock,
        dial: Result<Box<dyn Dial>, ConnectError>,
        options: Options,
        notices: Notices,
        commands: mpsc::Receiver<Command>,
        bells: Bells,
    ) -> Self {
        Self {
            store: Store::new(home.clone()),
            home,
            dial,
            options,
            notices,
            commands,
            bells,
            backoff: Backoff::default(),
            replacements: Replacements::default(),
            unplaced_count: 0,
            _lock: lock,
        }
    }

    /// Runs until the app, or the server, ends it for good.
    pub(crate) async fn run(mut self) {
        loop {
            match self.connect_once().await {
                End::Stop(event) => {
                    if let Some(event) = event {
                        self.notices.push(*event);
                    }
                    break;
                }
                End::Again { reason, after } => {
                    if !self.stay_away(reason, after).await {
                        break;
                    }
                }
                End::Replaced(said) => {
                    let Some(after) = self.replacements.replaced(Instant::now(), random()) else {
                        self.notices.push(Event::Replaced);
                        break;
                    };
                    if !self.stay_away(DisconnectReason::Goodbye(said), after).await {
                        break;
                    }
                }
            }
        }
        self.notices.end();
    }

    /// Tells the app, and waits for `after` at least; false if the app wants to
    /// end.
    async fn stay_away(&mut self, reason: DisconnectReason, after: Duration) -> bool {
        let retry_in = self.backoff.next_delay(random()).max(after);
        tracing::debug!(%reason, ?retry_in, "disconnected");
        self.notices.push(Event::Disconnected { reason, retry_in });
        self.wait(retry_in).await
    }

    /// Waits before the next try; false if the app wants to end.
    async fn wait(&mut self, delay: Duration) -> bool {
        let until = Instant::now() + delay;
        loop {
            tokio::select! {
                biased;
                () = self.bells.stop.notified() => return false,
                () = sleep_until(until) => return true,
                command = self.commands.recv() => match command {
                    // Dropped unanswered: there is no connection.
                    Some(command) => drop(command),
                    None => return false,
                },
            }
        }
    }

    /// One connection, from the name to its end.
    async fn connect_once(&mut self) -> End {
        let credential = match self.home.credential() {
            Ok(credential) => credential,
            Err(LocalError::NoAccount) => return signed_out("no account is in this home"),
            Err(error) => return End::local(&error),
        };
        let Some(token) = credential.token.clone() else {
            return signed_out("the credential was ended before");
        };
        let dialling = match &self.dial {
            Ok(dial) => dial.dial(),
            Err(error) => return End::soon(DisconnectReason::Connect(error.clone())),
        };
        let stream = tokio::select! {
            biased;
            () = self.bells.stop.notified() => return End::Stop(None),
            stream = dialling => match stream {
                Ok(stream) => stream,
                Err(error) => return End::soon(DisconnectReason::Connect(error)),
            },
        };
        self.replacements.connected(Instant::now());
        let device = Device {
            id: credential.device,
            token,
        };
        let connection = Connection::new(self, &credential);
        let (end, worked) = connection.run(stream, &device, &credential).await;
        if worked {
            self.backoff.reset();
        }
        end
    }
}

fn signed_out(message: &str) -> End {
    let refusal = Refusal {
        code: ErrorCode::Unauthenticated,
        action: Action::SignIn,
        after: Duration::ZERO,
        message: message.to_owned(),
    };
    End::Stop(Some(Box::new(Event::SignedOut { refusal })))
}

/// Uniform; on a system without randomness, the longest delay.
pub(crate) fn random() -> u32 {
    let mut bytes = [0xff; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u32::from_be_bytes(bytes),
        Err(_) => u32::MAX,
    }
}
