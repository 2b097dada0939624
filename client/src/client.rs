//! The running connection of a home.

mod account;
mod groups;
mod options;
mod people;
mod readers;

use std::time::Duration;

use magpie_protocol::{
    id::{ConversationId, DeviceId, MediaId, MessageId, UserId},
    push::PushAddress,
    seq::Seq,
    session::Answer,
    wire::v1::{self, client_frame::Body},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};

pub use self::{account::Reported, options::Options};
use crate::{
    database::{NewEvent, States, conversation_line},
    driver::{Answered, Bells, COMMANDS_MAX, Command, Dial, Driver, Notices, Reply, TlsDial},
    error::{ConnectError, DisconnectReason, RequestError},
    home::{ConnectionLock, Home},
    media::{Courier, Http},
    model::{
        ConversationPage, DeviceLine, Dropped, Gap, HistoryPage, MembersPlace, Presence, Refusal,
        User,
    },
    request::Acceptance,
    server::Server,
};

/// Which way to read history.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// The newest events below this seq.
    Before(Seq),
    /// The oldest events above this seq.
    After(Seq),
}

/// What a [`Client`] noticed.
///
/// Events are hints and the local database is the truth: when they are not
/// fetched fast enough, they are merged or dropped, and [`Event::Missed`] says
/// so.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server has welcomed this device.
    Connected {
        /// Whose device it is.
        user: User,
        /// The server's version, for logs.
        server_version: String,
    },
    /// All that the server had when the session began is stored. Comes once
    /// after every [`Event::Connected`], and after the gaps that were found on
    /// the way are filled.
    CaughtUp,
    /// Events were stored.
    Stored {
        /// Where.
        conversation: ConversationId,
        /// The lowest seq among them.
        from_seq: Seq,
        /// The highest seq among them.
        to_seq: Seq,
    },
    /// A queued request is committed.
    Accepted {
        /// Which one.
        id: MessageId,
        /// Where.
        acceptance: Acceptance,
    },
    /// The server has taken a read mark.
    Read {
        /// Which request.
        id: MessageId,
    },
    /// What a queued request wanted is so already: somebody was first. It is not in the
    /// outbox any more.
    NothingToDo {
        /// Which one.
        id: MessageId,
    },
    /// A queued request was refused for good. The rest goes on.
    Failed {
        /// Which one.
        id: MessageId,
        /// Why.
        refusal: Refusal,
    },
    /// A member's marks have risen, or a conversation was described anew.
    Marks {
        /// Where.
        conversation: ConversationId,
    },
    /// What others say of themselves is as the server has it. Comes once after every
    /// [`Event::CaughtUp`].
    Refreshed,
    /// Somebody says something else of themself now: see [`Home::profile`].
    Profile {
        /// Who.
        user: UserId,
    },
    /// Somebody types in a conversation, or does not any more.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// They do.
        typing: bool,
    },
    /// Somebody whose presence is watched is there, or not any more: see
    /// [`Client::watch_presence`].
    Presence {
        /// What the server says.
        presence: Presence,
    },
    /// Of what a queued request waits for, so much was sent.
    Uploading {
        /// Which request.
        id: MessageId,
        /// Bytes. After a cut it may be less than before.
        sent: u64,
        /// Bytes in all.
        size: u64,
    },
    /// Of a photo or file that is being fetched, so much is here.
    Downloading {
        /// Which one.
        media: MediaId,
        /// Bytes.
        received: u64,
        /// Bytes in all.
        size: u64,
    },
    /// There is no connection (any more). The driver tries again by itself.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// When it tries again.
        retry_in: Duration,
    },
    /// Some events were dropped: look at the local database.
    Missed,
    /// The server began a new history (it was restored from a backup), or did
    /// not know the cursor: everything recent is sent anew.
    BeganAnew,
    /// The server's history does not hold what this device held.
    Dropped(Dropped),
    /// The end: the credential is of no use any more.
    SignedOut {
        /// What the server said.
        refusal: Refusal,
    },
    /// The end: this version is too old for the server.
    UpgradeRequired {
        /// What the server said.
        refusal: Refusal,
    },
    /// The end: another connection of the same device took over, and again soon
    /// after this one had come back. The first time is an
    /// [`Event::Disconnected`], since an old connection of this very device may
    /// be what took over.
    Replaced,
}

impl Event {
    /// Whether it is the driver's last word.
    pub(crate) const fn is_end(&self) -> bool {
        matches!(
            self,
            Self::SignedOut { .. } | Self::UpgradeRequired { .. } | Self::Replaced
        )
    }
}

