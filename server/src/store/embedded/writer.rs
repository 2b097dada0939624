//! The one connection that writes, and what it remembers.

use std::{collections::HashMap, sync::Arc};

use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    role::Role,
    seq::Seq,
    text::UserName,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::rows::{OPEN_END, unsigned};
use crate::store::{
    StoreError,
    rules::{ConversationKind, Person, Place, stored_role},
};

/// Entries of one of the writer's caches; a full one is emptied. About 20 MB.
const CACHE_COUNT_MAX: usize = 200_000;

/// The connection that writes.
pub(super) struct Writer {
    connection: Connection,
    caches: Caches,
    /// False from the beginning of a transaction until its end is known to be
    /// good.
    settled: bool,
    /// Pages written since this was last asked, roughly.
    written: u64,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            caches: Caches::default(),
            settled: true,
            written: 0,
        }
    }

    /// Runs `work` in one transaction: all of it is durable when this returns,
    /// or nothing of it is there.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut Caches) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.settle()?;
        self.settled = false;
        let rows_before = self.connection.total_changes();
        self.statement("BEGIN IMMEDIATE")?.execute([])?;
        let done = work(&self.connection, &mut self.caches).and_then(|done| {
            self.statement("COMMIT")?
                .execute([])
                .map(|_| done)
                .map_err(Into::into)
        });
        if done.is_err() {
            // What fails here is tried again before the next transaction.
            let rolled_back = self.settle();
            tracing::debug!(?rolled_back, "transaction failed");
            return done;
        }
        self.settled = true;
        let rows = self.connection.total_changes().saturating_sub(rows_before);
        // A commit touches a few pages, each further row in a batch about two.
        self.written = self
            .written
            .saturating_add(4)
            .saturating_add(rows.saturating_mul(2));
        done
    }

    /// Roughly how many pages were written since this was last asked.
    pub(super) const fn take_written(&mut self) -> u64 {
        std::mem::replace(&mut self.written, 0)
    }

    /// After a failed or interrupted transaction: ends it, and forgets what was
    /// learnt in it.
    fn settle(&mut self) -> Result<(), StoreError> {
        if self.settled {
            return Ok(());
        }
        self.caches = Caches::default();
        if !self.connection.is_autocommit() {
            self.statement("ROLLBACK")?.execute([])?;
        }
        self.settled = true;
        Ok(())
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }

    #[cfg(test)]
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// What the writer has read or written lately.
///
/// Exact, because nobody else writes; whoever changes a row changes it here
/// too. Only what exists is remembered, never that something does not.
#[derive(Default)]
pub(super) struct Caches {
    people: HashMap<UserId, Arc<Person>>,
    names: HashMap<UserName, Arc<Person>>,
    /// Devices that are not revoked, and whose they are.
    devices: HashMap<DeviceId, UserId>,
    places: HashMap<ConversationId, Place>,
    /// Open memberships: conversation and user, and what they are there.
    members: HashMap<(i64, i64), Role>,
}

impl Caches {
    /// The user with this id.
    pub(super) fn person(
        &mut self,
        connection: &Connection,
        id: UserId,
    ) -> Result<Option<Arc<Person>>, StoreError> {
        if let Some(person) = self.people.get(&id) {
            return Ok(Some(Arc::clone(person)));
        }
        let sql = "SELECT key, user_id, name FROM users WHERE user_id = ?1";
        let found = find_person(connection, sql, params![id.bytes()])?;
        if let Some(person) = &found {
            make_room(self.people.len(), || self.people.clear());
            self.people.insert(id, Arc::clone(person));
        }
        Ok(found)
    }

    /// The user with this name.
    pub(super) fn named(
        &mut self,
        connection: &Connection,
        name: &UserName,
    ) -> Result<Option<Arc<Person>>, StoreError> {
        if let Some(person) = self.names.get(name) {
            return Ok(Some(Arc::clone(person)));
        }
        let sql = "SELECT key, user_id, name FROM users WHERE name = ?1";
        let found = find_person(connection, sql, params![name.as_str()])?;
        if let Some(person) = &found {
            make_room(self.names.len(), || self.names.clear());
            self.names.insert(name.clone(), Arc::clone(person));
        }
        Ok(found)
    }

