//! Events: from what came to what is stored, and back.

use bytes::Bytes;
use magpie_protocol::{
    id::{ConversationId, MediaId, MessageId, UserId},
    role::Role,
    seq::Seq,
    wire::{InviteBounds, v1},
};
use prost::Message as _;
use rusqlite::{Connection, Transaction, params};

use super::{Database, account::Me, conversations, gaps, settings::setting, states, stored};
use crate::{
    error::LocalError,
    message::{Message, MessagePlace, MessageState},
    model::{Called, Content, LocalHistory, StoredEvent, User},
    raw,
    request::Acceptance,
};

/// A message. Like [`BLANK`], it counts as unread.
pub(super) const MESSAGE: i64 = 1;
/// A message that was edited.
pub(super) const EDITED: i64 = 6;
/// A message that was deleted, said by the event of that.
pub(super) const DELETED: i64 = 7;
/// A reaction.
pub(super) const REACTED: i64 = 8;
/// A setting of the user's own.
pub(super) const ACCOUNT_CHANGED: i64 = 20;
/// The place of a message that was deleted.
pub(super) const BLANK: i64 = 9;

/// Events from this kind to [`MEMBER_LEFT`] change the members.
pub(super) const GROUP_CREATED: i64 = 2;
/// See [`GROUP_CREATED`].
pub(super) const MEMBER_LEFT: i64 = 5;
/// A member has another role.
pub(super) const ROLE_CHANGED: i64 = 30;
/// The group is called otherwise, or says or does.
pub(super) const GROUP_UPDATED: i64 = 31;
/// A user is kept out of a group, or is not any more.
pub(super) const MEMBER_BANNED: i64 = 51;
/// The sender joined by themself.
pub(super) const MEMBER_JOINED: i64 = 54;
/// A message is pinned, or is not any more.
pub(super) const PINNED: i64 = 50;
/// Somebody who was blocked did something: nothing is shown of it.
pub(super) const HIDDEN: i64 = 40;
/// Somebody asks to be friends.
pub(super) const FRIEND_REQUESTED: i64 = 41;
/// Two are friends, or not any more.
pub(super) const FRIENDSHIP_CHANGED: i64 = 42;

/// An event from the server that has a place.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    pub(crate) conversation: ConversationId,
    pub(crate) seq: Seq,
    pub(crate) sender: Option<UserId>,
    pub(crate) message_id: Option<MessageId>,
    pub(crate) event: v1::Event,
    pub(crate) raw: Bytes,
}

impl NewEvent {
    /// Takes what came, readable or not; `None` if it is not even known where it
    /// belongs.
    pub(crate) fn parse(event: v1::Event, raw: Bytes) -> Option<Self> {
        let conversation = ConversationId::try_from(event.conversation_id.as_ref()).ok()?;
        if event.seq == 0 || i64::try_from(event.seq).is_err() {
            return None;
        }
        Some(Self {
            conversation,
            seq: Seq::new(event.seq),
            sender: event
                .sender
                .as_ref()
                .and_then(|user| UserId::try_from(user.user_id.as_ref()).ok()),
            message_id: MessageId::try_from(event.message_id.as_ref()).ok(),
            event,
            raw,
        })
    }

    /// Whether it tells of people who may be new to this device.
    pub(super) fn adds_members(&self) -> bool {
        use v1::event_content::Kind;
        let content = self.event.content.as_ref();
        let kind = content.and_then(|content| content.kind.as_ref());
        matches!(kind, Some(Kind::GroupCreated(_) | Kind::MembersAdded(_)))
    }

