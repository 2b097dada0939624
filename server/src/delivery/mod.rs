//! Sends a device what follows its cursor, in the order of the log: the only way
//! a message reaches a device.
//!
//! ```text
//!   Behind ──read the log──▶ Reading ──▶ Read ──all sent, complete──▶ Live
//!     ▲                                   │ more                       │
//!     └───────────────────────────────────┴──◀── mailbox overflowed ───┘
//! ```
//!
//! Live and catch-up differ only in where the next events come from: the mailbox,
//! which began to collect before the log was read, or the log. A session whose
//! window is full takes nothing; its mailbox overflows and it reads on from the
//! log when it can.

mod cursor;
mod keeper;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, DeviceId},
    seq::{FrameNumber, Seq},
    wire::{EncodedPage, v1},
};
use tokio::sync::Semaphore;

pub use self::{
    cursor::{Cursor, CursorKey, Place},
    keeper::Keeper,
};
use crate::{
    hub::{Collected, Ending, Letter, Mailbox, Promise},
    log::{Chronicle, Router},
    store::{
        Generation, LogEvent, Positions, ReadLimit, Recency, SharedStore, SnapshotPage,
        SnapshotPlace, StoreError, UserPage,
    },
};

/// What goes into one page: its frame stays below the server's limit, also with
/// the largest text or description as its last part.
const PAGE: ReadLimit = ReadLimit {
    count: 256,
    size: 128 * 1024,
};

/// What all deliveries of this process share.
pub struct Feed {
    /// Where the log is.
    pub store: SharedStore,
    /// How far live connections were served.
    pub router: Arc<Router>,
    /// Where cursors are kept.
    pub keeper: Arc<Keeper>,
    /// Seals cursors.
    pub key: CursorKey,
    /// The history that cursors are of.
    pub chronicle: Arc<Chronicle>,
    /// Bounds how many connections read the log at once.
    pub reads: Arc<Semaphore>,
}

impl Feed {
    /// Where a device's cursor says that it is; `None` if it is not one of this
    /// device and of the history with this epoch.
    fn open(&self, device: DeviceId, epoch: u64, cursor: &[u8]) -> Option<Place> {
        let cursor = self.key.open(device, cursor)?;
        let is_ours =
            cursor.epoch == epoch && cursor.place.seen().count() == self.store.shard_count();
        is_ours.then_some(cursor.place)
    }

    /// Where a device goes on; `None` if its cursor is of no use and it begins
    /// anew.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn resume(
        &self,
        device: DeviceId,
        epoch: u64,
        cursor: &[u8],
    ) -> Result<Option<Place>, StoreError> {
        let Some(place) = self.open(device, epoch, cursor) else {
            return Ok(None);
        };
        // What is routed is in the store, and mostly that is enough to know.
        let seen = place.seen();
        if !self.router.published().reaches(&seen) {
            // Authentic: so far the log has been once.
            self.store.has_been(epoch, &seen);
            self.store
                .state()
                .await
                .inspect_err(|error| self.chronicle.note(error))?;
        }
        Ok(Some(place))
    }

    /// Where a device begins whose cursor is of no use: at a snapshot of now. One
    /// that never had a cursor begins where it was made (`made_at`), so that all
    /// that came since comes whole.
    #[must_use]
    pub fn anew(&self, made_at: Option<Positions>) -> Place {
        let now = self.router.published();
        Place::Snapshot(SnapshotPlace {
            since: Positions::origin(now.count()),
            at: made_at.map_or(now, |made_at| made_at.earlier(&now)),
            below: Recency::LAST,
        })
    }
}

/// Where the next events come from.
#[derive(Debug)]
enum Mode {
    /// The log must be read on from the place.
    Behind,
    /// It is being read.
    Reading,
    /// This is next.
    Read(Box<UserPage>),
    /// This is next.
    ReadSnapshot(Box<SnapshotPage>),
    /// The mailbox has all that follows the place; these were taken out of it.
    Live(VecDeque<Arc<LogEvent>>),
}