    /// Whether this is a device of this user that is not revoked.
    pub(super) fn may_act(
        &mut self,
        connection: &Connection,
        device: DeviceId,
        user: UserId,
    ) -> Result<bool, StoreError> {
        if let Some(owner) = self.devices.get(&device) {
            return Ok(*owner == user);
        }
        let sql = "
            SELECT u.user_id FROM devices d JOIN users u ON u.key = d.user
             WHERE d.device_id = ?1 AND NOT d.is_revoked";
        let mut statement = connection.prepare_cached(sql)?;
        let owner: Option<UserId> = statement
            .query_row([device.bytes()], |row| row.get(0).map(UserId::new))
            .optional()?;
        let Some(owner) = owner else {
            return Ok(false);
        };
        make_room(self.devices.len(), || self.devices.clear());
        self.devices.insert(device, owner);
        Ok(owner == user)
    }

    /// The user has no name any more.
    pub(super) fn unnamed(&mut self, user: UserId) {
        self.people.remove(&user);
        self.names.retain(|_, person| person.id != user);
    }

    /// The device is revoked.
    pub(super) fn revoked(&mut self, device: DeviceId) {
        self.devices.remove(&device);
    }

    /// The conversation with this id.
    pub(super) fn place(
        &mut self,
        connection: &Connection,
        id: ConversationId,
    ) -> Result<Option<Place>, StoreError> {
        if let Some(place) = self.places.get(&id) {
            return Ok(Some(*place));
        }
        let sql = "
            SELECT key, kind, announcement_only FROM conversations WHERE conversation_id = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let found: Option<(i64, i64, bool)> = statement
            .query_row([id.bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((key, kind, announcement_only)) = found else {
            return Ok(None);
        };
        let sql = "
            SELECT seq, message_count FROM events
             WHERE conversation = ?1 ORDER BY seq DESC LIMIT 1";
        let last: Option<(i64, i64)> = connection
            .prepare_cached(sql)?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (head, messages) = last.unwrap_or((0, 0));
        let place = Place {
            key,
            kind: ConversationKind::from_number(kind)?,
            head: Seq::new(unsigned(head)),
            announcement_only,
            messages: unsigned(messages),
        };
        self.placed(id, place);
        Ok(Some(place))
    }

    /// The conversation is there now, or has a new head.
    pub(super) fn placed(&mut self, id: ConversationId, place: Place) {
        make_room(self.places.len(), || self.places.clear());
        self.places.insert(id, place);
    }

    /// What the user is in the conversation, if they are a member now.
    pub(super) fn role(
        &mut self,
        connection: &Connection,
        conversation: i64,
        user: i64,
    ) -> Result<Option<Role>, StoreError> {
        if let Some(role) = self.members.get(&(conversation, user)) {
            return Ok(Some(*role));
        }
        let sql = "
            SELECT role FROM members
             WHERE user = ?1 AND conversation = ?2 AND to_position = ?3";
        let mut statement = connection.prepare_cached(sql)?;
        let found = statement.query_row(params![user, conversation, OPEN_END], |row| row.get(0));
        let Some(number) = found.optional()? else {
            return Ok(None);
        };
        let role = stored_role(number)?;
        self.is_now(conversation, user, role);
        Ok(Some(role))
    }

    /// The user is a member now, in this role.
    pub(super) fn is_now(&mut self, conversation: i64, user: i64, role: Role) {
        make_room(self.members.len(), || self.members.clear());
        self.members.insert((conversation, user), role);
    }

    /// The user is no member any more.
    pub(super) fn left(&mut self, conversation: i64, user: i64) {
        self.members.remove(&(conversation, user));
    }
}

fn make_room(count: usize, clear: impl FnOnce()) {
    if count >= CACHE_COUNT_MAX {
        clear();
    }
}

pub(super) fn find_person(
    connection: &Connection,
    sql: &str,
    params: &[&dyn rusqlite::ToSql],
) -> Result<Option<Arc<Person>>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params, |row| {
        Ok(Person {
            key: row.get(0)?,
            id: UserId::new(row.get(1)?),
            name: row.get(2)?,
        })
    });
    Ok(found.optional()?.map(Arc::new))
}
