//! A database that goes away and comes back, and connections to it that break.

use magpie_sim::{postgres, proxy::Fate};

use crate::{
    database::{Database, run},
    pair::{Group, Pair},
    plan::{Draw, Plan, asked, until, weather_of_database},
    schedule::Fault,
    stage::Stage,
    town::Town,
};

/// D1, D2, D3, D4, D5, D6, D7.
#[test]
fn restarts_kills_and_lost_backends_of_the_database_lose_double_and_reorder_nothing() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::from_environment("database");
    let database = Database::private(&[]);
    let mut pair = Pair::start(Town::over(&plan, &database.url()));
    let kinds: [Draw; 3] = [
        |_| vec![(0, Fault::RestartPostgres)],
        |_| vec![(0, Fault::KillPostgres)],
        |random| vec![(0, Fault::EndBackends(random.between(1, 17)))],
    ];
    let schedule = plan.schedule(100..=1_000, &kinds);
    Stage::of_pair(&mut pair).over(&database).play(&schedule);
    pair.verdict(&plan).assert_kept();
}

/// D1, D2, D3, D4, D5, D6, D7.
#[test]
fn broken_connections_to_the_database_lose_double_and_reorder_nothing() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::from_environment("connections");
    let database = Database::shared();
    let proxy = database.proxy(plan.seed());
    let mut pair = Pair::start(Town::over(&plan, &database.url_at(proxy.address())));
    let schedule = plan.schedule(100..=600, &[weather_of_database]);
    Stage::of_pair(&mut pair).through(&proxy).play(&schedule);
    let verdict = pair.verdict(&plan);
    let counts = proxy.counts();
    assert!(counts.cut > 1, "the proxy did nothing: {counts:?}");
    verdict.assert_kept();
}

/// D1, D2, D3, D4, D5, D6, D7. A batch that was undone has taken a place that is
/// given out again after a crash: nobody may miss what stands there then.
#[test]
fn kills_right_after_an_undone_batch_skip_and_repeat_nothing() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::from_environment("undone");
    let mut random = plan.random();
    let database = Database::private(&[]);
    let proxy = database.commit_proxy();
    let mut pair = Pair::start(Town::over(&plan, &database.url_at(proxy.address())));
    while plan.goes_on() || proxy.struck() < 3 {
        pair.accepts(random.between(1, 20) as usize);
        for _ in 0..random.between(1, 3) {
            let struck = proxy.struck();
            proxy.strike(Fate::Undone);
            until("a batch is undone", || proxy.struck() > struck);
        }
        database.cluster().kill().unwrap();
        if random.between(0, 1) == 0 {
            pair.town.server.kill();
            database.cluster().restart().unwrap();
            pair.town.server.start();
        } else {
            database.cluster().restart().unwrap();
        }
        pair.hears(1);
    }
    pair.verdict(&plan).assert_kept();
}

/// D1, D2, D3, D4, D5, D6, D7. Others have transactions open: one that has
/// written holds nothing back, one that has locked the log's head everything.
#[test]
fn a_foreign_transaction_that_is_held_open_loses_and_reorders_nothing() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("foreign");
    let database = Database::shared();
    let pair = Pair::start(Town::over(&plan, &database.url()));
    let foreign = database.connect();
    run(&foreign, "CREATE TABLE foreigners (number int)");
    run(&foreign, "BEGIN; INSERT INTO foreigners VALUES (1)");
    pair.accepts(50);
    pair.hears(50);
    run(&foreign, "SELECT FROM log_head FOR UPDATE");
    database.until(
        "somebody waits for the head",
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                           AND application_name = 'magpied' AND wait_event_type = 'Lock')",
    );
    plan.pass(2_000);
    run(&foreign, "ROLLBACK");
    pair.accepts(50);
    pair.verdict(&plan).assert_kept();
}

/// D1, D2, D3, D4, D5, D6, D7. `MAGPIE_FAULT_KILLS` of the database and as many
/// of the server, with `MAGPIE_FAULT_MESSAGES` accepted in between.
#[test]
fn kills_of_the_database_and_of_the_server_leave_a_group_with_one_history() {
    if postgres::is_skipped() {
        return;
    }
    let kills = asked("MAGPIE_FAULT_KILLS").unwrap_or(2);
    let messages = asked("MAGPIE_FAULT_MESSAGES").unwrap_or(300);
    let plan = Plan::from_environment("kills");
    let mut random = plan.random();
    let database = Database::private(&[]);
    let mut town = Town::over(&plan, &database.url());
    let group = Group::start(&town);
    // Each kill finds them at work.
    let pause = messages / (2 * kills);
    let mut left = [kills; 2];
    while left != [0; 2] {
        let goal = group.accepted() + random.between(1, 2 * pause);
        until("more is accepted", || group.accepted() >= goal);
        let whose = random.between(0, 1) as usize;
        let whose = if left[whose] > 0 { whose } else { 1 - whose };
        left[whose] -= 1;
        if whose == 0 {
            database.kill_and_restart();
        } else {
            town.server.kill();
            town.server.start();
        }
    }
    until("enough is accepted", || group.accepted() >= messages);
    println!("{kills} kills of the database, {kills} of the server");
    group.verdict(&plan, town).assert_kept();
}
