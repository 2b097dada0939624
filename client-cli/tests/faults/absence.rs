//! A database that is not there: at start, and later.

use std::time::{Duration, Instant};

use magpie_sim::postgres;

use crate::{
    database::Database,
    pair::Pair,
    plan::{Plan, until},
    town::Town,
};

/// How long a server waits for its database when it starts.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_server_gives_its_absent_database_ten_seconds_and_says_so_in_one_sentence() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("absent");
    let database = Database::private(&[]);
    database.cluster().stop().unwrap();
    let mut town = Town::asleep(&plan, Some(database.url()));
    let began_at = Instant::now();
    town.server.launch();
    assert_eq!(town.server.await_end(), Some(1));
    assert!(began_at.elapsed() >= PATIENCE, "it ended early");
    let said = town.server.said();
    let sentences: Vec<&str> = said.lines().filter(|line| !line.starts_with('{')).collect();
    let [sentence] = sentences.as_slice() else {
        panic!("{said}");
    };
    let expected = format!(
        "magpied: PostgreSQL at {} cannot be reached: ",
        database.place()
    );
    assert!(sentence.starts_with(&expected), "{sentence}");
}

#[test]
fn a_server_serves_as_soon_as_its_database_is_there() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("late");
    let database = Database::private(&[]);
    database.cluster().stop().unwrap();
    let mut town = Town::asleep(&plan, Some(database.url()));
    town.server.launch();
    until("the server misses its database", || {
        town.server.said().contains("the database is not there")
    });
    database.cluster().restart().unwrap();
    town.server.await_ready();
    assert_eq!(town.server.readiness(), 200);
    let pair = Pair::start(town);
    pair.accepts(10);
    pair.verdict(&plan).assert_kept();
}

/// D1, D2, D3, D6, D12. While the database is away `/readyz` says so, what is
/// written stays pending, and everything recovers by itself.
#[test]
fn a_database_that_goes_away_leaves_messages_pending() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("away");
    let database = Database::private(&[]);
    let pair = Pair::start(Town::over(&plan, &database.url()));
    let carol = pair.town.register("carol");
    let dave = pair.town.register("dave");
    assert_eq!(pair.town.server.readiness(), 200);
    pair.accepts(20);
    database.cluster().stop().unwrap();
    pair.town.server.until_readiness(503);
    let (code, lines) = carol.ended(&["--timeout", "1", "send", "@dave", "patience"]);
    assert_eq!(code, Some(4), "{lines:?}");
    assert_eq!(lines[0]["type"], "pending", "{lines:?}");
    database.cluster().restart().unwrap();
    pair.town.server.until_readiness(200);
    carol.done(&["sync"]);
    dave.done(&["sync"]);
    let history = dave.done(&["history", "@carol"]);
    assert_eq!(
        history[0]["message_id"], lines[0]["message_id"],
        "{history:?}"
    );
    pair.accepts(20);
    pair.verdict(&plan).assert_kept();
}
