//! What becomes of accounts after they were made, and what operators do and read.

use async_trait::async_trait;
use magpie_protocol::{
    id::{ConversationId, DeviceId, UserId},
    seq::Position,
};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Embedded, accounts, people,
    rows::{self, OPEN_END, signed, unsigned},
    writer::Caches,
};
use crate::store::{
    Account, AccountChange, AdminAct, Departure, NewReport, OperatorStore, Report, SignOut,
    Standing, Statistics, StoreError, account_log,
    operators::{COUNT, State, stored_event, stored_reason},
};

const SET_PASSWORD: &str = "UPDATE users SET password_hash = ?2 WHERE key = ?1";

const SET_STATE: &str = "UPDATE users SET state = ?2 WHERE key = ?1";

const BLANK_USER: &str = "
    UPDATE users SET name = '', password_hash = '', state = ?2, deleted_position = ?3
     WHERE key = ?1";

/// What a user had set for themself is nobody's.
const BLANK_ACCOUNT_LOG: &str = "
    UPDATE events SET body = x''
     WHERE conversation = (SELECT key FROM conversations WHERE conversation_id = ?1)";

const FIND_DEVICES: &str = "
    SELECT device_id FROM devices WHERE user = ?1 AND NOT is_revoked AND device_id <> ?2";

/// Revokes all devices of a user but one.
const REVOKE_DEVICES: &str = "
    UPDATE devices SET is_revoked = 1, changed_position = ?3
     WHERE user = ?1 AND device_id <> ?2 AND NOT is_revoked";

const FORGET_PUSH_ADDRESSES: &str = "
    DELETE FROM push_addresses
     WHERE device IN (SELECT key FROM devices WHERE user = ?1 AND is_revoked)";

const FIND_DEPARTURES: &str = "
    SELECT u.user_id, c.conversation_id
      FROM users u INDEXED BY users_by_deletion
      JOIN members m ON m.user = u.key AND m.to_position = ?1
      JOIN conversations c ON c.key = m.conversation AND (c.kind = 2 OR EXISTS (
           SELECT 1 FROM friends f WHERE f.conversation = c.key AND f.bond <> 0))
     WHERE u.deleted_position IS NOT NULL
       AND (?2 IS NULL OR (u.user_id, c.conversation_id) > (?2, ?3))
     ORDER BY u.user_id, c.conversation_id LIMIT ?4";

const INSERT_REPORT: &str = "
    INSERT INTO reports (reporter, user, event, reason, text, at_ms)
    SELECT r.key, u.key, ?3, ?4, ?5, ?6 FROM users r, users u
     WHERE r.user_id = ?1 AND u.user_id = ?2";

const FIND_REPORTS: &str = "
    SELECT r.key, f.name, u.user_id, u.name, r.event, r.reason, r.text, r.at_ms
      FROM reports r JOIN users f ON f.key = r.reporter JOIN users u ON u.key = r.user
     WHERE r.key > ?1 AND r.closed_at_ms IS NULL ORDER BY r.key LIMIT ?2";

const CLOSE_REPORT: &str = "
    UPDATE reports SET closed_at_ms = ?2, event = NULL, text = ''
     WHERE key = ?1 AND closed_at_ms IS NULL";

const INSERT_ACT: &str = "
    INSERT INTO admin_acts (uid, at_ms, action, target) VALUES (?1, ?2, ?3, ?4)";

const FIND_ACTS: &str = "
    SELECT uid, at_ms, action, target FROM admin_acts ORDER BY key DESC LIMIT ?1";

#[async_trait]
impl OperatorStore for Embedded {
    async fn change_account(
        &self,
        user: UserId,
        proven: Option<&str>,
        change: &AccountChange,
    ) -> Result<Option<Vec<DeviceId>>, StoreError> {
        let (proven, change) = (proven.map(str::to_owned), change.clone());
        self.write(move |writer| {
            writer.transaction(|connection, caches| {
                let key = match &proven {
                    Some(hash) => accounts::proven_key(connection, user, hash)?,
                    None => undeleted_key(connection, user)?,
                };
                let Some(key) = key else { return Ok(None) };
                // The change and the revocations take one position together.
                let position = rows::log_head(connection)?.position.next();
                carry_out(connection, (user, key), &change, position)?;
                let revoked = sign_out(connection, caches, key, change.sign_out(), position)?;
                let is_end = change == AccountChange::Delete;
                if is_end {
                    caches.unnamed(user);
                }
                if is_end || !revoked.is_empty() {
                    rows::move_head(connection, position)?;
                }
                Ok(Some(revoked))
            })
        })
        .await
    }

