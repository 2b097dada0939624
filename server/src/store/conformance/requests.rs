//! What people in stories ask for.

use magpie_protocol::{
    id::ConversationId,
    text::{MessageText, Title},
    wire::Target,
};

use super::{Player, World, seq};
use crate::store::{Command, MarkRead, Shard};

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

    /// Moves a mark. Where it is now.
    pub(in crate::store) async fn mark(
        &self,
        of: &Player,
        id: ConversationId,
        to: u64,
    ) -> Option<u64> {
        let shard = Shard::of_conversation(id, self.store.shard_count());
        let mark = MarkRead {
            user: of.id(),
            conversation: id,
            seq: seq(to),
        };
        let marked = self.store.mark_read(shard, &[mark]).await.unwrap();
        assert!(marked.head >= marked.after);
        marked.marks[0].map(|mark| mark.seq.get())
    }
}
