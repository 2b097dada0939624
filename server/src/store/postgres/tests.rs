//! The conformance suite, and what only this engine promises.

mod faults;
mod nodes;
mod opening;
mod plans;
mod shards;
mod tls;

use std::sync::Arc;

use magpie_sim::postgres::{self, Cluster};

use super::{Postgres, open};
use crate::store::conformance::{self, Opened, World, suite};

fn cluster() -> &'static Cluster {
    postgres::shared().unwrap()
}

async fn open_at(url: &str) -> Arc<Postgres> {
    open(url, None, [5; 32]).await.unwrap()
}

async fn open_empty() -> Opened {
    let url = cluster().create_database().await.unwrap();
    (open_at(&url).await, Box::new(()))
}

suite!(open_empty, unless postgres::is_skipped());

/// The same in a log of two shards.
#[test]
fn random_histories_in_two_shards_read_like_the_model() {
    if postgres::is_skipped() {
        return;
    }
    conformance::model::check(async || {
        let url = cluster().create_database().await.unwrap();
        let store = open(&url, Some(2), [5; 32]).await.unwrap();
        let opened: Opened = (store, Box::new(()));
        opened
    });
}

/// D11.
#[tokio::test]
async fn a_snapshot_says_what_histories_share() {
    if postgres::is_skipped() {
        return;
    }
    for shards in [1, 2] {
        let url = cluster().create_database().await.unwrap();
        let name = url.rsplit('/').next().unwrap();
        let client = cluster().connect(name).await.unwrap();
        let store = open(&url, Some(shards), [5; 32]).await.unwrap();
        let world = World::new((store, Box::new(())));
        let begin = async |epoch| {
            let sql = format!("INSERT INTO epochs (epoch, base) SELECT {epoch}, heads()");
            client.batch_execute(&sql).await.unwrap();
        };
        conformance::pages::a_snapshot_says_what_histories_share(world, begin).await;
    }
}
