//! Histories out of a fuzzer: the embedded store against the model of the
//! conformance suite. Built with `--cfg fuzzing` alone.

use std::path::Path;

use magpie_protocol::{friendship::FriendAction, role::Role};

use super::model::{self, History, Step};
use crate::{clock::Blocking, store::embedded};

/// Somebody (of four) does one of eleven things with somebody, or in one of the
/// groups that were made.
pub type Deed = (u8, u8, u8, u8);

/// Does it all in an empty store in this directory, batch by batch, and compares
/// what it reads in every way with the model. Pages hold `count` events and begin
/// behind so many positions.
///
/// # Panics
///
/// If they differ.
pub fn compare(directory: &Path, batches: &[Vec<Deed>], count: u8, since: u8, at: u8) {
    let step = |&(who, what, whom, group): &Deed| {
        let (seq, deed) = (u64::from(whom / 4 % 16), usize::from(group / 3 % 4));
        let (whom, group) = (usize::from(whom % 4), usize::from(group % 3));
        let step = match what % 11 {
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
            7 => Step::Set,
            10 => Step::Befriend {
                whom,
                action: FriendAction::ALL[deed],
            },
            9 => Step::Block {
                whom,
                blocked: group == 0,
            },
            _ => Step::Change {
                group,
                seq,
                deed: model::Deed::ALL[deed],
            },
        };
        (usize::from(who % 4), step)
    };
    let batches = batches.iter().map(|batch| batch.iter().map(step).collect());
    let history: History = (
        batches.collect(),
        usize::from(count % 4) + 1,
        u64::from(since % 40),
        u64::from(at % 60),
    );
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    let store = embedded::open(directory, Blocking::Inline, [5; 32]).expect("an empty store");
    runtime.block_on(model::compare((store, Box::new(())), &history));
}
