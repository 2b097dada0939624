//! The protocol's promises in small worlds, under every fault.

use std::time::{SystemTime, UNIX_EPOCH};

use magpie_sim::world::{
    Act, Broken, FAULT_KINDS, Faults, Mutant, Setup, Step, World, steps_of_seed,
};
use proptest::prelude::*;

/// Runs `count` seeds from `first` on; the first broken promise, with its seed.
fn run_seeds(
    mutant: Mutant,
    first: u64,
    count: u64,
    length: usize,
    faults: Faults,
) -> Result<(), (u64, Broken)> {
    for seed in first..first + count {
        let steps = steps_of_seed(seed, length, faults);
        World::run(&Setup::small(), mutant, &steps).map_err(|broken| (seed, broken))?;
    }
    Ok(())
}

fn steps(faults: Faults, length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = any::<(u8, u16, u16)>()
        .prop_map(move |(kind, a, b)| Step::from_numbers(kind, a, b, faults));
    prop::collection::vec(step, 1..length)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// D1. D2. D3. D4. D5. D6. D7. D12.
    #[test]
    fn whatever_fails_everything_handed_in_is_in_the_log_once_and_in_order(
        steps in steps(Faults::All, 300)
    ) {
        World::run(&Setup::small(), Mutant::None, &steps).map_err(|it| TestCaseError::fail(it.to_string()))?;
    }

    /// D2. D7.
    #[test]
    fn on_a_healthy_network_nothing_is_sent_twice(steps in steps(Faults::None, 200)) {
        let world = World::run(&Setup::small(), Mutant::None, &steps)
            .map_err(|it| TestCaseError::fail(it.to_string()))?;
        let effort = world.effort();
        prop_assert_eq!(effort.requests, effort.handed_in);
        prop_assert_eq!(effort.violations, 0);
        prop_assert!(effort.connections <= 2, "one for each device, found {:?}", effort);
    }
}

/// A replayed connection acknowledges what its device never got, which TLS rules
/// out. What others are told because of it is not the device's doing.
#[test]
fn a_mark_that_was_forged_in_a_replay_accuses_nobody() {
    let seed = 1_882_990_899_637_207;
    let known = run_seeds(Mutant::None, seed, 1, 800, Faults::All);
    assert_eq!(known, Ok(()));
}

/// D1. D2. D3. D4. D5. D6. D7. D12.
#[test]
fn long_runs_keep_every_promise() {
    let known = run_seeds(Mutant::None, 0, 20, 800, Faults::All);
    assert_eq!(known, Ok(()), "a known seed");
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = since_1970.as_secs();
    println!("fresh seeds from {seed} on");
    let fresh = run_seeds(Mutant::None, seed, 20, 800, Faults::All);
    assert_eq!(fresh, Ok(()), "a fresh seed");
}

/// D1. D2. D3. D6. D7: one fault at every moment of a quiet conversation.
#[test]
fn one_fault_at_any_moment_changes_nothing() {
    let story = story();
    let faults = (0..FAULT_KINDS)
        .flat_map(|kind| [0, 1, 7, 150].map(|choice| Step::fault(kind, choice, choice)));
    let jump = |act| Step::new(act, 0, 10 * 365 * 86_400, 0);
    let others = [
        jump(Act::ServerClock),
        jump(Act::DeviceClock),
        Step::new(Act::Swallow, 0, 0, 0),
        Step::new(Act::Swallow, 0, 0, 1),
    ];
    for fault in faults.chain(others) {
        for moment in 0..=story.len() {
            let mut steps = story.clone();
            steps.insert(moment, fault);
            let run = World::run(&Setup::small(), Mutant::None, &steps);
            assert_eq!(run.err(), None, "{fault:?} at {moment}");
        }
    }
}

/// D1. D2. D3. D6. D7: the connection breaks behind any byte, either way.
#[test]
fn a_connection_may_break_behind_any_byte() {
    let story = story();
    for moment in 0..=story.len() {
        for keep in (0..130).step_by(7) {
            for (up, down) in [(keep, 0), (0, keep), (keep, keep)] {
                let cut = Step::new(Act::Cut, 0, up, down);
                let mut steps = story.clone();
                steps.insert(moment, cut);
                let run = World::run(&Setup::small(), Mutant::None, &steps);
                assert_eq!(run.err(), None, "{cut:?} at {moment}");
            }
        }
    }
}

/// Two devices, each a few messages, everything delivered; each step as small as
/// it can be.
fn story() -> Vec<Step> {
    let on = |act, device, a| Step::new(act, device, a, 10);
    let mut steps: Vec<Step> = (0..2)
        .flat_map(|device| {
            let write = Step::new(Act::HandIn, device, 0, 10);
            [Step::new(Act::Connect, device, 0, 0), write, write]
        })
        .collect();
    for _ in 0..3 {
        for device in 0..2 {
            steps.extend([
                on(Act::Send, device, 1),
                on(Act::Up, device, usize::MAX),
                on(Act::Commit, 0, 1),
                on(Act::Commit, 1, 1),
                on(Act::Ping, device, 0),
                on(Act::Up, device, usize::MAX),
                on(Act::Deliver, 0, 1),
                on(Act::Deliver, 1, 1),
                on(Act::Down, device, usize::MAX),
                on(Act::Store, device, 1),
            ]);
        }
    }
    steps
}
