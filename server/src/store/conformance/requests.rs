//! What people in stories ask for, and how it is read.

use magpie_protocol::{
    id::ConversationId,
    seq::Seq,
    text::{MessageText, Title},
    wire::{Target, v1},
};
use prost::Message as _;

use super::{Player, World};
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

impl World {
    /// Makes a group of its creator and others.
    pub(in crate::store) async fn group(
        &self,
        creator: &Player,
        others: &[&Player],
    ) -> ConversationId {
        let request = self.request(creator, create("Tea", others));
        let (conversation, seq) = self.accept(request).await;
        assert_eq!(seq, 1);
        conversation
    }

    pub(in crate::store) async fn add(
        &self,
        by: &Player,
        to: ConversationId,
        who: &[&Player],
    ) -> u64 {
        self.accept(self.request(by, add(to, who))).await.1
    }

    pub(in crate::store) async fn remove(
        &self,
        by: &Player,
        from: ConversationId,
        who: &Player,
    ) -> u64 {
        self.accept(self.request(by, remove(from, who))).await.1
    }
}
