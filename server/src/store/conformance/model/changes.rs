//! What is done to messages: who may, and what becomes of them, read from the log.

use std::collections::{BTreeMap, BTreeSet};

use magpie_protocol::{
    id::{ConversationId, UserId},
    message::Emoji,
    seq::Seq,
    wire::v1::{self, event_content::Kind},
};
use prost::Message as _;

use super::Model;
use crate::store::{
    Append, Command, LogEvent,
    conformance::{Player, decoded, seq},
};

/// What is done to a message.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Deed {
    Edit,
    Delete,
    React,
    Unreact,
    Pin,
    Unpin,
}

impl Deed {
    pub(in crate::store) const ALL: [Self; 6] = [
        Self::Edit,
        Self::Delete,
        Self::React,
        Self::Unreact,
        Self::Pin,
        Self::Unpin,
    ];

    pub(super) fn command(self, conversation: ConversationId, at: u64) -> Command {
        let emoji = Emoji::try_from("👍".to_owned()).unwrap();
        let seq = seq(at);
        match self {
            Self::Edit => Command::EditMessage {
                conversation,
                seq,
                message: v1::Message::from("edited").try_into().unwrap(),
                within: None,
            },
            Self::Delete => Command::DeleteMessage { conversation, seq },
            Self::React | Self::Unreact => Command::React {
                conversation,
                seq,
                emoji,
                removed: matches!(self, Self::Unreact),
            },
            Self::Pin | Self::Unpin => Command::Pin {
                conversation,
                seq,
                pinned: matches!(self, Self::Pin),
            },
        }
    }
}

pub(super) fn kind(event: &LogEvent) -> Kind {
    decoded(event).content.unwrap().kind.unwrap()
}

/// The seq of the message that an event is about.
fn target(event: &LogEvent) -> Option<u64> {
    match kind(event) {
        Kind::MessageEdited(it) => Some(it.seq),
        Kind::MessageDeleted(it) => Some(it.seq),
        Kind::Reacted(it) => Some(it.seq),
        Kind::Message(_)
        | Kind::GroupCreated(_)
        | Kind::MembersAdded(_)
        | Kind::MemberRemoved(_)
        | Kind::MemberBanned(_)
        | Kind::InviteCreated(_)
        | Kind::InviteRevoked(_)
        | Kind::MemberJoined(_)
        | Kind::MemberLeft(_)
        | Kind::RoleChanged(_)
        | Kind::GroupUpdated(_)
        | Kind::Pinned(_)
        | Kind::AccountChanged(_)
        | Kind::FriendRequested(_)
        | Kind::FriendshipChanged(_)
        | Kind::Hidden(_) => None,
    }
}

/// Who reacts, after these events.
fn reacting<'a>(events: impl Iterator<Item = &'a LogEvent>, to: u64) -> BTreeSet<UserId> {
    let mut reacting = BTreeSet::new();
    for event in events {
        let Kind::Reacted(reacted) = kind(event) else {
            continue;
        };
        let user = decoded(event).sender.unwrap().user_id;
        let user = UserId::try_from(user.as_ref()).unwrap();
        match (reacted.seq == to, reacted.removed) {
            (true, false) => reacting.insert(user),
            (true, true) => reacting.remove(&user),
            (false, _) => continue,
        };
    }
    reacting
}

impl Model<'_> {
    /// Whether the request's actor may.
    pub(super) fn may(
        &self,
        request: &Append,
        conversation: ConversationId,
        at: Seq,
        deed: Deed,
    ) -> bool {
        self.may_change(request.actor.user, conversation, at.get(), deed)
    }

    /// Whether somebody may do this to the event at a seq.
    pub(super) fn may_change(
        &self,
        actor: UserId,
        conversation: ConversationId,
        at: u64,
        deed: Deed,
    ) -> bool {
        let mut readable = self.readable(actor, conversation);
        let found = readable.find(|it| it.seq == seq(at));
        let Some(event) = found.filter(|it| it.hidden.is_none_or(|of| of == actor)) else {
            return false;
        };
        let is_pinned = self.pinned(actor, conversation).contains_key(&at);
        let may_pin = !self.is_group(conversation) || self.is_admin(conversation, actor);
        let is_there = matches!(kind(event), Kind::Message(it) if !it.text.is_empty());
        let is_own = decoded(event).sender.unwrap().user_id == actor.to_wire();
        let reacts = reacting(self.of(conversation), at).contains(&actor);
        is_there
            && self.is_member(conversation, actor)
            && match deed {
                Deed::Edit => is_own,
                Deed::Delete => is_own || self.is_admin(conversation, actor),
                Deed::React => !reacts,
                Deed::Unreact => reacts,
                Deed::Pin => may_pin && !is_pinned,
                Deed::Unpin => may_pin && is_pinned,
            }
    }

    /// What a new event does to those before it.
    pub(super) fn follow(&mut self, event: &LogEvent) {
        let Kind::MessageDeleted(v1::MessageDeleted { seq: deleted }) = kind(event) else {
            return;
        };
        for earlier in self.log.iter_mut().map(|it| &mut it.event) {
            let blank = if earlier.seq == seq(deleted) {
                Kind::Message(v1::Message::default())
            } else if matches!(kind(earlier), Kind::MessageEdited(it) if it.seq == deleted) {
                Kind::MessageEdited(v1::MessageEdited {
                    seq: deleted,
                    message: None,
                })
            } else {
                continue;
            };
            if earlier.conversation != event.conversation {
                continue;
            }
            let content = Some(v1::EventContent { kind: Some(blank) });
            let blanked = v1::Event {
                content,
                ..decoded(earlier)
            };
            earlier.encoded = blanked.encode_to_vec().into();
        }
    }

    /// What became of the messages that a user may read, as far as they may read it.
    pub(super) fn states(
        &self,
        of: &Player,
        conversation: ConversationId,
    ) -> BTreeMap<u64, v1::MessageState> {
        let readable = || {
            let readable = self.readable(of.id(), conversation);
            readable.filter(|event| event.hidden.is_none_or(|sender| sender == of.id()))
        };
        let mut states: BTreeMap<u64, v1::MessageState> = BTreeMap::new();
        for event in readable() {
            let is_there = matches!(kind(event), Kind::Message(it) if !it.text.is_empty());
            let at = event.seq.get();
            if !is_there {
                continue;
            }
            let edits = readable().filter(|edit| target(edit) == Some(at));
            let edit = edits
                .filter(|edit| matches!(kind(edit), Kind::MessageEdited(_)))
                .last();
            let reacting = reacting(readable(), at);
            if edit.is_none() && reacting.is_empty() {
                continue;
            }
            let state = states.entry(at).or_default();
            state.seq = at;
            if let Some(edit) = edit {
                state.edited_seq = edit.seq.get();
                state.edited_at_ms = decoded(edit).committed_at_ms;
                state.message = Some("edited".into());
            }
            if !reacting.is_empty() {
                state.reactions.push(v1::Reaction {
                    emoji: "👍".to_owned(),
                    count: u32::try_from(reacting.len()).unwrap(),
                    own: reacting.contains(&of.id()),
                });
            }
        }
        states
    }
}
