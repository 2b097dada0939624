//! What leaves next.

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::{HISTORY_COUNT_MAX, MEMBERS_COUNT_MAX, WINDOW_COUNT},
    outbox::Outbox,
    seq::Seq,
    wire::v1::{self, client_frame::Body},
};

use super::{
    Reply,
    connection::{Connection, Purpose, Waiting},
};
use crate::{
    database::Load,
    model::{Gap, MembersPlace},
};

/// Requests of the outbox that are read at once.
const OUTBOX_READ_MAX: usize = 2 * WINDOW_COUNT;

/// Bytes that may wait for the socket before more is prepared.
const OUT_SIZE_MAX: usize = 256 * 1024;

impl Connection<'_> {
    /// What to read from the local database with the next turn.
    pub(super) fn load(&self) -> Load {
        if self.holds_outbox {
            return Load::default();
        }
        let reads_outbox = self.more_waiting && self.outbox.len() < WINDOW_COUNT;
        Load {
            outbox: reads_outbox.then_some((self.read_up_to, OUTBOX_READ_MAX)),
            reads: self.reads_changed,
            gaps: false,
            profiles: self.profiles.load(),
        }
    }

    /// The server's history is another one: nothing of the outbox leaves before all
    /// of it has come. What this device has to send again goes before what waits
    /// (D6), and a gap or a read mark of one history is nothing in another.
    pub(super) fn hold_outbox(&mut self) {
        self.holds_outbox = true;
        self.outbox = Outbox::default();
        self.bodies.clear();
        self.reads.clear();
        self.reads_sent.clear();
        self.read_up_to = i64::MIN;
    }

    pub(super) fn release_outbox(&mut self) {
        if std::mem::take(&mut self.holds_outbox) {
            self.look_into_outbox();
        }
    }

    pub(super) fn ask_for_gap(&mut self, gap: Gap, limit: u32, reply: Reply<usize>) {
        self.last_ask += 1;
        self.fill_replies.insert(self.last_ask, reply);
        let from = v1::fetch_history::From::BeforeSeq(gap.to.next().get());
        self.asks.push_back(Waiting {
            body: fetch(gap, from, limit),
            purpose: Purpose::Fill {
                // Whoever asks does so for an old part: it is not news.
                gap: Gap {
                    on_demand: true,
                    ..gap
                },
                ask: self.last_ask,
            },
        });
    }

    pub(super) fn ask_for_members(&mut self, place: MembersPlace, reply: Reply<bool>) {
        self.last_ask += 1;
        let ask = self.last_ask;
        self.members_replies.insert(ask, reply);
        self.asks.push_back(Waiting {
            body: Body::FetchMembers(v1::FetchMembers {
                conversation_id: place.conversation.to_wire(),
                after_user_id: place.after.map(UserId::to_wire).unwrap_or_default(),
                limit: MEMBERS_COUNT_MAX,
            }),
            purpose: Purpose::Members { place, ask },
        });
    }

    /// Sends what waits, as far as the window allows: what is missing first,
    /// since nothing above it is shown; then what somebody waits for; then the
    /// outbox, in the person's order.
    pub(super) fn send_what_waits(&mut self) {
        while self.session.can_send() && self.out.len() < OUT_SIZE_MAX {
            let Some(Waiting { body, purpose }) = self.next_ask() else {
                if self.send_from_outbox() {
                    continue;
                }
                let news = self.next_presences().or_else(|| self.next_profiles());
                let Some(Waiting { body, purpose }) = news else {
                    return;
                };
                self.ask(body, purpose);
                continue;
            };
            self.ask(body, purpose);
        }
    }

    fn ask(&mut self, body: Body, purpose: Purpose) {
        let now = self.now();
        let number = self.session.request(body, now, &mut self.out);
        self.purposes.insert(number, purpose);
    }

    fn next_ask(&mut self) -> Option<Waiting> {
        while !self.holds_outbox
            && let Some(gap) = self.missing.pop_front()
        {
            // One question per gap at a time: its answer shows what is left.
            if self.filling.insert((gap.conversation, gap.from)) {
                let from = v1::fetch_history::From::AfterSeq(gap.from.previous().get());
                let body = fetch(gap, from, HISTORY_COUNT_MAX);
                let purpose = Purpose::Fill { gap, ask: 0 };
                return Some(Waiting { body, purpose });
            }
        }
        if let Some(ask) = self.asks.pop_front() {
            return Some(ask);
        }
        while let Some((conversation, seq)) = self.reads.pop_front() {
            let sent = self.reads_sent.get(&conversation);
            if sent.is_none_or(|sent| *sent < seq) {
                self.reads_sent.insert(conversation, seq);
                let body = Body::MarkRead(v1::MarkRead {
                    conversation_id: conversation.to_wire(),
                    seq: seq.get(),
                });
                let purpose = Purpose::Read(conversation, seq);
                return Some(Waiting { body, purpose });
            }
        }
        None
    }

    /// The missing gaps whose answer is still to come.
    pub(super) fn asked_gaps(&self) -> Vec<(ConversationId, Seq)> {
        let asked = self.purposes.values().filter_map(|purpose| match purpose {
            Purpose::Fill { gap, ask: 0 } => Some((gap.conversation, gap.from)),
            Purpose::Fill { .. }
            | Purpose::Read(..)
            | Purpose::Members { .. }
            | Purpose::Profiles(_)
            | Purpose::Watch(_)
            | Purpose::Ask(_)
            | Purpose::SignOut(_) => None,
        });
        asked.collect()
    }

    fn send_from_outbox(&mut self) -> bool {
        let Some(id) = self.outbox.next() else {
            return false;
        };
        let Some(body) = self.bodies.remove(&id) else {
            // Answered by a page while it waited.
            self.outbox.remove(id);
            return true;
        };
        let now = self.now();
        let number = self.session.request(body, now, &mut self.out);
        self.outbox.sent(number);
        true
    }
}

fn fetch(gap: Gap, from: v1::fetch_history::From, limit: u32) -> Body {
    let length = gap
        .to
        .get()
        .saturating_sub(gap.from.get())
        .saturating_add(1);
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    Body::FetchHistory(v1::FetchHistory {
        conversation_id: gap.conversation.to_wire(),
        from: Some(from),
        limit: limit.min(length).clamp(1, HISTORY_COUNT_MAX),
    })
}
