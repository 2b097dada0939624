//! To which shard of the log a request goes.

use std::collections::HashMap;

use magpie_protocol::{id::UserId, text::UserName};
use parking_lot::Mutex;

use super::{
    connections::Connections,
    session::{Failure, Session, get, get_id},
};
use crate::store::{Append, Shard, identity::destination};

/// Names that are remembered; when there are more, all are forgotten. About
/// 20 MB.
const COUNT_MAX: usize = 200_000;

const FIND_IDS: &str = "SELECT name, user_id FROM users WHERE name = ANY($1)";

/// Whose names are whose: what was read stays true, unless somebody was deleted or the
/// database is another one now.
#[derive(Default)]
pub(super) struct Routes(Mutex<HashMap<UserName, UserId>>);

impl Routes {
    /// The shards of some requests, of so many. One to nobody goes anywhere.
    pub(super) async fn shards_of(
        &self,
        connections: &Connections,
        count: usize,
        batch: &[Append],
    ) -> Result<Vec<Shard>, Failure> {
        if count <= 1 {
            return Ok(vec![Shard::FIRST; batch.len()]);
        }
        let ids = self.learn(connections, batch).await?;
        let shard = |append| {
            let destination = destination(append, |name| ids.get(name).copied());
            destination.map_or(Shard::FIRST, |id| Shard::of_conversation(id, count))
        };
        Ok(batch.iter().map(shard).collect())
    }

    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }

    /// Whose the names in a batch are.
    async fn learn(
        &self,
        connections: &Connections,
        batch: &[Append],
    ) -> Result<HashMap<UserName, UserId>, Failure> {
        let mut found = HashMap::new();
        let mut unknown: Vec<&str> = Vec::new();
        {
            let ids = self.0.lock();
            for name in batch.iter().filter_map(|append| append.command.peer()) {
                match ids.get(name) {
                    Some(id) => drop(found.insert(name.clone(), *id)),
                    None => unknown.push(name.as_str()),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let taken = connections.take().await?;
        let rows = Session::over(&taken).rows(FIND_IDS, &[&unknown]).await?;
        let mut ids = self.0.lock();
        if ids.len() >= COUNT_MAX {
            ids.clear();
        }
        for row in &rows {
            let name = UserName::parse(get(row, 0)?);
            let name = name.map_err(|reason| Failure::corrupt(reason.to_string()))?;
            let id = UserId::new(get_id(row, 1)?);
            ids.insert(name.clone(), id);
            found.insert(name, id);
        }
        Ok(found)
    }
}
