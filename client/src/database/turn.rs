//! One transaction for all that came while the last one was being written.
//!
//! Frames are worked off in the order in which they came, a page together with
//! its cursor. If anything fails, nothing has happened: no frame is acknowledged
//! and the connection ends.

mod filling;

use std::collections::BTreeMap;

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
    wire::{
        KnownProfile,
        v1::{self, client_frame::Body},
    },
};
use rusqlite::Transaction;

use super::{
    Database, MembersPage, NewEvent, NewPage,
    account::{self, Me},
    conversations::{self, Reach},
    doubts, epochs, events, friends, gaps, members,
    outbox::{self, Waiting},
    profiles::{self, Wanted},
    reads, settings,
    states::{self, States},
    unread,
};
use crate::{
    error::LocalError,
    model::{Dropped, Gap, Refusal},
    request::Acceptance,
};

/// One thing that came.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// The server's history.
    Welcome {
        epoch: u64,
        base: u64,
        starts_anew: bool,
    },
    /// What follows the cursor.
    Page(NewPage),
    /// A queued request is committed.
    Accepted { id: MessageId, at: Acceptance },
    /// A queued request is refused for good.
    Refused { id: MessageId, refusal: Refusal },
    /// A read mark is durable.
    ReadTaken {
        conversation: ConversationId,
        seq: Seq,
    },
    /// A read mark is refused for good.
    ReadRefused {
        conversation: ConversationId,
        seq: Seq,
        refusal: Refusal,
    },
    /// Events of a gap.
    Filled {
        gap: Gap,
        events: Vec<NewEvent>,
        complete: bool,
        states: States,
        ask: u64,
    },
    /// A missing gap cannot be filled.
    FillRefused(Gap),
    /// What others say of themselves, when these were asked for.
    Profiles {
        asked: Vec<UserId>,
        found: Vec<v1::UserProfile>,
    },
    /// Members of a long list.
    Members { page: MembersPage, ask: u64 },
    /// A cursor from a pong.
    Checkpoint(Bytes),
    /// Begin anew: the cursor is of no use.
    ForgetCursor,
    /// The credential is of no use.
    SignedOut,
}

/// What to read after the work is done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Waiting requests behind this place, at most so many.
    pub(crate) outbox: Option<(i64, usize)>,
    /// Waiting read marks.
    pub(crate) reads: bool,
    /// Missing gaps, whether they changed or not.
    pub(crate) gaps: bool,
    /// Whose profiles to ask for.
    pub(crate) profiles: Option<Wanted>,
}

impl Load {
    /// Whether there is anything to read, but for gaps.
    pub(crate) const fn any(&self) -> bool {
        self.reads || self.outbox.is_some() || self.profiles.is_some()
    }
}

/// One transaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) works: Vec<Work>,
    pub(crate) load: Load,
}

/// What a turn has changed, and what it has read.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Events that may be shown now, per conversation: the lowest and the
    /// highest seq.
    pub(crate) stored: BTreeMap<ConversationId, (Seq, Seq)>,
    pub(crate) accepted: Vec<(MessageId, Acceptance)>,
    pub(crate) refused: Vec<(MessageId, Refusal)>,
    /// The server did not have what a request refers to: that is to be looked at.
    pub(crate) doubted: bool,
    /// What these wanted is so already.
    pub(crate) nothing_to_do: Vec<MessageId>,
    pub(crate) read: Vec<MessageId>,
    /// Conversations whose members, marks or description changed.
    pub(crate) marks: Vec<ConversationId>,
    pub(crate) cursor: Option<Bytes>,
    pub(crate) caught_up: bool,
    pub(crate) began_anew: bool,
    /// What a new history has not.
    pub(crate) dropped: Vec<Dropped>,
    /// How many events were stored for each [`Work::Filled`], by its `ask`.
    pub(crate) filled: Vec<(u64, usize)>,
    /// Whether the list is whole, for each [`Work::Members`], by its `ask`.
    pub(crate) listed: Vec<(u64, bool)>,
    /// All gaps to be fetched at once, if they may have changed.
    pub(crate) missing: Option<Vec<Gap>>,
    pub(crate) waiting: Option<Vec<Waiting>>,
    pub(crate) reads: Option<Vec<(ConversationId, Seq)>>,
    pub(crate) people: People,
    /// They wait until the server has taken what the outbox says of receipts.
    pub(crate) reads_held: bool,
}

