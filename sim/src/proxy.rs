//! Proxies between real processes, which break their connections.
//!
//! [`Proxy`] knows nothing of what it carries; [`CommitProxy`] knows the messages
//! of `PostgreSQL`, and cuts exactly between a commit and its answer.

mod commits;

pub use magpie_proxy::{Counts, Direction, Proxy, Random};

pub use self::commits::{CommitProxy, Fate};
