//! The conformance suite, and what only this engine promises.

use magpie_sim::postgres::{self, Cluster};

use super::open;
use crate::store::conformance::{Opened, suite};

fn cluster() -> &'static Cluster {
    postgres::shared().unwrap()
}

async fn open_empty() -> Opened {
    let url = cluster().create_database().await.unwrap();
    (open(&url, [5; 32]).await.unwrap(), Box::new(()))
}

suite!(open_empty, unless postgres::is_skipped());
