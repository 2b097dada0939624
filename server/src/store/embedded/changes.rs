//! What is done to messages that are there: what must be known for it, and what is
//! written of it. What may be done is decided in `rules`.

use magpie_protocol::{
    seq::Seq,
    text::{Description, Title},
    wire::GroupUpdate,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    blocks, friends, invites,
    log::Log,
    notify, people, presence, privacy, receipts,
    rows::{OPEN_END, signed, unsigned},
    uses,
};
use crate::store::{
    StoreError,
    event::{DELETED, EventKind, deleted_edit},
    rules::{Aside, Person, Place, Reacted, Subject},
};

/// An event, if the user may read it.
pub(super) const FIND_SUBJECT: &str = "
    SELECT e.kind, e.sender, e.committed_at_ms, e.body = ?4,
           (SELECT count(*) FROM edits x WHERE x.conversation = ?1 AND x.seq = ?2),
           (SELECT p.hidden FROM pins p WHERE p.conversation = ?1 AND p.seq = ?2
                                         AND (NOT p.hidden OR p.user = ?3)),
           (SELECT count(*) FROM pins p WHERE p.conversation = ?1
                                         AND (NOT p.hidden OR p.user = ?3)),
           e.hidden
      FROM events e
     WHERE e.conversation = ?1 AND e.seq = ?2 AND (NOT e.hidden OR e.sender = ?3)
       AND EXISTS (SELECT 1 FROM members m
                    WHERE m.user = ?3 AND m.conversation = ?1
                      AND ?2 BETWEEN m.history_seq AND m.to_seq)";

/// Whether the user's reaction stands, anybody's does, how many others if not, and how often
/// the user has reacted. What stands is counted from one to the next: there may be
/// many of each.
pub(super) const FIND_REACTED: &str = "
    SELECT own, there, CASE WHEN there THEN 0 ELSE (
               WITH RECURSIVE standing (emoji) AS (
                   SELECT (SELECT r.emoji FROM reactions r
                            WHERE r.conversation = ?1 AND r.seq = ?2
                              AND r.removed_seq = 9223372036854775807
                            ORDER BY r.emoji LIMIT 1)
                   UNION ALL
                   SELECT (SELECT r.emoji FROM reactions r
                            WHERE r.conversation = ?1 AND r.seq = ?2
                              AND r.removed_seq = 9223372036854775807 AND r.emoji > s.emoji
                            ORDER BY r.emoji LIMIT 1)
                     FROM standing s WHERE s.emoji IS NOT NULL)
               SELECT count(emoji) FROM standing) END,
           own_count, own_hidden
      FROM (SELECT EXISTS (SELECT 1 FROM reactions r
                            WHERE r.conversation = ?1 AND r.seq = ?2 AND r.user = ?3
                              AND r.emoji = ?4 AND r.removed_seq = 9223372036854775807) AS own,
                   EXISTS (SELECT 1 FROM reactions r
                            WHERE r.conversation = ?1 AND r.seq = ?2 AND r.emoji = ?4
                              AND r.removed_seq = 9223372036854775807) AS there,
                   (SELECT count(*) FROM reactions r
                     WHERE r.conversation = ?1 AND r.seq = ?2 AND r.user = ?3) AS own_count,
                   EXISTS (SELECT 1 FROM reactions r
                            WHERE r.conversation = ?1 AND r.seq = ?2 AND r.user = ?3
                              AND r.emoji = ?4 AND r.removed_seq = 9223372036854775807
                              AND r.hidden) AS own_hidden)";

const INSERT_EDIT: &str = "
    INSERT INTO edits (conversation, seq, edit_seq, hidden) VALUES (?1, ?2, ?3, ?4)";

const BLANK_MESSAGE: &str = "
    UPDATE events SET body = ?3 WHERE conversation = ?1 AND seq = ?2";

const BLANK_EDITS: &str = "
    UPDATE events SET body = ?3
     WHERE conversation = ?1
       AND seq IN (SELECT edit_seq FROM edits WHERE conversation = ?1 AND seq = ?2)";

