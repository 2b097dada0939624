//! Users, their devices, and where each device is.

use magpie_protocol::{
    id::{DeviceId, UserId},
    seq::Position,
    text::UserName,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    rows::{self, signed, unsigned},
    writer::Writer,
};
use crate::store::{
    Account, Attachment, Confirm, Connect, CreateUser, DEADLINE_MS_MAX, Device, DeviceLine,
    Generation, NewDevice, Positions, PutDevice, Shard, Standing, StoreError, User,
    operators::stored_name,
};

const INSERT_NAME: &str = "INSERT INTO names (name) VALUES (?1) ON CONFLICT DO NOTHING";

const INSERT_USER: &str = "
    INSERT INTO users (user_id, name, password_hash, created_at_ms) VALUES (?1, ?2, ?3, ?4)";

const INSERT_DEVICE: &str = "
    INSERT INTO devices (device_id, user, name, token_hash, created_at_ms, made_position)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const RENEW_DEVICE: &str = "
    UPDATE devices SET name = ?2, token_hash = ?3, changed_position = ?4 WHERE key = ?1";

/// Revokes a device of a user, unless it is revoked already.
const REVOKE_DEVICE: &str = "
    UPDATE devices SET is_revoked = 1, changed_position = ?3
     WHERE device_id = ?1 AND user = ?2 AND NOT is_revoked";

const FORGET_PUSH_ADDRESS: &str = "
    DELETE FROM push_addresses WHERE device = (SELECT key FROM devices WHERE device_id = ?1)";

/// Sets a device's cursor, also downwards, and fences its older connections. One that was in
/// the foreground on this node was so until now.
const CONNECT_DEVICE: &str = "
    INSERT INTO cursors
           (device, generation, cursor, last_seen_at_ms, attachment, present_at_ms, node)
    SELECT key, 1, ?2, ?3, ?4, CASE WHEN ?4 = 2 THEN ?3 END, ?5
      FROM devices WHERE device_id = ?1 AND NOT is_revoked
    ON CONFLICT (device) DO UPDATE
       SET generation = generation + 1,
           cursor = excluded.cursor,
           last_seen_at_ms = excluded.last_seen_at_ms,
           attachment = excluded.attachment,
           present_at_ms =
               CASE WHEN excluded.attachment = 2 OR (attachment = 2 AND node = excluded.node)
                    THEN excluded.last_seen_at_ms ELSE present_at_ms END,
           node = excluded.node
    RETURNING generation";

/// A device whose cursor falls is looked at in a while: what it has lost may lie
/// behind the wake cursor. What it was woken for before says nothing any more.
const LOOK_IF_LOWERED: &str = "
    INSERT INTO wakes (device, wake_id, position, tries, due_at_ms)
    SELECT c.device, 0, 0, 0, ?3
      FROM devices d
      JOIN cursors c ON c.device = d.key AND c.cursor > ?2
      JOIN push_addresses p ON p.device = d.key
     WHERE d.device_id = ?1 AND NOT d.is_revoked
    ON CONFLICT (device) DO UPDATE
       SET position = 0, tries = 0, due_at_ms = min(due_at_ms, excluded.due_at_ms)";

/// Somebody looks at it: it shows nothing any more that was not seen.
const LOOKED_AT: &str = "
    DELETE FROM notified WHERE device = (SELECT key FROM devices WHERE device_id = ?1)";

/// Moves a device's cursor forward, if this is still its generation.
const ADVANCE_CURSOR: &str = "
    UPDATE cursors SET cursor = ?3 WHERE device = ?1 AND generation = ?2 AND cursor < ?3";

/// Moves a user's delivered mark forward; it never falls.
const ADVANCE_DELIVERED: &str = "
    INSERT INTO delivered (user, position) VALUES (?1, ?2)
    ON CONFLICT (user) DO UPDATE SET position = excluded.position
     WHERE position < excluded.position";

pub(super) fn account(
    connection: &Connection,
    name: &UserName,
) -> Result<Option<Account>, StoreError> {
    let sql = "SELECT user_id, name, password_hash, state FROM users WHERE name = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let account = statement.query_row([name.as_str()], account_row);
    account.optional()?.transpose()
}

pub(super) fn account_of(
    connection: &Connection,
    user: UserId,
) -> Result<Option<Account>, StoreError> {
    let sql = "
        SELECT user_id, name, password_hash, state FROM users WHERE user_id = ?1 AND state <> 2";
    let mut statement = connection.prepare_cached(sql)?;
    let account = statement.query_row([user.bytes()], account_row);
    account.optional()?.transpose()
}

