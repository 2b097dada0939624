//! Who may read an event: a bounded cache of each conversation's memberships.
//!
//! The router feeds it the log in order, so it is as true as the log up to the
//! event that is being routed.

use std::{collections::HashMap, ops::Range, sync::Arc};

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Seq,
};

use crate::store::{LogEvent, Membership, MembershipChange};

/// Memberships held in memory, of all conversations together: about 40 MB. Those of
/// the largest group are a tenth.
const MEMBERSHIPS_MAX: usize = 1_000_000;

/// The memberships of the conversations that were active lately, each list sorted.
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
    pub(super) fn insert(
        &mut self,
        conversation: ConversationId,
        mut members: Vec<Membership>,
    ) -> Arc<Vec<Membership>> {
        members.sort_unstable_by_key(place);
        let members = Arc::new(members);
        if self.memberships + members.len() > MEMBERSHIPS_MAX {
            self.of.clear();
            self.memberships = 0;
        }
        self.memberships += members.len();
        if let Some(older) = self.of.insert(conversation, Arc::clone(&members)) {
            self.memberships -= older.len();
        }
        members
    }

    /// Follows who joins with this event, before it is routed: they receive it.
    pub(super) fn begin(&mut self, event: &LogEvent) {
        if let Some(MembershipChange::Joined(users)) = &event.change {
            self.change(event, |members| join(members, users, event.seq));
        }
    }

    /// Follows who leaves with this event, once it is routed: it is the last one
    /// that they receive.
    pub(super) fn end(&mut self, event: &LogEvent) {
        if let Some(MembershipChange::Left(user)) = &event.change {
            self.change(event, |members| {
                let of_user = of_user(members, *user);
                let ended = members.get(of_user.clone()).into_iter().flatten();
                let ended = ended.take_while(|it| it.from_seq <= event.seq).count();
                members.drain(of_user.start..of_user.start + ended);
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

/// Where a membership stands in its list.
const fn place(membership: &Membership) -> (UserId, Seq) {
    (membership.user, membership.from_seq)
}

/// Where those of one user are in a sorted list.
pub(super) fn of_user(members: &[Membership], user: UserId) -> Range<usize> {
    let start = members.partition_point(|it| it.user < user);
    let rest = members.get(start..).unwrap_or_default();
    start..start + rest.partition_point(|it| it.user == user)
}

/// Adds memberships, but those that the store had told of already.
fn join(members: &mut Vec<Membership>, users: &[UserId], from_seq: Seq) {
    let joining = users.iter().map(|user| Membership {
        user: *user,
        from_seq,
        to_seq: None,
    });
    let is_new = |it: &Membership| members.binary_search_by_key(&place(it), place).is_err();
    let joining: Vec<Membership> = joining.filter(is_new).collect();
    members.extend(joining);
    // Two sorted runs, nearly: that is found out.
    members.sort_by_key(place);
}

/// Whether the membership covers an event with this seq.
pub(super) fn covers(membership: &Membership, seq: Seq) -> bool {
    membership.from_seq <= seq && membership.to_seq.is_none_or(|to| seq <= to)
}
