//! What is done to messages that are there: what must be known for it, and what is
//! written of it. What may be done is decided in `rules`.

use magpie_protocol::{
    seq::Seq,
    text::{Description, Title},
    wire::GroupUpdate,
};

use super::{
    blocks, friends, invites,
    log::Log,
    notify, people, presence, privacy, receipts,
    session::{Failure, Params, Session, get, get_count, signed},
    uses,
};
use crate::store::{
    LogEvent,
    event::{DELETED, EventKind, deleted_edit},
    rules::{Aside, Person, Place, Reacted, Subject},
};

/// An event, if the user may read it.
const FIND_SUBJECT: &str = "
    SELECT e.kind, e.sender_key, e.committed_at_ms, e.body = $4,
           (SELECT count(*) FROM edits x WHERE x.conversation_key = $1 AND x.seq = $2),
           (SELECT p.hidden FROM pins p WHERE p.conversation_key = $1 AND p.seq = $2
                                         AND (NOT p.hidden OR p.user_key = $3)),
           (SELECT count(*) FROM pins p WHERE p.conversation_key = $1
                                         AND (NOT p.hidden OR p.user_key = $3)),
           e.hidden
      FROM events e
     WHERE e.conversation_key = $1 AND e.seq = $2 AND (NOT e.hidden OR e.sender_key = $3)
       AND EXISTS (SELECT FROM members m
                    WHERE m.user_key = $3 AND m.conversation_key = $1
                      AND e.seq BETWEEN m.history_seq AND m.to_seq)";

/// Whether the user's reaction stands, anybody's does, how many others if not, and how often
/// the user has reacted. What stands is counted from one to the next: there may be
/// many of each.
pub(super) const FIND_REACTED: &str = "
    SELECT own, there, CASE WHEN there THEN 0 ELSE (
               WITH RECURSIVE standing (emoji) AS (
                   SELECT (SELECT r.emoji FROM reactions r
                            WHERE r.conversation_key = $1 AND r.seq = $2
                              AND r.removed_seq = 9223372036854775807
                            ORDER BY r.emoji LIMIT 1)
                   UNION ALL
                   SELECT (SELECT r.emoji FROM reactions r
                            WHERE r.conversation_key = $1 AND r.seq = $2
                              AND r.removed_seq = 9223372036854775807 AND r.emoji > s.emoji
                            ORDER BY r.emoji LIMIT 1)
                     FROM standing s WHERE s.emoji IS NOT NULL)
               SELECT count(emoji) FROM standing) END,
           own_count, own_hidden
      FROM (SELECT EXISTS (SELECT FROM reactions r
                            WHERE r.conversation_key = $1 AND r.seq = $2 AND r.user_key = $3
                              AND r.emoji = $4 AND r.removed_seq = 9223372036854775807) AS own,
                   EXISTS (SELECT FROM reactions r
                            WHERE r.conversation_key = $1 AND r.seq = $2 AND r.emoji = $4
                              AND r.removed_seq = 9223372036854775807) AS there,
                   (SELECT count(*) FROM reactions r
                     WHERE r.conversation_key = $1 AND r.seq = $2
                       AND r.user_key = $3) AS own_count,
                   EXISTS (SELECT FROM reactions r
                            WHERE r.conversation_key = $1 AND r.seq = $2 AND r.user_key = $3
                              AND r.emoji = $4 AND r.removed_seq = 9223372036854775807
                              AND r.hidden) AS own_hidden) one";

const INSERT_EDIT: &str = "
    INSERT INTO edits (conversation_key, seq, edit_seq, hidden) VALUES ($1, $2, $3, $4)";

/// A message and its edits, and what became of its reactions.
const BLANK: &str = "
    WITH forgotten AS (
        DELETE FROM reactions WHERE conversation_key = $1 AND seq = $2
    ), taken_off AS (
        DELETE FROM pins WHERE conversation_key = $1 AND seq = $2
    ), blanked AS (
        UPDATE events SET body = $4
         WHERE conversation_key = $1
           AND seq IN (SELECT edit_seq FROM edits WHERE conversation_key = $1 AND seq = $2)
    )
    UPDATE events SET body = $3 WHERE conversation_key = $1 AND seq = $2";

/// One that is there for everybody takes the place of those that are not.
const INSERT_PIN: &str = "
    WITH forgotten AS (
        DELETE FROM pins WHERE conversation_key = $1 AND seq = $2 AND NOT $4
    )
    INSERT INTO pins (conversation_key, seq, user_key, hidden) VALUES ($1, $2, $3, $4)";

/// That which is there for this user.
const DELETE_PIN: &str = "
    DELETE FROM pins
     WHERE conversation_key = $1 AND seq = $2 AND (NOT hidden OR user_key = $3)";

const INSERT_BAN: &str = "
    INSERT INTO bans (conversation_key, user_key, seq) VALUES ($1, $2, $3)";

const DELETE_BAN: &str = "DELETE FROM bans WHERE conversation_key = $1 AND user_key = $2";

const INSERT_REACTION: &str = "
    INSERT INTO reactions (conversation_key, seq, emoji, user_key, added_seq, removed_seq,
                           hidden)
    VALUES ($1, $2, $3, $4, $5, 9223372036854775807, $6)";

const END_REACTION: &str = "
    UPDATE reactions SET removed_seq = $5
     WHERE conversation_key = $1 AND seq = $2 AND emoji = $3 AND user_key = $4
       AND removed_seq = 9223372036854775807";

