//! Events on their way to many members, a few members at a time.
//!
//! A message to thousands must not hold up one to a friend that commits a moment
//! later. So the router hands an event for many over to here, goes on with what
//! follows, and the members get it in turns. What holds all the same: each mailbox
//! gets its events in the order of the log. Whoever is to get a later event gets
//! first what is still on its way to them; members are sorted, so that asking
//! whether something is costs next to nothing.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use magpie_protocol::{id::UserId, seq::Position};

use super::audience::{covers, of_user};
use crate::{
    hub::Mailbox,
    store::{LogEvent, Membership},
};

/// Members that are served before somebody else gets a turn: what their connections
/// do about it takes about a millisecond.
pub(super) const TURN_COUNT: usize = 64;

/// An event with a larger audience is for many.
pub(super) const MANY: usize = 256;

/// Events under way, of which each holds on to its audience. When there are more,
/// the router waits for the oldest.
const UNDER_WAY_MAX: usize = 64;

/// An event on its way: the first `next` memberships have it, and the `early` ones.
#[derive(Debug)]
struct FanOut {
    event: Arc<LogEvent>,
    sender: Option<Arc<Mailbox>>,
    members: Arc<Vec<Membership>>,
    next: usize,
    early: HashSet<usize>,
}

/// An event for the member whose turn it is.
pub(super) struct Delivered<'a> {
    pub(super) event: &'a Arc<LogEvent>,
    pub(super) membership: &'a Membership,
    /// The connection that needs no page of it.
    pub(super) sender: Option<&'a Arc<Mailbox>>,
}

/// The events of one shard that are on their way to many, in the order of the log.
#[derive(Debug, Default)]
pub(super) struct FanOuts(VecDeque<FanOut>);

impl FanOuts {
    /// Begins to deliver an event to those of `members` (sorted) whom it is for.
    pub(super) fn begin(
        &mut self,
        event: &Arc<LogEvent>,
        sender: Option<&Arc<Mailbox>>,
        members: Arc<Vec<Membership>>,
    ) {
        self.0.push_back(FanOut {
            event: Arc::clone(event),
            sender: sender.map(Arc::clone),
            members,
            next: 0,
            early: HashSet::new(),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no more may begin before one has ended.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= UNDER_WAY_MAX
    }

    /// Everything below has reached all it is for; `None` if everything has.
    pub(super) fn before(&self) -> Option<Position> {
        self.0.front().map(|it| it.event.position.previous())
    }

    /// Gives the next few members the oldest event.
    pub(super) fn turn(&mut self, mut deliver: impl FnMut(Delivered<'_>)) {
        let Some(oldest) = self.0.front_mut() else {
            return;
        };
        let until = oldest.next.saturating_add(TURN_COUNT);
        for index in oldest.next..until {
            if oldest.early.remove(&index) {
                continue;
            }
            let membership = oldest.members.get(index);
            if let Some(membership) = membership.filter(|it| covers(it, oldest.event.seq)) {
                deliver(Delivered {
                    event: &oldest.event,
                    membership,
                    sender: oldest.sender.as_ref(),
                });
            }
        }
        oldest.next = until;
        if until >= oldest.members.len() {
            self.0.pop_front();
        }
    }

    /// Gives this user at once what is still on its way to them: something later
    /// comes.
    pub(super) fn hurry(&mut self, user: UserId, mut deliver: impl FnMut(Delivered<'_>)) {
        for it in &mut self.0 {
            let range = of_user(&it.members, user);
            for index in range.filter(|index| *index >= it.next) {
                let membership = it.members.get(index);
                let membership = membership.filter(|membership| covers(membership, it.event.seq));
                if let Some(membership) = membership
                    && it.early.insert(index)
                {
                    deliver(Delivered {
                        event: &it.event,
                        membership,
                        sender: it.sender.as_ref(),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use magpie_protocol::{id::ConversationId, seq::Seq};

    use super::*;

    fn user(number: u32) -> UserId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        UserId::new(bytes)
    }

    fn event(position: u64) -> Arc<LogEvent> {
        Arc::new(LogEvent {
            position: Position::new(position),
            conversation: ConversationId::new([1; 16]),
            seq: Seq::new(position),
            encoded: bytes::Bytes::new(),
            change: None,
            hidden: None,
        })
    }

    fn members(count: u32) -> Arc<Vec<Membership>> {
        let member = |number| Membership {
            user: user(number),
            from_seq: Seq::new(1),
            to_seq: None,
        };
        Arc::new((0..count).map(member).collect())
    }

    type Got = Vec<(UserId, u64)>;

    fn note(got: &mut Got) -> impl FnMut(Delivered<'_>) {
        |it| got.push((it.membership.user, it.event.position.get()))
    }

    #[test]
    fn each_member_gets_each_event_once_and_in_the_order_of_the_log() {
        let mut fan_outs = FanOuts::default();
        fan_outs.begin(&event(5), None, members(1_000));
        fan_outs.begin(&event(7), None, members(1_001));
        let mut got = Got::new();
        fan_outs.turn(note(&mut got));
        assert_eq!(got.len(), TURN_COUNT);
        for number in [0, 300, 999, 1_000, 5_000] {
            fan_outs.hurry(user(number), note(&mut got));
            fan_outs.hurry(user(number), note(&mut got));
        }
        while !fan_outs.is_empty() {
            fan_outs.turn(note(&mut got));
        }
        assert_eq!(got.len(), 2_001);
        for number in 0..1_001 {
            let of_user = got.iter().filter(|(it, _)| *it == user(number));
            let positions: Vec<u64> = of_user.map(|(_, position)| *position).collect();
            let expected: &[u64] = if number < 1_000 { &[5, 7] } else { &[7] };
            assert_eq!(positions, expected, "{number}");
        }
    }

    #[test]
    fn what_is_on_its_way_is_not_behind_anybody() {
        let mut fan_outs = FanOuts::default();
        assert_eq!(fan_outs.before(), None);
        fan_outs.begin(&event(5), None, members(TURN_COUNT as u32 + 1));
        fan_outs.begin(&event(6), None, members(1));
        fan_outs.turn(|_| {});
        assert_eq!(fan_outs.before(), Some(Position::new(4)));
        fan_outs.turn(|_| {});
        assert_eq!(fan_outs.before(), Some(Position::new(5)));
        fan_outs.turn(|_| {});
        assert_eq!(fan_outs.before(), None);
    }

    /// D10.
    #[test]
    fn nobody_gets_what_their_membership_does_not_cover() {
        let before = Membership {
            user: user(1),
            from_seq: Seq::new(1),
            to_seq: Some(Seq::new(4)),
        };
        let later = Membership {
            from_seq: Seq::new(6),
            to_seq: None,
            ..before
        };
        let mut fan_outs = FanOuts::default();
        fan_outs.begin(&event(5), None, Arc::new(vec![before, later]));
        let mut got = Got::new();
        fan_outs.hurry(user(1), note(&mut got));
        fan_outs.turn(note(&mut got));
        assert_eq!(got, []);
    }
}