    async fn departures(
        &self,
        after: Option<Departure>,
        count: usize,
    ) -> Result<Vec<Departure>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(FIND_DEPARTURES)?;
            let user = after.map(|after| after.user.bytes());
            let group = after.map(|after| after.conversation.bytes());
            let params = params![OPEN_END, user, group, limit(count)];
            let departures = statement.query_map(params, |row| {
                Ok(Departure {
                    user: UserId::new(row.get(0)?),
                    conversation: ConversationId::new(row.get(1)?),
                })
            })?;
            Ok(departures.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn add_report(&self, report: &NewReport) -> Result<(), StoreError> {
        let report = report.clone();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let event = report.event.as_ref().map(|event| event.encode_to_vec());
                connection.prepare_cached(INSERT_REPORT)?.execute(params![
                    report.reporter.bytes(),
                    report.user.bytes(),
                    event,
                    report.reason.number(),
                    report.text.as_str(),
                    report.at_ms
                ])?;
                Ok(())
            })
        })
        .await
    }

    async fn reports(&self, after: u64, count: usize) -> Result<Vec<Report>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(FIND_REPORTS)?;
            let mut rows = statement.query(params![signed(after), limit(count)])?;
            let mut reports = Vec::new();
            while let Some(row) = rows.next()? {
                reports.push(report(row)?);
            }
            Ok(reports)
        })
        .await
    }

    async fn close_report(&self, id: u64, at_ms: i64) -> Result<bool, StoreError> {
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let mut statement = connection.prepare_cached(CLOSE_REPORT)?;
                Ok(statement.execute(params![signed(id), at_ms])? > 0)
            })
        })
        .await
    }

    async fn note_act(&self, act: &AdminAct) -> Result<(), StoreError> {
        let act = act.clone();
        self.write(move |writer| {
            writer.transaction(|connection, _caches| {
                let params = params![act.uid, act.at_ms, act.action, act.target];
                connection.prepare_cached(INSERT_ACT)?.execute(params)?;
                Ok(())
            })
        })
        .await
    }

    async fn acts(&self, count: usize) -> Result<Vec<AdminAct>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(FIND_ACTS)?;
            let acts = statement.query_map([limit(count)], |row| {
                Ok(AdminAct {
                    uid: row.get(0)?,
                    at_ms: row.get(1)?,
                    action: row.get(2)?,
                    target: row.get(3)?,
                })
            })?;
            Ok(acts.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn statistics(&self) -> Result<Statistics, StoreError> {
        self.read(|connection| {
            Ok(connection.prepare_cached(COUNT)?.query_row([], |row| {
                let count = |column| row.get(column).map(unsigned);
                Ok(Statistics {
                    users_active: count(0)?,
                    users_suspended: count(1)?,
                    users_deleted: count(2)?,
                    devices: count(3)?,
                    devices_with_pushes: count(4)?,
                    direct_conversations: count(5)?,
                    groups: count(6)?,
                    reports_open: count(7)?,
                })
            })?)
        })
        .await
    }

    async fn account_of(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        self.read(move |connection| accounts::account_of(connection, user))
            .await
    }
}

fn undeleted_key(connection: &Connection, user: UserId) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT key FROM users WHERE user_id = ?1 AND state <> 2";
    let mut statement = connection.prepare_cached(sql)?;
    let key = statement.query_row([user.bytes()], |row| row.get(0));
    Ok(key.optional()?)
}

fn carry_out(
    connection: &Connection,
    (user, key): (UserId, i64),
    change: &AccountChange,
    position: Position,
) -> Result<(), StoreError> {
    let set_state = |sql, state: State| {
        let mut statement = connection.prepare_cached(sql)?;
        statement.execute(params![key, state.number()])
    };
    match change {
        AccountChange::Password { hash, .. } => connection
            .prepare_cached(SET_PASSWORD)?
            .execute(params![key, hash])?,
        AccountChange::Suspend => set_state(SET_STATE, State::Here(Standing::Suspended))?,
        AccountChange::Resume => set_state(SET_STATE, State::Here(Standing::Active))?,
        AccountChange::Delete => {
            let state = State::Deleted.number();
            let blanked = params![key, state, signed(position.get())];
            connection.prepare_cached(BLANK_USER)?.execute(blanked)?;
            let log = account_log(user).bytes();
            connection
                .prepare_cached(BLANK_ACCOUNT_LOG)?
                .execute([log])?;
            people::forget(connection, key)?;
            connection
                .prepare_cached("DELETE FROM notify WHERE user = ?1")?
                .execute([key])?;
            connection
                .prepare_cached("DELETE FROM friends_only WHERE user = ?1")?
                .execute([key])?;
            connection
                .prepare_cached("DELETE FROM blocks WHERE user = ?1")?
                .execute([key])?
        }
    };
    Ok(())
}

/// Revokes devices of a user, all at one position.
fn sign_out(
    connection: &Connection,
    caches: &mut Caches,
    user: i64,
    whom: SignOut,
    position: Position,
) -> Result<Vec<DeviceId>, StoreError> {
    let kept = match whom {
        SignOut::Nobody => return Ok(Vec::new()),
        SignOut::Others(device) => device.bytes().to_vec(),
        // No id is empty.
        SignOut::Everybody => Vec::new(),
    };
    let mut statement = connection.prepare_cached(FIND_DEVICES)?;
    let devices = statement.query_map(params![user, kept], |row| row.get(0).map(DeviceId::new))?;
    let devices: Vec<DeviceId> = devices.collect::<Result<_, _>>()?;
    let revoked = params![user, kept, signed(position.get())];
    connection
        .prepare_cached(REVOKE_DEVICES)?
        .execute(revoked)?;
    connection
        .prepare_cached(FORGET_PUSH_ADDRESSES)?
        .execute([user])?;
    for device in &devices {
        caches.revoked(*device);
    }
    Ok(devices)
}

fn report(row: &Row<'_>) -> Result<Report, StoreError> {
    let event: Option<Vec<u8>> = row.get(4)?;
    Ok(Report {
        id: unsigned(row.get(0)?),
        reporter: row.get(1)?,
        user: (UserId::new(row.get(2)?), row.get(3)?),
        event: stored_event(event.as_deref())?,
        reason: stored_reason(row.get(5)?)?,
        text: row.get(6)?,
        at_ms: row.get(7)?,
    })
}

/// A number for `LIMIT`.
pub(super) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
