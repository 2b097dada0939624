//! What happens to servers, clients and the network between them: with each
//! kind of store.

use std::time::Duration;

use magpie_sim::{
    postgres,
    proxy::{Direction, Proxy, Random},
};

use crate::{
    database::Database,
    pair::{Group, Pair},
    plan::Plan,
    town::Town,
    verdict::{self, Verdict},
};

/// Tells one story twice, side by side: with the embedded store, and with
/// `PostgreSQL`.
fn with_each_store(name: &str, story: fn(&Plan, Town) -> Verdict) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let plan = Plan::from_environment(name);
            story(&plan, Town::start(&plan)).assert_kept();
        });
        if !postgres::is_skipped() {
            scope.spawn(|| {
                let plan = Plan::from_environment(&format!("{name}-postgresql"));
                let database = Database::shared();
                story(&plan, Town::over(&plan, &database.url())).assert_kept();
            });
        }
    });
}

/// D1, D2, D3, D4, D5, D6, D7.
#[test]
fn killing_the_server_again_and_again_loses_doubles_and_reorders_nothing() {
    with_each_store("server", |plan, town| {
        let mut random = plan.random();
        let mut pair = Pair::start(town);
        while plan.goes_on() {
            plan.pass(random.between(200, 1_200));
            pair.town.server.kill();
            plan.pass(random.between(0, 300));
            pair.town.server.start();
        }
        pair.verdict(plan)
    });
}

/// D2, D3, D4, D5, D6, D7.
#[test]
fn killing_clients_again_and_again_loses_doubles_and_reorders_nothing() {
    with_each_store("clients", |plan, town| {
        let mut random = plan.random();
        let mut pair = Pair::start(town);
        while plan.goes_on() {
            plan.pass(random.between(100, 900));
            if random.between(0, 1) == 0 {
                pair.writer.kill();
                plan.pass(random.between(0, 200));
                pair.writer.start();
            } else {
                pair.listener.kill();
                plan.pass(random.between(0, 200));
                pair.listener.start();
            }
        }
        pair.verdict(plan)
    });
}

/// D2, D3, D4, D5, D6, D7.
#[test]
fn cuts_stalls_and_half_open_connections_lose_double_and_reorder_nothing() {
    with_each_store("network", |plan, mut town| {
        let mut random = plan.random();
        let proxy = town.proxy(random.number());
        let pair = Pair::start(town);
        while plan.goes_on() {
            plan.pass(random.between(100, 600));
            weather(&proxy, plan, &mut random);
        }
        clear(&proxy);
        let verdict = pair.verdict(plan);
        let counts = proxy.counts();
        assert!(counts.accepted > 1, "the proxy did nothing: {counts:?}");
        verdict
    });
}

/// D1, D2, D3, D4, D5, D6, D7.
#[test]
fn all_faults_together_leave_a_group_with_one_history() {
    with_each_store("all", |plan, mut town| {
        let mut random = plan.random();
        let proxy = town.proxy(random.number());
        let mut group = Group::start(&town);
        while plan.goes_on() {
            plan.pass(random.between(50, 400));
            match random.between(0, 9) {
                0..=2 => {
                    town.server.kill();
                    plan.pass(random.between(0, 300));
                    town.server.start();
                }
                3 | 4 => {
                    let writer = &mut group.writers[random.between(0, 2) as usize];
                    writer.kill();
                    writer.start();
                }
                5 | 6 => {
                    let listener = &mut group.listeners[random.between(0, 2) as usize];
                    listener.kill();
                    plan.pass(random.between(0, 200));
                    listener.start();
                }
                _ => weather(&proxy, plan, &mut random),
            }
        }
        clear(&proxy);
        group.verdict(plan, town)
    });
}

/// The checks above can fail: each mutation of a good history is found.
#[test]
fn a_mutated_history_is_flagged() {
    let plan = Plan::calm("mutations");
    let pair = Pair::start(Town::start(&plan));
    pair.accepts(20);
    let verdict = pair.verdict(&plan);
    verdict.assert_kept();
    for (name, mutate) in verdict::MUTATIONS {
        let mut mutated = verdict.clone();
        mutate(&mut mutated);
        assert!(!mutated.violations().is_empty(), "{name} was not found");
    }
}

/// The weather clears up. Half-open connections stay so: their ends must find
/// out.
fn clear(proxy: &Proxy) {
    proxy.cut_none();
    proxy.pass();
}

/// Something that happens to networks, and the end of it.
pub(crate) fn weather(proxy: &Proxy, plan: &Plan, random: &mut Random) {
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
        // Nobody is told; the ends must find out by themselves, which takes
        // clients up to PROGRESS_TIMEOUT and PONG_TIMEOUT.
        _ => proxy.half_open_all(),
    }
}
