use tokio::time::Instant;

use super::*;
use crate::postgres::{self, Client};

/// A table, and a client that reaches it through the proxy.
struct Through {
    proxy: CommitProxy,
    behind: Client,
    beside: Client,
}

async fn through(rewrite: Option<(&'static str, &'static str)>) -> Through {
    let cluster = postgres::shared().unwrap();
    let url = cluster.create_database().await.unwrap();
    let target = SocketAddr::from(([127, 0, 0, 1], cluster.port()));
    let proxy = CommitProxy::rewriting(target, rewrite).await.unwrap();
    let port = proxy.address().port().to_string();
    let behind = url.replace(&cluster.port().to_string(), &port) + "?sslmode=disable";
    let connecting = tokio_postgres::connect(&behind, tokio_postgres::NoTls);
    let (behind, connection) = connecting.await.unwrap();
    tokio::spawn(connection);
    let beside = cluster
        .connect(url.rsplit('/').next().unwrap())
        .await
        .unwrap();
    beside
        .batch_execute("CREATE TABLE rows (number int)")
        .await
        .unwrap();
    Through {
        proxy,
        behind,
        beside,
    }
}

impl Through {
    /// Commits one row; the answer never comes.
    async fn insert(&self, fate: Fate) {
        self.proxy.strike(fate);
        let inserted = self
            .behind
            .batch_execute("BEGIN; INSERT INTO rows VALUES (1)")
            .await;
        inserted.unwrap();
        let committed = self.behind.batch_execute("COMMIT").await;
        let error = committed.unwrap_err();
        assert!(error.as_db_error().is_none(), "{error}");
        assert_eq!(self.proxy.struck(), 1);
    }

    async fn rows(&self) -> i64 {
        let row = self
            .beside
            .query_one("SELECT count(*) FROM rows", &[])
            .await;
        row.unwrap().get(0)
    }

    /// Until nobody else has a transaction in this database.
    async fn until_quiet(&self) {
        let sql = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()
                      AND backend_type = 'client backend'";
        let deadline = Instant::now() + Duration::from_secs(20);
        while self
            .beside
            .query_one(sql, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            > 0
        {
            assert!(Instant::now() < deadline, "the orphan lives on");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_cut_off_is_there() {
    if postgres::is_skipped() {
        return;
    }
    let through = through(None).await;
    through.insert(Fate::Committed).await;
    assert_eq!(through.rows().await, 1);
}

#[tokio::test]
async fn a_commit_that_never_arrives_is_undone() {
    if postgres::is_skipped() {
        return;
    }
    let through = through(None).await;
    through.insert(Fate::Undone).await;
    through.until_quiet().await;
    assert_eq!(through.rows().await, 0);
}

#[tokio::test]
async fn a_late_commit_is_not_there_at_first() {
    if postgres::is_skipped() {
        return;
    }
    let through = through(None).await;
    through.insert(Fate::Late(Duration::from_secs(1))).await;
    assert_eq!(through.rows().await, 0);
    through.until_quiet().await;
    assert_eq!(through.rows().await, 1);
}

#[tokio::test]
async fn what_is_rewritten_arrives_so() {
    if postgres::is_skipped() {
        return;
    }
    let through = through(Some(("VALUES (1)", "VALUES (2)"))).await;
    let inserted = through
        .behind
        .batch_execute("INSERT INTO rows VALUES (1)")
        .await;
    inserted.unwrap();
    let row = through
        .beside
        .query_one("SELECT number FROM rows", &[])
        .await;
    assert_eq!(row.unwrap().get::<_, i32>(0), 2);
    assert_eq!(through.proxy.rewritten(), 1);
}
