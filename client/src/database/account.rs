//! Whose device this is, and how far it has come.

use bytes::Bytes;
use magpie_protocol::id::{DeviceId, UserId};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::Database;
use crate::{error::LocalError, model::Account};

/// What a hello needs.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Credential {
    pub(crate) device: DeviceId,
    /// `None` once it is of no use any more.
    pub(crate) token: Option<Bytes>,
    pub(crate) epoch: u64,
    pub(crate) base: u64,
    pub(crate) cursor: Bytes,
}

/// The user, as own events name them.
#[derive(Clone, Debug)]
pub(super) struct Me {
    pub(super) user: UserId,
    pub(super) name: String,
    pub(super) epoch: i64,
}

pub(super) fn me(connection: &Connection) -> Result<Me, LocalError> {
    connection
        .prepare_cached("SELECT user_id, name, epoch FROM account")?
        .query_row([], |row| {
            Ok(Me {
                user: super::user_at(row, 0)?,
                name: row.get(1)?,
                epoch: row.get(2)?,
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

/// Takes the server's history over. Returns whether the cursor was forgotten.
///
/// In a new epoch the history may have gone back: what this device has stored or
/// was told of may be unknown to the server. The cursor of another history means
/// nothing, so it is forgotten, and the snapshot that follows is compared by seq.
/// Each event keeps the epoch that it was received in, by which own messages
/// that the server has forgotten can be found.
pub(super) fn welcome(
    transaction: &Transaction<'_>,
    epoch: u64,
    base: u64,
    starts_anew: bool,
) -> Result<bool, LocalError> {
    let (epoch, base) = (epoch.cast_signed(), base.cast_signed());
    let known: (i64, i64, Vec<u8>) = transaction
        .prepare_cached("SELECT epoch, base, cursor FROM account")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?
        .ok_or(LocalError::NoAccount)?;
    let is_other_history = (known.0, known.1) != (0, 0) && (known.0, known.1) != (epoch, base);
    let forgets = !known.2.is_empty() && (starts_anew || is_other_history);
    if forgets {
        set_cursor(transaction, &[])?;
    }
    if (known.0, known.1) != (epoch, base) {
        transaction
            .prepare_cached("UPDATE account SET epoch = ?1, base = ?2")?
            .execute([epoch, base])?;
    }
    Ok(forgets)
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

    pub(crate) fn credential(&self) -> Result<Credential, LocalError> {
        let mut ask = self
            .connection
            .prepare_cached("SELECT device_id, device_token, epoch, base, cursor FROM account")?;
        let credential = ask.query_row([], |row| {
            let token: Option<Vec<u8>> = row.get(1)?;
            let cursor: Vec<u8> = row.get(4)?;
            Ok(Credential {
                device: DeviceId::new(row.get(0)?),
                token: token.map(Bytes::from),
                epoch: row.get::<_, i64>(2)?.cast_unsigned(),
                base: row.get::<_, i64>(3)?.cast_unsigned(),
                cursor: cursor.into(),
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
    /// user stays; the cursor of another device means nothing.
    pub(crate) fn signed_in(&mut self, account: &Account, token: &[u8]) -> Result<(), LocalError> {
        let transaction = self.write()?;
        transaction.execute("DELETE FROM account", [])?;
        transaction.execute(
            "INSERT INTO account
                 (one, user_id, name, device_id, device_name, server, device_token)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
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
             DELETE FROM reads; DELETE FROM outcomes;",
        )?;
        transaction.commit()?;
        Ok(())
    }
}
