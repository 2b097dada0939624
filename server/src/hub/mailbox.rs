//! What the rest of the server knows of one connection: answers to its requests, events
//! that just committed, a word to end. It is bounded: events that do not fit are dropped
//! from the mailbox, not from the log, and the connection reads on from the log when it
//! can.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
};

use magpie_protocol::{
    id::{DeviceId, UserId},
    seq::FrameNumber,
    session::{Hint, Reply},
    wire::v1,
};
use parking_lot::Mutex;
use tokio::sync::SetOnce;

use crate::{
    config::Limits,
    limits::Limited,
    store::{Generation, LogEvent, SnapshotPage, StoreError, UserPage},
};

/// What waits for one connection; beyond it the connection is behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Events.
    count: usize,
    /// Their bytes.
    size: usize,
}

impl Room {
    pub(super) const fn of(limits: &Limits) -> Self {
        Self {
            count: limits.mailbox_events_max as usize,
            size: limits.mailbox_size_max.0,
        }
    }
}

/// Marks that wait for one connection; further ones are dropped, as ephemeral
/// frames may be.
pub const MARKS_COUNT_MAX: usize = 256;

/// Hints that wait for one connection; further ones are dropped.
pub const HINTS_COUNT_MAX: usize = 64;

/// Why a connection must end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// A newer connection of the same device took over.
    Replaced,
    /// The device was revoked, or signed out.
    Revoked,
    /// The store could not do what the device asked for; nothing of it happened.
    /// What came behind it is not done either, so that order holds (D6).
    Unavailable,
    /// The device writes, and has not taken over the history that is served.
    OtherHistory,
    /// The server is going down. What was asked for is still answered.
    Draining,
    /// The device asks for more than it may. What it asked for before that is
    /// still answered, and what comes behind it is not done.
    Limited(Limited),
}

impl Ending {
    /// Whether what was asked for is still answered.
    #[must_use]
    pub const fn lets_answer(self) -> bool {
        matches!(self, Self::Draining | Self::Limited(_))
    }
}

/// Something for a connection.
#[derive(Debug)]
pub enum Letter {
    /// The answer to a request.
    Reply {
        /// Which request.
        number: FrameNumber,
        /// What became of it.
        reply: Reply,
    },
    /// What the device's hello became in the store.
    Connected(Generation),
    /// What delivery read from the log.
    Page(Result<UserPage, StoreError>),
    /// What delivery read of a snapshot.
    Snapshot(Result<SnapshotPage, StoreError>),
}

/// What a connection takes out of its mailbox.
#[derive(Debug, Default)]
pub struct Post {
    /// Answers and results, in the order in which they came.
    pub letters: Vec<Letter>,
    /// How far others have come: may be incomplete.
    pub marks: Vec<v1::Mark>,
    /// What may be lost.
    pub hints: Vec<Hint>,
    /// Why it must end, if it must.
    pub ending: Option<Ending>,
}

#[derive(Debug)]
struct Inner {
    room: Room,
    post: Post,
    events: Vec<Arc<LogEvent>>,
    events_size: usize,
    /// Events were dropped since the last [`Mailbox::collect`].
    overflowed: bool,
    rung: bool,
    waker: Option<Waker>,
}

/// What the server knows of one connection.
#[derive(Debug)]
pub struct Mailbox {
    /// Whose connection it is.
    pub user: UserId,
    /// Which device's.
    pub device: DeviceId,
    inner: Mutex<Inner>,
    /// The connection ends: what it asked for and is not committed must not be.
    ended: AtomicBool,
    /// Its generation, once its hello is written down.
    pub generation: SetOnce<Generation>,
    /// Members to whom its messages went, since the last time that it was asked.
    delivered: AtomicU32,
    /// Somebody looks at the app: hints are of use.
    is_looked_at: AtomicBool,
    /// Whose presence it watches: see [`super::Watches`].
    pub(super) watched: Mutex<Vec<UserId>>,
}

impl Mailbox {
    /// An empty mailbox. It collects events from the start.
    #[must_use]
    pub fn new(user: UserId, device: DeviceId) -> Self {
        Self {
            user,
            device,
            inner: Mutex::new(Inner {
                room: Room::of(&Limits::default()),
                post: Post::default(),
                events: Vec::new(),
                events_size: 0,
                overflowed: false,
                rung: false,
                waker: None,
            }),
            ended: AtomicBool::new(false),
            generation: SetOnce::new(),
            delivered: AtomicU32::new(0),
            is_looked_at: AtomicBool::new(true),
            watched: Mutex::default(),
        }
    }

    /// Nobody looks at the app: it gets no hints from now on. See [`super::Hub::looks_away`]
    /// for one that is in the hub.
    pub fn looks_away(&self) {
        self.is_looked_at.store(false, Ordering::Relaxed);
    }

    /// Whether somebody looks at the app.
    #[must_use]
    pub fn is_looked_at(&self) -> bool {
        self.is_looked_at.load(Ordering::Relaxed)
    }

    /// How much it may hold.
    pub(super) fn set_room(&self, room: Room) {
        self.inner.lock().room = room;
    }

    /// A message of this connection went to so many members.
    pub fn count_delivered(&self, members: usize) {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        self.delivered.fetch_add(members, Ordering::Relaxed);
    }

    /// To how many members its messages went, since the last time.
    pub fn take_delivered(&self) -> u32 {
        self.delivered.swap(0, Ordering::Relaxed)
    }

