//! What a frame means for the local database.

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::{FrameNumber, Seq},
    session::{Answer, Incoming, Violation},
    wire::v1::{self, Action, ErrorCode},
};

use super::{
    Answered,
    connection::{Connection, Purpose},
    ending::{self, End},
};
use crate::{
    client::Event,
    database::{MembersPage, NewEvent, NewPage, States, Work},
    error::{DisconnectReason, RequestError},
    model::{Gap, MembersPlace, Refusal, User},
    raw,
    request::Acceptance,
};

fn malformed(what: &'static str) -> End {
    End::soon(DisconnectReason::Malformed(what))
}

impl Connection<'_> {
    pub(super) fn take_frame(&mut self, frame: Bytes) -> Result<(), End> {
        let now = self.now();
        let incoming = match self.session.handle_frame(frame.clone(), now) {
            Err(Violation::Frame(error)) => match raw::mended(frame.clone()) {
                // Else it would come again with every connection, and nothing
                // behind it would.
                Some(mended) => self.session.handle_frame(mended, now),
                None => Err(Violation::Frame(error)),
            },
            incoming => incoming,
        };
        let violated = |violation| End::soon(DisconnectReason::Violation(violation));
        match incoming.map_err(violated)? {
            Incoming::Welcome(welcome) => self.welcome(welcome),
            Incoming::Page { number, page } => {
                let page = NewPage::parse(page, raw::events(frame)).map_err(malformed)?;
                self.missed(page.unplaced_count);
                self.works.push(Work::Page(page));
                self.numbers.push(number);
            }
            Incoming::Answer {
                number,
                in_reply_to,
                answer,
            } => {
                self.numbers.push(number);
                self.answer(in_reply_to, answer, frame)?;
            }
            Incoming::SignedIn(_) | Incoming::Refused(_) => {
                return Err(malformed("an answer to a sign-in that nobody asked for"));
            }
            Incoming::Unsupported => {
                let refusal = Refusal {
                    code: ErrorCode::Unsupported,
                    action: Action::Upgrade,
                    after: std::time::Duration::ZERO,
                    message: "the server sent what this version must not ignore".to_owned(),
                };
                return Err(End::Stop(Some(Box::new(Event::UpgradeRequired {
                    refusal,
                }))));
            }
            Incoming::Goodbye(goodbye) => {
                if goodbye.action() == Action::SignIn && self.is_signing_out() {
                    return Err(End::Stop(None));
                }
                return Err(self.end(ending::of_goodbye(goodbye)));
            }
            Incoming::Hint(hint) => self.take_hint(&hint),
            Incoming::Nothing => self.take_checkpoint(),
        }
        Ok(())
    }

    /// Whether the credential ended because the person asked for it: the goodbye
    /// may come before the answer, and says the same.
    fn is_signing_out(&mut self) -> bool {
        let asked = self
            .purposes
            .extract_if(|_, purpose| matches!(purpose, Purpose::SignOut(_)))
            .next();
        if let Some((_, Purpose::SignOut(reply))) = asked {
            self.forget = Some(reply);
        }
        self.forget.is_some()
    }

    /// Came and cannot be placed: whatever event it was is a gap, if an event of
    /// its conversation follows it.
    fn missed(&mut self, count: usize) {
        let before = self.driver.unplaced_count;
        self.driver.unplaced_count = before.saturating_add(count);
        if before == 0 && count > 0 {
            tracing::warn!(
                count,
                "the server sent what cannot be placed; going past it"
            );
        }
    }

    fn end(&mut self, (work, end): (Option<Work>, End)) -> End {
        self.works.extend(work);
        end
    }

    fn welcome(&mut self, welcome: v1::Welcome) {
        let is_other_history = self.held != (welcome.epoch, welcome.base);
        if self.held != (0, 0) && is_other_history {
            self.hold_outbox();
        }
        self.works.push(Work::Welcome {
            epoch: welcome.epoch,
            base: welcome.base,
            starts_anew: welcome.starts_anew,
        });
        self.driver.bells.uploads.notify_one();
        let user = welcome.user.unwrap_or_default();
        if let Ok(id) = user.user_id.as_ref().try_into() {
            self.driver.notices.push(Event::Connected {
                user: User {
                    id,
                    name: user.name,
                },
                server_version: welcome.server_version,
            });
        }
    }

    /// A pong's cursor, only while nothing else is under way: it must not
    /// replace the later one of a page. Not once the connection has ended: it
    /// would begin another turn, and the next session finds the cursor by itself.
    pub(super) fn take_checkpoint(&mut self) {
        if self.has_ended
            || self.driver.store.is_busy()
            || !self.works.is_empty()
            || !self.numbers.is_empty()
        {
            return;
        }
        if let Some(cursor) = self.session.take_checkpoint() {
            self.works.push(Work::Checkpoint(cursor));
        }
    }

    fn answer(
        &mut self,
        in_reply_to: FrameNumber,
        answer: Answer,
        frame: Bytes,
    ) -> Result<(), End> {
        match self.purposes.remove(&in_reply_to) {
            None => self.answer_to_outbox(in_reply_to, answer),
            Some(Purpose::Read(conversation, seq)) => {
                self.answer_to_read(conversation, seq, answer)
            }
            Some(Purpose::Fill { gap, ask }) => self.answer_to_fill(gap, ask, answer, frame),
            Some(Purpose::Members { place, ask }) => {
                self.answer_to_members(place, ask, answer);
                Ok(())
            }
            Some(Purpose::Watch(changes)) => {
                self.answer_to_watch(changes, answer);
                Ok(())
            }
            Some(Purpose::Profiles(asked)) => {
                self.answer_to_profiles(asked, answer);
                Ok(())
            }
            Some(Purpose::Ask(reply)) => {
                let result = if let Answer::Error(error) = answer {
                    Err(RequestError::Refused(ending::of_error(error)))
                } else {
                    let raw = raw::events(frame);
                    Ok(Answered { answer, raw })
                };
                // Whoever asked may have gone.
                drop(reply.send(result));
                Ok(())
            }
            Some(Purpose::SignOut(reply)) => {
                if let Answer::Error(error) = answer {
                    drop(reply.send(Err(RequestError::Refused(ending::of_error(error)))));
                    return Ok(());
                }
                self.forget = Some(reply);
                Err(End::Stop(None))
            }
        }
    }

    fn answer_to_outbox(&mut self, in_reply_to: FrameNumber, answer: Answer) -> Result<(), End> {
        match answer {
            Answer::Accepted(it) => {
                // `None` if a page has brought the event before.
                self.outbox.answered(in_reply_to);
                let id = MessageId::try_from(it.message_id.as_ref())
                    .map_err(|_| malformed("an acceptance of nothing"))?;
                let conversation = ConversationId::try_from(it.conversation_id.as_ref())
                    .map_err(|_| malformed("an acceptance in no conversation"))?;
                if it.seq == 0 || i64::try_from(it.seq).is_err() {
                    return Err(malformed("an acceptance with an impossible seq"));
                }
                let at = Acceptance {
                    conversation,
                    seq: Seq::new(it.seq),
                    committed_at_ms: it.committed_at_ms,
                };
                self.works.push(Work::Accepted { id, at });
                self.worked = true;
                Ok(())
            }
            Answer::Error(error) => {
                let refusal = ending::of_error(error);
                if refusal.action != Action::Never {
                    // D6: nothing behind it may overtake it.
                    return Err(self.end(ending::of_refusal(refusal, DisconnectReason::Held)));
                }
                if let Some(id) = self.outbox.answered(in_reply_to) {
                    self.works.push(Work::Refused { id, refusal });
                    self.worked = true;
                }
                Ok(())
            }
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
            | Answer::Presences(_) => Err(malformed("an answer to something else")),
        }
    }

    fn answer_to_read(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        answer: Answer,
    ) -> Result<(), End> {
        let Answer::Error(error) = answer else {
            self.works.push(Work::ReadTaken { conversation, seq });
            return Ok(());
        };
        let refusal = ending::of_error(error);
        if refusal.action != Action::Never {
            return Err(self.end(ending::of_refusal(refusal, DisconnectReason::Held)));
        }
        self.works.push(Work::ReadRefused {
            conversation,
            seq,
            refusal,
        });
        Ok(())
    }

    /// Nothing of what came fits into the gap: it stays visible, and is not asked
    /// for again before somebody wants it.
    fn leave_gap(&mut self, gap: Gap, ask: u64) {
        match self.fill_replies.remove(&ask) {
            // Whoever asked may have gone.
            Some(reply) => drop(reply.send(Ok(0))),
            None => self.works.push(Work::FillRefused(gap)),
        }
    }

    fn answer_to_fill(
        &mut self,
        gap: Gap,
        ask: u64,
        answer: Answer,
        frame: Bytes,
    ) -> Result<(), End> {
        match answer {
            Answer::History(history) => {
                let (events, unplaced_count) =
                    NewEvent::parse_all(history.events, raw::events(frame)).map_err(malformed)?;
                self.missed(unplaced_count);
                if unplaced_count > 0 && events.is_empty() {
                    self.leave_gap(gap, ask);
                    return Ok(());
                }
                self.works.push(Work::Filled {
                    gap,
                    events,
                    // What could not be placed exists all the same.
                    complete: history.complete && unplaced_count == 0,
                    states: States::of(history.states, history.states_seq),
                    ask,
                });
                Ok(())
            }
            Answer::Error(error) => {
                let refusal = ending::of_error(error);
                if let Some(reply) = self.fill_replies.remove(&ask) {
                    drop(reply.send(Err(RequestError::Refused(refusal))));
                    return Ok(());
                }
                if refusal.action == Action::Never {
                    self.works.push(Work::FillRefused(gap));
                    return Ok(());
                }
                Err(self.end(ending::of_refusal(refusal, DisconnectReason::Held)))
            }
            Answer::Accepted(_)
            | Answer::Done
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
            | Answer::Presences(_) => Err(malformed("an answer to something else")),
        }
    }

    fn answer_to_members(&mut self, place: MembersPlace, ask: u64, answer: Answer) {
        let refused = match answer {
            Answer::Members(page) => match MembersPage::parse(place, page) {
                Some(page) => return self.works.push(Work::Members { page, ask }),
                None => RequestError::WrongAnswer,
            },
            Answer::Error(error) => RequestError::Refused(ending::of_error(error)),
            Answer::Accepted(_)
            | Answer::Done
            | Answer::History(_)
            | Answer::Conversations(_)
            | Answer::Bans(_)
            | Answer::Invites(_)
            | Answer::InvitePreview(_)
            | Answer::ReaderCounts(_)
            | Answer::MediaToken(_)
            | Answer::MediaUrls(_)
            | Answer::Devices(_)
            | Answer::Profiles(_)
            | Answer::Presences(_) => RequestError::WrongAnswer,
        };
        if let Some(reply) = self.members_replies.remove(&ask) {
            // Whoever asked may have gone.
            drop(reply.send(Err(refused)));
        }
    }
}