const UPDATE_GROUP: &str = "
    UPDATE conversations
       SET title = coalesce($2, title), description = coalesce($3, description),
           announcement_only = coalesce($4, announcement_only),
           photo_key = CASE WHEN $5 THEN $6 ELSE photo_key END,
           history_for_newcomers = coalesce($7, history_for_newcomers)
     WHERE key = $1";

impl Log<'_> {
    /// The event at `seq`, if this user may read it.
    pub(super) async fn subject(
        &self,
        place: Place,
        seq: Seq,
        user: &Person,
    ) -> Result<Option<Subject>, Failure> {
        let (seq, deleted) = (signed(seq.get()), DELETED.as_slice());
        let row = self
            .session
            .first(FIND_SUBJECT, &[&place.key, &seq, &user.key, &deleted])
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let number: i16 = get(&row, 0)?;
        let kind = EventKind::from_number(number.into())
            .ok_or_else(|| Failure::corrupt(format!("an event of kind {number}")))?;
        Ok(Some(Subject {
            kind,
            sender: get(&row, 1)?,
            committed_at_ms: get(&row, 2)?,
            is_deleted: get(&row, 3)?,
            edit_count: get_count(&row, 4)?,
            pinned: get(&row, 5)?,
            pin_count: get_count(&row, 6)?,
            is_hidden: get(&row, 7)?,
        }))
    }

    /// How a reaction stands at the message at `seq`.
    pub(super) async fn reacted(
        &self,
        place: Place,
        seq: Seq,
        user: &Person,
        emoji: &str,
    ) -> Result<Reacted, Failure> {
        let seq = signed(seq.get());
        let row = self
            .session
            .one(FIND_REACTED, &[&place.key, &seq, &user.key, &emoji])
            .await?;
        Ok(Reacted {
            is_own: get(&row, 0)?,
            is_there: get(&row, 1)?,
            count: get_count(&row, 2)?,
            own_count: get_count(&row, 3)?,
            is_hidden: get(&row, 4)?,
        })
    }

    /// Writes what goes with an event.
    pub(super) async fn write_aside(
        &self,
        place: Place,
        event: &LogEvent,
        sender: &Person,
        aside: Aside,
    ) -> Result<(), Failure> {
        let (session, key, by) = (self.session, place.key, signed(event.seq.get()));
        let (hidden, now_ms) = (event.hidden.is_some(), self.committed_at_ms);
        match aside {
            Aside::Nothing => {}
            Aside::Edit(seq) => {
                let seq = signed(seq.get());
                let params: Params<'_> = &[&key, &seq, &by, &hidden];
                session.execute(INSERT_EDIT, params).await?;
            }
            Aside::Delete(seq) => {
                let (at, deleted) = (signed(seq.get()), DELETED.as_slice());
                let edit = deleted_edit(seq);
                session
                    .execute(BLANK, &[&key, &at, &deleted, &edit])
                    .await?;
                uses::forget(session, (key, at), now_ms).await?;
            }
            Aside::React(seq, emoji) => {
                let seq = signed(seq.get());
                let params: Params<'_> = &[&key, &seq, &emoji, &sender.key, &by, &hidden];
                session.execute(INSERT_REACTION, params).await?;
            }
            Aside::Ban(person) => {
                session
                    .execute(INSERT_BAN, &[&key, &person.key, &by])
                    .await?;
            }
            Aside::Unban(person) => {
                session.execute(DELETE_BAN, &[&key, &person.key]).await?;
            }
            Aside::Invite(change) => {
                invites::write(session, (key, by), change, now_ms).await?;
            }
            Aside::Pin(seq) => {
                let seq = signed(seq.get());
                let params: Params<'_> = &[&key, &seq, &sender.key, &hidden];
                session.execute(INSERT_PIN, params).await?;
            }
            Aside::Unpin(seq) => {
                let seq = signed(seq.get());
                session
                    .execute(DELETE_PIN, &[&key, &seq, &sender.key])
                    .await?;
            }
            Aside::UpdateGroup(update, photo) => {
                update_group(session, (key, now_ms), &update, photo).await?;
            }
            Aside::Unreact(seq, emoji) => {
                let seq = signed(seq.get());
                session
                    .execute(END_REACTION, &[&key, &seq, &emoji, &sender.key, &by])
                    .await?;
            }
            Aside::Befriend(peer, changed) => {
                friends::set(session, (key, by), (sender, &peer), &changed).await?;
            }
            Aside::Block(user, blocked) => blocks::set(session, sender, user, blocked).await?,
            Aside::Attach(media) => uses::add(session, (key, by), &media).await?,
            Aside::Notify(of, it) => notify::set(session, sender.key, of, it).await?,
            Aside::Person(said) => people::write(session, sender, (by, now_ms), &said).await?,
            Aside::FriendsOnly(friends) => privacy::set(session, sender.key, friends).await?,
            Aside::HideReceipts(hidden) => receipts::set(session, sender.key, hidden).await?,
            Aside::HidePresence(hidden) => presence::set(session, sender.key, hidden).await?,
        }
        Ok(())
    }
}

async fn update_group(
    session: Session<'_>,
    (place, at_ms): (i64, i64),
    update: &GroupUpdate,
    photo: Option<i64>,
) -> Result<(), Failure> {
    let title = update.title.as_ref().map(Title::as_str);
    let description = update.description.as_ref().map(Description::as_str);
    let params: Params<'_> = &[
        &place,
        &title,
        &description,
        &update.announcement_only,
        &update.photo.is_some(),
        &photo,
        &update.history_for_newcomers,
    ];
    let last = uses::group_photo(session, place).await?;
    session.execute(UPDATE_GROUP, params).await?;
    if update.photo.is_some() {
        uses::replace(session, last, photo, at_ms).await?;
    }
    Ok(())
}
