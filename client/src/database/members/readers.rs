//! Who has read a message, by the marks that are here.

use std::collections::HashSet;

use magpie_protocol::{
    id::{ConversationId, UserId},
    limits::MARKED_MEMBERS_MAX,
    seq::Seq,
};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{
    all,
    changes::{Change, changes_above},
    listed,
};
use crate::{
    database::{Database, settings, stored},
    error::LocalError,
    message::MessagePlace,
    model::{Member, Readers},
};

/// Who sent it; nothing if it is not stored.
fn sender(
    view: &Transaction<'_>,
    place: MessagePlace,
) -> Result<Option<Option<Vec<u8>>>, LocalError> {
    let sender = view
        .prepare_cached("SELECT sender FROM events WHERE conversation = ?1 AND seq = ?2")?
        .query_row(
            params![place.conversation.bytes(), stored(place.seq)],
            |row| row.get(0),
        )
        .optional()?;
    Ok(sender)
}

/// Members who came after an event, or came back after it.
fn joined_after(
    view: &Transaction<'_>,
    id: ConversationId,
    seq: Seq,
) -> Result<HashSet<UserId>, LocalError> {
    let mut joined = HashSet::new();
    for change in changes_above(view, id, seq)? {
        if let Change::Created { members, .. } | Change::Added(members) = change {
            joined.extend(members.iter().map(|user| user.id));
        }
    }
    Ok(joined)
}

impl Database {
    pub(crate) fn readers(&mut self, place: MessagePlace) -> Result<Option<Readers>, LocalError> {
        // One moment's view: the driver may be writing.
        let view = self.connection.transaction()?;
        let (id, seq) = (place.conversation, place.seq);
        let (Some(sender), Some(listed)) = (sender(&view, place)?, listed(&view, id)?) else {
            return Ok(None);
        };
        if settings::hides_receipts(&view)? {
            return Ok(Some(Readers::Hidden));
        }
        let members = all(&view, id, None)?;
        if !listed.complete || members.len() > MARKED_MEMBERS_MAX {
            return Ok(Some(Readers::Many));
        }
        let joined = joined_after(&view, id, seq)?;
        let is_sender = |it: &Member| sender.as_deref() == Some(&it.user.id.bytes()[..]);
        let members = members.into_iter();
        let could = members.filter(|it| !is_sender(it) && !joined.contains(&it.user.id));
        let (read, others): (Vec<Member>, Vec<Member>) = could.partition(|it| it.read_seq >= seq);
        let stored = others.into_iter().filter(|it| it.delivered_seq >= seq);
        Ok(Some(Readers::Named {
            delivered: stored.map(|it| it.user).collect(),
            read: read.into_iter().map(|it| it.user).collect(),
        }))
    }
}
