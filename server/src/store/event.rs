//! An event on its way into the log and out of it: what both engines store of
//! it, and its encoded form.

use bytes::{BufMut, Bytes, BytesMut};
use magpie_protocol::{
    id::{ConversationId, MessageId, UserId},
    seq::Seq,
    wire::v1,
};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};

use super::{MembershipChange, StoreError};

/// What kind of event it is, as stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EventKind {
    /// Somebody said something. With seq 1 it made a direct conversation.
    Message,
    /// A group was made.
    GroupCreated,
    /// Members were added.
    MembersAdded,
    /// A member was removed.
    MemberRemoved,
    /// The sender left.
    MemberLeft,
    /// The sender said a message otherwise.
    MessageEdited,
    /// A message was deleted.
    MessageDeleted,
    /// The sender reacted to a message, or took that back.
    Reacted,
    /// The sender changed what is their own. With seq 1 it made their account log.
    AccountChanged,
    /// The sender asks the other one to be friends. With seq 1 it made a direct
    /// conversation.
    FriendRequested,
    /// The two are friends, or not any more. With seq 1 it made a direct conversation.
    FriendshipChanged,
    /// A member was given a role.
    RoleChanged,
    /// A group was changed in what is said of it.
    GroupUpdated,
    /// The sender pinned a message, or took it off.
    Pinned,
    /// A user was banned from a group, or their ban ended.
    MemberBanned,
    /// Whoever has a secret may join the group.
    InviteCreated,
    /// An invite was ended.
    InviteRevoked,
    /// The sender joined by an invite.
    MemberJoined,
}

impl EventKind {
    /// The number by which engines store it: the field of `EventContent`.
    #[must_use]
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Message => 1,
            Self::GroupCreated => 2,
            Self::MembersAdded => 3,
            Self::MemberRemoved => 4,
            Self::MemberLeft => 5,
            Self::MessageEdited => 6,
            Self::MessageDeleted => 7,
            Self::Reacted => 8,
            Self::AccountChanged => 20,
            Self::RoleChanged => 30,
            Self::GroupUpdated => 31,
            Self::FriendRequested => 41,
            Self::FriendshipChanged => 42,
            Self::Pinned => 50,
            Self::MemberBanned => 51,
            Self::InviteCreated => 52,
            Self::InviteRevoked => 53,
            Self::MemberJoined => 54,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub(super) const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Message,
            2 => Self::GroupCreated,
            3 => Self::MembersAdded,
            4 => Self::MemberRemoved,
            5 => Self::MemberLeft,
            6 => Self::MessageEdited,
            7 => Self::MessageDeleted,
            8 => Self::Reacted,
            20 => Self::AccountChanged,
            30 => Self::RoleChanged,
            31 => Self::GroupUpdated,
            41 => Self::FriendRequested,
            42 => Self::FriendshipChanged,
            50 => Self::Pinned,
            51 => Self::MemberBanned,
            52 => Self::InviteCreated,
            53 => Self::InviteRevoked,
            54 => Self::MemberJoined,
            _ => return None,
        })
    }
}

/// An event's parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventParts<'a> {
    /// Its conversation.
    pub(super) conversation: ConversationId,
    /// Its place there.
    pub(super) seq: Seq,
    /// Who caused it.
    pub(super) sender: UserId,
    /// Their name.
    pub(super) sender_name: &'a str,
    /// The request that caused it.
    pub(super) id: MessageId,
    /// Milliseconds since 1970.
    pub(super) committed_at_ms: i64,
    /// Encoded [`v1::EventContent`].
    pub(super) body: &'a [u8],
}

// An id with its key and length.
const ID_FIELD_SIZE: usize = 18;

/// Encodes a [`v1::Event`] whose content is encoded already: it is stored so,
/// and would be decoded only to be encoded again.
#[must_use]
pub(super) fn encode_event(parts: &EventParts<'_>) -> Bytes {
    let name = parts.sender_name.as_bytes();
    let user_size = ID_FIELD_SIZE + bytes_field_size(name);
    let committed_at = parts.committed_at_ms.cast_unsigned();
    let size = ID_FIELD_SIZE * 2
        + (1 + encoded_len_varint(parts.seq.get()))
        + (1 + encoded_len_varint(user_size as u64) + user_size)
        + (1 + encoded_len_varint(committed_at))
        + (1 + encoded_len_varint(parts.body.len() as u64) + parts.body.len());
    let mut out = BytesMut::with_capacity(size);
    put_bytes(1, &parts.conversation.bytes(), &mut out);
    put_varint(2, parts.seq.get(), &mut out);
    encode_key(3, WireType::LengthDelimited, &mut out);
    encode_varint(user_size as u64, &mut out);
    put_bytes(1, &parts.sender.bytes(), &mut out);
    put_bytes(2, name, &mut out);
    put_bytes(4, &parts.id.bytes(), &mut out);
    put_varint(5, committed_at, &mut out);
    // Present even if it is empty: somebody left.
    encode_key(6, WireType::LengthDelimited, &mut out);
    encode_varint(parts.body.len() as u64, &mut out);
    out.put_slice(parts.body);
    out.freeze()
}

