//! The conformance suite, and what only this engine promises.

mod faults;
mod nodes;
mod opening;

use std::sync::Arc;

use magpie_sim::postgres::{self, Cluster};

use super::{Postgres, open};
use crate::store::conformance::{Opened, suite};

fn cluster() -> &'static Cluster {
    postgres::shared().unwrap()
}

async fn open_at(url: &str) -> Arc<Postgres> {
    open(url, [5; 32]).await.unwrap()
}

async fn open_empty() -> Opened {
    let url = cluster().create_database().await.unwrap();
    (open_at(&url).await, Box::new(()))
}

suite!(open_empty, unless postgres::is_skipped());
