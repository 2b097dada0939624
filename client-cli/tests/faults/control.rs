//! The positive control: a database that says `committed` too early loses
//! messages, and the checks of the other tests see it.

use magpie_sim::postgres;

use crate::{database::Database, pair::Pair, plan::Plan, town::Town};

/// Of the same length, so that no message grows.
const TOO_EARLY: (&str, &str) = ("SET synchronous_commit = on", "SET synchronous_commit =off");

/// Nothing is written ahead but what a commit waits for.
const LAZY: [&str; 5] = [
    "autovacuum = off",
    "bgwriter_lru_maxpages = 0",
    "checkpoint_timeout = 1d",
    "wal_buffers = 64MB",
    "wal_writer_delay = 10s",
];

/// D1, seen from the other side.
#[test]
fn a_database_that_commits_too_early_is_seen_to_lose() {
    if postgres::is_skipped() {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lost = lost_in_a_kill("too-early", Some(TOO_EARLY));
            assert!(lost > 0, "the control lost nothing");
        });
        scope.spawn(|| assert_eq!(lost_in_a_kill("in-time", None), 0));
    });
}

/// Accepts messages, kills the database, and looks for them. Returns how many
/// accepted messages are missing, counted for each reader.
fn lost_in_a_kill(name: &str, rewrite: Option<(&'static str, &'static str)>) -> usize {
    let plan = Plan::calm(name);
    let database = Database::private(&LAZY);
    let proxy = database.rewriting_proxy(rewrite);
    let mut pair = Pair::start(Town::over(&plan, &database.url_at(proxy.address())));
    assert_eq!(proxy.rewritten() > 0, rewrite.is_some());
    // What has reached a reader cannot be lost any more.
    pair.listener.kill();
    pair.accepts(10);
    database.run("CHECKPOINT");
    database.freeze("walwriter");
    pair.accepts(50);
    pair.writer.finish();
    database.cluster().kill().unwrap();
    pair.town.server.kill();
    database.cluster().restart().unwrap();
    if rewrite.is_some() {
        // The server knows that its log went back, and must be told to go on.
        pair.town.server.begin_epoch();
        forget(&pair, database.number("SELECT max(seq) FROM events"));
    }
    pair.town.server.start();
    let verdict = pair.judged(&plan);
    let lost = verdict.lost();
    println!("{name}: {} accepted, lost:", verdict.accepted());
    lost.iter().for_each(|it| println!("  {it}"));
    if !verdict.violations().is_empty() {
        verdict.discard();
    }
    lost.len()
}

/// The writer's device loses what the database has lost, or it would send it again.
fn forget(pair: &Pair, kept: i64) {
    let path = pair.writer.home.dir.join("magpie.db");
    let local = rusqlite::Connection::open(path).unwrap();
    let forgets = "DELETE FROM events WHERE seq > ?1";
    assert!(local.execute(forgets, [kept]).unwrap() > 0, "nothing lost");
}
