//! What the user has set for themself, on all their devices.
//!
//! The account log says so, event by event; the newest one of each thing holds, in
//! whatever order they come. What waits in the outbox holds at once.

use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    profile::{self, LinkSecret},
    seq::Seq,
    setting::{Notify, Reach, Setting},
    text::UserName,
    wire::v1::{self, client_frame::Body, event_content::Kind},
};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    Database, NewEvent, events::ACCOUNT_CHANGED, requests::decode, seq_at, stored, user_at,
};
use crate::{
    error::LocalError,
    model::{Contact, User},
    raw,
};

/// As in `magpie.v1.ConversationKind`.
pub(super) const ACCOUNT: i64 = 3;

const NOTIFY: i64 = 1;
const HIDDEN: i64 = 2;
const CONTACT: i64 = 3;
const PROFILE: i64 = 20;
const DISCOVERABLE: i64 = 21;
const LINK: i64 = 22;
const BLOCK: i64 = 4;
const PRIVACY: i64 = 11;
const DECLINED: i64 = 12;
const RECEIPTS: i64 = 30;
const PRESENCE: i64 = 23;

/// What a setting is about: its kind, an id, and a seq.
type About = (i64, Vec<u8>, i64);

fn about(setting: &Setting) -> About {
    match setting {
        Setting::Notify { conversation, .. } => {
            let id = conversation.map_or_else(Vec::new, |id| id.bytes().to_vec());
            (NOTIFY, id, 0)
        }
        Setting::Hide { conversation, seq } => {
            (HIDDEN, conversation.bytes().to_vec(), stored(*seq))
        }
        Setting::Contact { user, .. } => (CONTACT, user.bytes().to_vec(), 0),
        Setting::Profile(_) => (PROFILE, Vec::new(), 0),
        Setting::Discoverable(_) => (DISCOVERABLE, Vec::new(), 0),
        Setting::Link(_) => (LINK, Vec::new(), 0),
        Setting::Block { user, .. } => (BLOCK, user.bytes().to_vec(), 0),
        Setting::Privacy { .. } => (PRIVACY, Vec::new(), 0),
        Setting::Declined { user, .. } => (DECLINED, user.bytes().to_vec(), 0),
        Setting::Receipts { .. } => (RECEIPTS, Vec::new(), 0),
        Setting::Presence { .. } => (PRESENCE, Vec::new(), 0),
    }
}

/// What a change sets; `None` if a newer version made it.
pub(super) fn setting(change: Option<v1::AccountChange>) -> Option<Setting> {
    change?.try_into().ok()
}

/// Takes over what a new event sets.
pub(super) fn follow(transaction: &Transaction<'_>, event: &NewEvent) -> Result<(), LocalError> {
    let content = event.event.content.as_ref();
    match content.and_then(|content| content.kind.as_ref()) {
        Some(Kind::AccountChanged(it)) => said(transaction, event.seq, it.change.clone()),
        _ => Ok(()),
    }
}

/// The event at `seq` of the account log says so.
fn said(
    transaction: &Transaction<'_>,
    seq: Seq,
    change: Option<v1::AccountChange>,
) -> Result<(), LocalError> {
    let Some(setting) = setting(change) else {
        return Ok(());
    };
    let (kind, id, at) = about(&setting);
    transaction
        .prepare_cached(
            "INSERT INTO settings (kind, about, about_seq, seq, change)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET seq = ?4, change = ?5 WHERE seq < ?4",
        )?
        .execute(params![kind, id, at, stored(seq), setting.encoded()])?;
    Ok(())
}

/// A request waits in the outbox.
pub(super) fn queued(
    transaction: &Transaction<'_>,
    request: MessageId,
    body: &Body,
) -> Result<(), LocalError> {
    let Body::ChangeAccount(it) = body else {
        return Ok(());
    };
    let Some(setting) = setting(it.change.clone()) else {
        return Ok(());
    };
    let (kind, id, at) = about(&setting);
    transaction
        .prepare_cached(
            "INSERT INTO settings (kind, about, about_seq, queued, queued_id)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET queued = ?4, queued_id = ?5",
        )?
        .execute(params![kind, id, at, setting.encoded(), request.bytes()])?;
    Ok(())
}