/// A page that was sent and is not acknowledged.
#[derive(Debug)]
struct Sent {
    number: FrameNumber,
    confirms: Positions,
    /// The newest event of each conversation in it.
    newest: Vec<(ConversationId, Seq)>,
    catches_up: bool,
}

/// What one connection's device has not confirmed.
pub struct Delivery {
    feed: Arc<Feed>,
    mailbox: Arc<Mailbox>,
    /// Of the history that it delivers: another one may have begun meanwhile, and
    /// then this connection is about to end.
    epoch: u64,
    /// Of the history whose events the device holds, if it is another one: until
    /// it has stored the page that says that it has caught up with this one.
    held: Option<u64>,
    /// Everything up to here was sent on this connection, or stored before it.
    place: Place,
    mode: Mode,
    said_caught_up: bool,
    generation: Option<Generation>,
    unconfirmed: VecDeque<Sent>,
    acked: FrameNumber,
    confirmed: Positions,
}

impl Delivery {
    /// A delivery that goes on at `place`. The mailbox is in the hub already.
    #[must_use]
    pub fn new(
        feed: Arc<Feed>,
        mailbox: Arc<Mailbox>,
        epoch: u64,
        held: Option<u64>,
        place: Place,
    ) -> Self {
        // Who has missed nothing is live at once, without a question to the store.
        let mode = match &place {
            Place::At(place) if !feed.router.may_have_news(mailbox.user, place) => {
                Mode::Live(VecDeque::new())
            }
            Place::At(_) | Place::Snapshot(_) => Mode::Behind,
        };
        Self {
            feed,
            mailbox,
            epoch,
            held,
            place,
            mode,
            said_caught_up: false,
            generation: None,
            unconfirmed: VecDeque::new(),
            acked: FrameNumber::ZERO,
            confirmed: place.confirmed(),
        }
    }

    /// The connection has ended.
    pub fn disconnected(&self) {
        // Acknowledged before it was known that the hello is written down.
        let stored = self.unconfirmed.iter();
        let stored = stored.take_while(|it| it.number <= self.acked);
        let stored = stored.map(|it| it.confirms);
        let stored = stored.reduce(|stored, next| stored.later(&next));
        let stored = stored.map(|it| self.confirmed.later(&it));
        self.feed.keeper.disconnected(&self.mailbox, stored);
    }

    /// Reads the log if that is what is needed next. The result comes as a letter.
    pub fn read_if_behind(&mut self) {
        if !matches!(self.mode, Mode::Behind) {
            return;
        }
        self.mode = Mode::Reading;
        // From here on the mailbox has what the reading cannot see any more.
        self.mailbox.collect();
        let (feed, mailbox) = (Arc::clone(&self.feed), Arc::clone(&self.mailbox));
        let (place, held) = (self.place, self.held);
        tokio::spawn(async move {
            let promise = Promise::new(&mailbox);
            let _permit = feed.reads.acquire().await;
            if mailbox.has_ended() {
                promise.forget();
                return;
            }
            let (store, user) = (&feed.store, mailbox.user);
            let letter = match place {
                Place::At(after) => Letter::Page(store.user_page(user, after, PAGE).await),
                Place::Snapshot(place) => {
                    Letter::Snapshot(store.snapshot_page(user, place, held, PAGE).await)
                }
            };
            promise.keep(letter);
        });
    }

    /// What was read of the log is here.
    pub fn handle_page(&mut self, page: Result<UserPage, StoreError>) {
        match page {
            Ok(page) => self.mode = Mode::Read(Box::new(page)),
            Err(error) => self.give_up(&error),
        }
    }

