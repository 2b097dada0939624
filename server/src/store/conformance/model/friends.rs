//! Who is whose friend: what each of two would know who reads their conversation.

use magpie_protocol::{
    friendship::{FriendAction, Friendship},
    id::UserId,
    limits::FRIEND_REQUESTS_MAX,
    wire::v1::event_content::Kind,
};

use super::{Model, blocks::sender, changes::kind};
use crate::store::{LogEvent, conformance::Player, direct_conversation};

/// What an event says of a friendship.
enum Said {
    Asked,
    Friends(bool),
    Else,
}

fn said(event: &LogEvent) -> Said {
    let kind = kind(event);
    if let Kind::FriendRequested(_) = kind {
        return Said::Asked;
    }
    let Kind::FriendshipChanged(it) = kind else {
        return Said::Else;
    };
    Said::Friends(it.friends)
}

impl Model<'_> {
    fn between(&self, one: UserId, other: UserId) -> impl Iterator<Item = &LogEvent> {
        self.of(direct_conversation(one, other))
    }

    /// How a user and another one stand, as the user knows, and since which event.
    pub(super) fn friendship(&self, user: UserId, other: UserId) -> (Friendship, u64) {
        let shown = self.between(user, other);
        let shown = shown.filter(|it| it.hidden.is_none_or(|of| of == user));
        shown.fold((Friendship::None, 0), |before, event| {
            let now = match said(event) {
                Said::Asked if sender(event) == user => Friendship::Asked,
                Said::Asked => Friendship::WasAsked,
                Said::Friends(true) => Friendship::Friends,
                Said::Friends(false) => Friendship::None,
                Said::Else => return before,
            };
            (now, event.seq.get())
        })
    }

    /// Whether such an event is hidden from the other one, who stood so before.
    pub(super) fn is_told_to_nobody(friends: bool, theirs: Friendship, is_blocked: bool) -> bool {
        match friends {
            true => is_blocked || theirs == Friendship::Friends,
            false => matches!(theirs, Friendship::None | Friendship::Asked),
        }
    }

    /// How often a user has asked since the two were friends last.
    fn asks(&self, user: UserId, other: UserId) -> u64 {
        self.between(user, other)
            .fold(0, |asks, event| match said(event) {
                Said::Asked if sender(event) == user => asks + 1,
                // Hidden, it ends the requests of its sender alone.
                Said::Friends(true) => match event.hidden {
                    Some(of) if of != user => asks,
                    Some(_) | None => 0,
                },
                Said::Asked | Said::Friends(false) | Said::Else => asks,
            })
    }

    pub(super) fn may_befriend(&self, user: UserId, other: UserId, action: FriendAction) -> bool {
        let (mine, _) = self.friendship(user, other);
        let (theirs, _) = self.friendship(other, user);
        if user == other {
            return false;
        }
        match action {
            FriendAction::Request => match mine {
                Friendship::Friends => false,
                Friendship::WasAsked => true,
                Friendship::Asked => theirs == Friendship::Friends,
                Friendship::None => {
                    let is_mutual = theirs == Friendship::Asked;
                    is_mutual || self.asks(user, other) < FRIEND_REQUESTS_MAX
                }
            },
            FriendAction::Accept => mine == Friendship::WasAsked,
            FriendAction::Cancel => mine == Friendship::Asked,
            FriendAction::Remove => mine == Friendship::Friends,
        }
    }

    /// What the store says of a player's friends.
    pub(super) async fn compare_friends(&self, player: &Player) {
        let mut friends = Vec::new();
        for other in self.players.iter().filter(|it| it.id() != player.id()) {
            let told = self.friendship(player.id(), other.id());
            let theirs = self.friendship(other.id(), player.id());
            let are_friends = [told.0, theirs.0] == [Friendship::Friends; 2];
            let said = self.world.store.are_friends(player.id(), other.id()).await;
            assert_eq!(said, Ok(are_friends));
            if are_friends {
                friends.push(other.id());
            }
        }
        assert_eq!(self.world.store.friends(player.id(), 9).await, Ok(friends));
    }
}
