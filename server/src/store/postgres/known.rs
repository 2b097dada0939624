//! What the committer has read lately and hardly anybody changes: which key stands
//! for whom.
//!
//! Heads, memberships and devices are not here: other nodes change them, so they
//! are read under the log head's lock. Keys are forgotten with the connection,
//! because a database that was restored may have given them out again; people also
//! when this node learns that somebody was deleted. Until then, a second or so, who
//! writes to them by name is not told that they are gone.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use magpie_protocol::{
    id::{ConversationId, UserId},
    text::UserName,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::session::{Failure, Session, get, get_id, uuid};
use crate::store::{
    Append,
    identity::destination,
    operators::stored_name,
    rules::{Asked, Person},
};

/// Entries of one of the maps; a full one is emptied. About 20 MB.
const COUNT_MAX: usize = 200_000;

/// Who has one of these ids or names.
const FIND_PEOPLE: &str = "
    SELECT key, user_id, name FROM users WHERE user_id = ANY($1) OR name = ANY($2)";

const FIND_PLACES: &str = "
    SELECT key, conversation_id FROM conversations WHERE conversation_id = ANY($1)";

/// How often this node has learnt that somebody was deleted.
#[derive(Debug, Default)]
pub(super) struct Deletions(AtomicU64);

impl Deletions {
    pub(super) fn learnt(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Keys. Only what exists is remembered, never that something does not.
#[derive(Default)]
pub(super) struct Known {
    /// As many deletions as were learnt when the people were last forgotten.
    deletions: u64,
    people: HashMap<UserId, Arc<Person>>,
    names: HashMap<UserName, Arc<Person>>,
    places: HashMap<ConversationId, i64>,
    /// Members that a group may have: of this server's settings.
    pub(super) members_max: u64,
}

impl Known {
    /// The user with this id, if it was learnt.
    pub(super) fn person(&self, id: UserId) -> Option<&Arc<Person>> {
        self.people.get(&id)
    }

    /// The user with this name, if it was learnt.
    pub(super) fn named(&self, name: &UserName) -> Option<&Arc<Person>> {
        self.names.get(name)
    }

    /// The key of a conversation, if it was learnt.
    pub(super) fn place(&self, id: ConversationId) -> Option<i64> {
        self.places.get(&id).copied()
    }

    /// Forgets people if one of them may have been deleted.
    pub(super) fn heed(&mut self, deletions: &Deletions) {
        let learnt = deletions.0.load(Ordering::Acquire);
        if learnt != self.deletions {
            self.deletions = learnt;
            self.people.clear();
            self.names.clear();
        }
    }

    /// Reads whatever a batch names and is not known yet.
    pub(super) async fn learn(
        &mut self,
        session: Session<'_>,
        batch: &[Append],
    ) -> Result<(), Failure> {
        self.make_room();
        let ids = batch.iter().map(|append| append.actor.user);
        let names = batch.iter().flat_map(|append| append.command.names());
        self.learn_people(session, ids, names).await?;
        let places = batch.iter().filter_map(|append| self.destination(append));
        let unknown: Vec<Uuid> = places
            .filter(|id| !self.places.contains_key(id))
            .map(|id| uuid(id.bytes()))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for row in session.rows(FIND_PLACES, &[&unknown]).await? {
            let id = ConversationId::new(get_id(&row, 1)?);
            self.places.insert(id, get(&row, 0)?);
        }
        Ok(())
    }

    async fn learn_people(
        &mut self,
        session: Session<'_>,
        ids: impl Iterator<Item = UserId>,
        names: impl Iterator<Item = &UserName>,
    ) -> Result<(), Failure> {
        let ids: Vec<Uuid> = ids
            .filter(|id| !self.people.contains_key(id))
            .map(|id| uuid(id.bytes()))
            .collect();
        let names: Vec<&str> = names
            .filter(|name| !self.names.contains_key(*name))
            .map(UserName::as_str)
            .collect();
        if ids.is_empty() && names.is_empty() {
            return Ok(());
        }
        for row in session.rows(FIND_PEOPLE, &[&ids, &names]).await? {
            let person = Arc::new(person(&row)?);
            self.people.insert(person.id, Arc::clone(&person));
            // Who is deleted has no name.
            if !person.name.is_empty() {
                let name = stored_name(&person.name)?;
                self.names.insert(name, person);
            }
        }
        Ok(())
    }

    /// Where a command goes, if it says so and to somebody who exists.
    pub(super) fn destination(&self, append: &Append) -> Option<ConversationId> {
        destination(append, |name| self.names.get(name).map(|peer| peer.id))
    }

    /// As [`Asked::of`].
    pub(super) fn asked(&self, append: &Append) -> Option<Asked> {
        Asked::of(append, |name| self.names.get(name).map(|peer| peer.id))
    }

    fn make_room(&mut self) {
        // Never in the middle of a batch.
        if self.people.len() >= COUNT_MAX {
            self.people.clear();
            self.names.clear();
        }
        if self.places.len() >= COUNT_MAX {
            self.places.clear();
        }
    }
}

pub(super) fn person(row: &Row) -> Result<Person, Failure> {
    Ok(Person {
        key: get(row, 0)?,
        id: UserId::new(get_id(row, 1)?),
        name: get(row, 2)?,
    })
}
