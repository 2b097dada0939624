//! How the database finds what it is asked for.

use rusqlite::Connection;

use super::{
    super::{
        blocks, changes, describe, due, history, media, members, open::DATABASE_FILE, pages,
        people, presence, states, syncs, uses, wakes,
    },
    closed,
};
use crate::store::conformance::sources::{by_name, each};

fn empty() -> (tempfile::TempDir, Connection) {
    let dir = closed();
    let database = Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
    (dir, database)
}

fn plan(database: &Connection, sql: &str) -> Vec<String> {
    let explain = format!("EXPLAIN QUERY PLAN {sql}");
    let mut plan = database.prepare(&explain).expect(sql);
    let parameters = vec![1; plan.parameter_count()];
    let lines = plan.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3));
    lines.unwrap().map(Result::unwrap).collect()
}

/// D9. Under the log's lock nobody reads what others took back, or all that stands.
#[test]
fn how_a_reaction_stands_is_found_by_an_index() {
    let (_dir, database) = empty();
    let lines = plan(&database, changes::FIND_REACTED);
    let reads = |line: &&String| line.contains(" r ");
    let mut found = Vec::new();
    for line in lines.iter().filter(reads) {
        let rest = line.strip_prefix("SEARCH r USING ").unwrap();
        found.push(rest.trim_start_matches("COVERING "));
    }
    found.sort_unstable();
    let standing = "INDEX reactions_standing (conversation=? AND seq=?";
    let own = format!("{standing} AND emoji=? AND user=?)");
    let expected = [
        own.clone(),
        own,
        format!("{standing} AND emoji=?)"),
        format!("{standing} AND emoji>?)"),
        format!("{standing})"),
        "PRIMARY KEY (conversation=? AND seq=? AND user=?)".to_owned(),
    ];
    assert_eq!(found, expected, "{lines:#?}");
}

/// What may read a table to its end: few rows, newest first with a limit, a table that the
/// statement itself makes, or what is done once, when an epoch begins.
const MAY_SCAN: [(&str, &str); 12] = [
    ("broadcasts::FIND_BROADCASTS", "SCAN b"),
    ("changes::FIND_REACTED", "SCAN s"),
    ("changes::FIND_REACTED", "SCAN standing"),
    ("migrations", "SCAN migrations"),
    ("migrations", "SCAN sqlite_schema"),
    ("open", "SCAN log_head"),
    ("open", "SCAN cursors"),
    (
        "open",
        "SCAN push_addresses USING COVERING INDEX sqlite_autoindex_push_addresses_1",
    ),
    ("open", "SCAN devices"),
    ("operators::FIND_ACTS", "SCAN admin_acts"),
    ("rows", "SCAN epochs"),
    ("states::FIND_EDITS", "SCAN t"),
];

/// D9. However much there is: the schema has an index for each statement of the source.
#[test]
fn each_statement_finds_by_an_index() {
    let (_dir, database) = empty();
    let named = by_name![
        blocks::IS_SILENT,
        describe::FIND_MEMBERS,
        due::FIND_DUE,
        due::FIND_NEXT,
        due::FIND_OPEN,
        due::FIND_NEXT_IN,
        history::FIND_EVENTS_DOWN,
        history::FIND_EVENTS_UP,
        media::FIND_FOR_USER,
        members::FIND_PAGE,
        pages::FIND_STRETCH,
        pages::FIND_USER_EVENTS,
        pages::FIND_EVENT,
        people::FIND_PROFILE,
        people::FIND_BY_NAME,
        people::FIND_BY_LINK,
        people::FIND_BY_PREFIX,
        people::FIND_COMPANIONS,
        presence::FIND,
        states::FIND_EDITS,
        states::FIND_REACTIONS,
        syncs::OWE,
        syncs::FIND_DUE,
        uses::FIND_ATTACHED,
        wakes::FIND_WORTHY,
        wakes::FIND_CANDIDATES,
    ];
    let mut scans = Vec::new();
    for (name, sql) in each("embedded", named) {
        for line in plan(&database, &sql) {
            let is_scan = line.starts_with("SCAN ")
                && !line.starts_with("SCAN (subquery")
                && line != "SCAN CONSTANT ROW";
            if is_scan && !MAY_SCAN.contains(&(name.as_str(), line.as_str())) {
                scans.push((name.clone(), line, sql.clone()));
            }
        }
    }
    assert_eq!(scans, []);
}
