//! Who is told how far a member has come.

use std::collections::HashSet;

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::MARKED_MEMBERS_MAX,
    wire::v1,
};

use super::Router;
use crate::{
    hub::Wakeups,
    store::{Membership, Shard, StoreError, UserMark},
};

impl Router {
    /// Tells the members who are connected how far one of them has come, unless they
    /// are many. May be lost: the description of a conversation carries the current
    /// marks.
    pub async fn announce(
        &self,
        user: UserId,
        conversation: ConversationId,
        mark: v1::Mark,
    ) -> Result<(), StoreError> {
        let shard = Shard::of_conversation(conversation, self.shards.len());
        let Some(routed) = self.shards.get(shard.index()) else {
            return Ok(());
        };
        let mut wakeups = Wakeups::default();
        let members = {
            let mut routing = routed.routing.lock().await;
            self.audience(routed, &mut routing, conversation, &mut wakeups)
                .await?
        };
        if members.len() > MARKED_MEMBERS_MAX {
            return Ok(());
        }
        let others = self.others_here(members.iter(), user);
        self.put_mark(user, &others, &mark, &mut wakeups);
        wakeups.ring();
        Ok(())
    }

    /// Those of these who are connected here and members still (D10), but for one: who
    /// left may still read, and has other devices.
    pub(super) fn others_here<'a>(
        &self,
        members: impl Iterator<Item = &'a Membership>,
        user: UserId,
    ) -> Vec<UserId> {
        let members = members.filter(|member| member.to_seq.is_none());
        let others = members.map(|member| member.user);
        let others = others.filter(|other| *other != user && self.is_here(*other));
        others.collect()
    }

    fn is_here(&self, user: UserId) -> bool {
        let mut is_here = false;
        self.hub.each_of(user, |_| is_here = true);
        is_here
    }

    /// Those of these who tell nothing of themselves.
    /// See [`Store::silent`](crate::store::Store::silent).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn silent(
        &self,
        users: impl Iterator<Item = (UserId, ConversationId)>,
    ) -> Result<HashSet<(UserId, ConversationId)>, StoreError> {
        let mut users: Vec<_> = users.collect();
        users.sort_unstable();
        users.dedup();
        match users.is_empty() {
            true => Ok(HashSet::new()),
            false => Ok(self.store.silent(&users).await?.into_iter().collect()),
        }
    }

    /// Tells moved read marks, each to others as well unless one of the two hides read
    /// receipts, the user blocks the other, or the other asks in vain to be heard. That is asked after the mark was committed:
    /// who has hidden theirs and reads then is seen by nobody, whatever this process knew
    /// before.
    pub(super) async fn put_read_marks(
        &self,
        marks: Vec<(&UserMark, Vec<UserId>)>,
        wakeups: &mut Wakeups,
    ) -> Result<(), StoreError> {
        let told = || marks.iter().filter(|(_, others)| !others.is_empty());
        let silent = self
            .silent(told().map(|(mark, _)| (mark.user, mark.conversation)))
            .await?;
        let concerned = told().flat_map(|(mark, others)| others.iter().chain([&mark.user]));
        let mut concerned: Vec<UserId> = concerned.copied().collect();
        concerned.sort_unstable();
        concerned.dedup();
        let hiding = match concerned.is_empty() {
            true => HashSet::new(),
            false => {
                wakeups.ring();
                self.store.hiding_receipts(&concerned).await?
            }
        };
        for (mark, mut others) in marks {
            let is_hidden =
                hiding.contains(&mark.user) || silent.contains(&(mark.user, mark.conversation));
            others.retain(|other| !is_hidden && !hiding.contains(other));
            self.put_mark(mark.user, &others, &mark.to_wire(), wakeups);
        }
        Ok(())
    }

    /// Tells a user's mark to their devices and to others: how far the user has come, and
    /// not what is there for them.
    fn put_mark(&self, user: UserId, others: &[UserId], mark: &v1::Mark, wakeups: &mut Wakeups) {
        let told = v1::Mark {
            read_counts: None,
            ..mark.clone()
        };
        for member in others.iter().chain([&user]) {
            let is_own = *member == user;
            let mark = if is_own { mark } else { &told };
            self.hub.each_of(*member, |mailbox| {
                wakeups.note(mailbox, mailbox.put_mark(mark, is_own));
            });
        }
    }
}
