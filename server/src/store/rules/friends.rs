//! Who is whose friend.

use std::sync::Arc;

use magpie_protocol::{
    friendship::{FriendAction, Friendship},
    limits::FRIEND_REQUESTS_MAX,
    text::UserName,
    wire::v1::{self, event_content::Kind},
};

use super::{Aside, ConversationKind, Effect, Members, Person, Place, Scene, messages::both};
use crate::store::{Refusal, StoreError, event::EventKind};

/// What the actor may do about a friendship, and what must be found for it.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum FriendPermit<'a> {
    /// See [`befriend`]: with the user with this name.
    Change(Option<Place>, &'a UserName, FriendAction),
    /// See [`part`].
    Part(Place),
}

/// What another user is to one, as it is stored for each of the two.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::store) enum Bond {
    #[default]
    None,
    Asked,
    WasAsked,
    Friends,
    /// Friends, as far as they know: they accepted what somebody had asked who blocks them
    /// by now, and was not told.
    Accepted,
}

impl Bond {
    pub(in crate::store) fn from_number(number: i64) -> Result<Self, StoreError> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Asked,
            2 => Self::WasAsked,
            3 => Self::Friends,
            4 => Self::Accepted,
            _ => {
                return Err(StoreError::Corrupt {
                    what: format!("a bond of number {number}"),
                });
            }
        })
    }

    pub(in crate::store) const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Asked => 1,
            Self::WasAsked => 2,
            Self::Friends => 3,
            Self::Accepted => 4,
        }
    }

    /// As its user is told.
    pub(in crate::store) const fn told(self) -> Friendship {
        match self {
            Self::None => Friendship::None,
            Self::Asked => Friendship::Asked,
            Self::WasAsked => Friendship::WasAsked,
            Self::Friends | Self::Accepted => Friendship::Friends,
        }
    }
}

/// One side of two users.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::store) struct Side {
    pub(in crate::store) bond: Bond,
    /// How often this one has asked since they were friends last.
    pub(in crate::store) asks: u64,
}

impl Side {
    const FRIENDS: Self = Self {
        bond: Bond::Friends,
        asks: 0,
    };

    const fn with(self, bond: Bond) -> Self {
        Self { bond, ..self }
    }
}

/// How two users stand: the one who acts, and the other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::store) struct Bonds {
    pub(in crate::store) mine: Side,
    pub(in crate::store) theirs: Side,
}

/// How two users stand from an event on: the one who acts, and the other if it changed.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Changed {
    pub(in crate::store) mine: Side,
    pub(in crate::store) theirs: Option<Side>,
}

/// What the sender does about being friends with the other one, who blocks them or does not.
/// With whether the event is hidden from the other: if it changes nothing for them.
pub(in crate::store) fn befriend(
    place: Option<Place>,
    (sender, peer): (&Arc<Person>, Arc<Person>),
    action: FriendAction,
    before: Bonds,
    is_blocked: bool,
) -> Result<(Effect, bool), Refusal> {
    if peer.key == sender.key {
        return Err(Refusal::NotPossible);
    }
    let after = match action {
        FriendAction::Request => requested(before, is_blocked)?,
        FriendAction::Accept => accepted(before, is_blocked)?,
        FriendAction::Cancel => cancelled(before)?,
        FriendAction::Remove => removed(before)?,
    };
    let (scene, members) = match place {
        Some(place) => (Scene::In(place), Members::Same),
        None => (
            Scene::New(ConversationKind::Direct, String::new()),
            both(sender, &peer),
        ),
    };
    Ok(effect((scene, members), peer, before, after))
}

/// A user who is deleted is nobody's friend, and nobody waits for their answer.
pub(in crate::store) fn part(
    place: Place,
    peer: Arc<Person>,
    before: Bonds,
) -> Result<(Effect, bool), Refusal> {
    let [mine, theirs] = [before.mine, before.theirs].map(|side| side.with(Bond::None));
    let after = Bonds { mine, theirs };
    if after == before {
        return Err(Refusal::NotFound);
    }
    let here = (Scene::In(place), Members::Same);
    Ok(effect(here, peer, before, after))
}

fn effect(
    (scene, members): (Scene, Members),
    peer: Arc<Person>,
    before: Bonds,
    after: Bonds,
) -> (Effect, bool) {
    let (kind, content) = match after.mine.bond.told() {
        Friendship::Asked => (
            EventKind::FriendRequested,
            Kind::FriendRequested(v1::FriendRequested {}),
        ),
        told @ (Friendship::None | Friendship::WasAsked | Friendship::Friends) => (
            EventKind::FriendshipChanged,
            Kind::FriendshipChanged(v1::FriendshipChanged {
                friends: told == Friendship::Friends,
            }),
        ),
    };
    let is_hidden = before.theirs.bond.told() == after.theirs.bond.told();
    let changed = Changed {
        mine: after.mine,
        theirs: (before.theirs != after.theirs).then_some(after.theirs),
    };
    let effect = Effect {
        scene,
        kind,
        content,
        members,
        aside: Aside::Befriend(peer, changed),
    };
    (effect, is_hidden)
}

