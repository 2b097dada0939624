//! Histories out of a fuzzer: the embedded store against the model of the
//! conformance suite. Built with `--cfg fuzzing` alone.

use std::path::Path;

use magpie_protocol::{friendship::FriendAction, role::Role};

use super::{
    World,
    model::{self, History, Own, Step, Update},
};
use crate::{clock::Blocking, store::embedded};

/// Somebody (of up to four) does one of these things with somebody, or in one of the
/// groups that were made.
pub type Deed = (u8, u8, u8, u8);

/// Which things there are.
const STEPS: u8 = 20;

fn step(players: usize, &(who, what, whom, group): &Deed) -> (usize, Step) {
    let (seq, deed) = (u64::from(whom / 4 % 16), usize::from(group / 3));
    let place = usize::from(group) % (3 + players);
    let (whom, group) = (usize::from(whom) % players, usize::from(group % 3));
    let is = deed % 2 == 0;
    let (few, update) = (deed % 5, deed / 2 % 3);
    let step = match what % STEPS {
        0 => Step::Write { to: whom },
        1 => Step::WriteToGroup { group },
        2 => Step::Create { with: whom },
        3 => Step::Add { who: whom, group },
        4 => Step::Remove { who: whom, group },
        5 => Step::Leave { group },
        6 => Step::SetRole {
            who: whom,
            group,
            role: Role::ALL[deed % 3],
        },
        7 => Step::Set([Own::Hide, Own::Close(is), Own::HideReceipts(is)][update]),
        8 => Step::Set(Own::HidePresence(is)),
        9 => Step::Set(Own::Block {
            whom,
            blocked: group == 0,
        }),
        10 => Step::Befriend {
            whom,
            action: FriendAction::ALL[deed % 4],
        },
        11 => Step::Mention {
            place,
            whom: (deed % 4 != 0).then_some(whom),
        },
        12 => Step::Ban {
            who: whom,
            group,
            banned: is,
        },
        13 => Step::Invite {
            group,
            secret: u8::try_from(seq % 3).unwrap_or_default(),
            batches: u8::try_from(few).unwrap_or_default(),
            uses: u32::from(is),
        },
        14 => Step::Revoke { group, seq },
        15 => Step::Join {
            group,
            secret: u8::try_from(seq % 3).unwrap_or_default(),
        },
        16 => Step::Update {
            group,
            update: [
                Update::Title(is),
                Update::AnnouncementOnly(is),
                Update::HistoryForNewcomers(is),
            ][update],
        },
        17 => Step::Read { place, seq },
        18 if few == 0 => Step::Vanish,
        _ => Step::Change {
            place,
            seq,
            deed: model::Deed::ALL[usize::from(what / STEPS) % 6],
        },
    };
    (usize::from(who) % players, step)
}

/// Does it all in an empty store in this directory, batch by batch, and compares
/// what it reads in every way with the model. Pages hold `count` events and begin
/// behind so many positions.
///
/// # Panics
///
/// If they differ.
pub fn compare(directory: &Path, batches: &[Vec<Deed>], count: u8, since: u8, at: u8) {
    let players = 2 + usize::from(count / 4 % 3);
    let each = |batch: &Vec<Deed>| batch.iter().map(|deed| step(players, deed)).collect();
    let history = History {
        players,
        batches: batches.iter().map(each).collect(),
        count: usize::from(count % 4) + 1,
        since: u64::from(since % 40),
        at: u64::from(at % 60),
    };
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    let store = embedded::open(directory, Blocking::Inline, [5; 32]).expect("an empty store");
    let world = World::new((store, Box::new(())));
    runtime.block_on(model::compare(&world, &history));
}
