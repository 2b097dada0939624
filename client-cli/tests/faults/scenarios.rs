//! Faults on real processes: `magpied` and `magpie` are killed, their
//! connections cut, stalled and left half-open, while people write. At the end
//! the clients' own outputs and databases must keep D1 to D7.
//!
//! The short form is part of the test command. For the long one see
//! docs/reliability.md: `MAGPIE_FAULT_SECONDS` and `MAGPIE_FAULT_SEED`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod listener;
mod plan;
mod process;
mod town;
mod verdict;
mod writer;

use std::time::Duration;

use magpie_sim::proxy::{Direction, Random};

use crate::{
    listener::Listener,
    plan::Plan,
    town::{Proxied, Town},
    verdict::Verdict,
    writer::Writer,
};

/// D1, D2, D3, D4, D5, D6, D7.
#[test]
fn killing_the_server_again_and_again_loses_doubles_and_reorders_nothing() {
    let plan = Plan::from_environment("server");
    let mut random = plan.random();
    let mut town = Town::start(&plan);
    let alice = town.register("alice");
    let bob = town.register("bob");
    let mut writer = Writer::new(&alice, "@bob");
    let mut listener = Listener::new(&bob);
    writer.start();
    listener.start();
    while plan.goes_on() {
        plan.pass(random.between(200, 1_200));
        town.server.kill();
        plan.pass(random.between(0, 300));
        town.server.start();
    }
    writer.finish();
    Verdict::reach(&plan, town, vec![writer], vec![listener]).assert_kept();
}

/// D2, D3, D4, D5, D6, D7.
#[test]
fn killing_clients_again_and_again_loses_doubles_and_reorders_nothing() {
    let plan = Plan::from_environment("clients");
    let mut random = plan.random();
    let town = Town::start(&plan);
    let alice = town.register("alice");
    let bob = town.register("bob");
    let mut writer = Writer::new(&alice, "@bob");
    let mut listener = Listener::new(&bob);
    writer.start();
    listener.start();
    while plan.goes_on() {
        plan.pass(random.between(100, 900));
        if random.between(0, 1) == 0 {
            writer.kill();
            plan.pass(random.between(0, 200));
            writer.start();
        } else {
            listener.kill();
            plan.pass(random.between(0, 200));
            listener.start();
        }
    }
    writer.finish();
    Verdict::reach(&plan, town, vec![writer], vec![listener]).assert_kept();
}

/// D2, D3, D4, D5, D6, D7.
#[test]
fn cuts_stalls_and_half_open_connections_lose_double_and_reorder_nothing() {
    let plan = Plan::from_environment("network");
    let mut random = plan.random();
    let mut town = Town::start(&plan);
    let proxied = town.proxy(random.number());
    let alice = town.register("alice");
    let bob = town.register("bob");
    let mut writer = Writer::new(&alice, "@bob");
    let mut listener = Listener::new(&bob);
    writer.start();
    listener.start();
    while plan.goes_on() {
        plan.pass(random.between(100, 600));
        weather(&proxied, &plan, &mut random);
    }
    proxied.clear();
    writer.finish();
    let counts = proxied.proxy.counts();
    assert!(counts.accepted > 1, "the proxy did nothing: {counts:?}");
    Verdict::reach(&plan, town, vec![writer], vec![listener]).assert_kept();
}

/// D1, D2, D3, D4, D5, D6, D7.
#[test]
fn all_faults_together_leave_a_group_with_one_history() {
    let plan = Plan::from_environment("all");
    let mut random = plan.random();
    let mut town = Town::start(&plan);
    let proxied = town.proxy(random.number());
    let alice = town.register("alice");
    let tablet = town.sign_in("alice", "tablet");
    let bob = town.register("bob");
    let carol = town.register("carol");
    let group = town.create_group(&alice, "bird watching", &["@bob", "@carol"]);
    // One only writes, one only listens, two do both from one home.
    let mut writers = [&alice, &bob, &carol].map(|home| Writer::new(home, &group));
    let mut listeners = [&tablet, &bob, &carol].map(Listener::new);
    listeners.iter_mut().for_each(Listener::start);
    writers.iter_mut().for_each(Writer::start);
    while plan.goes_on() {
        plan.pass(random.between(50, 400));
        match random.between(0, 9) {
            0..=2 => {
                town.server.kill();
                plan.pass(random.between(0, 300));
                town.server.start();
            }
            3 | 4 => {
                let writer = &mut writers[random.between(0, 2) as usize];
                writer.kill();
                writer.start();
            }
            5 | 6 => {
                let listener = &mut listeners[random.between(0, 2) as usize];
                listener.kill();
                plan.pass(random.between(0, 200));
                listener.start();
            }
            _ => weather(&proxied, &plan, &mut random),
        }
    }
    proxied.clear();
    writers.iter_mut().for_each(Writer::finish);
    Verdict::reach(&plan, town, writers.into(), listeners.into()).assert_kept();
}

/// The checks above can fail: each mutation of a good history is found.
#[test]
fn a_mutated_history_is_flagged() {
    let plan = Plan::calm("control");
    let town = Town::start(&plan);
    let alice = town.register("alice");
    let bob = town.register("bob");
    let mut writer = Writer::new(&alice, "@bob");
    let mut listener = Listener::new(&bob);
    writer.start();
    listener.start();
    plan.until("some messages were written", || writer.answered() >= 20);
    writer.finish();
    let verdict = Verdict::reach(&plan, town, vec![writer], vec![listener]);
    verdict.assert_kept();
    for (name, mutate) in verdict::MUTATIONS {
        let mut mutated = verdict.clone();
        mutate(&mut mutated);
        assert!(!mutated.violations().is_empty(), "{name} was not found");
    }
}

/// Something that happens to networks, and the end of it.
fn weather(proxied: &Proxied, plan: &Plan, random: &mut Random) {
    let proxy = &proxied.proxy;
    let direction = match random.between(0, 1) {
        0 => Direction::Up,
        _ => Direction::Down,
    };
    match random.between(0, 6) {
        0 => proxy.cut_all(),
        1 => proxy.cut_each_after(500..=20_000),
        2 => proxy.cut_none(),
        3 => {
            proxy.stall(direction);
            plan.pass(random.between(50, 1_000));
            proxy.pass();
        }
        4 => {
            let delay = Duration::from_millis(random.between(1, 100));
            proxy.delay(direction, delay);
        }
        5 => {
            proxy.refuse();
            plan.pass(random.between(50, 300));
            proxy.pass();
        }
        // Nobody is told; the clients must find out by themselves, which takes
        // them up to PROGRESS_TIMEOUT and PONG_TIMEOUT.
        _ => proxy.half_open_all(),
    }
}
