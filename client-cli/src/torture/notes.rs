//! What a device notes while it runs, for the checker.

use std::{collections::HashMap, time::Instant};

use magpie_audit::{Device, Digest, Event, Place, Record};
use magpie_client::{Content, ConversationId, MessageId, UserId};

/// The one clock of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// In microseconds.
    pub(super) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A message that was handed in.
#[derive(Debug)]
pub(super) struct Sent {
    text: String,
    /// None: it makes one.
    conversation: Option<ConversationId>,
    /// Not known yet of a line that another process was handed.
    id: Option<MessageId>,
}

#[derive(Debug)]
enum Noted {
    Sent(Sent),
    Told(Record),
}

/// Everything that one device noted.
#[derive(Debug)]
pub(super) struct Notes {
    clock: Clock,
    lines: Vec<(u64, Noted)>,
}

/// The text of a device's message: who it is from, and which of theirs.
pub(super) fn text(device: usize, count: u64, filling: u64) -> String {
    let filling = usize::try_from(filling).unwrap_or_default();
    format!("{device}:{count} {}", "x".repeat(filling))
}

/// The other way round.
pub(super) fn sender_of(text: &str) -> Option<(usize, u64)> {
    let (device, count) = text.split(' ').next()?.split_once(':')?;
    Some((device.parse().ok()?, count.parse().ok()?))
}

/// Stands for the content of the event that begins a group.
pub(super) const GROUP_CREATED: &str = "a group";

/// What an event says, as far as it is compared.
pub(super) fn digest(content: &Content) -> Digest {
    match content {
        Content::Message(message) => Digest::of(message.text.as_bytes()),
        Content::GroupCreated { .. } => Digest::of(GROUP_CREATED.as_bytes()),
        // Nobody here does any of that.
        Content::MembersAdded { .. }
        | Content::MemberRemoved { .. }
        | Content::MemberBanned { .. }
        | Content::InviteCreated(_)
        | Content::InviteRevoked { .. }
        | Content::MemberJoined { .. }
        | Content::MemberLeft { .. }
        | Content::RoleChanged { .. }
        | Content::GroupUpdated { .. }
        | Content::Pinned { .. }
        | Content::DeletedMessage
        | Content::MessageEdited { .. }
        | Content::MessageDeleted { .. }
        | Content::Reacted { .. }
        | Content::AccountChanged(_)
        | Content::FriendRequested
        | Content::FriendshipChanged { .. }
        | Content::Hidden
        | Content::Unknown => Digest::of(b"something else"),
    }
}

impl Notes {
    pub(super) const fn new(clock: Clock) -> Self {
        Self {
            clock,
            lines: Vec::new(),
        }
    }

    fn push(&mut self, at: u64, noted: Noted) {
        self.lines.push((at, noted));
    }

    /// Something that a device is about to send. Gives its number, for
    /// [`Self::has_id`].
    pub(super) fn sends(&mut self, text: String, conversation: Option<ConversationId>) -> usize {
        let sent = Sent {
            text,
            conversation,
            id: None,
        };
        self.push(self.clock.now(), Noted::Sent(sent));
        self.lines.len() - 1
    }

    /// The id of what was sent under this number.
    pub(super) fn has_id(&mut self, number: usize, message_id: MessageId) {
        if let Some((_, Noted::Sent(sent))) = self.lines.get_mut(number) {
            sent.id.get_or_insert(message_id);
        }
    }

    /// The same, by its text.
    pub(super) fn texts_have_ids(&mut self, ids: &HashMap<String, MessageId>) {
        for (_, noted) in &mut self.lines {
            if let Noted::Sent(sent) = noted
                && sent.id.is_none()
            {
                sent.id = ids.get(&sent.text).copied();
            }
        }
    }

    pub(super) fn accepted(&mut self, message_id: MessageId, place: Place) {
        let told = Record::Accepted {
            message_id,
            place,
            epoch: 0,
        };
        self.push(self.clock.now(), Noted::Told(told));
    }

    pub(super) fn refused(&mut self, message_id: MessageId) {
        self.push(
            self.clock.now(),
            Noted::Told(Record::Refused { message_id }),
        );
    }

    pub(super) fn restarted(&mut self) {
        self.push(self.clock.now(), Noted::Told(Record::Restarted));
    }

    /// It is stored, and the person sees it.
    pub(super) fn showed(&mut self, event: Event) {
        let (at, place) = (self.clock.now(), event.place);
        let stored = Record::Stored {
            event,
            epoch: 0,
            generation: 0,
        };
        let shown = Record::Shown {
            place,
            message_id: event.message_id,
        };
        self.push(at, Noted::Told(stored));
        self.push(at, Noted::Told(shown));
    }

    /// What was sent and has no answer in the notes.
    pub(super) fn unanswered(&self) -> Vec<MessageId> {
        let mut open: Vec<MessageId> = Vec::new();
        let mut answered = std::collections::HashSet::new();
        for (_, noted) in &self.lines {
            match noted {
                Noted::Sent(sent) => open.extend(sent.id),
                Noted::Told(
                    Record::Accepted { message_id, .. } | Record::Refused { message_id },
                ) => {
                    answered.insert(*message_id);
                }
                Noted::Told(_) => {}
            }
        }
        open.retain(|id| !answered.contains(id));
        open
    }

    /// For the checker. A line that a killed process never read is left out:
    /// nobody has promised anything of it.
    pub(super) fn into_device(self, name: &str, user: UserId) -> Device {
        let mut device = Device::new(name, user);
        for (at, noted) in self.lines {
            match noted {
                Noted::Told(record) => device.note(at, record),
                Noted::Sent(Sent {
                    text,
                    conversation,
                    id: Some(message_id),
                }) => device.note(
                    at,
                    Record::Sent {
                        message_id,
                        conversation,
                        digest: Digest::of(text.as_bytes()),
                    },
                ),
                Noted::Sent(_) => {}
            }
        }
        device
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_whose_it_is() {
        assert_eq!(sender_of(&text(17, 205, 9)), Some((17, 205)));
        assert_eq!(sender_of(GROUP_CREATED), None);
        assert_eq!(sender_of("hello"), None);
    }
}