    /// What was read of a snapshot is here.
    pub fn handle_snapshot(&mut self, page: Result<SnapshotPage, StoreError>) {
        match page {
            Ok(page) => self.mode = Mode::ReadSnapshot(Box::new(page)),
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&self, error: &StoreError) {
        tracing::warn!(%error, "the log could not be read for a device; it will come back");
        self.mailbox.end(Ending::Unavailable);
    }

    /// The hello is written down: confirmations count from now on.
    pub fn handle_connected(&mut self, generation: Generation) {
        self.generation = Some(generation);
        self.handle_ack(self.acked);
        self.confirm();
    }

    /// The next page, if there is one now. Call only if it can be sent, and tell
    /// [`Self::sent`] its number. Marks may be added to it.
    pub fn next_page(&mut self) -> Option<EncodedPage> {
        loop {
            match std::mem::replace(&mut self.mode, Mode::Behind) {
                Mode::Behind => {
                    self.read_if_behind();
                    return None;
                }
                Mode::Reading => {
                    self.mode = Mode::Reading;
                    return None;
                }
                Mode::ReadSnapshot(page) => return Some(self.snapshot_page(*page)),
                Mode::Read(page) => {
                    if let Some(page) = self.user_page(*page) {
                        return Some(page);
                    }
                }
                Mode::Live(ready) => return self.live_page(ready),
            }
        }
    }

    fn snapshot_page(&mut self, page: SnapshotPage) -> EncodedPage {
        self.place = match (page.next, self.place) {
            (Some(next), _) => Place::Snapshot(next),
            (None, Place::Snapshot(place)) => Place::At(place.at),
            (None, at @ Place::At(_)) => at,
        };
        metrics::counter!(crate::metrics::PAGES_SENT, "from" => "snapshot").increment(1);
        self.encode(page.events.iter(), page.conversations, false)
    }

    fn user_page(&mut self, page: UserPage) -> Option<EncodedPage> {
        self.place = Place::At(page.upto);
        if page.complete {
            self.mode = Mode::Live(VecDeque::new());
        }
        let catches_up = page.complete && !self.said_caught_up;
        let is_empty =
            page.events.is_empty() && page.conversations.is_empty() && page.marks.is_empty();
        // An empty stretch of a long log is progress, too: its cursor is sent.
        if is_empty && page.complete && !catches_up {
            return None;
        }
        self.said_caught_up |= catches_up;
        metrics::counter!(crate::metrics::PAGES_SENT, "from" => "store").increment(1);
        let mut encoded = self.encode(page.events.iter(), page.conversations, catches_up);
        encoded.marks = page.marks;
        Some(encoded)
    }

    fn live_page(&mut self, mut ready: VecDeque<Arc<LogEvent>>) -> Option<EncodedPage> {
        let place = self.place.confirmed();
        if ready.is_empty() {
            // In this order: what is published is in the mailbox.
            let published = self.feed.router.published();
            let events = match self.mailbox.take_events() {
                Collected::Events(events) => VecDeque::from(events),
                Collected::LettersFirst => {
                    self.mode = Mode::Live(ready);
                    return None;
                }
                Collected::Overflowed => {
                    self.read_if_behind();
                    return None;
                }
            };
            // What the reading of the log brought already is passed over, and what
            // was routed again because the routing had failed in between.
            let mut last = place;
            ready = events;
            ready.retain(|event| {
                let is_next = !last.covers(event.position);
                if is_next {
                    last.set(event.position);
                }
                is_next
            });
            if ready.is_empty() {
                self.place = Place::At(place.later(&published));
            }
        }
        let mut size = 0;
        let mut events = Vec::new();
        while let Some(event) = ready.pop_front_if(|event| {
            size += event.encoded.len();
            events.is_empty() || (size <= PAGE.size && events.len() < PAGE.count)
        }) {
            events.push(event);
        }
        self.mode = Mode::Live(ready);
        let catches_up = !std::mem::replace(&mut self.said_caught_up, true);
        if events.is_empty() && !catches_up {
            return None;
        }
        let mut place = self.place.confirmed();
        for event in &events {
            place.set(event.position);
        }
        self.place = Place::At(place);
        metrics::counter!(crate::metrics::PAGES_SENT, "from" => "mailbox").increment(1);
        let events = events.iter().map(AsRef::as_ref);
        Some(self.encode(events, Vec::new(), catches_up))
    }

    fn encode<'a>(
        &mut self,
        events: impl Iterator<Item = &'a LogEvent>,
        conversations: Vec<v1::Conversation>,
        caught_up: bool,
    ) -> EncodedPage {
        let reader = self.mailbox.user;
        let mut newest = BTreeMap::new();
        let encoded: Vec<Bytes> = events
            .map(|event| {
                // Of what is hidden from this user nobody learns that it came.
                if event.hidden.is_none_or(|sender| sender == reader) {
                    newest.insert(event.conversation, event.seq);
                }
                event.encoded_for(reader)
            })
            .collect();
        metrics::counter!(crate::metrics::EVENTS_SENT).increment(encoded.len() as u64);
        self.unconfirmed.push_back(Sent {
            number: FrameNumber::ZERO,
            confirms: self.place.confirmed(),
            newest: newest.into_iter().collect(),
            catches_up: caught_up,
        });
        EncodedPage {
            conversations,
            events: encoded,
            marks: Vec::new(),
            cursor: self.seal(),
            caught_up,
        }
    }