fn requested(before: Bonds, is_blocked: bool) -> Result<Bonds, Refusal> {
    let Bonds { mine, theirs } = before;
    let is_mutual = matches!(theirs.bond, Bond::Asked | Bond::Accepted);
    match mine.bond {
        Bond::Friends | Bond::Accepted => Err(Refusal::NothingToDo),
        Bond::None | Bond::Asked | Bond::WasAsked if is_mutual => Ok(agreed(before, is_blocked)),
        Bond::Asked => Err(Refusal::NothingToDo),
        Bond::None | Bond::WasAsked if mine.asks >= FRIEND_REQUESTS_MAX => {
            Err(Refusal::AskedEnough)
        }
        Bond::None | Bond::WasAsked => Ok(Bonds {
            mine: Side {
                bond: Bond::Asked,
                asks: mine.asks + 1,
            },
            theirs: match is_blocked {
                true => theirs,
                false => theirs.with(Bond::WasAsked),
            },
        }),
    }
}

fn accepted(before: Bonds, is_blocked: bool) -> Result<Bonds, Refusal> {
    match before.mine.bond {
        Bond::WasAsked => Ok(agreed(before, is_blocked)),
        Bond::Friends | Bond::Accepted => Err(Refusal::NothingToDo),
        Bond::None | Bond::Asked => Err(Refusal::NotAsked),
    }
}

/// Both want it. Who blocks the other is not told, and is no friend before they know; the
/// other does not learn of that.
fn agreed(before: Bonds, is_blocked: bool) -> Bonds {
    if is_blocked && before.theirs.bond != Bond::Accepted {
        let mine = Side::FRIENDS.with(Bond::Accepted);
        return Bonds { mine, ..before };
    }
    Bonds {
        mine: Side::FRIENDS,
        theirs: Side::FRIENDS,
    }
}

fn cancelled(before: Bonds) -> Result<Bonds, Refusal> {
    let Bonds { mine, theirs } = before;
    if mine.bond != Bond::Asked {
        return Err(Refusal::NothingToDo);
    }
    Ok(Bonds {
        mine: mine.with(Bond::None),
        theirs: theirs.with(Bond::None),
    })
}

fn removed(before: Bonds) -> Result<Bonds, Refusal> {
    let Bonds { mine, theirs } = before;
    let theirs = match mine.bond {
        Bond::Friends => theirs.with(Bond::None),
        // They are not told, as they were not that it was accepted.
        Bond::Accepted => theirs,
        Bond::None | Bond::Asked | Bond::WasAsked => return Err(Refusal::NothingToDo),
    };
    let mine = mine.with(Bond::None);
    Ok(Bonds { mine, theirs })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Bond; 5] = [
        Bond::None,
        Bond::Asked,
        Bond::WasAsked,
        Bond::Friends,
        Bond::Accepted,
    ];

    /// All that can come of nothing, by whatever the two do and whoever blocks whom.
    fn reachable() -> Vec<Bonds> {
        let mut found = vec![Bonds::default()];
        let mut next = 0;
        while let Some(bonds) = found.get(next).copied() {
            next += 1;
            let turned = Bonds {
                mine: bonds.theirs,
                theirs: bonds.mine,
            };
            for before in [bonds, turned] {
                for is_blocked in [false, true] {
                    for step in [requested(before, is_blocked), accepted(before, is_blocked)]
                        .into_iter()
                        .chain([cancelled(before), removed(before)])
                    {
                        let Ok(mut after) = step else { continue };
                        (after.mine.asks, after.theirs.asks) = (0, 0);
                        if !found.contains(&after) {
                            found.push(after);
                        }
                    }
                }
            }
        }
        found
    }

    #[test]
    fn two_users_disagree_only_where_one_of_them_blocks_the_other() {
        let mut pairs: Vec<_> = reachable()
            .iter()
            .map(|it| (it.mine.bond, it.theirs.bond))
            .map(|(one, other)| match one.number() <= other.number() {
                true => (one, other),
                false => (other, one),
            })
            .collect();
        pairs.sort_by_key(|(mine, theirs)| (mine.number(), theirs.number()));
        pairs.dedup();
        assert_eq!(
            pairs,
            [
                (Bond::None, Bond::None),
                // Asked while the other blocked them.
                (Bond::None, Bond::Asked),
                (Bond::Asked, Bond::WasAsked),
                // Accepted while the other blocked them.
                (Bond::Asked, Bond::Accepted),
                (Bond::Friends, Bond::Friends),
            ]
        );
    }

    #[test]
    fn whoever_is_blocked_is_answered_as_if_they_were_not() {
        for before in reachable() {
            for action in FriendAction::ALL {
                let told = |is_blocked| {
                    let after = match action {
                        FriendAction::Request => requested(before, is_blocked),
                        FriendAction::Accept => accepted(before, is_blocked),
                        FriendAction::Cancel => cancelled(before),
                        FriendAction::Remove => removed(before),
                    };
                    after.map(|after| (after.mine.bond.told(), after.mine.asks))
                };
                assert_eq!(told(true), told(false), "{action:?} of {before:?}");
            }
        }
    }

    #[test]
    fn a_bond_is_found_by_its_number() {
        for bond in ALL {
            assert_eq!(Bond::from_number(bond.number().into()), Ok(bond));
        }
        assert!(Bond::from_number(5).is_err());
    }
}
