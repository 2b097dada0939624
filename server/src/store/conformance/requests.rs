//! What people in stories ask for.

use magpie_protocol::{
    id::ConversationId,
    seq::Seq,
    text::{MessageText, Title},
    wire::{Target, v1},
};
use prost::Message as _;

use super::Player;
use crate::store::{Command, LogEvent};

pub(in crate::store) fn send(to: Target, text: &str) -> Command {
    let message = MessageText::try_from(text.to_owned()).unwrap().into();
    Command::SendMessage { to, message }
}

pub(in crate::store) fn create(title: &str, others: &[&Player]) -> Command {
    Command::CreateGroup {
        title: Title::try_from(title.to_owned()).unwrap(),
        names: others.iter().map(|other| other.name()).collect(),
    }
}

pub(in crate::store) fn add(conversation: ConversationId, who: &[&Player]) -> Command {
    Command::AddMembers {
        conversation,
        names: who.iter().map(|who| who.name()).collect(),
    }
}

pub(in crate::store) fn remove(conversation: ConversationId, who: &Player) -> Command {
    let name = who.name();
    Command::RemoveMember { conversation, name }
}

/// What a device gets of an event.
pub(in crate::store) fn decoded(event: &LogEvent) -> v1::Event {
    v1::Event::decode(event.encoded.as_ref()).unwrap()
}

/// Where events are in their conversations.
pub(in crate::store) fn seqs(events: &[LogEvent]) -> Vec<u64> {
    events.iter().map(|event| event.seq.get()).collect()
}

pub(in crate::store) const fn seq(number: u64) -> Seq {
    Seq::new(number)
}