/// A running connection driver. Dropping it ends the connection without waiting
/// for that: nothing is lost.
#[derive(Debug)]
pub struct Client {
    home: Home,
    notices: Notices,
    commands: mpsc::Sender<Command>,
    bells: Bells,
    task: JoinHandle<()>,
    media_cache_size: u64,
    dial: Result<TlsDial, ConnectError>,
    /// Goes on with uploads, while this value lives.
    _courier: JoinSet<()>,
}

impl Client {
    /// Starts the driver: it connects, reconnects for ever, sends what is queued
    /// and stores what comes. Call it inside a tokio runtime.
    #[must_use]
    pub fn start(home: Home, lock: ConnectionLock, server: Server, options: Options) -> Self {
        let dial = TlsDial::new(&server);
        let boxed = dial.clone().map(|dial| Box::new(dial) as Box<dyn Dial>);
        let watch_interval = options.watch_interval;
        let mut client = Self::start_with(home, lock, boxed, options);
        if let Ok(dial) = &dial {
            let courier = Courier::new(
                client.home.clone(),
                Http::new(dial),
                &client.commands,
                (client.notices.clone(), client.bells.clone()),
                watch_interval,
            );
            client._courier.spawn(courier.run());
        }
        client.dial = dial;
        client
    }

    /// As [`Self::start`], over connections from elsewhere.
    pub(crate) fn start_with(
        home: Home,
        lock: ConnectionLock,
        dial: Result<Box<dyn Dial>, ConnectError>,
        options: Options,
    ) -> Self {
        let (notices, bells) = (Notices::default(), Bells::default());
        let (commands, requests) = mpsc::channel(COMMANDS_MAX);
        let media_cache_size = options.media_cache_size;
        let driver = Driver::new(
            home.clone(),
            lock,
            dial,
            options,
            notices.clone(),
            requests,
            bells.clone(),
        );
        Self {
            home,
            notices,
            commands,
            bells,
            task: tokio::spawn(driver.run()),
            media_cache_size,
            dial: Err(ConnectError::Address {
                address: String::new(),
            }),
            _courier: JoinSet::new(),
        }
    }

    /// The home that it connects.
    #[must_use]
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// The next thing noticed; `None` once the driver has ended. May be
    /// cancelled without loss. Whoever asks gets it, and nobody else.
    pub async fn next_event(&self) -> Option<Event> {
        self.notices.next().await
    }

    /// Says that the outbox was written.
    pub fn wake_outbox(&self) {
        self.bells.outbox.notify_one();
        self.bells.uploads.notify_one();
    }

    /// To ask the server over HTTP.
    pub(crate) fn http(&self) -> Result<Http, RequestError> {
        let dial = self.dial.as_ref();
        dial.map(Http::new).map_err(|_| RequestError::NotConnected)
    }

    pub(crate) const fn media_cache_size(&self) -> u64 {
        self.media_cache_size
    }

    pub(crate) fn notice(&self, event: Event) {
        self.notices.push(event);
    }