const FORGET_REACTIONS: &str = "DELETE FROM reactions WHERE conversation = ?1 AND seq = ?2";

const INSERT_PIN: &str = "
    INSERT INTO pins (conversation, seq, user, hidden) VALUES (?1, ?2, ?3, ?4)";

/// All of a message: also before one that is there for everybody.
const FORGET_PINS: &str = "DELETE FROM pins WHERE conversation = ?1 AND seq = ?2";

/// That which is there for this user.
const DELETE_PIN: &str = "
    DELETE FROM pins WHERE conversation = ?1 AND seq = ?2 AND (NOT hidden OR user = ?3)";

const INSERT_BAN: &str = "INSERT INTO bans (conversation, user, seq) VALUES (?1, ?2, ?3)";

const DELETE_BAN: &str = "DELETE FROM bans WHERE conversation = ?1 AND user = ?2";

const INSERT_REACTION: &str = "
    INSERT INTO reactions (conversation, seq, emoji, user, added_seq, removed_seq, hidden)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const END_REACTION: &str = "
    UPDATE reactions SET removed_seq = ?5
     WHERE conversation = ?1 AND seq = ?2 AND emoji = ?3 AND user = ?4 AND removed_seq = ?6";

const UPDATE_GROUP: &str = "
    UPDATE conversations
       SET title = coalesce(?2, title), description = coalesce(?3, description),
           announcement_only = coalesce(?4, announcement_only),
           photo = CASE WHEN ?5 THEN ?6 ELSE photo END,
           history_for_newcomers = coalesce(?7, history_for_newcomers)
     WHERE key = ?1";

impl Log<'_> {
    /// The event at `seq`, if this user may read it.
    pub(super) fn subject(
        &self,
        place: Place,
        seq: Seq,
        user: &Person,
    ) -> Result<Option<Subject>, StoreError> {
        let mut statement = self.connection.prepare_cached(FIND_SUBJECT)?;
        let params = params![place.key, signed(seq.get()), user.key, DELETED];
        let found = statement.query_row(params, |row| {
            let number: i64 = row.get(0)?;
            Ok((
                number,
                Subject {
                    kind: EventKind::Message,
                    sender: row.get(1)?,
                    committed_at_ms: row.get(2)?,
                    is_deleted: row.get(3)?,
                    edit_count: unsigned(row.get(4)?),
                    pinned: row.get(5)?,
                    pin_count: unsigned(row.get(6)?),
                    is_hidden: row.get(7)?,
                },
            ))
        });
        let Some((number, subject)) = found.optional()? else {
            return Ok(None);
        };
        let kind = EventKind::from_number(number).ok_or_else(|| StoreError::Corrupt {
            what: format!("an event of kind {number}"),
        })?;
        Ok(Some(Subject { kind, ..subject }))
    }

    /// How a reaction stands at the message at `seq`.
    pub(super) fn reacted(
        &self,
        place: Place,
        seq: Seq,
        user: &Person,
        emoji: &str,
    ) -> Result<Reacted, StoreError> {
        let mut statement = self.connection.prepare_cached(FIND_REACTED)?;
        let params = params![place.key, signed(seq.get()), user.key, emoji];
        Ok(statement.query_row(params, |row| {
            Ok(Reacted {
                is_own: row.get(0)?,
                is_there: row.get(1)?,
                count: unsigned(row.get(2)?),
                own_count: unsigned(row.get(3)?),
                is_hidden: row.get(4)?,
            })
        })?)
    }
}

/// Blanks a message and its edits; nothing stands at it any more.
fn delete(
    connection: &Connection,
    (conversation, seq): (i64, Seq),
    now_ms: i64,
) -> Result<(), StoreError> {
    let at = signed(seq.get());
    let mut blank = connection.prepare_cached(BLANK_MESSAGE)?;
    blank.execute(params![conversation, at, DELETED])?;
    let mut blank = connection.prepare_cached(BLANK_EDITS)?;
    blank.execute(params![conversation, at, deleted_edit(seq)])?;
    for forget in [FORGET_REACTIONS, FORGET_PINS] {
        let mut forget = connection.prepare_cached(forget)?;
        forget.execute(params![conversation, at])?;
    }
    uses::forget(connection, (conversation, at), now_ms)
}

