//! Connections that break at the worst moment, and a database that is killed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use magpie_protocol::seq::Position;
use magpie_sim::{
    postgres::{self, Cluster},
    proxy::{Direction, Proxy},
};
use tokio::time::{Instant, sleep};

use super::{cluster, open_at};
use crate::store::{
    Append, Outcome, Shard, SharedStore, Store as _, StoreError,
    conformance::{ALL, NOON, Player, World},
    postgres::Postgres,
};

/// A store behind a proxy, and the same database without it.
struct Through {
    proxy: Proxy,
    world: World,
    beside: Arc<Postgres>,
    url: String,
}

async fn through_a_proxy() -> Through {
    let url = cluster().create_database().await.unwrap();
    let target = SocketAddr::from(([127, 0, 0, 1], cluster().port()));
    let proxy = Proxy::start(target, 1).await.unwrap();
    let port = cluster().port().to_string();
    let behind = url.replace(&port, &proxy.address().port().to_string());
    let store: SharedStore = open_at(&behind).await;
    Through {
        proxy,
        world: World::new((store, Box::new(()))),
        beside: open_at(&url).await,
        url,
    }
}

/// A pair that has written before, so that the connection is warm.
async fn pair(world: &World) -> (Player, Player) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    world.accept(world.to(&alice, &bob, "warm")).await;
    world.accept(world.to(&alice, &bob, "warmer")).await;
    (alice, bob)
}

async fn until_head_is(store: &Postgres, head: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.state().await.unwrap().heads != Position::new(head) {
        assert!(Instant::now() < deadline, "the head is never {head}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Until this many backends wait for a lock in this database.
async fn until_waiting(client: &tokio_postgres::Client) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let sql = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(Instant::now() < deadline, "nobody waits for the lock");
        sleep(Duration::from_millis(5)).await;
    }
}

/// D3. The answer to a commit is lost: the batch is run again and found.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found() {
    if postgres::is_skipped() {
        return;
    }
    let through = through_a_proxy().await;
    let world = &through.world;
    let (alice, bob) = pair(world).await;
    through.proxy.swallow(Direction::Down);
    let hello = world.to(&alice, &bob, "hello");
    let batch = Arc::from([hello.clone()]);
    let (committed, ()) = tokio::join!(world.store.append(Shard::FIRST, batch, NOON), async {
        until_head_is(&through.beside, 3).await;
        through.proxy.cut_all();
        through.proxy.pass();
    });
    let committed = committed.unwrap();
    let Outcome::Accepted { seq, .. } = committed.outcomes[0] else {
        panic!("{:?}", committed.outcomes);
    };
    assert_eq!((seq.get(), committed.events.len()), (3, 0));
    assert_eq!(committed.head, Position::new(3));
    let again = world.append(&[hello]).await;
    assert_eq!(again.outcomes, committed.outcomes);
}

/// D3. The connection breaks before anything is committed, and its backend lives
/// on: the batch is run again and there once.
#[tokio::test]
async fn a_batch_whose_connection_breaks_is_there_once() {
    if postgres::is_skipped() {
        return;
    }
    let through = through_a_proxy().await;
    let world = &through.world;
    let (alice, bob) = pair(world).await;
    let name = through.url.rsplit('/').next().unwrap();
    let mut blocker = cluster().connect(name).await.unwrap();
    let watcher = cluster().connect(name).await.unwrap();
    let transaction = blocker.transaction().await.unwrap();
    let lock = "SELECT FROM log_head FOR UPDATE";
    transaction.batch_execute(lock).await.unwrap();
    let hello = Arc::from([world.to(&alice, &bob, "hello")]);
    let (committed, ()) = tokio::join!(world.store.append(Shard::FIRST, hello, NOON), async {
        until_waiting(&watcher).await;
        through.proxy.cut_all();
        transaction.rollback().await.unwrap();
    });
    assert_eq!(committed.unwrap().head, Position::new(3));
    let log = through.beside.stretch(Position::ZERO, ALL).await.unwrap();
    assert_eq!(log.events.len(), 3);
}

/// Nobody who stops waiting stops a commit half way.
#[tokio::test]
async fn a_batch_is_committed_though_nobody_waits_for_it() {
    if postgres::is_skipped() {
        return;
    }
    let through = through_a_proxy().await;
    let world = &through.world;
    let (alice, bob) = pair(world).await;
    through.proxy.stall(Direction::Down);
    let batch = Arc::from([world.to(&alice, &bob, "hello")]);
    let waited = tokio::time::timeout(
        Duration::from_millis(50),
        world.store.append(Shard::FIRST, batch, NOON),
    );
    assert!(waited.await.is_err());
    through.proxy.pass();
    until_head_is(&through.beside, 3).await;
}

/// D1, D3. Killed with all its processes while batches are on their way.
#[tokio::test]
async fn nothing_is_lost_when_the_database_is_killed() {
    if postgres::is_skipped() {
        return;
    }
    let cluster = Cluster::start().unwrap();
    let url = cluster.create_database().await.unwrap();
    let world = World::new((open_at(&url).await, Box::new(())));
    let (alice, bob) = pair(&world).await;
    let mut accepted = 2;
    for _ in 0..3 {
        let killed = async {
            sleep(Duration::from_millis(30)).await;
            cluster.kill().unwrap();
            cluster.restart().unwrap();
        };
        let written = async {
            for _ in 0..60 {
                let batch = [
                    world.to(&alice, &bob, "hello"),
                    world.to(&bob, &alice, "hi"),
                ];
                // A database that is long in coming back has this batch refused, with
                // nothing of it committed: then it is handed in again.
                let batch: Arc<[Append]> = Arc::from(batch);
                let committed = loop {
                    match world
                        .store
                        .append(Shard::FIRST, Arc::clone(&batch), NOON)
                        .await
                    {
                        Ok(committed) => break committed,
                        Err(StoreError::Unavailable { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                };
                for outcome in committed.outcomes {
                    accepted += 1;
                    assert!(
                        matches!(outcome, Outcome::Accepted { seq, .. } if seq.get() == accepted),
                        "{outcome:?}, expected {accepted}"
                    );
                }
            }
        };
        tokio::join!(killed, written);
    }
    // It may still be starting.
    let deadline = Instant::now() + Duration::from_secs(20);
    let log = loop {
        match world.store.stretch(Position::ZERO, ALL).await {
            Ok(log) => break log,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(log.events.len() as u64, accepted);
}
