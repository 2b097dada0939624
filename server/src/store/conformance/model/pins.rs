//! What is pinned.

use std::collections::BTreeMap;

use magpie_protocol::{
    id::{ConversationId, UserId},
    wire::v1::event_content::Kind,
};

use super::{Model, changes::kind};

impl Model<'_> {
    /// What is pinned as a user is told, of all messages there are; and whether each is so
    /// for them alone.
    pub(super) fn pinned(&self, user: UserId, conversation: ConversationId) -> BTreeMap<u64, bool> {
        let shown = self.of(conversation);
        let shown = shown.filter(|it| it.hidden.is_none_or(|of| of == user));
        let mut pinned = BTreeMap::new();
        for event in shown {
            let kind = kind(event);
            if let Kind::Pinned(it) = kind {
                match it.pinned {
                    true => pinned.insert(it.seq, event.hidden.is_some()),
                    false => pinned.remove(&it.seq),
                };
            } else if let Kind::MessageDeleted(it) = kind {
                pinned.remove(&it.seq);
            }
        }
        pinned
    }
}
