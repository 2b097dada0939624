//! From a request to its handler, and from what became of it to a frame. The only
//! place that turns errors into codes.

mod answers;
mod cost;
mod parting;
mod replies;
mod sorting;
mod typing;

use std::sync::Arc;

use magpie_protocol::{
    seq::FrameNumber,
    session::Reply,
    wire::{Request, v1},
};
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use v1::{Action, ErrorCode};

use self::{
    cost::{cost, kind},
    parting::{goodbye, limited_goodbye},
    replies::rate_limited,
    sorting::{Other, to_append},
};
pub use self::{
    parting::{timed_out, violated},
    replies::{invalid, outcome_reply, unsupported},
    sorting::is_of_one_history,
};
use crate::{
    clock::Clock,
    handler::{Accounts, HelloError, PushRequest, Pushes, Reports, SignInError},
    hub::{Ending, Hub, Letter, Mailbox, Promise},
    limits::{Limited, Limiter},
    log::{Chronicle, Committer, Marks, Presences, Submission},
    media::Media,
    random::Random,
    store::{SharedStore, StoreError},
    tokens::Tokens,
};

/// How long a client stays away at least when the store is unavailable, and up
/// to how much longer, in milliseconds.
const UNAVAILABLE_AFTER_MS: (u32, u32) = (500, 2_500);

/// Brings requests to what answers them.
pub struct Dispatch {
    /// Answers what only reads.
    pub store: SharedStore,
    /// Changes the log.
    pub committer: Arc<Committer>,
    /// Moves read marks.
    pub marks: Arc<Marks>,
    /// Tells who is there.
    pub presences: Arc<Presences>,
    /// Forgets revoked devices.
    pub tokens: Arc<Tokens>,
    /// Ends revoked devices' connections.
    pub hub: Arc<Hub>,
    /// Bounds how many requests read at once.
    pub reads: Arc<Semaphore>,
    /// Where pushes go.
    pub pushes: Pushes,
    /// Users and their passwords.
    pub accounts: Arc<Accounts>,
    /// Photos and files, if they are kept.
    pub media: Option<Arc<Media>>,
    /// What users tell the operators.
    pub reports: Reports,
    /// Spreads clients over time.
    pub random: Random,
    /// Every request passes it.
    pub limiter: Arc<Limiter>,
    /// For the limiter.
    pub clock: Clock,
}

/// What becomes of a request at first.
#[derive(Debug)]
pub enum Taken {
    /// It goes to the log; its answer comes as a letter.
    Queued,
    /// It reads: give it to [`Dispatch::read`] when it is its turn.
    Reading(Reading),
    /// It may be asked again later.
    Refused(v1::Error),
    /// So may this one, but it has its place in an order: neither it nor what comes
    /// behind it is done on this connection (D6).
    Limited(Limited),
}

impl Dispatch {
    /// Takes a request of a signed-in device. Unless it is refused it is owed an
    /// answer, which the limiter must hear of.
    pub fn request(&self, from: &Arc<Mailbox>, number: FrameNumber, request: Request) -> Taken {
        let kind = kind(&request);
        metrics::counter!(crate::metrics::REQUESTS, "kind" => kind).increment(1);
        tracing::debug!(request = number.get(), kind, "a request");
        let (cost, now) = (cost(&request), self.clock.now());
        self.limiter
            .delivered(from.user, from.take_delivered(), now);
        if let Err(limited) = self.limiter.request(from.user, from.device, cost, now) {
            return match cost.appends {
                true => Taken::Limited(limited),
                false => Taken::Refused(rate_limited(limited)),
            };
        }
        match to_append(from, request, self.limiter.limits.edit_time_limit) {
            Ok(append) => {
                let from = Arc::clone(from);
                self.committer.submit(Submission {
                    append,
                    number,
                    from,
                });
                Taken::Queued
            }
            Err(request) => Taken::Reading(Reading {
                number,
                kind,
                request,
            }),
        }
    }

    /// Answers a request that does not change the log. The answer comes as a letter.
    pub fn read(self: &Arc<Self>, from: &Arc<Mailbox>, reading: Reading) {
        let Reading {
            number,
            kind,
            request,
        } = reading;
        if let Other::WatchPresence(users) = &request {
            // In the order of the requests: the last one holds.
            self.hub.watches.watch(from, users);
        }
        let (dispatch, from) = (Arc::clone(self), Arc::clone(from));
        let span = tracing::info_span!("request", number = number.get(), kind);
        let answering = async move {
            let promise = Promise::new(&from);
            let _turn = match request.reads() {
                true => Some(dispatch.reads.acquire().await),
                false => None,
            };
            if from.has_ended() {
                promise.forget();
                return;
            }
            let mut revoked = Vec::new();
            let reply = dispatch.answer(&from, request, &mut revoked).await;
            let reply = reply.unwrap_or_else(|error| dispatch.unavailable(&error));
            let mut presences = Vec::new();
            if let Reply::Presences(it) = &reply {
                presences.clone_from(&it.presences);
            }
            promise.keep(Letter::Reply { number, reply });
            dispatch.presences.answered(&from, &presences);
            // After the answer, which may be for such a device.
            for device in revoked {
                dispatch.hub.end(from.user, device, Ending::Revoked);
            }
        };
        tokio::spawn(answering.instrument(span));
    }