    /// All that have a place, and how many have none. `Err` says what is wrong.
    pub(crate) fn parse_all(
        events: Vec<v1::Event>,
        raw: Vec<Bytes>,
    ) -> Result<(Vec<Self>, usize), &'static str> {
        if events.len() != raw.len() {
            return Err("events that cannot be told apart");
        }
        let count = events.len();
        let pairs = events.into_iter().zip(raw);
        let placed: Vec<_> = pairs
            .filter_map(|(event, raw)| Self::parse(event, raw))
            .collect();
        let unplaced_count = count - placed.len();
        Ok((placed, unplaced_count))
    }

    pub(super) fn kind(&self) -> i64 {
        use v1::event_content::Kind;
        let content = self.event.content.as_ref();
        match content.and_then(|content| content.kind.as_ref()) {
            Some(Kind::Message(it)) if Message::is_blank(it) => BLANK,
            Some(Kind::Message(_)) => MESSAGE,
            Some(Kind::GroupCreated(_)) => GROUP_CREATED,
            Some(Kind::MembersAdded(_)) => 3,
            Some(Kind::MemberRemoved(_)) => 4,
            Some(Kind::MemberLeft(_)) => MEMBER_LEFT,
            Some(Kind::MessageEdited(_)) => EDITED,
            Some(Kind::MessageDeleted(_)) => DELETED,
            Some(Kind::Reacted(_)) => REACTED,
            Some(Kind::AccountChanged(_)) => ACCOUNT_CHANGED,
            Some(Kind::RoleChanged(_)) => ROLE_CHANGED,
            Some(Kind::GroupUpdated(_)) => GROUP_UPDATED,
            Some(Kind::Pinned(_)) => PINNED,
            Some(Kind::MemberBanned(_)) => MEMBER_BANNED,
            Some(Kind::InviteCreated(_)) => 52,
            Some(Kind::InviteRevoked(_)) => 53,
            Some(Kind::MemberJoined(_)) => MEMBER_JOINED,
            Some(Kind::Hidden(_)) => HIDDEN,
            Some(Kind::FriendRequested(_)) => FRIEND_REQUESTED,
            Some(Kind::FriendshipChanged(_)) => FRIENDSHIP_CHANGED,
            None => 0,
        }
    }

    /// Whether it is a message of somebody else that mentions this user, or everybody.
    fn mentions(&self, user: UserId) -> bool {
        use v1::event_content::Kind;
        let content = self.event.content.as_ref();
        let Some(Kind::Message(message)) = content.and_then(|content| content.kind.as_ref()) else {
            return false;
        };
        let mut named = message.mentions.iter();
        let is_named =
            message.mentions_everybody || named.any(|it| it.user_id.as_ref() == user.bytes());
        is_named && self.sender != Some(user)
    }

    /// The message that it is about, besides itself.
    pub(super) fn target(&self) -> Option<Seq> {
        use v1::event_content::Kind;
        let content = self.event.content.as_ref();
        let seq = match content.and_then(|content| content.kind.as_ref())? {
            Kind::MessageEdited(it) => it.seq,
            Kind::MessageDeleted(it) => it.seq,
            Kind::Reacted(it) => it.seq,
            Kind::Pinned(it) => it.seq,
            Kind::Message(_)
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
            | Kind::AccountChanged(_)
            | Kind::FriendRequested(_)
            | Kind::FriendshipChanged(_)
            | Kind::Hidden(_) => return None,
        };
        Some(Seq::new(seq))
    }

    pub(crate) fn into_stored(self) -> StoredEvent {
        to_stored(self.event, self.raw, self.conversation)
    }
}

/// Stores an event unless one is at its place already. Returns whether it was.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    me: &Me,
    event: &NewEvent,
    printable: bool,
) -> Result<bool, LocalError> {
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO events (conversation, seq, message_id, sender, committed_at_ms, kind,
                                 printable, epoch, raw, target, mentions_me)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            event.conversation.bytes(),
            stored(event.seq),
            event.message_id.map(|id| id.bytes()),
            event.sender.map(|id| id.bytes()),
            event.event.committed_at_ms,
            event.kind(),
            printable,
            me.epoch,
            event.raw.as_ref(),
            event.target().map(stored),
            event.mentions(me.user),
        ])?;
    Ok(inserted == 1)
}

pub(super) fn is_stored(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    seq: Seq,
) -> Result<bool, LocalError> {
    let found = transaction
        .prepare_cached("SELECT 1 FROM events WHERE conversation = ?1 AND seq = ?2")?
        .exists(params![conversation.bytes(), stored(seq)])?;
    Ok(found)
}

