//! What players do.

use magpie_protocol::{friendship::FriendAction, role::Role};
#[cfg(test)]
use proptest::prelude::*;

use super::Deed;

/// One step: what somebody does, with whom, in which of the groups that were made. A place
/// is one of three groups, or, from 3 on, the direct conversation with a player. The numbers
/// of groups and events begin anew behind those that are there.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Step {
    Write {
        to: usize,
    },
    WriteToGroup {
        group: usize,
    },
    /// Says something that mentions somebody, or everybody.
    Mention {
        place: usize,
        whom: Option<usize>,
    },
    Create {
        with: usize,
    },
    Add {
        who: usize,
        group: usize,
    },
    Remove {
        who: usize,
        group: usize,
    },
    Leave {
        group: usize,
    },
    Ban {
        who: usize,
        group: usize,
        banned: bool,
    },
    /// For so many batches and uses; 0: without a bound.
    Invite {
        group: usize,
        secret: u8,
        batches: u8,
        uses: u32,
    },
    Revoke {
        group: usize,
        seq: u64,
    },
    Join {
        group: usize,
        secret: u8,
    },
    Update {
        group: usize,
        update: Update,
    },
    Change {
        place: usize,
        seq: u64,
        deed: Deed,
    },
    SetRole {
        who: usize,
        group: usize,
        role: Role,
    },
    Befriend {
        whom: usize,
        action: FriendAction,
    },
    Set(Own),
    Read {
        place: usize,
        seq: u64,
    },
    /// Is deleted.
    Vanish,
}

impl Step {
    /// Whether it is done alone: it is no request to the log, or seen at once by what is in
    /// another shard.
    pub(super) const fn is_alone(&self, is_sharded: bool) -> bool {
        match self {
            Self::Read { .. } | Self::Vanish => true,
            Self::Befriend { .. } | Self::Set(Own::Block { .. } | Own::Close(_)) => is_sharded,
            Self::Write { .. }
            | Self::WriteToGroup { .. }
            | Self::Mention { .. }
            | Self::Create { .. }
            | Self::Add { .. }
            | Self::Remove { .. }
            | Self::Leave { .. }
            | Self::Ban { .. }
            | Self::Invite { .. }
            | Self::Revoke { .. }
            | Self::Join { .. }
            | Self::Update { .. }
            | Self::Change { .. }
            | Self::SetRole { .. }
            | Self::Set(Own::Hide | Own::HideReceipts(_) | Own::HidePresence(_)) => false,
        }
    }
}

/// What somebody sets for themself.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Own {
    Hide,
    Block {
        whom: usize,
        blocked: bool,
    },
    /// Friends alone reach them.
    Close(bool),
    HideReceipts(bool),
    HidePresence(bool),
}

/// What of a group is changed.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Update {
    Title(bool),
    AnnouncementOnly(bool),
    HistoryForNewcomers(bool),
}

/// What so many players do in batches, and how it is read afterwards.
#[derive(Clone, Debug)]
pub(in crate::store) struct History {
    pub(in crate::store) players: usize,
    pub(in crate::store) batches: Vec<Vec<(usize, Step)>>,
    /// Events in a page.
    pub(in crate::store) count: usize,
    /// So many positions into each shard.
    pub(in crate::store) since: u64,
    pub(in crate::store) at: u64,
}

#[cfg(test)]
pub(super) fn history() -> impl Strategy<Value = History> {
    // Of two alone more happens between them.
    (2..5_usize).prop_flat_map(|players| {
        let batch = prop::collection::vec((0..players, step(players)), 1..8);
        let batches = prop::collection::vec(batch, 1..16);
        let read = (1..5_usize, 0..60_u64, 0..90_u64);
        let begin = prop::bool::weighted(0.8);
        (begin, batches, read).prop_map(move |(begin, mut batches, (count, since, at))| {
            if begin {
                batches.insert(0, beginning(players));
            }
            History {
                players,
                batches,
                count,
                since,
                at,
            }
        })
    })
}