/// What stands in the place of an event for a reader from whom it is hidden.
#[must_use]
pub(super) fn encode_hidden(conversation: ConversationId, seq: Seq) -> Bytes {
    let kind = v1::event_content::Kind::Hidden(v1::Hidden {});
    let event = v1::Event {
        conversation_id: conversation.to_wire(),
        seq: seq.get(),
        content: Some(v1::EventContent { kind: Some(kind) }),
        ..v1::Event::default()
    };
    event.encode_to_vec().into()
}

fn bytes_field_size(value: &[u8]) -> usize {
    match value.len() {
        0 => 0,
        size => 1 + encoded_len_varint(size as u64) + size,
    }
}

fn put_bytes(field: u32, value: &[u8], out: &mut BytesMut) {
    if !value.is_empty() {
        encode_key(field, WireType::LengthDelimited, out);
        encode_varint(value.len() as u64, out);
        out.put_slice(value);
    }
}

fn put_varint(field: u32, value: u64, out: &mut BytesMut) {
    encode_key(field, WireType::Varint, out);
    encode_varint(value, out);
}

/// How an event of a group changes who may read it, from what is stored.
///
/// Not for the first event of a direct conversation or an account log: that one says
/// nothing of its members.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if the body is not what its kind says.
pub(super) fn stored_change(
    kind: EventKind,
    sender: UserId,
    body: &[u8],
) -> Result<Option<MembershipChange>, StoreError> {
    use v1::event_content::Kind;
    match kind {
        EventKind::Message
        | EventKind::MessageEdited
        | EventKind::MessageDeleted
        | EventKind::Reacted
        | EventKind::RoleChanged
        | EventKind::GroupUpdated
        | EventKind::FriendRequested
        | EventKind::FriendshipChanged
        | EventKind::Pinned
        | EventKind::InviteCreated
        | EventKind::InviteRevoked
        | EventKind::AccountChanged => return Ok(None),
        EventKind::MemberLeft => return Ok(Some(MembershipChange::Left(sender))),
        EventKind::MemberJoined => return Ok(Some(MembershipChange::Joined(vec![sender]))),
        EventKind::GroupCreated
        | EventKind::MembersAdded
        | EventKind::MemberRemoved
        | EventKind::MemberBanned => {}
    }
    let content = v1::EventContent::decode(body).map_err(|reason| StoreError::Corrupt {
        what: format!("an event's body cannot be decoded: {reason}"),
    })?;
    let members = match content.kind {
        Some(Kind::GroupCreated(it)) => it.members,
        Some(Kind::MembersAdded(it)) => it.members,
        Some(Kind::MemberRemoved(v1::MemberRemoved { member: Some(user) })) => {
            return Ok(Some(MembershipChange::Left(user_id(&user)?)));
        }
        Some(Kind::MemberBanned(v1::MemberBanned {
            member: Some(user),
            removed,
            ..
        })) => {
            let user = user_id(&user)?;
            return Ok(removed.then_some(MembershipChange::Left(user)));
        }
        Some(
            Kind::MemberRemoved(_)
            | Kind::MemberBanned(_)
            | Kind::Message(_)
            | Kind::MemberLeft(_)
            | Kind::MessageEdited(_)
            | Kind::MessageDeleted(_)
            | Kind::Reacted(_)
            | Kind::RoleChanged(_)
            | Kind::GroupUpdated(_)
            | Kind::Pinned(_)
            | Kind::InviteCreated(_)
            | Kind::InviteRevoked(_)
            | Kind::MemberJoined(_)
            | Kind::AccountChanged(_)
            | Kind::FriendRequested(_)
            | Kind::FriendshipChanged(_)
            | Kind::Hidden(_),
        )
        | None => {
            return Err(StoreError::Corrupt {
                what: format!("the body of a {kind:?} event says something else"),
            });
        }
    };
    let joined = members.iter().map(user_id).collect::<Result<_, _>>()?;
    Ok(Some(MembershipChange::Joined(joined)))
}

/// The body of a message that was deleted: an [`v1::EventContent`] with a message
/// that has nothing in it. No other is like it.
pub(super) const DELETED: [u8; 2] = [0x0a, 0x00];

/// Of a stored event `e`, whether devices are woken for it: a message that was not
/// deleted, or a friend request, that is not hidden. The body of every other message is longer than
/// [`DELETED`], and to ask for its length does not read it.
macro_rules! is_worthy {
    () => {
        "e.kind IN (1, 41) AND NOT e.hidden AND length(e.body) > 2"
    };
}
pub(super) use is_worthy;

