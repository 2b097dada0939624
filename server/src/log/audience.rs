//! Who may read an event: a bounded cache of each conversation's memberships.
//!
//! The router feeds it the log in order, so it is as true as the log up to the
//! event that is being routed.

use std::{collections::HashMap, sync::Arc};

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Seq,
};

use crate::store::{LogEvent, Membership, MembershipChange};

/// Memberships held in memory, of all conversations together: about 40 MB.
const MEMBERSHIPS_MAX: usize = 1_000_000;

/// The memberships of the conversations that were active lately.
#[derive(Debug, Default)]
pub(super) struct Audiences {
    of: HashMap<ConversationId, Arc<Vec<Membership>>>,
    memberships: usize,
}

impl Audiences {
    pub(super) fn get(&self, conversation: ConversationId) -> Option<Arc<Vec<Membership>>> {
        self.of.get(&conversation).cloned()
    }

    /// Remembers what the store said. When there is too much, all is forgotten
    /// and loaded again as it is needed.
    pub(super) fn insert(&mut self, conversation: ConversationId, members: Arc<Vec<Membership>>) {
        if self.memberships + members.len() > MEMBERSHIPS_MAX {
            self.of.clear();
            self.memberships = 0;
        }
        self.memberships += members.len();
        if let Some(older) = self.of.insert(conversation, members) {
            self.memberships -= older.len();
        }
    }

    /// Follows who joins with this event, before it is routed: they receive it.
    pub(super) fn begin(&mut self, event: &LogEvent) {
        if let Some(MembershipChange::Joined(users)) = &event.change {
            self.change(event, |members| {
                for user in users {
                    join(members, *user, event.seq);
                }
            });
        }
    }

    /// Follows who leaves with this event, once it is routed: it is the last one
    /// that they receive.
    pub(super) fn end(&mut self, event: &LogEvent) {
        if let Some(MembershipChange::Left(user)) = &event.change {
            self.change(event, |members| {
                members.retain(|it| it.user != *user || it.from_seq > event.seq);
            });
        }
    }

    fn change(&mut self, event: &LogEvent, change: impl FnOnce(&mut Vec<Membership>)) {
        if let Some(members) = self.of.get_mut(&event.conversation) {
            let before = members.len();
            let members = Arc::make_mut(members);
            change(members);
            self.memberships = (self.memberships + members.len()).saturating_sub(before);
        }
    }
}

/// Adds a membership, unless the store had told of it already.
fn join(members: &mut Vec<Membership>, user: UserId, from_seq: Seq) {
    let known = members
        .iter()
        .any(|it| it.user == user && it.from_seq == from_seq);
    if !known {
        members.push(Membership {
            user,
            from_seq,
            to_seq: None,
        });
    }
}

/// Whether the membership covers an event with this seq.
pub(super) fn covers(membership: &Membership, seq: Seq) -> bool {
    membership.from_seq <= seq && membership.to_seq.is_none_or(|to| seq <= to)
}
