//! Databases that can be used, and those that cannot.

use std::time::{Duration, Instant};

use magpie_sim::postgres::{self, Cluster};
use tokio_postgres::{Client, NoTls};

use super::{cluster, open_at};
use crate::store::{
    Store as _,
    postgres::{
        OpenError, Postgres, migrate_schema,
        migrations::{MIGRATIONS, Migration},
        open,
        open::{open_with, reach},
        settings::Settings,
    },
};

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn refusal(opened: Result<std::sync::Arc<Postgres>, OpenError>) -> String {
    match opened {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn the_schema_is_made_once() {
    if postgres::is_skipped() {
        return;
    }
    let url = cluster().create_database().await.unwrap();
    let made = migrate_schema(&url, None).await.unwrap();
    assert_eq!((made.from, made.to), (0, 1));
    let again = migrate_schema(&url, None).await.unwrap();
    assert_eq!((again.from, again.to), (1, 1));
    let first = open_at(&url).await;
    let second = open(&url, None, [6; 32]).await.unwrap();
    assert_eq!(second.cursor_key().await, first.cursor_key().await);
    assert_eq!(first.engine(), "postgresql");
}

#[tokio::test]
async fn nodes_that_start_together_make_one_schema() {
    if postgres::is_skipped() {
        return;
    }
    let url = cluster().create_database().await.unwrap();
    let (a, b, c) = tokio::join!(open_at(&url), open_at(&url), open_at(&url));
    assert_eq!(a.cursor_key().await, b.cursor_key().await);
    assert_eq!(b.state().await, c.state().await);
}

#[tokio::test]
async fn a_schema_that_is_not_ours_is_refused() {
    if postgres::is_skipped() {
        return;
    }
    let url = cluster().create_database().await.unwrap();
    open_at(&url).await;
    let newer = "INSERT INTO magpie_migrations VALUES (2, 1, 'x')";
    client(&url).await.batch_execute(newer).await.unwrap();
    open_at(&url).await;
    let too_new = "UPDATE magpie_migrations SET oldest = 2 WHERE version = 2";
    client(&url).await.batch_execute(too_new).await.unwrap();
    let refused = refusal(open(&url, None, [5; 32]).await);
    assert!(refused.contains("its schema has version 2"), "{refused}");

    let url = cluster().create_database().await.unwrap();
    open_at(&url).await;
    let changed = [Migration {
        version: 1,
        oldest: 1,
        sql: "SELECT 1",
    }];
    let refused = refusal(open_with(&url, None, [5; 32], &changed).await);
    assert!(refused.contains("another migration 1"), "{refused}");

    let url = cluster().create_database().await.unwrap();
    let foreign = "CREATE TABLE users (name text)";
    client(&url).await.batch_execute(foreign).await.unwrap();
    let refused = refusal(open(&url, None, [5; 32]).await);
    assert!(refused.contains("\"users\" already exists"), "{refused}");
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_schema_as_it_was() {
    if postgres::is_skipped() {
        return;
    }
    let url = cluster().create_database().await.unwrap();
    open_at(&url).await;
    let step = |version, sql| Migration {
        version,
        oldest: 1,
        sql,
    };
    let broken = [
        step(1, MIGRATIONS[0].sql),
        step(2, "CREATE TABLE extra (key bigint)"),
        step(3, "CREATE TABLE extra (key bigint)"),
    ];
    let refused = refusal(open_with(&url, None, [5; 32], &broken).await);
    assert!(refused.contains("already exists"), "{refused}");
    open_at(&url).await;
    assert!(open_with(&url, None, [5; 32], &broken[..2]).await.is_ok());
}

#[tokio::test]
async fn a_role_that_may_not_change_the_schema_is_told_who_may() {
    if postgres::is_skipped() {
        return;
    }
    let url = cluster().create_database().await.unwrap();
    let owner = client(&url).await;
    let role = format!("clerk_{}", url.rsplit('/').next().unwrap());
    let make = format!("CREATE ROLE {role} LOGIN");
    owner.batch_execute(&make).await.unwrap();
    let as_clerk = url.replace("//postgres@", &format!("//{role}@"));
    let refused = refusal(open(&as_clerk, None, [5; 32]).await);
    assert!(refused.contains("`magpied migrate`"), "{refused}");

    migrate_schema(&url, None).await.unwrap();
    let grant = format!(
        "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    );
    owner.batch_execute(&grant).await.unwrap();
    open_at(&as_clerk).await;
}

#[tokio::test]
async fn a_database_that_would_lose_messages_is_refused() {
    if postgres::is_skipped() {
        return;
    }
    let cluster = Cluster::start().unwrap();
    let url = cluster.create_database().await.unwrap();
    let client = client(&url).await;
    let unsafe_setting = "ALTER SYSTEM SET fsync = off";
    client.batch_execute(unsafe_setting).await.unwrap();
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    drop(client);
    cluster.stop().unwrap();
    cluster.restart().unwrap();
    // It may still be starting: that is waited for.
    let refused = refusal(open(&url, None, [5; 32]).await);
    assert!(refused.contains("fsync=off"), "{refused}");
}

#[tokio::test]
async fn a_database_that_is_absent_is_waited_for_and_named() {
    let patience = Duration::from_millis(500);
    let began_at = Instant::now();
    let settings = Settings::read("postgres://magpie:hush@127.0.0.1:1/chat").unwrap();
    let refused = match reach(&settings, &settings.place(), patience).await {
        Ok(_) => panic!("somebody answered"),
        Err(error) => error.to_string(),
    };
    assert!(began_at.elapsed() >= patience);
    assert!(refused.contains("127.0.0.1:1/chat"), "{refused}");
    assert!(!refused.contains("hush"), "{refused}");
}