/// What of it is about other people.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// Somebody may be new.
    pub(crate) met: bool,
    /// Who says something else of themself now, if it was answered.
    pub(crate) profiles: Option<Vec<UserId>>,
    /// Whose profiles to ask for.
    pub(crate) wanted: Option<(Wanted, Vec<KnownProfile>)>,
}

/// How an event came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    Page,
    /// The acknowledgement stands for it.
    Own,
    Filled {
        on_demand: bool,
    },
}

impl Database {
    /// Does all of it in one transaction, or nothing.
    pub(crate) fn turn(&mut self, turn: Turn) -> Result<Changes, LocalError> {
        let Turn { works, load } = turn;
        let transaction = self.write()?;
        let mut worker = Worker {
            me: account::me(&transaction)?,
            transaction: &transaction,
            changes: Changes::default(),
            gaps_changed: load.gaps,
        };
        for work in works {
            worker.work(work)?;
        }
        let mut changes = worker.finish()?;
        if let Some((behind, limit)) = load.outbox {
            changes.waiting = Some(outbox::waiting(&transaction, behind, limit)?);
        }
        if load.reads {
            // How far the user has read does not overtake that nobody is to know.
            changes.reads_held = settings::receipts_wait(&transaction)?;
            if !changes.reads_held {
                changes.reads = Some(reads::waiting_reads(&transaction)?);
            }
        }
        if let Some(wanted) = load.profiles {
            let known = profiles::wanted(&transaction, wanted)?;
            changes.people.wanted = Some((wanted, known));
        }
        transaction.commit()?;
        Ok(changes)
    }
}

struct Worker<'a> {
    transaction: &'a Transaction<'a>,
    me: Me,
    changes: Changes,
    gaps_changed: bool,
}

