//! How each statement of the source would be carried out.

use magpie_sim::postgres;
use tokio_postgres::Client;

use super::{
    super::super::{
        batch, blocks, command, describe, due, history, media, members, pages, people, presence,
        session::SET_UP, states, syncs, uses, wakes,
    },
    super::{cluster, open_at},
};
use crate::store::conformance::sources::{by_name, each};

/// What is read to its end all the same: once, when an epoch begins; and who was deleted,
/// which are all of them here.
const MAY_SCAN: [&str; 6] = [
    "operators::FIND_DEPARTURES",
    "epoch::LOCK_CURSORS",
    "epoch::FENCE_ALL",
    "epoch::LOOK_AT_ALL",
    "epoch::REVOKE_ALL",
    "epoch::COUNT_DEVICES",
];

/// Tables of few rows: one for each shard, or epoch, or node, or one in all.
const SMALL: [&str; 5] = [
    "log_head",
    "epochs",
    "facts",
    "wake_cursors",
    "magpie_migrations",
];

/// Rows in each table.
const ROWS: i32 = 2_000;

/// Rows of which no two have anything in common, where that is possible, in all tables but
/// the small ones: memberships that are open, and reactions that stand.
async fn fill(client: &Client) {
    let columns = "
        SELECT table_name::text, string_agg(quote_ident(column_name), ', '), string_agg(
               CASE WHEN column_name IN ('to_seq', 'to_position', 'removed_seq')
                    THEN '9223372036854775807' ELSE
               CASE data_type WHEN 'uuid' THEN 'gen_random_uuid()'
                              WHEN 'text' THEN 'g::text'
                              WHEN 'bytea' THEN 'sha256(g::text::bytea)'
                              WHEN 'boolean' THEN 'false'
                              WHEN 'timestamp with time zone' THEN 'now()'
                              WHEN 'smallint' THEN '1'
                              WHEN 'ARRAY' THEN 'ARRAY[g]'
                              ELSE 'g' END END, ', ')
          FROM information_schema.columns
         WHERE table_schema = 'public' AND NOT table_name = ANY ($1)
         GROUP BY table_name";
    let small = SMALL.map(str::to_owned).to_vec();
    // Nothing that they refer to need be there yet.
    let trust = "SET session_replication_role = replica";
    client.batch_execute(trust).await.unwrap();
    for row in client.query(columns, &[&small]).await.unwrap() {
        let [table, names, values] = [0, 1, 2].map(|column| row.get::<_, String>(column));
        let insert = format!(
            "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE
             SELECT {values} FROM generate_series(1000, 1000 + {ROWS}) g"
        );
        client.batch_execute(&insert).await.expect(&insert);
    }
    client.batch_execute("ANALYZE").await.unwrap();
}

/// Where a plan reads more than an index says.
fn scans(plan: &[String]) -> Vec<String> {
    let is_node = |line: &&String| line.contains("->") || line.contains("(cost");
    let mut found = Vec::new();
    for (number, line) in plan.iter().enumerate() {
        let is_small = SMALL
            .iter()
            .any(|table| line.contains(&format!(" on {table} ")));
        let mut rest = plan
            .iter()
            .skip(number + 1)
            .take_while(|line| !is_node(line));
        let is_whole = line.contains("Seq Scan on")
            || line.contains("Index") && line.contains("Scan using") && {
                !rest.any(|line| line.contains("Index Cond"))
            };
        if is_whole && !is_small {
            found.push(line.trim().to_owned());
        }
    }
    found
}

/// D9. However much there is: the schema has an index for each statement of the source.
#[tokio::test]
async fn each_statement_finds_by_an_index() {
    if postgres::is_skipped() {
        return;
    }
    let named = by_name![
        batch::WRITE_MESSAGES,
        blocks::FIND_SILENT,
        command::JUDGE,
        describe::FIND_MEMBERS,
        due::TAKE_DUE,
        history::FIND_EVENTS_DOWN,
        history::FIND_EVENTS_UP,
        media::FIND_FOR_USER,
        members::FIND_PAGE,
        pages::FIND_STRETCH,
        pages::FIND_USER_EVENTS,
        pages::FIND_USER_EVENTS_FAR,
        people::FIND_PROFILES,
        people::FIND_BY_NAME,
        people::FIND_BY_LINK,
        people::FIND_BY_PREFIX,
        people::FIND_COMPANIONS,
        presence::FIND,
        states::FIND_EDITS,
        states::FIND_REACTIONS,
        syncs::OWE,
        syncs::TAKE_DUE,
        uses::FIND_ATTACHED,
        uses::EXPIRE,
        uses::KEEP_USED,
        wakes::FIND_WORTHY,
        wakes::FIND_CANDIDATES,
        wakes::RECORD,
    ];
    let url = cluster().create_database().await.unwrap();
    let client = cluster().connect(url.rsplit('/').next().unwrap()).await;
    let client = client.unwrap();
    drop(open_at(&url).await);
    fill(&client).await;
    // As connections of the store are set up, whatever the parameters are; and without what
    // pays for few rows alone.
    let set_up = format!(
        "{SET_UP}; SET plan_cache_mode = force_generic_plan;
         SET enable_hashjoin = off; SET enable_mergejoin = off"
    );
    client.batch_execute(&set_up).await.unwrap();
    let mut left = Vec::new();
    for (name, sql) in each("postgres", named) {
        let prepare = format!("PREPARE it AS {sql}");
        client.batch_execute(&prepare).await.expect(&sql);
        let count = (1..=99)
            .take_while(|it| sql.contains(&format!("${it}")))
            .count();
        let nothing = vec!["NULL"; count].join(", ");
        let explain = match count {
            0 => "EXPLAIN EXECUTE it".to_owned(),
            _ => format!("EXPLAIN EXECUTE it ({nothing})"),
        };
        let lines = client.query(&explain, &[]).await.expect(&sql);
        let lines: Vec<String> = lines.iter().map(|row| row.get(0)).collect();
        client.batch_execute("DEALLOCATE it").await.unwrap();
        let scans = scans(&lines);
        if !scans.is_empty() && !MAY_SCAN.contains(&name.as_str()) {
            left.push((name, scans));
        }
    }
    assert_eq!(left, []);
}
