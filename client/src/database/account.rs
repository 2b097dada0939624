//! Whose device this is, and how far it has come.

use bytes::Bytes;
use magpie_protocol::id::{DeviceId, UserId};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::Database;
use crate::{
    error::LocalError,
    model::{Account, History},
};

/// What a hello needs.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Credential {
    pub(crate) device: DeviceId,
    /// `None` once it is of no use any more.
    pub(crate) token: Option<Bytes>,
    /// The history whose events are held.
    pub(crate) epoch: u64,
    pub(crate) base: u64,
    pub(crate) cursor: Bytes,
    /// Another one is being taken over.
    pub(crate) takes_over: bool,
}

/// The user, as own events name them.
#[derive(Clone, Debug)]
pub(super) struct Me {
    pub(super) user: UserId,
    pub(super) name: String,
    /// The history that the server serves, as far as is known.
    pub(super) epoch: i64,
    /// Not all of it has come, and there are events of another one.
    pub(super) takes_over: bool,
}

pub(super) fn me(connection: &Connection) -> Result<Me, LocalError> {
    connection
        .prepare_cached(
            "SELECT user_id, name, iif(next_epoch = 0, epoch, next_epoch), next_epoch <> 0
               FROM account",
        )?
        .query_row([], |row| {
            Ok(Me {
                user: super::user_at(row, 0)?,
                name: row.get(1)?,
                epoch: row.get(2)?,
                takes_over: row.get(3)?,
            })
        })
        .optional()?
        .ok_or(LocalError::NoAccount)
}

pub(super) fn set_cursor(transaction: &Transaction<'_>, cursor: &[u8]) -> Result<(), LocalError> {
    transaction
        .prepare_cached("UPDATE account SET cursor = ?1")?
        .execute([cursor])?;
    Ok(())
}

/// The name of no history.
const NONE: (i64, i64) = (0, 0);

/// What a welcome means for what is stored.
#[derive(Debug)]
pub(super) struct Welcomed {
    /// The cursor is of no use.
    pub(super) forgets_cursor: bool,
    /// So is what was taken over of a history before this one.
    pub(super) gives_up: bool,
}

/// Notes the server's history.
///
/// In a new epoch the history may have gone back: what this device has stored or
/// was told of may be unknown to the server. The cursor of another history means
/// nothing, so it is forgotten, and the new one is taken over with the pages that
/// follow. Each event keeps the epoch that it was received in.
pub(super) fn welcome(
    transaction: &Transaction<'_>,
    epoch: u64,
    base: u64,
    starts_anew: bool,
) -> Result<Welcomed, LocalError> {
    let served = (epoch.cast_signed(), base.cast_signed());
    let (held, next, cursor): ((i64, i64), (i64, i64), Vec<u8>) = transaction
        .prepare_cached("SELECT epoch, base, next_epoch, next_base, cursor FROM account")?
        .query_row([], |row| {
            let (held, next) = ((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?));
            Ok((held, next, row.get(4)?))
        })
        .optional()?
        .ok_or(LocalError::NoAccount)?;
    let known = if next == NONE { held } else { next };
    let is_other_history = known != NONE && known != served;
    if held == NONE {
        set_history(transaction, served, NONE)?;
    } else if known != served {
        let next = if held == served { NONE } else { served };
        set_history(transaction, held, next)?;
    }
    let forgets_cursor = !cursor.is_empty() && (starts_anew || is_other_history);
    if forgets_cursor {
        set_cursor(transaction, &[])?;
    }
    Ok(Welcomed {
        forgets_cursor,
        gives_up: next != NONE && next != served,
    })
}

fn set_history(
    transaction: &Transaction<'_>,
    held: (i64, i64),
    next: (i64, i64),
) -> Result<(), LocalError> {
    transaction
        .prepare_cached(
            "UPDATE account SET epoch = ?1, base = ?2, next_epoch = ?3, next_base = ?4",
        )?
        .execute([held.0, held.1, next.0, next.1])?;
    Ok(())
}

/// The server has ended the credential. History and outbox stay.
pub(super) fn sign_out(transaction: &Transaction<'_>) -> Result<(), LocalError> {
    transaction.execute("UPDATE account SET device_token = NULL", [])?;
    Ok(())
}