    /// The page that [`Self::next_page`] gave left as this frame.
    pub fn sent(&mut self, number: FrameNumber) {
        if let Some(last) = self.unconfirmed.back_mut() {
            last.number = number;
        }
    }

    /// Whether the hello is written down, and so what is acknowledged counts.
    #[must_use]
    pub const fn is_written_down(&self) -> bool {
        self.generation.is_some()
    }

    /// The device has handled every frame up to `acked` (D7).
    pub fn handle_ack(&mut self, acked: FrameNumber) {
        self.acked = self.acked.max(acked);
        if self.held.is_some() {
            let mut stored = self.unconfirmed.iter().take_while(|it| it.number <= acked);
            if stored.any(|sent| sent.catches_up) {
                self.held = None;
            }
        }
        if self.generation.is_none() {
            // Not before the hello is written: it sets the cursor, also downwards,
            // and tells whether this connection is the device's newest.
            return;
        }
        let mut advanced = false;
        while let Some(sent) = self.unconfirmed.pop_front_if(|sent| sent.number <= acked) {
            advanced = true;
            self.confirmed = self.confirmed.later(&sent.confirms);
            for (conversation, seq) in sent.newest {
                self.feed
                    .keeper
                    .delivered(self.mailbox.user, conversation, seq);
            }
        }
        if advanced {
            if self.unconfirmed.is_empty() {
                // An idle connection holds no buffers.
                self.unconfirmed = VecDeque::new();
            }
            self.confirm();
        }
    }

    /// The device says in a ping what it has stored.
    pub fn handle_cursor(&mut self, cursor: &[u8]) {
        if let Some(Place::At(stored)) = self.feed.open(self.mailbox.device, self.epoch, cursor)
            && !self.confirmed.reaches(&stored)
            && self.place.confirmed().reaches(&stored)
        {
            self.confirmed = self.confirmed.later(&stored);
            self.confirm();
        }
    }

    /// Whether the device may hold what is not in this history, and not know it.
    #[must_use]
    pub const fn holds_another_history(&self) -> bool {
        self.held.is_some()
    }

    fn confirm(&self) {
        if let Some(generation) = self.generation {
            self.feed
                .keeper
                .confirm(&self.mailbox, generation, self.confirmed);
        }
    }

    /// The cursor behind all that was sent, unless something waits to be sent.
    pub fn checkpoint(&mut self) -> Option<Bytes> {
        let Mode::Live(ready) = &self.mode else {
            return None;
        };
        let published = self.feed.router.published();
        if !ready.is_empty() || !self.mailbox.is_quiet() {
            return None;
        }
        self.place = Place::At(self.place.confirmed().later(&published));
        Some(self.seal())
    }

    fn seal(&self) -> Bytes {
        let cursor = Cursor {
            epoch: self.epoch,
            place: self.place,
        };
        self.feed.key.seal(self.mailbox.device, cursor)
    }
}
