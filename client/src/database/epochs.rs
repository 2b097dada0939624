//! Taking over another history of the server, as after the restore of a backup.
//!
//! The server says of each conversation up to which seq the histories have
//! everything in common. What is stored above that is dropped, and what was the
//! user's own among it goes back into the outbox, in front, with the ids that it
//! had: whoever sends it first, it is stored once. One transaction each with the
//! page that said so. Until the last page the device holds something of both
//! histories and goes on calling itself one of the old one, so that whatever ends
//! it in between, the next session begins with the same question.

use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::Seq,
    text::UserName,
    wire::v1::{self, client_frame::Body, send_message::To},
};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{
    account::Me,
    conversation_at, conversations,
    events::{ACCOUNT_CHANGED, BLANK, DELETED, EDITED, MESSAGE, PINNED, REACTED},
    gaps,
    outbox::{self, Again},
    reads, seq_at, settings, states, stored,
};
use crate::{
    error::LocalError,
    model::{ConversationKind, Dropped},
    raw,
};

/// Whether the conversation is of the history that the server serves.
pub(super) fn is_taken_over(
    transaction: &Transaction<'_>,
    me: &Me,
    id: ConversationId,
) -> Result<bool, LocalError> {
    if !me.takes_over {
        return Ok(true);
    }
    let found = transaction
        .prepare_cached("SELECT 1 FROM conversations WHERE id = ?1 AND epoch = ?2")?
        .exists(params![id.bytes(), me.epoch])?;
    Ok(found)
}

/// Takes a conversation over, of which the histories have everything up to
/// `common`. One that is taken over already stays as it is.
pub(super) fn take_over(
    transaction: &Transaction<'_>,
    me: &Me,
    id: ConversationId,
    common: Seq,
) -> Result<Option<Dropped>, LocalError> {
    if is_taken_over(transaction, me, id)? {
        return Ok(None);
    }
    let dropped = drop_above(transaction, me, id, common)?;
    conversations::ensure(transaction, id)?;
    transaction
        .prepare_cached("UPDATE conversations SET epoch = ?2 WHERE id = ?1")?
        .execute(params![id.bytes(), me.epoch])?;
    Ok(dropped)
}

/// All of the history has come. Conversations that it did not show are not in it.
pub(super) fn finish(transaction: &Transaction<'_>, me: &Me) -> Result<Vec<Dropped>, LocalError> {
    let left: Vec<ConversationId> = transaction
        .prepare_cached("SELECT id FROM conversations WHERE epoch <> ?1 ORDER BY id")?
        .query_map([me.epoch], |row| conversation_at(row, 0))?
        .collect::<Result<_, _>>()?;
    let mut dropped = Vec::new();
    for id in left {
        dropped.extend(drop_above(transaction, me, id, Seq::ZERO)?);
        forget(transaction, id)?;
    }
    super::profiles::distrust(transaction)?;
    transaction
        .prepare_cached(
            "UPDATE account SET epoch = next_epoch, base = next_base, next_epoch = 0, next_base = 0",
        )?
        .execute([])?;
    Ok(dropped)
}