fn account_row(row: &Row<'_>) -> rusqlite::Result<Result<Account, StoreError>> {
    let id = UserId::new(row.get(0)?);
    let name: String = row.get(1)?;
    let password_hash = row.get(2)?;
    let standing = Standing::from_number(row.get(3)?);
    Ok(stored_name(&name).and_then(|name| {
        Ok(Account {
            user: User { id, name },
            password_hash,
            standing: standing?,
        })
    }))
}

pub(super) fn create_user(
    writer: &mut Writer,
    account: &Account,
    device: Option<&NewDevice>,
    at_ms: i64,
) -> Result<CreateUser, StoreError> {
    let user = &account.user;
    writer.transaction(|connection, _caches| {
        let is_there = |device: &NewDevice| find_device(connection, device.id);
        if device.map(is_there).transpose()?.flatten().is_some() {
            return Ok(CreateUser::DeviceRefused);
        }
        let named = connection
            .prepare_cached(INSERT_NAME)?
            .execute([user.name.as_str()])?;
        if named == 0 {
            return Ok(CreateUser::NameTaken);
        }
        let key = connection.prepare_cached(INSERT_USER)?.insert(params![
            user.id.bytes(),
            user.name.as_str(),
            account.password_hash,
            at_ms
        ])?;
        if let Some(device) = device {
            insert_device(connection, key, device, at_ms)?;
        }
        Ok(CreateUser::Done)
    })
}

pub(super) fn put_device(
    writer: &mut Writer,
    account: &Account,
    device: &NewDevice,
    at_ms: i64,
) -> Result<PutDevice, StoreError> {
    writer.transaction(|connection, _caches| {
        let user = account.user.id;
        let Some(user) = proven_key(connection, user, &account.password_hash)? else {
            return Ok(PutDevice::Stale);
        };
        match find_device(connection, device.id)? {
            None => insert_device(connection, user, device, at_ms)?,
            Some(found) if found.user == user && !found.is_revoked => {
                let position = rows::log_head(connection)?.position.next();
                connection.prepare_cached(RENEW_DEVICE)?.execute(params![
                    found.key,
                    device.name.as_str(),
                    device.token_hash,
                    signed(position.get())
                ])?;
                rows::move_head(connection, position)?;
            }
            Some(_) => return Ok(PutDevice::Refused),
        }
        Ok(PutDevice::Done)
    })
}

/// The key of a user in good standing whose password has this hash.
pub(super) fn proven_key(
    connection: &Connection,
    user: UserId,
    hash: &str,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT key FROM users WHERE user_id = ?1 AND password_hash = ?2 AND state = 0";
    let mut statement = connection.prepare_cached(sql)?;
    let key = statement.query_row(params![user.bytes(), hash], |row| row.get(0));
    Ok(key.optional()?)
}

/// A device's row, revoked or not.
struct FoundDevice {
    key: i64,
    user: i64,
    is_revoked: bool,
}

fn find_device(connection: &Connection, id: DeviceId) -> Result<Option<FoundDevice>, StoreError> {
    let sql = "SELECT key, user, is_revoked FROM devices WHERE device_id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([id.bytes()], |row| {
        Ok(FoundDevice {
            key: row.get(0)?,
            user: row.get(1)?,
            is_revoked: row.get(2)?,
        })
    });
    Ok(found.optional()?)
}

fn insert_device(
    connection: &Connection,
    user: i64,
    device: &NewDevice,
    at_ms: i64,
) -> Result<(), StoreError> {
    let head = rows::log_head(connection)?.position;
    connection.prepare_cached(INSERT_DEVICE)?.execute(params![
        device.id.bytes(),
        user,
        device.name.as_str(),
        device.token_hash,
        at_ms,
        signed(head.get())
    ])?;
    Ok(())
}

pub(super) fn device(connection: &Connection, id: DeviceId) -> Result<Option<Device>, StoreError> {
    let sql = "
        SELECT u.user_id, u.name, d.token_hash, d.made_position
          FROM devices d JOIN users u ON u.key = d.user
         WHERE d.device_id = ?1 AND NOT d.is_revoked";
    let mut statement = connection.prepare_cached(sql)?;
    let found: Option<(UserId, String, [u8; 32], i64)> = statement
        .query_row([id.bytes()], |row| {
            Ok((
                UserId::new(row.get(0)?),
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
            ))
        })
        .optional()?;
    let Some((user, name, token_hash, made_at)) = found else {
        return Ok(None);
    };
    let name = stored_name(&name)?;
    let user = User { id: user, name };
    Ok(Some(Device {
        id,
        user,
        token_hash,
        made_at: Position::new(unsigned(made_at)).into(),
    }))
}