    /// The store could not answer: nothing has changed, ask again.
    fn unavailable(&self, error: &StoreError) -> Reply {
        tracing::warn!(%error, "a request could not be answered");
        Reply::Error(v1::Error {
            code: ErrorCode::Unavailable.into(),
            action: Action::RetryAfter.into(),
            after_ms: self.unavailable_after_ms(),
            message: "the server cannot answer now; ask again".to_owned(),
            ..Default::default()
        })
    }

    fn unavailable_after_ms(&self) -> u32 {
        UNAVAILABLE_AFTER_MS.0 + self.random.up_to(UNAVAILABLE_AFTER_MS.1)
    }

    /// The goodbye of a connection that must end.
    #[must_use]
    pub fn ended(&self, ending: Ending) -> v1::Goodbye {
        let (code, action, after_ms, message) = match ending {
            Ending::Replaced => (
                ErrorCode::Replaced,
                Action::Never,
                0,
                "a newer connection of this device took over",
            ),
            Ending::Revoked => (
                ErrorCode::Unauthenticated,
                Action::SignIn,
                0,
                "the device was signed out",
            ),
            Ending::Unavailable => (
                ErrorCode::Unavailable,
                Action::Reconnect,
                self.unavailable_after_ms(),
                "the server cannot store now; come back and send again",
            ),
            Ending::OtherHistory => (
                ErrorCode::Unavailable,
                Action::Reconnect,
                0,
                "this is another history; take it over, then send again",
            ),
            Ending::Draining => (
                ErrorCode::Draining,
                Action::Reconnect,
                self.drain_slot_ms(),
                "the server is going down for a moment",
            ),
            Ending::Limited(limited) => return limited_goodbye(limited, limited.after_ms()),
        };
        goodbye(code, action, after_ms, message)
    }

    /// When a client comes back after a drain: each at a time of its own.
    fn drain_slot_ms(&self) -> u32 {
        let slots = self.limiter.limits.drain_slots.as_millis();
        self.random.up_to(u32::try_from(slots).unwrap_or(u32::MAX))
    }

    /// The goodbye of a connection for which there is no room.
    #[must_use]
    pub fn turned_away(&self, limited: Limited) -> v1::Goodbye {
        // Not all at the same moment.
        let later = limited
            .after_ms()
            .saturating_add(self.random.up_to(limited.after_ms()));
        limited_goodbye(limited, later)
    }

    /// The goodbye of a device that acknowledges nothing.
    #[must_use]
    pub fn stalled(&self) -> v1::Goodbye {
        parting::stalled(self.limiter.limits.ack_timeout)
    }

    /// The goodbye to everybody while nobody is served.
    #[must_use]
    pub fn stopped(&self, chronicle: &Chronicle) -> Option<v1::Goodbye> {
        chronicle
            .is_stopped()
            .then(|| self.ended(Ending::Unavailable))
    }

    /// The goodbye of a hello that was refused.
    #[must_use]
    pub fn hello_refused(&self, error: &HelloError) -> v1::Goodbye {
        let text = error.to_string();
        match error {
            HelloError::TooOld { .. } => {
                goodbye(ErrorCode::UpgradeRequired, Action::Upgrade, 0, &text)
            }
            HelloError::Unauthenticated => {
                goodbye(ErrorCode::Unauthenticated, Action::SignIn, 0, &text)
            }
            HelloError::Limited(limited) => limited_goodbye(*limited, limited.after_ms()),
            HelloError::Store(error) => {
                tracing::warn!(%error, "a hello could not be checked");
                self.ended(Ending::Unavailable)
            }
        }
    }

    /// The error of a registration or sign-in that was refused.
    #[must_use]
    pub fn sign_in_refused(&self, error: &SignInError) -> v1::Error {
        let (code, action, after_ms) = match error {
            SignInError::NameTaken => (ErrorCode::NameTaken, Action::Never, 0),
            SignInError::WrongCredentials => (ErrorCode::WrongCredentials, Action::Never, 0),
            SignInError::Suspended => (ErrorCode::Suspended, Action::Never, 0),
            SignInError::DeviceRefused => (ErrorCode::Conflict, Action::Never, 0),
            SignInError::Limited(limited) => return rate_limited(*limited),
            SignInError::RegistrationClosed => (ErrorCode::RegistrationClosed, Action::Never, 0),
            SignInError::GuessablePassword => (ErrorCode::InvalidArgument, Action::Never, 0),
            SignInError::TooManyDevices { .. } => (ErrorCode::LimitReached, Action::Never, 0),
            SignInError::Store(_) | SignInError::Hash(_) | SignInError::NoRandomness(_) => {
                tracing::warn!(%error, "a sign-in could not be answered");
                let message = "the server cannot sign you in now".to_owned();
                return v1::Error {
                    code: ErrorCode::Unavailable.into(),
                    action: Action::RetryAfter.into(),
                    after_ms: self.unavailable_after_ms(),
                    message,
                    ..Default::default()
                };
            }
        };
        v1::Error {
            code: code.into(),
            action: action.into(),
            after_ms,
            message: error.to_string(),
            ..Default::default()
        }
    }
}

/// A request that does not change the log, waiting for its turn.
#[derive(Debug)]
pub struct Reading {
    /// Names the request in its answer.
    pub number: FrameNumber,
    kind: &'static str,
    request: Other,
}

impl Reading {
    /// The device wants to go.
    #[must_use]
    pub const fn is_detach(&self) -> bool {
        matches!(self.request, Other::Push(PushRequest::Detach))
    }
}