/// A request is committed at this seq of the account log.
pub(super) fn accepted(
    transaction: &Transaction<'_>,
    request: MessageId,
    seq: Seq,
    body: &Body,
) -> Result<(), LocalError> {
    let Body::ChangeAccount(it) = body else {
        return Ok(());
    };
    said(transaction, seq, it.change.clone())?;
    waits_no_more(transaction, request)
}

/// A request is not in the outbox any more, or refused there.
pub(super) fn waits_no_more(
    transaction: &Transaction<'_>,
    request: MessageId,
) -> Result<(), LocalError> {
    transaction
        .prepare_cached("DELETE FROM settings WHERE queued_id = ?1 AND seq = 0")?
        .execute([request.bytes()])?;
    transaction
        .prepare_cached("UPDATE settings SET queued = NULL, queued_id = NULL WHERE queued_id = ?1")?
        .execute([request.bytes()])?;
    Ok(())
}

/// Reads all of it again, from an account log that was cut and from the outbox.
pub(super) fn read_again(
    transaction: &Transaction<'_>,
    log: ConversationId,
) -> Result<(), LocalError> {
    transaction.execute("DELETE FROM settings", [])?;
    let events: Vec<(Seq, Vec<u8>)> = transaction
        .prepare_cached("SELECT seq, raw FROM events WHERE conversation = ?1 AND kind = ?2")?
        .query_map(params![log.bytes(), ACCOUNT_CHANGED], |row| {
            Ok((seq_at(row, 0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    for (seq, raw) in events {
        let content = raw::event(&raw.into()).content;
        if let Some(Kind::AccountChanged(it)) = content.and_then(|content| content.kind) {
            said(transaction, seq, it.change)?;
        }
    }
    let waiting: Vec<(MessageId, Vec<u8>)> = transaction
        .prepare_cached("SELECT id, frame FROM outbox WHERE code IS NULL ORDER BY place")?
        .query_map([], |row| Ok((super::message_id_at(row, 0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (request, frame) in waiting {
        if let Some(body) = decode(&frame) {
            queued(transaction, request, &body)?;
        }
    }
    Ok(())
}

fn decoded(change: &[u8]) -> Option<Setting> {
    setting(v1::AccountChange::decode(change).ok())
}

/// For what the user is woken in a conversation, or in all.
pub(super) fn notify(
    connection: &Connection,
    conversation: Option<ConversationId>,
) -> Result<Notify, LocalError> {
    let id = conversation.map_or_else(Vec::new, |id| id.bytes().to_vec());
    Ok(match found(connection, NOTIFY, &id)? {
        Some(Setting::Notify { notify, .. }) => notify,
        _ => Notify::default(),
    })
}

/// Whether the user hides their read receipts.
pub(super) fn hides_receipts(connection: &Connection) -> Result<bool, LocalError> {
    let found: Option<Vec<u8>> = connection
        .prepare_cached("SELECT coalesce(queued, change) FROM settings WHERE kind = ?1")?
        .query_row([RECEIPTS], |row| row.get(0))
        .optional()?;
    let setting = found.and_then(|change| decoded(&change));
    Ok(setting == Some(Setting::Receipts { hidden: true }))
}

/// Whether the outbox says something of receipts that the server has not taken.
pub(super) fn receipts_wait(connection: &Connection) -> Result<bool, LocalError> {
    let wait = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM settings WHERE kind = ?1 AND queued IS NOT NULL)",
        )?
        .query_row([RECEIPTS], |row| row.get(0))?;
    Ok(wait)
}

/// What holds of a kind of setting, about what has this id.
fn found(connection: &Connection, kind: i64, id: &[u8]) -> Result<Option<Setting>, LocalError> {
    let found: Option<Vec<u8>> = connection
        .prepare_cached(
            "SELECT coalesce(queued, change) FROM settings
              WHERE kind = ?1 AND about = ?2 AND about_seq = 0",
        )?
        .query_row(params![kind, id], |row| row.get(0))
        .optional()?;
    Ok(found.and_then(|change| decoded(&change)))
}

/// Whether the user blocks another one.
pub(super) fn is_blocked(connection: &Connection, user: UserId) -> Result<bool, LocalError> {
    let set = found(connection, BLOCK, &user.bytes())?;
    Ok(matches!(set, Some(Setting::Block { blocked: true, .. })))
}

/// Whose messages are more than requests.
pub(super) fn messages_from(connection: &Connection) -> Result<Reach, LocalError> {
    Ok(match found(connection, PRIVACY, &[])? {
        Some(Setting::Privacy { messages }) => messages,
        _ => Reach::default(),
    })
}

/// The last request of another user to be friends that this one has declined.
pub(super) fn declined(connection: &Connection, user: UserId) -> Result<Seq, LocalError> {
    Ok(match found(connection, DECLINED, &user.bytes())? {
        Some(Setting::Declined { seq, .. }) => seq,
        _ => Seq::ZERO,
    })
}

/// What the user calls another one; may be empty.
pub(super) fn nickname(connection: &Connection, user: UserId) -> Result<String, LocalError> {
    Ok(match found(connection, CONTACT, &user.bytes())? {
        Some(Setting::Contact { nickname, .. }) => nickname.as_str().to_owned(),
        _ => String::new(),
    })
}

/// What the user says of themself.
pub(super) fn own_profile(connection: &Connection) -> Result<profile::Profile, LocalError> {
    Ok(match found(connection, PROFILE, &[])? {
        Some(Setting::Profile(it)) => it,
        _ => profile::Profile::default(),
    })
}

/// What another user is to this one, if anything.
pub(super) fn contact(connection: &Connection, user: &User) -> Result<Option<Contact>, LocalError> {
    let (favourite, nickname) = match found(connection, CONTACT, &user.id.bytes())? {
        Some(Setting::Contact {
            favourite,
            nickname,
            ..
        }) => (favourite, nickname.as_str().to_owned()),
        _ => (false, String::new()),
    };
    let contact = Contact {
        user: user.clone(),
        favourite,
        nickname,
        blocked: is_blocked(connection, user.id)?,
    };
    let is_something = favourite || contact.blocked || !contact.nickname.is_empty();
    Ok(is_something.then_some(contact))
}

impl Database {
    pub(crate) fn notify(
        &self,
        conversation: Option<ConversationId>,
    ) -> Result<Notify, LocalError> {
        notify(&self.connection, conversation)
    }

    pub(crate) fn hides_receipts(&self) -> Result<bool, LocalError> {
        hides_receipts(&self.connection)
    }

    pub(crate) fn messages_from(&self) -> Result<Reach, LocalError> {
        messages_from(&self.connection)
    }

    pub(crate) fn contacts(&self) -> Result<Vec<Contact>, LocalError> {
        let mut ask = self.connection.prepare_cached(
            "SELECT DISTINCT about,
                    coalesce((SELECT name FROM members WHERE user_id = about LIMIT 1), '')
               FROM settings WHERE kind IN (?1, ?2) ORDER BY about",
        )?;
        let mut rows = ask.query([CONTACT, BLOCK])?;
        let mut contacts = Vec::new();
        while let Some(row) = rows.next()? {
            let user = User {
                id: user_at(row, 0)?,
                name: row.get(1)?,
            };
            contacts.extend(contact(&self.connection, &user)?);
        }
        Ok(contacts)
    }

    /// What the user says of themself.
    pub(crate) fn own_profile(&self) -> Result<profile::Profile, LocalError> {
        own_profile(&self.connection)
    }

    /// Whether the user hides their presence.
    pub(crate) fn hides_presence(&self) -> Result<bool, LocalError> {
        let found = found(&self.connection, PRESENCE, &[])?;
        Ok(found == Some(Setting::Presence { hidden: true }))
    }

    /// Whether a search by the beginning of a name finds the user.
    pub(crate) fn is_discoverable(&self) -> Result<bool, LocalError> {
        let found = found(&self.connection, DISCOVERABLE, &[])?;
        Ok(found == Some(Setting::Discoverable(true)))
    }

    /// What is in the user's link, if there is one.
    pub(crate) fn link(&self) -> Result<Option<LinkSecret>, LocalError> {
        Ok(match found(&self.connection, LINK, &[])? {
            Some(Setting::Link(secret)) => secret,
            _ => None,
        })
    }

    /// The user with this name, if any conversation here has them.
    pub(crate) fn user_named(&self, name: &UserName) -> Result<Option<UserId>, LocalError> {
        let found = self
            .connection
            .prepare_cached("SELECT user_id FROM members WHERE name = ?1 LIMIT 1")?
            .query_row([name.as_str()], |row| user_at(row, 0))
            .optional()?;
        Ok(found)
    }
}