/// Where everybody is in a group and has written to somebody.
#[cfg(test)]
fn beginning(players: usize) -> Vec<(usize, Step)> {
    let mut steps = vec![(0, Step::Create { with: 1 }), (1, Step::Create { with: 0 })];
    steps.extend((2..players).map(|who| (0, Step::Add { who, group: 0 })));
    for by in 0..players {
        steps.push((by, Step::WriteToGroup { group: 0 }));
        let to = (by + 1) % players;
        steps.push((by, Step::Write { to }));
    }
    steps
}

/// Something that one of so many players does.
#[cfg(test)]
fn step(players: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        11 => said(players),
        9 => in_a_group(players),
        5 => invites(),
        14 => changes(players),
        11 => between(players),
        3 => own(),
    ]
}

#[cfg(test)]
fn said(players: usize) -> impl Strategy<Value = Step> {
    let place = 0..3 + players;
    let whom = prop::option::of(0..players);
    prop_oneof![
        2 => (0..players).prop_map(|to| Step::Write { to }),
        5 => (0..3_usize).prop_map(|group| Step::WriteToGroup { group }),
        2 => (place.clone(), whom).prop_map(|(place, whom)| Step::Mention { place, whom }),
        3 => (place, 1..20_u64).prop_map(|(place, seq)| Step::Read { place, seq }),
    ]
}

#[cfg(test)]
fn in_a_group(players: usize) -> impl Strategy<Value = Step> {
    let player = 0..players;
    let two = (player.clone(), 0..3_usize);
    let ban = (two.clone(), any::<bool>());
    prop_oneof![
        1 => player.prop_map(|with| Step::Create { with }),
        3 => two.clone().prop_map(|(who, group)| Step::Add { who, group }),
        1 => two.clone().prop_map(|(who, group)| Step::Remove { who, group }),
        1 => (0..3_usize).prop_map(|group| Step::Leave { group }),
        2 => ban.prop_map(|((who, group), banned)| Step::Ban { who, group, banned }),
        2 => (two, 0..3_usize).prop_map(|((who, group), role)| {
            Step::SetRole { who, group, role: Role::ALL[role] }
        }),
        2 => (0..3_usize, update()).prop_map(|(group, update)| Step::Update { group, update }),
    ]
}

#[cfg(test)]
fn update() -> impl Strategy<Value = Update> {
    prop_oneof![
        any::<bool>().prop_map(Update::Title),
        any::<bool>().prop_map(Update::AnnouncementOnly),
        any::<bool>().prop_map(Update::HistoryForNewcomers),
    ]
}

#[cfg(test)]
fn invites() -> impl Strategy<Value = Step> {
    let group = 0..3_usize;
    let bounds = (0..5_u8, 0..3_u32);
    prop_oneof![
        3 => (group.clone(), 0..3_u8, bounds).prop_map(|(group, secret, (batches, uses))| {
            Step::Invite { group, secret, batches, uses }
        }),
        1 => (group.clone(), 1..9_u64).prop_map(|(group, seq)| Step::Revoke { group, seq }),
        4 => (group, 0..3_u8).prop_map(|(group, secret)| Step::Join { group, secret }),
    ]
}

#[cfg(test)]
fn changes(players: usize) -> impl Strategy<Value = Step> {
    let place = 0..3 + players;
    (place, 1..9_u64, 0..Deed::ALL.len()).prop_map(|(place, seq, deed)| Step::Change {
        place,
        seq,
        deed: Deed::ALL[deed],
    })
}

#[cfg(test)]
fn between(players: usize) -> impl Strategy<Value = Step> {
    let player = 0..players;
    prop_oneof![
        2 => (player.clone(), 0..4_usize).prop_map(|(whom, action)| {
            Step::Befriend { whom, action: FriendAction::ALL[action] }
        }),
        1 => (player, any::<bool>()).prop_map(|(whom, blocked)| {
            Step::Set(Own::Block { whom, blocked })
        }),
    ]
}

#[cfg(test)]
fn own() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Set(Own::Hide)),
        3 => any::<bool>().prop_map(|closed| Step::Set(Own::Close(closed))),
        2 => any::<bool>().prop_map(|hidden| Step::Set(Own::HideReceipts(hidden))),
        2 => any::<bool>().prop_map(|hidden| Step::Set(Own::HidePresence(hidden))),
        1 => Just(Step::Vanish),
    ]
}
