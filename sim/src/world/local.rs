//! The SDK's rules: a device's local database, what survives a crash of it.

mod epochs;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use magpie_audit as audit;
use magpie_audit::Record;
use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
    session::Answer,
    wire::v1,
};

use super::{Broken, Context, Mutant, content::Content, place::Place};

/// What the person handed in and the server has not answered for good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pending {
    pub(crate) id: MessageId,
    pub(crate) conversation: ConversationId,
    pub(crate) content: Content,
}

/// An own message that the log has, or had.
#[derive(Clone, Copy, Debug)]
struct Acked {
    pending: Pending,
    seq: u64,
}

/// How far a conversation is stored.
#[derive(Clone, Copy, Debug)]
struct Reach {
    /// All before it is stored, as far as it is for this user.
    next: u64,
    /// All before it was shown.
    shown: u64,
}

impl Default for Reach {
    fn default() -> Self {
        Self { next: 1, shown: 1 }
    }
}

/// The database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local {
    pub(crate) outbox: VecDeque<Pending>,
    /// Refused for good, kept for the person to see.
    pub(crate) failed: Vec<MessageId>,
    /// Own messages in the log, kept for the case that it forgets them.
    acked: Vec<Acked>,
    pub(crate) store: BTreeMap<(ConversationId, u64), MessageId>,
    by_id: BTreeMap<MessageId, (ConversationId, u64)>,
    reach: BTreeMap<ConversationId, Reach>,
    marks: BTreeMap<(ConversationId, UserId), u64>,
    /// The newest event of each conversation that a page brought, and its time.
    latest: BTreeMap<ConversationId, (u64, i64)>,
    pub(crate) cursor: Bytes,
    /// The history whose events it holds.
    epoch: u64,
    /// The one that is being taken over; 0: none.
    next_epoch: u64,
    /// Conversations of which that is done, and up to where both have the same.
    taken_over: BTreeMap<ConversationId, u64>,
    generation: u64,
}

/// Who reads it: the device's notes, and when.
pub(crate) struct Notes<'device> {
    pub(crate) device: &'device mut audit::Device,
    pub(crate) at: u64,
}

impl Notes<'_> {
    pub(crate) fn note(&mut self, record: Record) {
        self.device.note(self.at, record);
    }
}

fn place(conversation: ConversationId, seq: u64) -> audit::Place {
    let seq = Seq::new(seq);
    audit::Place { conversation, seq }
}

impl Local {
    /// Stores a page with its cursor.
    pub(crate) fn store_page(
        &mut self,
        page: &v1::Page,
        user: UserId,
        notes: &mut Notes<'_>,
    ) -> Result<(), Broken> {
        for it in &page.conversations {
            let conversation = conversation_of(&it.conversation_id)?;
            if let Some(common) = it.common_seq {
                self.take_over(conversation, common, notes);
            }
            let reach = self.reach.entry(conversation).or_default();
            reach.next = reach.next.max(it.first_seq);
            reach.shown = reach.shown.max(it.first_seq);
        }
        for event in &page.events {
            let conversation = conversation_of(&event.conversation_id)?;
            let id = id_of(&event.message_id)?;
            let next = self.reach.entry(conversation).or_default().next;
            if event.seq > next {
                let what = format!("seq {} comes without the one before it", event.seq);
                return Err(Broken::new("D5", what));
            }
            let sender = event.sender.as_ref().map(|it| it.user_id.as_ref());
            let sender = UserId::try_from(sender.unwrap_or_default())
                .map_err(|error| Broken::new("wire", error.to_string()))?;
            let content = content_of(event, id)?;
            self.look_at_time(conversation, event)?;
            self.insert(conversation, event.seq, id, sender, content, notes)?;
            if sender == user {
                self.is_in_log(id, conversation, event.seq, notes);
            }
        }
        for mark in &page.marks {
            self.raise_mark(mark, notes)?;
        }
        if !page.cursor.is_empty() {
            self.set_cursor(page.cursor.clone(), notes);
        }
        if page.caught_up {
            self.finish(notes);
        }
        Ok(())
    }

    /// What people are shown as the time never falls within a conversation.
    fn look_at_time(
        &mut self,
        conversation: ConversationId,
        event: &v1::Event,
    ) -> Result<(), Broken> {
        let (seq, at_ms) = (event.seq, event.committed_at_ms);
        let latest = self.latest.entry(conversation).or_insert((seq, at_ms));
        if seq >= latest.0 {
            if at_ms < latest.1 {
                let what = format!("seq {seq} is of an earlier time than seq {}", latest.0);
                return Err(Broken::new("D4", what));
            }
            *latest = (seq, at_ms);
        }
        Ok(())
    }

    fn raise_mark(&mut self, mark: &v1::Mark, notes: &mut Notes<'_>) -> Result<(), Broken> {
        let conversation = conversation_of(&mark.conversation_id)?;
        let user = UserId::try_from(mark.user_id.as_ref())
            .map_err(|error| Broken::new("wire", error.to_string()))?;
        let known = self.marks.entry((conversation, user)).or_default();
        if mark.delivered_seq > *known {
            *known = mark.delivered_seq;
            let place = place(conversation, mark.delivered_seq);
            notes.note(Record::DeliveredSeen { user, place });
        }
        Ok(())
    }