/// The body of an edit of the message at `seq`, once that is deleted.
#[must_use]
pub(super) fn deleted_edit(seq: Seq) -> Vec<u8> {
    let edited = v1::MessageEdited {
        seq: seq.get(),
        message: None,
    };
    v1::EventContent {
        kind: Some(v1::event_content::Kind::MessageEdited(edited)),
    }
    .encode_to_vec()
}

/// What a stored message, or an edit of one, says; `None` if the event is neither, or
/// the message was deleted.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if the body cannot be decoded.
pub(super) fn stored_message(body: &[u8]) -> Result<Option<v1::Message>, StoreError> {
    use v1::event_content::Kind;
    let content = v1::EventContent::decode(body).map_err(|reason| StoreError::Corrupt {
        what: format!("an event's body cannot be decoded: {reason}"),
    })?;
    Ok(match content.kind {
        Some(Kind::Message(it)) if body != DELETED => Some(it),
        Some(Kind::MessageEdited(it)) => it.message,
        Some(
            Kind::Message(_)
            | Kind::GroupCreated(_)
            | Kind::MembersAdded(_)
            | Kind::MemberRemoved(_)
            | Kind::MemberBanned(_)
            | Kind::MemberLeft(_)
            | Kind::MessageDeleted(_)
            | Kind::Reacted(_)
            | Kind::RoleChanged(_)
            | Kind::GroupUpdated(_)
            | Kind::Pinned(_)
            | Kind::InviteCreated(_)
            | Kind::InviteRevoked(_)
            | Kind::MemberJoined(_)
            | Kind::AccountChanged(_)
            | Kind::FriendRequested(_)
            | Kind::FriendshipChanged(_)
            | Kind::Hidden(_),
        )
        | None => None,
    })
}

/// For whom a stored event that devices are woken for is meant: as a message says, and a
/// friend request for the other one of two.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if the body cannot be decoded.
pub(super) fn stored_address(kind: i64, body: &[u8]) -> Result<Option<v1::Message>, StoreError> {
    if kind == i64::from(EventKind::FriendRequested.number()) {
        let mentions_everybody = true;
        return Ok(Some(v1::Message {
            mentions_everybody,
            ..v1::Message::default()
        }));
    }
    stored_message(body)
}

/// What a stored message, or an edit of one, shows to a person; `None` if nothing: it
/// was deleted, or has no text.
///
/// # Errors
///
/// [`StoreError::Corrupt`] if the body cannot be decoded.
pub(super) fn shown_text(body: &[u8]) -> Result<Option<String>, StoreError> {
    let text = stored_message(body)?.map(|message| message.text);
    Ok(text.filter(|text| !text.is_empty()))
}

fn user_id(user: &v1::User) -> Result<UserId, StoreError> {
    UserId::try_from(user.user_id.as_ref()).map_err(|reason| StoreError::Corrupt {
        what: format!("a user in an event's body: {reason}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_event_is_an_event_on_the_wire() {
        let content = v1::EventContent {
            kind: Some(v1::event_content::Kind::MemberLeft(
                v1::MemberLeft::default(),
            )),
        };
        let event = v1::Event {
            conversation_id: vec![1; 16].into(),
            seq: 300,
            sender: Some(v1::User {
                user_id: vec![2; 16].into(),
                name: "alice".to_owned(),
            }),
            message_id: vec![3; 16].into(),
            committed_at_ms: 1_700_000_000_000,
            content: Some(content.clone()),
        };
        let encoded = encode_event(&EventParts {
            conversation: ConversationId::new([1; 16]),
            seq: Seq::new(300),
            sender: UserId::new([2; 16]),
            sender_name: "alice",
            id: MessageId::new([3; 16]),
            committed_at_ms: 1_700_000_000_000,
            body: &content.encode_to_vec(),
        });
        assert_eq!(encoded, event.encode_to_vec());
    }

    #[test]
    fn a_deleted_message_says_nothing() {
        let kind = v1::event_content::Kind::Message(v1::Message::default());
        let deleted = v1::EventContent { kind: Some(kind) };
        assert_eq!(deleted.encode_to_vec(), DELETED);
        assert!(is_worthy!().ends_with(&format!("> {}", DELETED.len())));
        assert_eq!(stored_message(&DELETED), Ok(None));
        assert_eq!(stored_message(&deleted_edit(Seq::new(7))), Ok(None));
    }

    #[test]
    fn a_kind_is_found_by_its_number() {
        for number in (1..=8).chain([20, 30, 31, 41, 42, 50, 51, 52, 53, 54]) {
            let kind = EventKind::from_number(number).unwrap();
            assert_eq!(i64::from(kind.number()), number);
        }
        assert_eq!(EventKind::from_number(9), None);
    }
}