/// The stored seqs of a range, in ascending order.
pub(super) fn seqs_between(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    from: Seq,
    to: Seq,
) -> Result<Vec<Seq>, LocalError> {
    let seqs = transaction
        .prepare_cached(
            "SELECT seq FROM events WHERE conversation = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq",
        )?
        .query_map(
            params![conversation.bytes(), stored(from), stored(to)],
            |row| super::seq_at(row, 0),
        )?
        .collect::<Result<_, _>>()?;
    Ok(seqs)
}

/// The event that an accepted message of this device became.
pub(super) fn own_message(
    me: &Me,
    id: MessageId,
    at: Acceptance,
    message: v1::Message,
) -> NewEvent {
    let kind = v1::event_content::Kind::Message(message);
    let event = v1::Event {
        conversation_id: at.conversation.to_wire(),
        seq: at.seq.get(),
        sender: Some(v1::User {
            user_id: me.user.to_wire(),
            name: me.name.clone(),
        }),
        message_id: id.to_wire(),
        committed_at_ms: at.committed_at_ms,
        content: Some(v1::EventContent { kind: Some(kind) }),
    };
    NewEvent {
        conversation: at.conversation,
        seq: at.seq,
        sender: Some(me.user),
        message_id: Some(id),
        raw: event.encode_to_vec().into(),
        event,
    }
}

pub(crate) fn user(user: v1::User) -> Option<User> {
    let id = UserId::try_from(user.user_id.as_ref()).ok()?;
    Some(User {
        id,
        name: user.name,
    })
}

fn updated(it: v1::GroupUpdated) -> Content {
    Content::GroupUpdated {
        title: it.title,
        description: it.description,
        announcement_only: it.announcement_only,
        photo: it.photo.map(|id| MediaId::try_from(id.as_ref()).ok()),
        history_for_newcomers: it.history_for_newcomers,
    }
}

fn to_stored(event: v1::Event, raw: Bytes, conversation: ConversationId) -> StoredEvent {
    StoredEvent {
        conversation,
        seq: Seq::new(event.seq),
        sender: event.sender.and_then(user),
        called: Called::default(),
        message_id: MessageId::try_from(event.message_id.as_ref()).ok(),
        committed_at_ms: event.committed_at_ms,
        content: content(event.content.and_then(|content| content.kind)),
        state: MessageState::default(),
        raw,
    }
}

fn content(kind: Option<v1::event_content::Kind>) -> Content {
    use v1::event_content::Kind;
    let users = |users: Vec<v1::User>| users.into_iter().filter_map(user).collect();
    match kind {
        Some(Kind::Message(it)) => {
            Message::of(it).map_or(Content::DeletedMessage, Content::Message)
        }
        Some(Kind::MessageEdited(it)) => Content::MessageEdited {
            seq: Seq::new(it.seq),
            message: it.message.and_then(Message::of),
        },
        Some(Kind::MessageDeleted(it)) => Content::MessageDeleted {
            seq: Seq::new(it.seq),
        },
        Some(Kind::Reacted(it)) => Content::Reacted {
            seq: Seq::new(it.seq),
            emoji: it.emoji,
            removed: it.removed,
        },
        Some(Kind::GroupCreated(it)) => Content::GroupCreated {
            title: it.title,
            members: users(it.members),
        },
        Some(Kind::MembersAdded(it)) => Content::MembersAdded {
            members: users(it.members),
        },
        Some(Kind::MemberRemoved(it)) => Content::MemberRemoved {
            member: it.member.and_then(user),
        },
        Some(Kind::MemberBanned(it)) => Content::MemberBanned {
            member: it.member.and_then(user),
            banned: it.banned,
            removed: it.removed,
        },
        Some(Kind::InviteCreated(it)) => {
            Content::InviteCreated(InviteBounds::of(it.expires_at_ms, it.uses_max))
        }
        Some(Kind::InviteRevoked(it)) => Content::InviteRevoked {
            seq: Seq::new(it.seq),
        },
        Some(Kind::MemberJoined(it)) => Content::MemberJoined {
            invite_seq: Seq::new(it.invite_seq),
        },
        Some(Kind::MemberLeft(it)) => Content::MemberLeft {
            heir: it.heir.and_then(user),
        },
        Some(Kind::RoleChanged(it)) => Content::RoleChanged {
            member: it.member.and_then(user),
            role: Role::from_number(it.role.into()),
        },
        Some(Kind::GroupUpdated(it)) => updated(it),
        Some(Kind::Pinned(it)) => Content::Pinned {
            seq: Seq::new(it.seq),
            pinned: it.pinned,
        },
        Some(Kind::FriendRequested(_)) => Content::FriendRequested,
        Some(Kind::FriendshipChanged(it)) => Content::FriendshipChanged {
            friends: it.friends,
        },
        Some(Kind::Hidden(_)) => Content::Hidden,
        Some(Kind::AccountChanged(it)) => Content::AccountChanged(setting(it.change)),
        None => Content::Unknown,
    }
}