impl Database {
    pub(crate) fn account(&self) -> Result<Option<Account>, LocalError> {
        let mut ask = self.connection.prepare_cached(
            "SELECT user_id, name, device_id, device_name, server, device_token IS NOT NULL
               FROM account",
        )?;
        let account = ask.query_row([], |row| {
            Ok(Account {
                user_id: super::user_at(row, 0)?,
                name: row.get(1)?,
                device_id: DeviceId::new(row.get(2)?),
                device_name: row.get(3)?,
                server: row.get(4)?,
                signed_in: row.get(5)?,
            })
        });
        Ok(account.optional()?)
    }

    pub(crate) fn served(&self) -> Result<Option<History>, LocalError> {
        let mut ask = self.connection.prepare_cached(
            "SELECT iif(next_epoch = 0, epoch, next_epoch), iif(next_epoch = 0, base, next_base)
               FROM account WHERE epoch <> 0",
        )?;
        let served = ask.query_row([], |row| {
            Ok(History {
                epoch: row.get::<_, i64>(0)?.cast_unsigned(),
                base: row.get::<_, i64>(1)?.cast_unsigned(),
            })
        });
        Ok(served.optional()?)
    }

    pub(crate) fn credential(&self) -> Result<Credential, LocalError> {
        let mut ask = self.connection.prepare_cached(
            "SELECT device_id, device_token, epoch, base, cursor, next_epoch <> 0 FROM account",
        )?;
        let credential = ask.query_row([], |row| {
            let token: Option<Vec<u8>> = row.get(1)?;
            let cursor: Vec<u8> = row.get(4)?;
            Ok(Credential {
                device: DeviceId::new(row.get(0)?),
                token: token.map(Bytes::from),
                epoch: row.get::<_, i64>(2)?.cast_unsigned(),
                base: row.get::<_, i64>(3)?.cast_unsigned(),
                cursor: cursor.into(),
                takes_over: row.get(5)?,
            })
        });
        credential.optional()?.ok_or(LocalError::NoAccount)
    }

    /// The device to ask for: the one of the last try, else `fresh`, which is
    /// stored before it is used.
    pub(crate) fn device_to_ask_for(
        &mut self,
        server: &str,
        name: &str,
        fresh: DeviceId,
    ) -> Result<DeviceId, LocalError> {
        let transaction = self.write()?;
        transaction.execute(
            "INSERT INTO sign_in_tries (server, name, device_id) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO NOTHING",
            params![server, name, fresh.bytes()],
        )?;
        let device = transaction.query_row(
            "SELECT device_id FROM sign_in_tries WHERE server = ?1 AND name = ?2",
            [server, name],
            |row| row.get(0).map(DeviceId::new),
        )?;
        transaction.commit()?;
        Ok(device)
    }

    /// The try came to nothing that could be repeated: the next one asks for a
    /// device of its own.
    pub(crate) fn forget_try(&mut self, device: DeviceId) -> Result<(), LocalError> {
        self.connection.execute(
            "DELETE FROM sign_in_tries WHERE device_id = ?1",
            [device.bytes()],
        )?;
        Ok(())
    }

    /// Stores the account and its credential. Whatever was stored for the same
    /// user stays, and so does the name of the history that it is of; the cursor
    /// of another device means nothing.
    pub(crate) fn signed_in(&mut self, account: &Account, token: &[u8]) -> Result<(), LocalError> {
        let transaction = self.write()?;
        transaction.execute(
            "INSERT INTO account
                 (one, user_id, name, device_id, device_name, server, device_token)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (one) DO UPDATE
                SET user_id = excluded.user_id, name = excluded.name,
                    device_id = excluded.device_id, device_name = excluded.device_name,
                    server = excluded.server, device_token = excluded.device_token, cursor = x''",
            params![
                account.user_id.bytes(),
                account.name,
                account.device_id.bytes(),
                account.device_name,
                account.server,
                token
            ],
        )?;
        transaction.execute("DELETE FROM sign_in_tries", [])?;
        transaction.commit()?;
        Ok(())
    }

    /// Forgets the account and everything stored for it.
    pub(crate) fn forget(&mut self) -> Result<(), LocalError> {
        let transaction = self.write()?;
        transaction.execute_batch(
            "DELETE FROM account; DELETE FROM sign_in_tries; DELETE FROM conversations;
             DELETE FROM members; DELETE FROM events; DELETE FROM gaps; DELETE FROM outbox;
             DELETE FROM reads; DELETE FROM outcomes; DELETE FROM settings; DELETE FROM states;
             DELETE FROM profiles; DELETE FROM pins; DELETE FROM uploads;",
        )?;
        transaction.commit()?;
        Ok(())
    }
}
