//! What became of messages: edits, deletions and reactions.
//!
//! Each of them is an event with a place of its own, and is stored as such. What a
//! message says now is read from those, from what the server said of it when it was
//! fetched out of history, and from what waits in the outbox. So nothing has to be
//! kept in step, in whatever order it comes.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Seq,
    wire::v1::{self, client_frame::Body, event_content::Kind},
};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    NewEvent,
    account::{self, Me},
    epochs,
    events::{BLANK, DELETED, EDITED},
    gaps, profiles,
    requests::decode,
    seq_at, settings, stored,
};
use crate::{
    error::LocalError,
    media::Cache,
    message::{Edited, Message, MessageState, Reaction},
    model::{Content, Gap, StoredEvent},
    raw,
};

/// What the server said of messages that were fetched out of history.
#[derive(Clone, Debug, Default)]
pub(crate) struct States {
    states: BTreeMap<u64, v1::MessageState>,
    upto: Seq,
}

impl States {
    pub(crate) fn of(states: Vec<v1::MessageState>, upto: u64) -> Self {
        Self {
            states: states.into_iter().map(|it| (it.seq, it)).collect(),
            upto: Seq::new(upto),
        }
    }

    pub(crate) fn of_message(&self, seq: Seq) -> MessageState {
        let state = self.states.get(&seq.get()).cloned();
        state.map(from_wire).unwrap_or_default()
    }
}

fn from_wire(it: v1::MessageState) -> MessageState {
    let at_ms = it.edited_at_ms;
    let message = it.message.and_then(Message::of);
    let reactions = it.reactions.into_iter().map(|it| Reaction {
        emoji: it.emoji,
        count: it.count,
        own: it.own,
    });
    MessageState {
        edit: message.map(|message| Edited { at_ms, message }),
        reactions: reactions.collect(),
        ..MessageState::default()
    }
}

/// Keeps what the server said of messages in a gap, unless more is known.
pub(super) fn keep(
    transaction: &Transaction<'_>,
    me: &Me,
    gap: Gap,
    states: &States,
) -> Result<(), LocalError> {
    if !epochs::is_taken_over(transaction, me, gap.conversation)? {
        return Ok(());
    }
    let upto = stored(states.upto);
    for (seq, state) in states.states.range(gap.from.get()..=gap.to.get()) {
        transaction
            .prepare_cached(
                "INSERT INTO states (conversation, seq, upto, state) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET upto = ?3, state = ?4 WHERE upto < ?3",
            )?
            .execute(params![
                gap.conversation.bytes(),
                stored(Seq::new(*seq)),
                upto,
                state.encode_to_vec()
            ])?;
    }
    Ok(())
}

/// Takes over what a new event does to others, and they to it: of a message that was
/// deleted nothing stays here of what it said.
pub(super) fn follow(transaction: &Transaction<'_>, event: &NewEvent) -> Result<(), LocalError> {
    let id = event.conversation;
    let content = event.event.content.as_ref();
    let Some(kind) = content.and_then(|content| content.kind.as_ref()) else {
        return Ok(());
    };
    match kind {
        Kind::MessageDeleted(it) => blank(transaction, id, Seq::new(it.seq)),
        Kind::Message(_) if is_deleted(transaction, id, event.seq)? => {
            blank(transaction, id, event.seq)
        }
        Kind::MessageEdited(it) if is_deleted(transaction, id, Seq::new(it.seq))? => {
            blank(transaction, id, Seq::new(it.seq))
        }
        Kind::Message(_)
        | Kind::MessageEdited(_)
        | Kind::Reacted(_)
        | Kind::GroupCreated(_)
        | Kind::MembersAdded(_)
        | Kind::MemberRemoved(_)
        | Kind::MemberBanned(_)
        | Kind::InviteCreated(_)
        | Kind::InviteRevoked(_)
        | Kind::MemberJoined(_)
        | Kind::MemberLeft(_)
        | Kind::RoleChanged(_)
        | Kind::GroupUpdated(_)
        | Kind::Pinned(_)
        | Kind::AccountChanged(_)
        | Kind::FriendRequested(_)
        | Kind::FriendshipChanged(_)
        | Kind::Hidden(_) => Ok(()),
    }
}

fn is_deleted(
    transaction: &Transaction<'_>,
    id: ConversationId,
    seq: Seq,
) -> Result<bool, LocalError> {
    let found = transaction
        .prepare_cached(
            "SELECT 1 FROM events WHERE conversation = ?1 AND target = ?2 AND kind = ?3",
        )?
        .exists(params![id.bytes(), stored(seq), DELETED])?;
    Ok(found)
}

