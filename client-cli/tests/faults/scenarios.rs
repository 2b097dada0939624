//! What happens to servers, clients and the network between them: with each
//! kind of store.

use magpie_sim::postgres;

use crate::{
    database::Database,
    pair::{Group, Pair},
    plan::{self, Draw, Plan},
    stage::Stage,
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
        let mut pair = Pair::start(town);
        let schedule = plan.schedule(200..=1_200, &[plan::kill_server]);
        Stage::of_pair(&mut pair).play(&schedule);
        pair.verdict(plan)
    });
}

/// D1, D2, D3, D4, D5, D6, D7. While it stands still its connections are cut, and
/// those that come instead wait for it; then it goes on with both.
#[test]
fn a_server_that_stands_still_and_goes_on_loses_doubles_and_reorders_nothing() {
    with_each_store("still", |plan, mut town| {
        let proxy = town.proxy(plan.seed());
        let mut pair = Pair::start(town);
        let schedule = plan.scheduled(
            "at 300ms stop server
             at 1200ms continue server
             at 1500ms stop server
             at 1600ms cut clients
             at 3s continue server
             at 3200ms stop server
             at 3300ms half-open clients
             at 4s kill listener
             at 4500ms continue server",
        );
        Stage::of_pair(&mut pair).behind(&proxy).play(&schedule);
        pair.verdict(plan)
    });
}

/// D2, D3, D4, D5, D6, D7.
#[test]
fn killing_clients_again_and_again_loses_doubles_and_reorders_nothing() {
    with_each_store("clients", |plan, town| {
        let mut pair = Pair::start(town);
        let schedule = plan.schedule(100..=900, &[plan::kill_client::<1>]);
        Stage::of_pair(&mut pair).play(&schedule);
        pair.verdict(plan)
    });
}

/// D2, D3, D4, D5, D6. A client's database is as it was some time ago, as after a
/// restore of the phone: what it had stored comes again, what it had in its
/// outbox is sent again.
#[test]
fn a_database_of_a_client_that_went_back_loses_doubles_and_reorders_nothing() {
    with_each_store("rolled-back", |plan, town| {
        let mut pair = Pair::start(town);
        let schedule = plan.scheduled(
            "at 300ms save listener
             at 600ms save writer
             at 1200ms roll back listener
             at 1800ms roll back writer
             at 2400ms roll back listener
             at 2500ms roll back writer
             at 2600ms kill server",
        );
        Stage::of_pair(&mut pair).play(&schedule);
        pair.verdict(plan)
    });
}

/// D2, D3, D4, D5, D6, D7.
#[test]
fn cuts_stalls_and_half_open_connections_lose_double_and_reorder_nothing() {
    with_each_store("network", |plan, mut town| {
        let proxy = town.proxy(plan.seed());
        let mut pair = Pair::start(town);
        let schedule = plan.schedule(100..=600, &[plan::weather_of_clients]);
        Stage::of_pair(&mut pair).behind(&proxy).play(&schedule);
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
        let proxy = town.proxy(plan.seed());
        let mut group = Group::start(&town);
        let kinds: [Draw; 7] = [
            plan::kill_server,
            plan::stop_server,
            plan::kill_client::<3>,
            plan::roll_back_client::<3>,
            plan::weather_of_clients,
            plan::weather_of_clients,
            plan::weather_of_clients,
        ];
        let schedule = plan.schedule(50..=400, &kinds);
        Stage::of_group(&mut town, &mut group)
            .behind(&proxy)
            .play(&schedule);
        group.verdict(plan, town)
    });
}

/// D1, D2, D3, D4, D5, D6, D7. What one side says is lost and what the other says
/// arrives; then the same the other way round.
#[test]
fn a_partition_of_one_direction_loses_doubles_and_reorders_nothing() {
    with_each_store("one-way", |plan, mut town| {
        let proxy = town.proxy(plan.seed());
        let mut pair = Pair::start(town);
        let schedule = plan.scheduled(
            "at 300ms swallow clients up for 700ms
             at 1300ms swallow clients down for 700ms
             at 2300ms swallow clients up for 50ms
             at 2600ms swallow clients down for 50ms",
        );
        Stage::of_pair(&mut pair).behind(&proxy).play(&schedule);
        pair.verdict(plan)
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