/// Reads a row of (conversation, raw).
pub(super) fn event_at(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredEvent> {
    let raw_event: Vec<u8> = row.get(1)?;
    let raw_event = Bytes::from(raw_event);
    let event = raw::event(&raw_event);
    Ok(to_stored(event, raw_event, super::conversation_at(row, 0)?))
}

pub(super) fn newest_below(
    connection: &Connection,
    conversation: ConversationId,
    below: Seq,
    limit: usize,
) -> Result<Vec<StoredEvent>, LocalError> {
    let mut events: Vec<StoredEvent> = connection
        .prepare_cached(
            "SELECT conversation, raw FROM events
              WHERE conversation = ?1 AND seq < ?2 AND kind <> 40
                AND NOT EXISTS (SELECT 1 FROM settings
                                 WHERE settings.kind = 2 AND about = ?1 AND about_seq = events.seq)
              ORDER BY seq DESC LIMIT ?3",
        )?
        .query_map(
            params![
                conversation.bytes(),
                stored(below),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            event_at,
        )?
        .collect::<Result<_, _>>()?;
    events.reverse();
    Ok(events)
}

impl Database {
    pub(crate) fn history(
        &mut self,
        conversation: ConversationId,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<LocalHistory, LocalError> {
        // One moment's view: the driver may be writing.
        let view = self.connection.transaction()?;
        let before = before.unwrap_or(Seq::new(u64::MAX));
        let Some(reach) = conversations::reach(&view, conversation)? else {
            return Ok(LocalHistory::default());
        };
        let blocked_at = gaps::first_blocking(&view, conversation)?;
        let shown = blocked_at.unwrap_or(reach.next);
        let below = before.min(shown);
        let mut events = newest_below(&view, conversation, below, limit)?;
        states::fill(&view, &mut events)?;
        let lowest = events
            .first()
            .map_or(Seq::ZERO, |event| event.seq.previous());
        let gaps = gaps::between(&view, conversation, lowest, before.previous())?;
        Ok(LocalHistory { events, gaps })
    }

    /// A stored event, and the edits of it that are stored.
    pub(crate) fn event(
        &mut self,
        place: MessagePlace,
    ) -> Result<Option<(StoredEvent, Vec<StoredEvent>)>, LocalError> {
        let view = self.connection.transaction()?;
        let (id, seq) = (place.conversation.bytes(), stored(place.seq));
        let mut found: Vec<StoredEvent> = view
            .prepare_cached(
                "SELECT conversation, raw FROM events WHERE conversation = ?1 AND seq = ?2",
            )?
            .query_map(params![id, seq], event_at)?
            .collect::<Result<_, _>>()?;
        states::fill(&view, &mut found)?;
        let Some(event) = found.pop() else {
            return Ok(None);
        };
        let edits = view
            .prepare_cached(
                "SELECT conversation, raw FROM events
                  WHERE conversation = ?1 AND target = ?2 AND kind = ?3 ORDER BY seq",
            )?
            .query_map(params![id, seq, EDITED], event_at)?
            .collect::<Result<_, _>>()?;
        Ok(Some((event, edits)))
    }
}
