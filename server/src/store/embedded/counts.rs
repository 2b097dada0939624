//! How many messages of others there are for a user, and how many mention them: every
//! event carries the number of messages up to it, so nothing is counted.

use magpie_protocol::{id::UserId, seq::Seq, wire::v1::event_content::Kind};
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::{
    rows::{signed, unsigned},
    writer::Caches,
};
use crate::store::{
    Counts, StoreError,
    event::EventKind,
    rules::{Person, Place, mentioned},
};

/// Whom mentions of everybody are counted for: no key is 0.
const EVERYBODY: i64 = 0;

pub(super) const FIND_MESSAGES: &str = "
    SELECT message_count FROM events
     WHERE conversation = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1";

pub(super) const FIND_OWN: &str = "
    SELECT sender_count FROM events
     WHERE conversation = ?1 AND sender = ?2 AND kind = 1 AND seq <= ?3
     ORDER BY seq DESC LIMIT 1";

pub(super) const FIND_MENTIONS: &str = "
    SELECT count FROM mentions
     WHERE conversation = ?1 AND user = ?2 AND seq <= ?3 ORDER BY seq DESC LIMIT 1";

const INSERT_MENTION: &str = "
    INSERT INTO mentions (conversation, user, seq, count) VALUES (?1, ?2, ?3, ?4)";

fn count(connection: &Connection, sql: &str, params: impl Params) -> Result<i64, StoreError> {
    let found = connection
        .prepare_cached(sql)?
        .query_row(params, |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

/// What there is for a user up to an event.
pub(super) fn upto(
    connection: &Connection,
    user: i64,
    conversation: i64,
    seq: i64,
) -> Result<Counts, StoreError> {
    let messages = count(connection, FIND_MESSAGES, [conversation, seq])?;
    let own = count(connection, FIND_OWN, [conversation, user, seq])?;
    let everybody = count(connection, FIND_MENTIONS, [conversation, EVERYBODY, seq])?;
    let alone = count(connection, FIND_MENTIONS, [conversation, user, seq])?;
    Ok(Counts {
        messages: unsigned(messages.saturating_sub(own)),
        mentions: unsigned(everybody.saturating_add(alone)),
    })
}

/// The numbers of an event to be: of the conversation's messages, and of its sender's.
pub(super) fn next(
    connection: &Connection,
    place: Place,
    (kind, hidden): (EventKind, bool),
    sender: &Person,
) -> Result<(u64, u64), StoreError> {
    if kind != EventKind::Message {
        return Ok((place.messages, 0));
    }
    let head = signed(place.head.get());
    let own = count(connection, FIND_OWN, [place.key, sender.key, head])?;
    let more = u64::from(!hidden);
    Ok((place.messages + more, unsigned(own) + more))
}

/// Counts for those whom an event at `seq` mentions.
pub(super) fn write_mentions(
    connection: &Connection,
    caches: &mut Caches,
    (place, seq): (Place, Seq),
    content: &Kind,
    sender: UserId,
) -> Result<(), StoreError> {
    let seq = signed(seq.get());
    for (user, more) in mentioned(content, sender) {
        let user = match user {
            None => Some(EVERYBODY),
            Some(user) => caches.person(connection, user)?.map(|it| it.key),
        };
        // Nobody checks that they are there.
        let Some(user) = user else { continue };
        let before = count(connection, FIND_MENTIONS, [place.key, user, seq])?;
        let mut insert = connection.prepare_cached(INSERT_MENTION)?;
        insert.execute(params![place.key, user, seq, before.saturating_add(more)])?;
    }
    Ok(())
}
