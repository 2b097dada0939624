//! A database that lacks connections or room.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use magpie_sim::postgres;

use crate::{
    database::{Database, is, run, wait_for},
    pair::Pair,
    plan::{Plan, until},
    town::Town,
};

/// D1, D2, D3, D6. Others have taken all connections.
#[test]
fn a_database_without_a_free_connection_loses_nothing() {
    const CONNECTIONS: usize = 20;
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("connections-taken");
    let database = Database::private(&[&format!("max_connections = {CONNECTIONS}")]);
    let pair = Pair::start(Town::over(&plan, &database.url()));
    pair.accepts(20);
    // This one and one less than there are: the last of them waits, and takes
    // what becomes free.
    let inside = database.connect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let taken = database.connect();
                until("it is over", || over.load(Ordering::SeqCst));
                drop(taken);
            });
        }
        until("the server has none", || {
            run(&inside, END_ALL);
            is(&inside, HAS_NONE)
        });
        pair.town.server.until_readiness(503);
        over.store(true, Ordering::SeqCst);
    });
    pair.town.server.until_readiness(200);
    pair.accepts(20);
    pair.verdict(&plan).assert_kept();
}

const END_ALL: &str = "
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'magpied'";

const HAS_NONE: &str = "
    SELECT count(*) = current_setting('max_connections')::int
           AND count(*) FILTER (WHERE application_name = 'magpied') = 0
      FROM pg_stat_activity WHERE backend_type = 'client backend'";

/// D1, D2, D3, D6. All connections of the server are in use, by requests that
/// wait for a lock.
#[test]
fn a_server_whose_connections_are_all_in_use_loses_nothing() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("pool");
    let database = Database::shared();
    let mut pair = Pair::start(Town::over(&plan, &database.url()));
    pair.accepts(20);
    let foreign = database.connect();
    run(
        &foreign,
        "BEGIN; LOCK TABLE log_head IN ACCESS EXCLUSIVE MODE",
    );
    pair.listener.kill();
    pair.listener.start();
    let server = &pair.town.server;
    let is_unready = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                if server.readiness() == 503 {
                    is_unready.store(true, Ordering::SeqCst);
                }
            });
        }
        until("one found no connection", || {
            is_unready.load(Ordering::SeqCst)
        });
        run(&foreign, "ROLLBACK");
    });
    server.until_readiness(200);
    pair.accepts(20);
    pair.hears(20);
    pair.verdict(&plan).assert_kept();
}

/// D1, D2, D3, D6. First there is no room for rows, then none for the
/// write-ahead log, with which `PostgreSQL` ends.
#[test]
fn a_full_disk_loses_nothing() {
    if postgres::is_skipped() || !postgres::has_small_disks() {
        return;
    }
    let plan = Plan::calm("disk");
    let database = Database::on_small_disk(80);
    let pair = Pair::start(Town::over(&plan, &database.url()));
    pair.accepts(20);
    let full = "No space left on device";
    database.cluster().fill_disk().unwrap();
    until("a batch finds no room", || {
        pair.town.server.said().contains(full)
    });
    plan.pass(500);
    database.cluster().clear_disk().unwrap();
    pair.accepts(20);

    let client = database.connect();
    database.cluster().fill_disk().unwrap();
    // A new file of the log is needed, for which there is no room.
    until("the database ends", || {
        drop(wait_for(client.batch_execute("SELECT pg_switch_wal()")));
        client.is_closed()
    });
    database.cluster().clear_disk().unwrap();
    // It may be trying to recover yet.
    database.kill_and_restart();
    pair.town.server.until_readiness(200);
    pair.accepts(20);
    pair.verdict(&plan).assert_kept();
}