fn pin(
    connection: &Connection,
    (conversation, seq): (i64, i64),
    user: i64,
    hidden: bool,
) -> Result<(), StoreError> {
    if !hidden {
        let mut forget = connection.prepare_cached(FORGET_PINS)?;
        forget.execute([conversation, seq])?;
    }
    let mut insert = connection.prepare_cached(INSERT_PIN)?;
    insert.execute(params![conversation, seq, user, hidden])?;
    Ok(())
}

/// Writes what goes with the event at `by`.
pub(super) fn write(
    connection: &Connection,
    (place, by, hidden): (Place, Seq, bool),
    sender: &Person,
    aside: Aside,
    now_ms: i64,
) -> Result<(), StoreError> {
    let (key, by) = (place.key, signed(by.get()));
    match aside {
        Aside::Nothing => {}
        Aside::Edit(seq) => {
            let mut insert = connection.prepare_cached(INSERT_EDIT)?;
            insert.execute(params![key, signed(seq.get()), by, hidden])?;
        }
        Aside::Delete(seq) => delete(connection, (key, seq), now_ms)?,
        Aside::Ban(person) => {
            let mut insert = connection.prepare_cached(INSERT_BAN)?;
            insert.execute(params![key, person.key, by])?;
        }
        Aside::Unban(person) => {
            let mut delete = connection.prepare_cached(DELETE_BAN)?;
            delete.execute(params![key, person.key])?;
        }
        Aside::Invite(change) => invites::write(connection, (key, by), change, now_ms)?,
        Aside::Pin(seq) => pin(connection, (key, signed(seq.get())), sender.key, hidden)?,
        Aside::Unpin(seq) => {
            let mut delete = connection.prepare_cached(DELETE_PIN)?;
            delete.execute(params![key, signed(seq.get()), sender.key])?;
        }
        Aside::React(seq, emoji) => {
            let mut insert = connection.prepare_cached(INSERT_REACTION)?;
            let at = signed(seq.get());
            let params = params![key, at, emoji, sender.key, by, OPEN_END, hidden];
            insert.execute(params)?;
        }
        Aside::UpdateGroup(update, photo) => {
            update_group(connection, (key, now_ms), &update, photo)?;
        }
        Aside::Unreact(seq, emoji) => {
            let mut end = connection.prepare_cached(END_REACTION)?;
            let params = params![key, signed(seq.get()), emoji, sender.key, by, OPEN_END];
            end.execute(params)?;
        }
        Aside::Befriend(peer, changed) => {
            friends::set(connection, (key, by), (sender, &peer), &changed)?;
        }
        Aside::Block(user, blocked) => blocks::set(connection, sender, user, blocked)?,
        Aside::Attach(media) => uses::add(connection, (key, by), &media)?,
        Aside::Notify(of, it) => notify::set(connection, sender.key, of, it)?,
        Aside::Person(said) => people::write(connection, sender, (by, now_ms), &said)?,
        Aside::FriendsOnly(friends) => privacy::set(connection, sender.key, friends)?,
        Aside::HideReceipts(hidden) => receipts::set(connection, sender.key, hidden)?,
        Aside::HidePresence(hidden) => presence::set(connection, sender.key, hidden)?,
    }
    Ok(())
}

fn update_group(
    connection: &Connection,
    (key, now_ms): (i64, i64),
    update: &GroupUpdate,
    photo: Option<i64>,
) -> Result<(), StoreError> {
    let last = uses::group_photo(connection, key)?;
    let title = update.title.as_ref().map(Title::as_str);
    let description = update.description.as_ref().map(Description::as_str);
    let mut statement = connection.prepare_cached(UPDATE_GROUP)?;
    statement.execute(params![
        key,
        title,
        description,
        update.announcement_only,
        update.photo.is_some(),
        photo,
        update.history_for_newcomers
    ])?;
    if update.photo.is_some() {
        uses::replace(connection, last, photo, now_ms)?;
    }
    Ok(())
}