    async fn request<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| RequestError::NotConnected)?;
        // Dropped unanswered when the connection is lost.
        answer.await.unwrap_or(Err(RequestError::NotConnected))
    }

    pub(crate) async fn ask(&self, body: Body) -> Result<Answered, RequestError> {
        let body = Box::new(body);
        self.request(|reply| Command::Ask { body, reply }).await
    }

    /// Asks the server for at most `limit` (1 to 200) events. They are *not*
    /// stored.
    ///
    /// # Errors
    ///
    /// [`RequestError`], as for every request here; nothing has changed then.
    pub async fn fetch_history(
        &self,
        conversation: ConversationId,
        from: From,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        let from = match from {
            From::Before(seq) => v1::fetch_history::From::BeforeSeq(seq.get()),
            From::After(seq) => v1::fetch_history::From::AfterSeq(seq.get()),
        };
        let request = v1::FetchHistory {
            conversation_id: conversation.to_wire(),
            from: Some(from),
            limit,
        };
        let answered = self.ask(Body::FetchHistory(request)).await?;
        let Answer::History(history) = answered.answer else {
            return Err(RequestError::WrongAnswer);
        };
        let (events, _) = NewEvent::parse_all(history.events, answered.raw)
            .map_err(|_| RequestError::WrongAnswer)?;
        let states = States::of(history.states, history.states_seq);
        let mut events: Vec<_> = events.into_iter().map(NewEvent::into_stored).collect();
        for event in &mut events {
            event.state = states.of_message(event.seq);
        }
        Ok(HistoryPage {
            events,
            complete: history.complete,
        })
    }

    /// Fetches the newest events of a gap, at most `limit` (1 to 200), and
    /// stores them. Returns how many; the gap that is left, if any, is in
    /// [`Home::history`]. 0: there is nothing there (any more).
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn fill(&self, gap: Gap, limit: u32) -> Result<usize, RequestError> {
        self.request(|reply| Command::Fill { gap, limit, reply })
            .await
    }

    /// Fetches more of a long list of members ([`crate::LocalMembers::rest`]), and
    /// stores them. True if all are listed now; else [`Home::members`] says where the
    /// list goes on.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; who is no member (any more) is refused.
    pub async fn load_members(&self, rest: MembersPlace) -> Result<bool, RequestError> {
        self.request(|reply| Command::Members { rest, reply }).await
    }

    /// Asks the server for the user's conversations behind `after`, at most
    /// `limit` (1 to 100), in ascending order of their ids.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn fetch_conversations(
        &self,
        after: Option<ConversationId>,
        limit: u32,
    ) -> Result<ConversationPage, RequestError> {
        let request = v1::FetchConversations {
            after_conversation_id: after.map(ConversationId::to_wire).unwrap_or_default(),
            limit,
        };
        let answered = self.ask(Body::FetchConversations(request)).await?;
        let Answer::Conversations(page) = answered.answer else {
            return Err(RequestError::WrongAnswer);
        };
        let account = self.home.account();
        let account = account.map_err(|error| RequestError::Local(error.to_string()))?;
        let me = account.ok_or(RequestError::NotConnected)?.user_id;
        let lines = page
            .conversations
            .into_iter()
            .map(|it| conversation_line(me, it));
        let conversations: Option<Vec<_>> = lines.collect();
        Ok(ConversationPage {
            conversations: conversations.ok_or(RequestError::WrongAnswer)?,
            complete: page.complete,
        })
    }

    /// Asks the server for the user's devices.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn devices(&self) -> Result<Vec<DeviceLine>, RequestError> {
        let answered = self.ask(Body::FetchDevices(v1::FetchDevices {})).await?;
        let Answer::Devices(devices) = answered.answer else {
            return Err(RequestError::WrongAnswer);
        };
        let lines = devices.devices.into_iter().map(|it| {
            let id = DeviceId::try_from(it.device_id.as_ref());
            Ok(DeviceLine {
                id: id.map_err(|_| RequestError::WrongAnswer)?,
                name: it.name,
                created_at_ms: it.created_at_ms,
                last_seen_at_ms: (it.last_seen_at_ms != 0).then_some(it.last_seen_at_ms),
                current: it.current,
            })
        });
        lines.collect()
    }

    /// Ends another device's credential. One that is gone already is no error.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), RequestError> {
        let device_id = device.to_wire();
        let request = v1::RevokeDevice { device_id };
        self.ask_done(Body::RevokeDevice(request)).await
    }

    /// Says where this device's pushes go. Whoever had the token has it no more.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn set_push(&self, address: &PushAddress) -> Result<(), RequestError> {
        let request = v1::SetPush {
            platform: address.platform.number().into(),
            app_id: address.app.as_str().to_owned(),
            token: address.token.as_str().to_owned(),
        };
        self.ask_done(Body::SetPush(request)).await
    }

    /// This device gets no pushes any more.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn clear_push(&self) -> Result<(), RequestError> {
        self.ask_done(Body::ClearPush(v1::ClearPush {})).await
    }

    /// Says that the app goes to the background and will close the connection: a
    /// push wakes it from now on as if it was gone.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn detach(&self) -> Result<(), RequestError> {
        self.ask_done(Body::Detach(v1::Detach {})).await
    }

    async fn ask_done(&self, body: Body) -> Result<(), RequestError> {
        if self.ask(body).await?.answer == Answer::Done {
            Ok(())
        } else {
            Err(RequestError::WrongAnswer)
        }
    }

    /// Ends this device's credential, then forgets the account and all that is
    /// stored for it ([`Home::forget`]). The driver ends.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; the home is as before.
    pub async fn sign_out(&self) -> Result<(), RequestError> {
        let body = Box::new(Body::SignOut(v1::SignOut {}));
        self.request(|reply| Command::SignOut { body, reply }).await
    }

    /// Says goodbye, waits until what has come is stored and what was said has
    /// left, for at most two seconds, and gives the connection's lock back.
    pub async fn shutdown(self) {
        self.bells.stop.notify_one();
        // A driver that panicked has ended as well.
        drop(self.task.await);
    }
}
