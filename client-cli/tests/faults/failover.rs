//! A database that is lost for good, and its standby that takes over.

use magpie_sim::postgres;

use crate::{
    database::Database,
    pair::Pair,
    plan::{Plan, until},
    stage::Stage,
    town::Town,
};

/// D1, D2, D3, D4, D5, D6, D7. A commit waits for the standby: whatever was
/// accepted is there.
#[test]
fn a_fail_over_to_a_synchronous_standby_loses_doubles_and_reorders_nothing() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("synchronous");
    let primary = Database::private(&[]);
    let standby = primary.standby();
    primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.run("SELECT pg_reload_conf()");
    primary.until(
        "commits wait for the standby",
        "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')",
    );
    let proxy = primary.proxy(plan.seed());
    let mut pair = Pair::start(Town::over(&plan, &primary.url_at(proxy.address())));
    pair.accepts(50);
    let schedule = plan.scheduled("at 300ms cut database\nat 500ms fail over");
    Stage::of_pair(&mut pair)
        .over(&primary)
        .through(&proxy)
        .with_standby(&standby)
        .play(&schedule);
    pair.town.server.until_readiness(200);
    pair.accepts(50);
    pair.verdict(&plan).assert_kept();
}

/// D11. The standby lacked the tail: the log went back, and nobody is served until
/// an operator says so. Then everything goes on, and what is sent arrives.
#[test]
fn a_fail_over_that_lost_the_tail_serves_nobody_until_a_new_epoch_begins() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("asynchronous");
    let primary = Database::private(&[]);
    let standby = primary.standby();
    let proxy = primary.proxy(plan.seed());
    let mut pair = Pair::start(Town::over(&plan, &primary.url_at(proxy.address())));
    let carol = pair.town.register("carol");
    pair.accepts(20);
    standby.run("ALTER SYSTEM SET primary_conninfo = ''");
    standby.run("SELECT pg_reload_conf()");
    primary.until(
        "the standby does not follow any more",
        "SELECT NOT EXISTS (SELECT FROM pg_stat_replication)",
    );
    pair.accepts(50);
    // How far the log had come is written down once a second.
    let schedule = plan.scheduled("at 1500ms fail over");
    Stage::of_pair(&mut pair)
        .over(&primary)
        .through(&proxy)
        .with_standby(&standby)
        .play(&schedule);
    pair.town.server.until_readiness(503);
    until("the server says why", || {
        pair.town.server.said().contains("the log went back")
    });
    pair.town.server.begin_epoch();
    pair.town.server.until_readiness(200);
    pair.accepts(20);
    let lines = carol.done(&["send", "@bob", "after all"]);
    assert_eq!(lines[0]["type"], "accepted", "{lines:?}");
    let bob = pair.listener.home.clone();
    pair.listener.kill();
    // For up to a second the server may answer before it has taken the new epoch
    // over for those who read.
    until("bob hears of it", || {
        bob.done(&["sync"]);
        let (code, history) = bob.ended(&["history", "@carol"]);
        code == Some(0) && history.iter().any(|line| line["text"] == "after all")
    });
}
