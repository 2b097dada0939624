//! One device's local database.
//!
//! Everything that came or is to be sent is here before anybody is told so. The
//! server's acknowledgement of a request, the event that it stands for and the
//! request's removal from the outbox are one transaction; so are a page and its
//! cursor. Events keep their bytes as they came, so that a later version can
//! read what this one does not understand.

mod account;
mod audit;
mod conversations;
mod doubts;
mod entries;
mod epochs;
mod events;
mod friends;
mod gaps;
mod members;
mod outbox;
mod outcomes;
mod page;
mod pins;
mod printed;
mod profiles;
mod reads;
mod requests;
mod schema;
mod settings;
mod states;
#[cfg(test)]
mod tests;
mod turn;
mod unread;
mod uploads;

use std::path::{Path, PathBuf};

use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
};
use rusqlite::{Connection, Row, Transaction, TransactionBehavior};

pub(crate) use self::{
    account::Credential,
    conversations::line as conversation_line,
    entries::OutboxPlace,
    events::{NewEvent, user as wire_user},
    members::MembersPage,
    outbox::{Waiting, now_ms},
    page::NewPage,
    profiles::Wanted,
    states::States,
    turn::{Changes, Load, People, Turn, Work},
    uploads::Uploading,
};
use crate::error::{HomeError, LocalError};

/// The file's name in a home.
pub(crate) const FILE_NAME: &str = "magpie.db";

/// A handle on the local database. Several may be open on one file.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
}

impl Database {
    /// Opens the local database of a home, making it if it is absent.
    pub(crate) fn open(directory: &Path) -> Result<Self, HomeError> {
        let path: PathBuf = directory.join(FILE_NAME);
        let connection = schema::open(&path)?;
        Ok(Self { connection })
    }

    /// A transaction that writes, from its beginning: it waits for others then,
    /// and cannot fail because of them later.
    fn write(&mut self) -> Result<Transaction<'_>, LocalError> {
        Ok(self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    /// Changes when another handle has written.
    pub(crate) fn data_version(&self) -> Result<u64, LocalError> {
        let mut ask = self.connection.prepare_cached("PRAGMA data_version")?;
        let version: i64 = ask.query_row([], |row| row.get(0))?;
        Ok(version.cast_unsigned())
    }
}

/// A seq as SQLite stores it. Those from the server are checked to fit.
fn stored(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

fn seq_at(row: &Row<'_>, index: usize) -> rusqlite::Result<Seq> {
    let seq: i64 = row.get(index)?;
    Ok(Seq::new(u64::try_from(seq).unwrap_or(0)))
}

fn conversation_at(row: &Row<'_>, index: usize) -> rusqlite::Result<ConversationId> {
    row.get(index).map(ConversationId::new)
}

fn message_id_at(row: &Row<'_>, index: usize) -> rusqlite::Result<MessageId> {
    row.get(index).map(MessageId::new)
}

fn user_at(row: &Row<'_>, index: usize) -> rusqlite::Result<UserId> {
    row.get(index).map(UserId::new)
}