/// Undoes what was taken over of the history `me.epoch`: the server serves a third
/// one, and says what that has in common with the one before both.
pub(super) fn give_up(transaction: &Transaction<'_>, me: &Me) -> Result<Vec<Dropped>, LocalError> {
    let begun: Vec<(ConversationId, Seq)> = transaction
        .prepare_cached(
            "SELECT conversation, min(seq) FROM events
              WHERE epoch = ?1 AND conversation IN (SELECT id FROM conversations WHERE epoch = ?1)
              GROUP BY conversation",
        )?
        .query_map([me.epoch], |row| {
            Ok((conversation_at(row, 0)?, seq_at(row, 1)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut dropped = Vec::new();
    for (id, first) in begun {
        dropped.extend(drop_above(transaction, me, id, first.previous())?);
    }
    Ok(dropped)
}

/// The server has forgotten how far the user had read: it is told again.
pub(super) fn repeat_read_mark(
    transaction: &Transaction<'_>,
    me: &Me,
    id: ConversationId,
    description: &v1::Conversation,
) -> Result<(), LocalError> {
    let mut members = description.members.iter();
    let told = members.find(|member| {
        let user_id = member.user.as_ref().map(|user| user.user_id.as_ref());
        user_id == Some(&me.user.bytes()[..])
    });
    let Some(told) = told else {
        return Ok(());
    };
    let read: Option<Seq> = transaction
        .prepare_cached("SELECT read_seq FROM members WHERE conversation = ?1 AND user_id = ?2")?
        .query_row(params![id.bytes(), me.user.bytes()], |row| seq_at(row, 0))
        .optional()?;
    match read {
        Some(read) if read.get() > told.read_seq => reads::queue_read(transaction, id, read),
        Some(_) | None => Ok(()),
    }
}

/// An own message that is dropped, or what was done to one that is not.
struct Own {
    seq: Seq,
    id: Option<MessageId>,
    at_ms: i64,
    raw: Vec<u8>,
}

/// Drops all of a conversation above a seq. What this device has told its person
/// above it is void.
fn drop_above(
    transaction: &Transaction<'_>,
    me: &Me,
    id: ConversationId,
    above: Seq,
) -> Result<Option<Dropped>, LocalError> {
    let Some(reach) = conversations::reach(transaction, id)? else {
        return Ok(None);
    };
    let own = own_above(transaction, me, id, above)?;
    let hole =
        gaps::first_above(transaction, id, above)?.map_or(reach.next, |gap| gap.min(reach.next));
    let (kind, title) = name(transaction, id)?;
    let changes = count_changes(transaction, me, id, above)?;
    let resent = put_back(transaction, id, (kind, &title), &own, hole, above)?;
    states::undo(transaction, id, above)?;
    let events = transaction
        .prepare_cached("DELETE FROM events WHERE conversation = ?1 AND seq > ?2")?
        .execute(params![id.bytes(), stored(above)])?;
    gaps::cut(transaction, id, above)?;
    reads::lower_reads(transaction, id, above)?;
    outbox::forget_targets(transaction, id, above)?;
    cut(transaction, id, above)?;
    outbox::forget_outcomes(transaction, id, above)?;
    if kind == ConversationKind::Account {
        settings::read_again(transaction, id)?;
    }
    if events == 0 && changes == 0 && reach.next <= above.next() {
        return Ok(None);
    }
    Ok(Some(Dropped {
        conversation: id,
        kind,
        title,
        above,
        events: events as u64,
        resent,
        changes,
    }))
}

fn own_above(
    transaction: &Transaction<'_>,
    me: &Me,
    id: ConversationId,
    above: Seq,
) -> Result<Vec<Own>, LocalError> {
    let own = transaction
        .prepare_cached(
            "SELECT seq, message_id, committed_at_ms, raw FROM events
              WHERE conversation = ?1 AND seq > ?2 AND sender = ?3
                AND (kind IN (?4, ?8) OR (kind IN (?5, ?6, ?7, ?9) AND target <= ?2)) ORDER BY seq",
        )?
        .query_map(
            params![
                id.bytes(),
                stored(above),
                me.user.bytes(),
                MESSAGE,
                EDITED,
                DELETED,
                REACTED,
                ACCOUNT_CHANGED,
                PINNED
            ],
            |row| {
                Ok(Own {
                    seq: seq_at(row, 0)?,
                    id: row.get::<_, Option<_>>(1)?.map(MessageId::new),
                    at_ms: row.get(2)?,
                    raw: row.get(3)?,
                })
            },
        )?
        .collect::<Result<_, _>>()?;
    Ok(own)
}

/// How many changes above a seq are the user's own and are not made again. The event of one
/// that was accepted a moment ago may still have been on its way.
fn count_changes(
    transaction: &Transaction<'_>,
    me: &Me,
    id: ConversationId,
    above: Seq,
) -> Result<u64, LocalError> {
    let count: i64 = transaction
        .prepare_cached(
            "SELECT count(*) FROM (
                 SELECT seq FROM events
                  WHERE conversation = ?1 AND seq > ?2 AND sender = ?3
                    AND kind NOT IN (?4, ?6, ?7) AND (target IS NULL OR target > ?2)
                  UNION
                 SELECT seq FROM outcomes
                  WHERE conversation = ?1 AND seq > ?2 AND kind = ?5
                    AND NOT EXISTS (SELECT 1 FROM events
                                     WHERE events.conversation = ?1 AND events.seq = outcomes.seq))",
        )?
        .query_row(
            params![
                id.bytes(),
                stored(above),
                me.user.bytes(),
                MESSAGE,
                outbox::ACCEPTED,
                BLANK,
                ACCOUNT_CHANGED
            ],
            |row| row.get(0),
        )?;
    Ok(count.unsigned_abs())
}

/// Puts messages back into the outbox, in front of what waits, and what was done to
/// those that are still there. Returns how many.
///
/// Those of the user's other devices as well: the one that sent them may never
/// come back, and whoever is first stores them once. But only below the first
/// `hole` in what is stored here: behind it, one of them could overtake another
/// (D6), and the device that sent them has them all.
fn put_back(
    transaction: &Transaction<'_>,
    id: ConversationId,
    (kind, title): (ConversationKind, &str),
    messages: &[Own],
    hole: Seq,
    above: Seq,
) -> Result<u64, LocalError> {
    let peer = UserName::parse(title).ok();
    let peer = peer.filter(|_| kind == ConversationKind::Direct);
    let to = peer.map_or_else(
        || To::ConversationId(id.to_wire()),
        |peer| To::UserName(peer.as_str().to_owned()),
    );
    let mut requests = Vec::new();
    for own in messages {
        let Some(message_id) = own.id else {
            continue;
        };
        let is_sent_here = outbox::was_accepted(transaction, message_id)?;
        let again = again(own, message_id, id, to.clone(), above);
        let Some(body) = again.filter(|_| own.seq < hole || is_sent_here) else {
            continue;
        };
        requests.push(Again {
            id: message_id,
            body,
            queued_at_ms: own.at_ms,
        });
    }
    let count = requests.len() as u64;
    outbox::put_in_front(transaction, id, requests)?;
    Ok(count)
}

/// What the conversation is, and what it is called.
fn name(
    transaction: &Transaction<'_>,
    id: ConversationId,
) -> Result<(ConversationKind, String), LocalError> {
    let name = transaction
        .prepare_cached("SELECT kind, title FROM conversations WHERE id = ?1")?
        .query_row([id.bytes()], |row| {
            Ok((conversations::kind(row.get(0)?), row.get(1)?))
        })?;
    Ok(name)
}

/// Nothing above `above` is here any more, nor known of. What the members are is
/// described anew.
fn cut(transaction: &Transaction<'_>, id: ConversationId, above: Seq) -> Result<(), LocalError> {
    for cut in [
        "UPDATE conversations
            SET next_seq = min(next_seq, ?2 + 1), ahead_seq = min(ahead_seq, ?2),
                head_seq = min(head_seq, ?2), printed_seq = min(printed_seq, ?2),
                described = 0, members_seq = 0, members_complete = 0, members_after = NULL,
                counted_seq = 0, friendship = 0, friendship_seq = 0, answered = 0
          WHERE id = ?1",
        "UPDATE members
            SET delivered_seq = min(delivered_seq, ?2), read_seq = min(read_seq, ?2)
          WHERE conversation = ?1",
    ] {
        transaction
            .prepare_cached(cut)?
            .execute(params![id.bytes(), stored(above)])?;
    }
    Ok(())
}

/// The conversation is not there for this user.
fn forget(transaction: &Transaction<'_>, id: ConversationId) -> Result<(), LocalError> {
    for forget in [
        "DELETE FROM members WHERE conversation = ?1",
        "DELETE FROM pins WHERE conversation = ?1",
        "DELETE FROM conversations WHERE id = ?1",
    ] {
        transaction.prepare_cached(forget)?.execute([id.bytes()])?;
    }
    Ok(())
}

/// The request that made an event; `None` if it cannot be read here, or there is
/// nothing to be said again. What a message answers above `above` is not there.
fn again(own: &Own, message_id: MessageId, id: ConversationId, to: To, above: Seq) -> Option<Body> {
    use v1::event_content::Kind;
    let event = raw::event(&own.raw.clone().into());
    let (message_id, conversation_id) = (message_id.to_wire(), id.to_wire());
    Some(match event.content?.kind? {
        Kind::Message(mut message) => {
            if message.reply_to_seq > above.get() {
                message.reply_to_seq = 0;
            }
            Body::SendMessage(v1::SendMessage {
                message_id,
                to: Some(to),
                message: Some(message),
            })
        }
        Kind::MessageEdited(it) => Body::EditMessage(v1::EditMessage {
            message_id,
            conversation_id,
            seq: it.seq,
            message: Some(it.message?),
        }),
        Kind::MessageDeleted(it) => Body::DeleteMessage(v1::DeleteMessage {
            message_id,
            conversation_id,
            seq: it.seq,
        }),
        Kind::Reacted(it) => Body::React(v1::React {
            message_id,
            conversation_id,
            seq: it.seq,
            emoji: it.emoji,
            removed: it.removed,
        }),
        Kind::Pinned(it) => Body::Pin(v1::Pin {
            message_id,
            conversation_id,
            seq: it.seq,
            pinned: it.pinned,
        }),
        Kind::AccountChanged(it) => Body::ChangeAccount(v1::ChangeAccount {
            message_id,
            change: it.change,
        }),
        Kind::GroupCreated(_)
        | Kind::MembersAdded(_)
        | Kind::MemberRemoved(_)
        | Kind::MemberBanned(_)
        | Kind::InviteCreated(_)
        | Kind::InviteRevoked(_)
        | Kind::MemberJoined(_)
        | Kind::MemberLeft(_)
        | Kind::RoleChanged(_)
        | Kind::GroupUpdated(_)
        | Kind::FriendRequested(_)
        | Kind::FriendshipChanged(_)
        | Kind::Hidden(_) => return None,
    })
}