    pub(crate) fn set_cursor(&mut self, cursor: Bytes, notes: &mut Notes<'_>) {
        notes.note(Record::Cursor(Place::open(&cursor).1.0));
        self.cursor = cursor;
    }

    /// Stores an event; what is there already is left alone. Shows what can be
    /// shown: nothing above a missing one.
    fn insert(
        &mut self,
        conversation: ConversationId,
        seq: u64,
        id: MessageId,
        sender: UserId,
        content: Content,
        notes: &mut Notes<'_>,
    ) -> Result<(), Broken> {
        let at = (conversation, seq);
        let before = self.store.insert(at, id);
        if before.is_some_and(|before| before != id) {
            return Err(Broken::new("D4", format!("two messages at seq {seq}")));
        }
        if self.by_id.insert(id, at).is_some_and(|before| before != at) {
            let what = format!("{id} at two places, one of them {seq}");
            return Err(Broken::new("D3", what));
        }
        if before.is_none() {
            notes.note(Record::Stored {
                event: audit::Event {
                    place: place(conversation, seq),
                    message_id: id,
                    sender: Some(sender),
                    digest: content.digest(id),
                },
                epoch: self.served(),
                generation: self.generation,
            });
        }
        let reach = self.reach.entry(conversation).or_default();
        while self.store.contains_key(&(conversation, reach.next)) {
            reach.next += 1;
        }
        while reach.shown < reach.next
            && let Some(message_id) = self.store.get(&(conversation, reach.shown))
        {
            notes.note(Record::Shown {
                place: place(conversation, reach.shown),
                message_id: *message_id,
            });
            reach.shown += 1;
        }
        Ok(())
    }

    /// An own message is in the log: it need not be sent any more. Whoever was
    /// told that it failed is told otherwise.
    fn is_in_log(
        &mut self,
        id: MessageId,
        conversation: ConversationId,
        seq: u64,
        notes: &mut Notes<'_>,
    ) {
        let index = self.outbox.iter().position(|it| it.id == id);
        let pending = index.and_then(|index| self.outbox.remove(index));
        // Whoever was told that it failed is told otherwise: an earlier attempt
        // has made it.
        let failed = self.failed.iter().position(|it| *it == id);
        let failed = failed.map(|index| self.failed.remove(index));
        if pending.is_none() && failed.is_none() {
            return;
        }
        if let Some(pending) = pending {
            self.acked.push(Acked { pending, seq });
        }
        notes.note(Record::Accepted {
            message_id: id,
            place: place(conversation, seq),
            epoch: self.served(),
        });
    }

    /// Returns the entry that must be sent again.
    pub(crate) fn store_answer(
        &mut self,
        id: Option<MessageId>,
        answer: &Answer,
        user: UserId,
        context: Context,
        notes: &mut Notes<'_>,
    ) -> Result<Option<MessageId>, Broken> {
        match answer {
            Answer::Accepted(accepted) => {
                let message = id_of(&accepted.message_id)?;
                if id.is_some_and(|id| id != message) {
                    let what = format!("the answer for {message} names another request");
                    return Err(Broken::new("D1", what));
                }
                let conversation = conversation_of(&accepted.conversation_id)?;
                let pending = self.outbox.iter().find(|it| it.id == message);
                let content = pending.map(|it| it.content);
                self.is_in_log(message, conversation, accepted.seq, notes);
                // Of other operations the event comes in a page.
                if let Some(content) = content.filter(Content::is_text) {
                    self.insert(conversation, accepted.seq, message, user, content, notes)?;
                }
            }
            Answer::Error(error) if error.action == i32::from(v1::Action::Never) => {
                if let Some(id) = id {
                    self.outbox.retain(|pending| pending.id != id);
                    if context.mutant != Mutant::ForgetsRefusals {
                        self.failed.push(id);
                        notes.note(Record::Refused { message_id: id });
                    }
                }
            }
            Answer::Error(_) => return Ok(id),
            Answer::Done
            | Answer::History(_)
            | Answer::Conversations(_)
            | Answer::Members(_)
            | Answer::Bans(_)
            | Answer::Invites(_)
            | Answer::InvitePreview(_)
            | Answer::ReaderCounts(_)
            | Answer::MediaToken(_)
            | Answer::MediaUrls(_)
            | Answer::Devices(_)
            | Answer::Profiles(_)
            | Answer::Presences(_) => {}
        }
        Ok(None)
    }

    /// What the person sees as not sent.
    pub(crate) fn unsent(&self) -> Vec<MessageId> {
        let waiting = self.outbox.iter().map(|it| it.id);
        waiting.chain(self.failed.iter().copied()).collect()
    }
}

pub(crate) fn id_of(bytes: &[u8]) -> Result<MessageId, Broken> {
    MessageId::try_from(bytes).map_err(|error| Broken::new("wire", error.to_string()))
}

fn conversation_of(bytes: &[u8]) -> Result<ConversationId, Broken> {
    ConversationId::try_from(bytes).map_err(|error| Broken::new("wire", error.to_string()))
}

fn content_of(event: &v1::Event, id: MessageId) -> Result<Content, Broken> {
    let text = match event.content.as_ref().and_then(|it| it.kind.as_ref()) {
        Some(v1::event_content::Kind::Message(message)) => message.text.as_str(),
        _ => "",
    };
    Content::parse(text, id).ok_or_else(|| Broken::new("wire", "an event that says nothing"))
}