pub(super) fn devices(
    connection: &Connection,
    user: UserId,
) -> Result<Vec<DeviceLine>, StoreError> {
    let sql = "
        SELECT d.device_id, d.name, d.created_at_ms, c.last_seen_at_ms
          FROM users u
          JOIN devices d ON d.user = u.key AND NOT d.is_revoked
          LEFT JOIN cursors c ON c.device = d.key
         WHERE u.user_id = ?1 ORDER BY d.key";
    let line = |row: &Row<'_>| {
        Ok(DeviceLine {
            id: DeviceId::new(row.get(0)?),
            name: row.get(1)?,
            created_at_ms: row.get(2)?,
            last_seen_at_ms: row.get(3)?,
        })
    };
    let mut statement = connection.prepare_cached(sql)?;
    let lines = statement.query_map([user.bytes()], line)?;
    Ok(lines.collect::<Result<_, _>>()?)
}

pub(super) fn revoke_device(
    writer: &mut Writer,
    user: UserId,
    device: DeviceId,
) -> Result<bool, StoreError> {
    writer.transaction(|connection, caches| {
        let Some(user) = rows::user_key(connection, user)? else {
            return Ok(false);
        };
        let position = rows::log_head(connection)?.position.next();
        let revoked = connection.prepare_cached(REVOKE_DEVICE)?.execute(params![
            device.bytes(),
            user,
            signed(position.get())
        ])?;
        if revoked > 0 {
            connection
                .prepare_cached(FORGET_PUSH_ADDRESS)?
                .execute([device.bytes()])?;
            rows::move_head(connection, position)?;
        }
        caches.revoked(device);
        Ok(revoked > 0)
    })
}

pub(super) fn connect(
    writer: &mut Writer,
    hellos: &[Connect],
    node: i64,
) -> Result<Vec<Option<Generation>>, StoreError> {
    writer.transaction(|connection, _caches| {
        let mut look = connection.prepare_cached(LOOK_IF_LOWERED)?;
        let mut looked_at = connection.prepare_cached(LOOKED_AT)?;
        let mut statement = connection.prepare_cached(CONNECT_DEVICE)?;
        let generations = hellos.iter().map(|hello| {
            let cursor = signed(place(&hello.cursor).get());
            let look_at_ms = hello.at_ms.saturating_add(DEADLINE_MS_MAX);
            look.execute(params![hello.device.bytes(), cursor, look_at_ms])?;
            if hello.attachment == Attachment::Foreground {
                looked_at.execute([hello.device.bytes()])?;
            }
            let attachment = hello.attachment.number();
            let device = hello.device.bytes();
            let params = params![device, cursor, hello.at_ms, attachment, node];
            let generation = statement.query_row(params, |row| row.get(0)).optional()?;
            Ok(generation.map(|generation| Generation(unsigned(generation))))
        });
        generations.collect()
    })
}

pub(super) fn confirm(
    writer: &mut Writer,
    confirms: &[Confirm],
) -> Result<Vec<DeviceId>, StoreError> {
    writer.transaction(|connection, _caches| {
        let mut fenced = Vec::new();
        for confirm in confirms {
            if !confirm_one(connection, confirm)? {
                fenced.push(confirm.device);
            }
        }
        Ok(fenced)
    })
}

/// False if the connection is fenced; nothing has changed then.
fn confirm_one(connection: &Connection, confirm: &Confirm) -> Result<bool, StoreError> {
    let sql = "
        SELECT d.key, d.user FROM devices d JOIN cursors c ON c.device = d.key
         WHERE d.device_id = ?1 AND NOT d.is_revoked AND c.generation = ?2";
    let generation = signed(confirm.generation.0);
    let found: Option<(i64, i64)> = connection
        .prepare_cached(sql)?
        .query_row(params![confirm.device.bytes(), generation], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((device, user)) = found else {
        return Ok(false);
    };
    // No device can have stored what is not in the log yet.
    let head: Position = rows::log_head(connection)?.position;
    let cursor = signed(place(&confirm.cursor).min(head).get());
    connection
        .prepare_cached(ADVANCE_CURSOR)?
        .execute(params![device, generation, cursor])?;
    connection
        .prepare_cached(ADVANCE_DELIVERED)?
        .execute(params![user, cursor])?;
    Ok(true)
}

/// The one shard's place.
fn place(cursor: &Positions) -> Position {
    cursor.in_shard(Shard::FIRST)
}