    /// Puts a letter in. Wake the connection afterwards if this says so.
    #[must_use]
    pub fn put(&self, letter: Letter) -> bool {
        let mut inner = self.inner.lock();
        inner.post.letters.push(letter);
        !std::mem::replace(&mut inner.rung, true)
    }

    /// Puts an event in, or remembers that it did not fit. Wake the connection
    /// afterwards if this says so.
    pub fn put_event(&self, event: &Arc<LogEvent>) -> bool {
        let mut inner = self.inner.lock();
        if !inner.overflowed {
            inner.events_size += event.encoded.len();
            let room = inner.room;
            if inner.events.len() >= room.count || inner.events_size > room.size {
                inner.overflow();
            } else {
                inner.events.push(Arc::clone(event));
            }
        }
        !std::mem::replace(&mut inner.rung, true)
    }

    /// Makes the connection read the log again instead of what is collected: an
    /// event came that needs more than itself. Wake the connection afterwards if
    /// this says so.
    #[must_use]
    pub fn put_detour(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.overflow();
        !std::mem::replace(&mut inner.rung, true)
    }

    /// Puts a mark in, unless there are too many. One that the user set on another
    /// device (`own`) is not lost then: the connection reads it from the log. Wake
    /// the connection afterwards if this says so.
    #[must_use]
    pub fn put_mark(&self, mark: &v1::Mark, own: bool) -> bool {
        let mut inner = self.inner.lock();
        if inner.post.marks.len() < MARKS_COUNT_MAX {
            inner.post.marks.push(mark.clone());
        } else if own {
            inner.overflow();
        } else {
            return false;
        }
        !std::mem::replace(&mut inner.rung, true)
    }

    /// Puts a hint in, unless nobody looks at the app, or there are too many. Wake the
    /// connection afterwards if this says so.
    #[must_use]
    pub fn put_hint(&self, hint: &Hint) -> bool {
        if !self.is_looked_at() {
            return false;
        }
        let mut inner = self.inner.lock();
        inner.post.hints.retain(|it| !is_outdone(it, hint));
        if inner.post.hints.len() >= HINTS_COUNT_MAX {
            return false;
        }
        inner.post.hints.push(hint.clone());
        !std::mem::replace(&mut inner.rung, true)
    }

    /// Puts a letter in and wakes the connection.
    pub fn deliver(&self, letter: Letter) {
        if self.put(letter) {
            self.wake();
        }
    }

    /// Ends the connection. What it asked for and is not yet being committed will
    /// not be, except in a drain.
    pub fn end(&self, ending: Ending) {
        if !ending.lets_answer() {
            self.ended.store(true, Ordering::Release);
        }
        let mut inner = self.inner.lock();
        if matches!(inner.post.ending, None | Some(Ending::Draining)) {
            inner.post.ending = Some(ending);
        }
        inner.rung = true;
        drop(inner);
        self.wake();
    }

    /// The connection is gone: what it asked for and is not yet being committed
    /// will not be. The device asks again on its next one.
    pub fn close(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether what the connection asked for must not be committed any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        let waker = self.inner.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready once something was put in since the last [`Self::take`].
    pub fn poll_rung(&self, context: &Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if inner.rung {
            return Poll::Ready(());
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Takes the post out; the events stay until [`Self::take_events`].
    #[must_use]
    pub fn take(&self) -> Post {
        let mut inner = self.inner.lock();
        inner.rung = false;
        std::mem::take(&mut inner.post)
    }

    /// Begins to collect events anew: those that commit from now on are in the
    /// mailbox, or it says that they did not fit. Call it before reading the log.
    pub fn collect(&self) {
        let mut inner = self.inner.lock();
        inner.overflow();
        inner.overflowed = false;
    }

    /// Takes the collected events out.
    pub fn take_events(&self) -> Collected {
        let mut inner = self.inner.lock();
        if inner.overflowed {
            return Collected::Overflowed;
        }
        // An `accepted` must leave before the events that committed after it, and a
        // mark no later than a cursor behind it.
        if !inner.post.letters.is_empty() || !inner.post.marks.is_empty() {
            return Collected::LettersFirst;
        }
        inner.events_size = 0;
        Collected::Events(std::mem::take(&mut inner.events))
    }

    /// Whether nothing is in it, nor was anything dropped.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let inner = self.inner.lock();
        let post = &inner.post;
        let is_empty = inner.events.is_empty() && post.letters.is_empty() && post.marks.is_empty();
        !inner.overflowed && is_empty
    }
}

/// Whether a hint says nothing any more behind another one.
fn is_outdone(older: &Hint, newer: &Hint) -> bool {
    match (older, newer) {
        (Hint::ProfileChanged(older), Hint::ProfileChanged(newer)) => {
            older.user_id == newer.user_id
        }
        (Hint::Typing(older), Hint::Typing(newer)) => {
            (&older.conversation_id, &older.user_id) == (&newer.conversation_id, &newer.user_id)
        }
        (Hint::Presence(older), Hint::Presence(newer)) => older.user_id == newer.user_id,
        (Hint::ProfileChanged(_) | Hint::Typing(_) | Hint::Presence(_), _) => false,
    }
}

impl Inner {
    fn overflow(&mut self) {
        self.overflowed = true;
        self.events = Vec::new();
        self.events_size = 0;
    }
}

/// What [`Mailbox::take_events`] finds.
#[derive(Debug, Eq, PartialEq)]
pub enum Collected {
    /// The events since the last time, in order of position.
    Events(Vec<Arc<LogEvent>>),
    /// Letters came meanwhile: [`Mailbox::take`] them first.
    LettersFirst,
    /// Some did not fit: read the log instead.
    Overflowed,
}