/// Removes what a message and its edits said, and what was fetched of it.
fn blank(transaction: &Transaction<'_>, id: ConversationId, seq: Seq) -> Result<(), LocalError> {
    let events: Vec<(Seq, Bytes)> = transaction
        .prepare_cached(
            "SELECT seq, raw FROM events WHERE conversation = ?1 AND seq = ?2
              UNION ALL
             SELECT seq, raw FROM events WHERE conversation = ?1 AND target = ?2 AND kind = ?3",
        )?
        .query_map(params![id.bytes(), stored(seq), EDITED], |row| {
            let raw: Vec<u8> = row.get(1)?;
            Ok((seq_at(row, 0)?, Bytes::from(raw)))
        })?
        .collect::<Result<_, _>>()?;
    let home = transaction.path().and_then(|file| Path::new(file).parent());
    let cache = home.map(Cache::of_home);
    for (at, raw) in events {
        // What is fetched again if this fails.
        let media = raw::media(&raw);
        cache
            .iter()
            .for_each(|cache| media.iter().for_each(|id| cache.remove(*id)));
        let Some(blanked) = raw::blanked(&raw) else {
            continue;
        };
        let event = NewEvent::parse(raw::event(&blanked), blanked);
        let Some(event) = event else { continue };
        transaction
            .prepare_cached(
                "UPDATE events SET raw = ?3, kind = ?4, mentions_me = 0 WHERE conversation = ?1 AND seq = ?2",
            )?
            .execute(params![
                id.bytes(),
                stored(at),
                event.raw.as_ref(),
                event.kind()
            ])?;
    }
    transaction
        .prepare_cached("DELETE FROM states WHERE conversation = ?1 AND seq = ?2")?
        .execute(params![id.bytes(), stored(seq)])?;
    Ok(())
}

/// Nothing above `above` is there any more, and what it did to what is below is
/// undone: messages that it deleted are fetched again. So is whatever came blank, unless
/// the deletion is at or below `above`: it may be above, and not be stored here.
pub(super) fn undo(
    transaction: &Transaction<'_>,
    id: ConversationId,
    above: Seq,
) -> Result<(), LocalError> {
    for seq in blanks_to_undo(transaction, id, above)? {
        transaction
            .prepare_cached("DELETE FROM events WHERE conversation = ?1 AND seq = ?2")?
            .execute(params![id.bytes(), stored(seq)])?;
        gaps::open(transaction, id, seq, seq, gaps::MISSING)?;
    }
    transaction
        .prepare_cached("DELETE FROM states WHERE conversation = ?1 AND (seq > ?2 OR upto > ?2)")?
        .execute(params![id.bytes(), stored(above)])?;
    Ok(())
}

/// What is blank at or below `above`, messages and edits, and is not known to be so by an
/// event there.
fn blanks_to_undo(
    transaction: &Transaction<'_>,
    id: ConversationId,
    above: Seq,
) -> Result<Vec<Seq>, LocalError> {
    let mut ask = transaction.prepare_cached(
        "SELECT seq, raw FROM events e
          WHERE conversation = ?1 AND seq <= ?2 AND kind IN (?3, ?4)
            AND NOT EXISTS (SELECT 1 FROM events d
                             WHERE d.conversation = ?1 AND d.kind = ?5 AND d.seq <= ?2
                               AND d.target = CASE e.kind WHEN ?3 THEN e.seq ELSE e.target END)
          ORDER BY seq",
    )?;
    let params = params![id.bytes(), stored(above), BLANK, EDITED, DELETED];
    let mut rows = ask.query(params)?;
    let mut blanks = Vec::new();
    while let Some(row) = rows.next()? {
        let raw: Vec<u8> = row.get(1)?;
        let content = raw::event(&raw.into()).content;
        let says_something = match content.and_then(|content| content.kind) {
            Some(Kind::MessageEdited(it)) => it.message.is_some(),
            _ => false,
        };
        if !says_something {
            blanks.push(seq_at(row, 0)?);
        }
    }
    Ok(blanks)
}

/// Says of each message what became of it.
pub(super) fn fill(connection: &Connection, events: &mut [StoredEvent]) -> Result<(), LocalError> {
    let Ok(me) = account::me(connection) else {
        return Ok(());
    };
    for event in events {
        if matches!(event.content, Content::Message(_)) {
            event.state = state(connection, me.user, event.conversation, event.seq)?;
        }
        mark_sender(connection, event)?;
    }
    Ok(())
}

/// Says how the sender is called, and of a message, and of an edit, whether the user blocks
/// them.
pub(super) fn mark_sender(
    connection: &Connection,
    event: &mut StoredEvent,
) -> Result<(), LocalError> {
    let says = matches!(
        event.content,
        Content::Message(_) | Content::MessageEdited { .. }
    );
    let Some(sender) = &event.sender else {
        return Ok(());
    };
    event.called = profiles::called(connection, sender.id)?;
    if says {
        event.state.is_blocked = settings::is_blocked(connection, sender.id)?;
    }
    Ok(())
}