impl Worker<'_> {
    fn work(&mut self, work: Work) -> Result<(), LocalError> {
        match work {
            Work::Welcome {
                epoch,
                base,
                starts_anew,
            } => self.welcome(epoch, base, starts_anew)?,
            Work::Page(page) => self.page(page)?,
            Work::Accepted { id, at } => self.accepted(id, at)?,
            Work::Refused { id, refusal } => self.refused(id, refusal)?,
            Work::ReadTaken { conversation, seq } => {
                let ids = reads::read_taken(self.transaction, conversation, seq)?;
                self.changes.read.extend(ids);
            }
            Work::ReadRefused {
                conversation,
                seq,
                refusal,
            } => {
                let ids = reads::read_refused(self.transaction, conversation, seq, &refusal)?;
                let refused = ids.into_iter().map(|id| (id, refusal.clone()));
                self.changes.refused.extend(refused);
            }
            Work::Filled {
                gap,
                events,
                complete,
                states,
                ask,
            } => {
                let count = self.filled(gap, &events, complete)?;
                states::keep(self.transaction, &self.me, gap, &states)?;
                self.changes.filled.push((ask, count));
            }
            Work::FillRefused(gap) => {
                if epochs::is_taken_over(self.transaction, &self.me, gap.conversation)? {
                    gaps::demote(self.transaction, gap.conversation, gap.from, gap.to)?;
                    self.show_from(gap.conversation, gap.from)?;
                }
            }
            Work::Members { page, ask } => {
                self.changes.people.met = true;
                let fits = members::take_page(self.transaction, &self.me, &page)?;
                self.changes.listed.push((ask, fits && page.complete));
                self.changes.marks.push(page.place.conversation);
            }
            Work::Profiles { asked, found } => {
                let changed = profiles::take(self.transaction, &asked, found)?;
                self.changes
                    .people
                    .profiles
                    .get_or_insert_default()
                    .extend(changed);
            }
            Work::Checkpoint(cursor) => {
                account::set_cursor(self.transaction, &cursor)?;
                self.changes.cursor = Some(cursor);
                self.settle_events_ahead()?;
            }
            Work::ForgetCursor => {
                account::set_cursor(self.transaction, &[])?;
                self.changes.cursor = Some(Bytes::new());
            }
            Work::SignedOut => account::sign_out(self.transaction)?,
        }
        Ok(())
    }

    fn refused(&mut self, id: MessageId, refusal: Refusal) -> Result<(), LocalError> {
        let is_so_already = refusal.code == v1::ErrorCode::NothingToDo;
        if is_so_already && outbox::nothing_to_do(self.transaction, id)? {
            self.changes.nothing_to_do.push(id);
        } else if refusal.code == v1::ErrorCode::MediaNotFound
            && doubts::begin(self.transaction, id)?
        {
            self.changes.doubted = true;
        } else if outbox::refused(self.transaction, id, &refusal)? {
            self.changes.refused.push((id, refusal));
        }
        Ok(())
    }

    fn welcome(&mut self, epoch: u64, base: u64, starts_anew: bool) -> Result<(), LocalError> {
        let welcomed = account::welcome(self.transaction, epoch, base, starts_anew)?;
        if welcomed.gives_up {
            let dropped = epochs::give_up(self.transaction, &self.me)?;
            self.dropped(dropped);
        }
        if welcomed.forgets_cursor {
            self.changes.cursor = Some(Bytes::new());
            self.changes.began_anew = true;
        }
        self.me = account::me(self.transaction)?;
        Ok(())
    }

    /// The conversation is as the history of the server has it, before more of it
    /// comes.
    fn take_over(&mut self, id: ConversationId, common: Seq) -> Result<(), LocalError> {
        let dropped = epochs::take_over(self.transaction, &self.me, id, common)?;
        self.dropped(dropped);
        Ok(())
    }

    fn dropped(&mut self, dropped: impl IntoIterator<Item = Dropped>) {
        for it in dropped {
            self.gaps_changed = true;
            self.changes.marks.push(it.conversation);
            self.changes.dropped.push(it);
        }
    }

    fn page(&mut self, page: NewPage) -> Result<(), LocalError> {
        for (id, description) in &page.descriptions {
            self.describe(*id, description)?;
        }
        for event in &page.events {
            // Described with what is in common before, or there is nothing.
            self.take_over(event.conversation, Seq::ZERO)?;
            self.take(event, Origin::Page)?;
        }
        for mark in &page.marks {
            if unread::take_mark(self.transaction, &self.me, mark)? {
                self.changes.marks.push(mark.conversation);
            }
        }
        if !page.cursor.is_empty() {
            account::set_cursor(self.transaction, &page.cursor)?;
            self.changes.cursor = Some(page.cursor);
        }
        if page.caught_up {
            self.changes.caught_up = true;
            if self.me.takes_over {
                let dropped = epochs::finish(self.transaction, &self.me)?;
                self.dropped(dropped);
                self.me = account::me(self.transaction)?;
            }
            self.settle_descriptions()?;
            self.settle_events_ahead()?;
        }
        Ok(())
    }

    fn describe(
        &mut self,
        id: ConversationId,
        description: &v1::Conversation,
    ) -> Result<(), LocalError> {
        let was_taken_over = epochs::is_taken_over(self.transaction, &self.me, id)?;
        self.take_over(id, Seq::new(description.common_seq()))?;
        self.changes.people.met = true;
        conversations::describe(self.transaction, &self.me, id, description)?;
        if !was_taken_over {
            epochs::repeat_read_mark(self.transaction, &self.me, id, description)?;
        }
        self.changes.marks.push(id);
        Ok(())
    }

    /// Stores an event and what follows from it: it may answer a request, close
    /// a gap, or uncover one.
    fn take(&mut self, event: &NewEvent, origin: Origin) -> Result<bool, LocalError> {
        let (transaction, id) = (self.transaction, event.conversation);
        let reach = match conversations::reach(transaction, id)? {
            Some(reach) => reach,
            None => {
                conversations::ensure(transaction, id)?;
                Reach::UNKNOWN
            }
        };
        let printable = origin != Origin::Filled { on_demand: true };
        let inserted = events::insert(transaction, &self.me, event, printable)?;
        if inserted {
            self.answer(event)?;
            states::follow(transaction, event)?;
            settings::follow(transaction, event)?;
            friends::follow(transaction, &self.me, event)?;
            self.changes.people.met |= event.adds_members();
            members::follow(transaction, &self.me, event, reach.members)?;
        }
        if event.seq < reach.next || matches!(origin, Origin::Filled { .. }) {
            if gaps::cover(transaction, id, event.seq, event.seq)? {
                self.gaps_changed = true;
            }
            self.touch(id, event.seq, event.seq);
            return Ok(inserted);
        }
        if event.seq > reach.next {
            if origin == Origin::Own {
                // The pages before it are still to come, or one of them will
                // show what is missing.
                conversations::set_ahead(transaction, id, event.seq)?;
                return Ok(inserted);
            }
            self.open_gap(id, reach.next, event.seq.previous(), reach.left_out())?;
        }
        let next = conversations::advance(transaction, id, event.seq.next(), reach.ahead)?;
        self.touch(id, event.seq, next.previous());
        Ok(inserted)
    }

    /// Whether stored or not, own events in the log need not be sent again.
    fn answer(&mut self, event: &NewEvent) -> Result<(), LocalError> {
        let Some(id) = event
            .message_id
            .filter(|_| event.sender == Some(self.me.user))
        else {
            return Ok(());
        };
        let at = Acceptance {
            conversation: event.conversation,
            seq: event.seq,
            committed_at_ms: event.event.committed_at_ms,
        };
        if outbox::accepted(self.transaction, id, at)?.is_some() {
            self.changes.accepted.push((id, at));
        }
        Ok(())
    }

    fn accepted(&mut self, id: MessageId, at: Acceptance) -> Result<(), LocalError> {
        use magpie_protocol::wire::v1::send_message::To;
        let Some(body) = outbox::accepted(self.transaction, id, at)? else {
            return Ok(());
        };
        self.changes.accepted.push((id, at));
        // The other operations' events come in a page.
        if let Body::ChangeFriendship(it) = &body {
            friends::accepted(self.transaction, at, it)?;
            self.changes.marks.push(at.conversation);
        }
        if let Body::SendMessage(message) = body {
            if let Some(To::UserName(name)) = &message.to {
                conversations::ensure_direct(self.transaction, at.conversation, name)?;
            }
            let message = message.message.unwrap_or_default();
            let event = events::own_message(&self.me, id, at, message);
            self.take(&event, Origin::Own)?;
        }
        Ok(())
    }

    fn touch(&mut self, id: ConversationId, from: Seq, to: Seq) {
        let range = self.changes.stored.entry(id).or_insert((from, to));
        *range = (range.0.min(from), range.1.max(to));
    }

    fn finish(mut self) -> Result<Changes, LocalError> {
        // Nothing above a missing event is shown.
        let mut shown = BTreeMap::new();
        for (id, (from, to)) in std::mem::take(&mut self.changes.stored) {
            let to = match gaps::first_blocking(self.transaction, id)? {
                Some(first) => to.min(first.previous()),
                None => to,
            };
            if from <= to {
                shown.insert(id, (from, to));
            }
        }
        self.changes.stored = shown;
        self.changes.marks.sort_unstable();
        self.changes.marks.dedup();
        if self.gaps_changed {
            self.changes.missing = Some(gaps::missing(self.transaction)?);
        }
        Ok(self.changes)
    }
}