fn state(
    connection: &Connection,
    me: UserId,
    id: ConversationId,
    seq: Seq,
) -> Result<MessageState, LocalError> {
    let said: Option<(Seq, Vec<u8>)> = connection
        .prepare_cached("SELECT upto, state FROM states WHERE conversation = ?1 AND seq = ?2")?
        .query_row(params![id.bytes(), stored(seq)], |row| {
            Ok((seq_at(row, 0)?, row.get(1)?))
        })
        .optional()?;
    let (upto, said) = said.unwrap_or_default();
    let said = v1::MessageState::decode(said.as_slice()).unwrap_or_default();
    let mut edited_seq = Seq::new(said.edited_seq);
    let mut state = from_wire(said);
    let mut ask = connection.prepare_cached(
        "SELECT seq, raw FROM events WHERE conversation = ?1 AND target = ?2 ORDER BY seq",
    )?;
    let mut rows = ask.query(params![id.bytes(), stored(seq)])?;
    while let Some(row) = rows.next()? {
        let (at, raw): (Seq, Vec<u8>) = (seq_at(row, 0)?, row.get(1)?);
        let event = raw::event(&raw.into());
        let own = event
            .sender
            .is_some_and(|user| user.user_id.as_ref() == me.bytes());
        match event.content.and_then(|content| content.kind) {
            Some(Kind::MessageEdited(it)) if at > edited_seq => {
                edited_seq = at;
                state.edited(it.message, event.committed_at_ms);
            }
            Some(Kind::Reacted(it)) if at > upto => state.reacted(it.emoji, it.removed, own),
            Some(
                Kind::MessageEdited(_)
                | Kind::Reacted(_)
                | Kind::Message(_)
                | Kind::MessageDeleted(_)
                | Kind::GroupCreated(_)
                | Kind::MembersAdded(_)
                | Kind::MemberRemoved(_)
                | Kind::MemberBanned(_)
                | Kind::InviteCreated(_)
                | Kind::InviteRevoked(_)
                | Kind::MemberJoined(_)
                | Kind::MemberLeft(_)
                | Kind::RoleChanged(_)
                | Kind::GroupUpdated(_)
                | Kind::Pinned(_)
                | Kind::AccountChanged(_)
                | Kind::FriendRequested(_)
                | Kind::FriendshipChanged(_)
                | Kind::Hidden(_),
            )
            | None => {}
        }
    }
    add_waiting(connection, id, seq, &mut state)?;
    Ok(state)
}

/// Adds what waits in the outbox: it is shown at once.
fn add_waiting(
    connection: &Connection,
    id: ConversationId,
    seq: Seq,
    state: &mut MessageState,
) -> Result<(), LocalError> {
    let mut ask = connection.prepare_cached(
        "SELECT frame, queued_at_ms FROM outbox
          WHERE conversation = ?1 AND target = ?2 AND code IS NULL ORDER BY place",
    )?;
    let mut rows = ask.query(params![id.bytes(), stored(seq)])?;
    while let Some(row) = rows.next()? {
        let (frame, at_ms): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
        let body = decode(&frame);
        if let Some(Body::EditMessage(it)) = body {
            state.edited(it.message, at_ms);
        } else if let Some(Body::DeleteMessage(_)) = body {
            state.is_deleted = true;
        } else if let Some(Body::React(it)) = body {
            state.reacted(it.emoji, it.removed, true);
        } else {
            // An answer to it.
            continue;
        }
        state.is_pending = true;
    }
    Ok(())
}

impl MessageState {
    fn edited(&mut self, message: Option<v1::Message>, at_ms: i64) {
        let message = message.and_then(Message::of);
        self.edit = message.map(|message| Edited { at_ms, message });
    }

    fn reacted(&mut self, emoji: String, removed: bool, own: bool) {
        let mut there = self.reactions.iter_mut();
        match there.find(|it| it.emoji == emoji) {
            // Queued twice: it is so already.
            Some(reaction) if own && reaction.own != removed => {}
            Some(reaction) => {
                let count = reaction.count;
                reaction.count = match removed {
                    true => count.saturating_sub(1),
                    false => count.saturating_add(1),
                };
                reaction.own = if own { !removed } else { reaction.own };
            }
            None if removed => {}
            None => self.reactions.push(Reaction {
                emoji,
                count: 1,
                own,
            }),
        }
        self.reactions.retain(|it| it.count > 0);
    }
}
