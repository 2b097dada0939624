//! Frames read a second time, with each event left as it came: fields and kinds
//! that this version does not know must reach the local database, and decoding
//! would drop them; and an event that cannot be decoded must not keep the ones
//! beside it from the device.

use bytes::{Buf as _, Bytes};
use magpie_protocol::{id::MediaId, wire::v1};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, decode_key, skip_field},
};

/// [`v1::ServerFrame`], as far as it carries events.
#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "2")]
    ack: u64,
    #[prost(bool, tag = "3")]
    critical: bool,
    #[prost(message, optional, tag = "20")]
    page: Option<Page>,
    #[prost(message, optional, tag = "33")]
    history: Option<History>,
}

/// [`v1::Page`], its parts encoded.
#[derive(Clone, PartialEq, Message)]
struct Page {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    conversations: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    events: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    marks: Vec<Bytes>,
    #[prost(bytes = "bytes", tag = "4")]
    cursor: Bytes,
    #[prost(bool, tag = "5")]
    caught_up: bool,
}

/// [`v1::History`], its events encoded.
#[derive(Clone, PartialEq, Message)]
struct History {
    #[prost(uint64, tag = "1")]
    in_reply_to: u64,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    events: Vec<Bytes>,
    #[prost(bool, tag = "3")]
    complete: bool,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    states: Vec<Bytes>,
    #[prost(uint64, tag = "5")]
    states_seq: u64,
}

/// [`v1::Event`], its content encoded.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(bytes = "bytes", tag = "6")]
    content: Bytes,
}

/// The encoded events of a frame that the session has accepted.
pub(crate) fn events(frame: Bytes) -> Vec<Bytes> {
    let Ok(frame) = Frame::decode(frame) else {
        // The session has decoded it: it is a frame.
        return Vec::new();
    };
    match (frame.page, frame.history) {
        (Some(page), _) => page.events,
        (None, Some(history)) => history.events,
        (None, None) => Vec::new(),
    }
}

/// A frame that does not fit the schema, without what in its page or history
/// does not: as many events as before, each with what can be read of it. A part
/// that is of no use without its ids stays, empty. `None`: what is wrong lies
/// elsewhere.
pub(crate) fn mended(frame: Bytes) -> Option<Bytes> {
    let mut frame = Frame::decode(frame).ok()?;
    if let Some(page) = &mut frame.page {
        page.events.iter_mut().for_each(mend_event);
        page.conversations
            .iter_mut()
            .for_each(mend_part::<v1::Conversation>);
        page.marks.iter_mut().for_each(mend_part::<v1::Mark>);
    } else {
        let history = frame.history.as_mut()?;
        history.events.iter_mut().for_each(mend_event);
        history
            .states
            .iter_mut()
            .for_each(mend_part::<v1::MessageState>);
    }
    Some(frame.encode_to_vec().into())
}

fn mend_event(raw: &mut Bytes) {
    *raw = event(raw).encode_to_vec().into();
}

fn mend_part<T: Message + Default>(raw: &mut Bytes) {
    let part = T::decode(raw.clone()).unwrap_or_default();
    *raw = part.encode_to_vec().into();
}

/// An event, as far as it can be read: a field that cannot be is left out, and
/// all behind one whose end cannot be found.
pub(crate) fn event(raw: &Bytes) -> v1::Event {
    v1::Event::decode(raw.clone()).unwrap_or_else(|_| {
        let (mut event, mut rest) = (v1::Event::default(), raw.clone());
        while let Ok(Some(field)) = take_field(&mut rest) {
            let mut with_field = event.clone();
            if with_field.merge(field).is_ok() {
                event = with_field;
            }
        }
        event
    })
}

/// The next field with its key; `None` at the end.
fn take_field(rest: &mut Bytes) -> Result<Option<Bytes>, DecodeError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let mut field = rest.clone();
    let (tag, wire_type) = decode_key(rest)?;
    skip_field(wire_type, tag, rest, DecodeContext::default())?;
    field.truncate(field.len() - rest.remaining());
    Ok(Some(field))
}

/// The encoded content of an encoded event; empty if there is none.
pub(crate) fn content(event: &Bytes) -> Bytes {
    Event::decode(event.clone())
        .map(|event| event.content)
        .unwrap_or_default()
}

/// The photos and files of a message, and the smaller pictures of them.
pub(crate) fn media(raw: &Bytes) -> Vec<MediaId> {
    use v1::event_content::Kind;
    let content = event(raw).content.and_then(|content| content.kind);
    let Some(Kind::Message(message)) = content else {
        return Vec::new();
    };
    let ids = message.media.into_iter().flat_map(|mut it| {
        it.thumbnail_ids.push(it.media_id);
        it.thumbnail_ids
    });
    ids.filter_map(|id| MediaId::try_from(id.as_ref()).ok())
        .collect()
}

/// The event of a message that was deleted, or of an edit of one, without what it
/// said, as the server has it. `None` if it is neither.
pub(crate) fn blanked(raw: &Bytes) -> Option<Bytes> {
    use v1::event_content::Kind;
    let mut event = event(raw);
    let kind = match event.content?.kind? {
        Kind::Message(_) => Kind::Message(v1::Message::default()),
        Kind::MessageEdited(it) => Kind::MessageEdited(v1::MessageEdited {
            seq: it.seq,
            message: None,
        }),
        Kind::GroupCreated(_)
        | Kind::MembersAdded(_)
        | Kind::MemberRemoved(_)
        | Kind::MemberBanned(_)
        | Kind::InviteCreated(_)
        | Kind::InviteRevoked(_)
        | Kind::MemberJoined(_)
        | Kind::MemberLeft(_)
        | Kind::MessageDeleted(_)
        | Kind::Reacted(_)
        | Kind::RoleChanged(_)
        | Kind::GroupUpdated(_)
        | Kind::Pinned(_)
        | Kind::AccountChanged(_)
        | Kind::FriendRequested(_)
        | Kind::FriendshipChanged(_)
        | Kind::Hidden(_) => return None,
    };
    event.content = Some(v1::EventContent { kind: Some(kind) });
    Some(event.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_an_unknown_kind_keeps_its_content() {
        // Field 6 (content) of 3 bytes: field 99, varint 1.
        let event = Bytes::from_static(&[0x32, 3, 0x98, 0x06, 1]);
        assert_eq!(content(&event), Bytes::from_static(&[0x98, 0x06, 1]));
        let page = Page {
            events: vec![event.clone()],
            ..Default::default()
        };
        let frame = Frame {
            page: Some(page),
            ..Default::default()
        };
        let bytes: Bytes = frame.encode_to_vec().into();
        assert!(v1::ServerFrame::decode(bytes.clone()).is_ok());
        assert_eq!(events(bytes), [event]);
    }

    #[test]
    fn a_mended_frame_differs_only_in_what_could_not_be_read() {
        let good = v1::Event {
            conversation_id: vec![1; 16].into(),
            seq: 7,
            ..Default::default()
        };
        // Field 1 of 16 bytes, field 2 a varint, field 6 of more bytes than there are.
        let mut bad = good.encode_to_vec();
        bad.extend([0x32, 9, 1]);
        let mark = v1::Mark {
            read_seq: 3,
            ..Default::default()
        };
        let page = Page {
            // A title that is no text.
            conversations: vec![Bytes::from_static(&[0x1a, 1, 0xff])],
            events: vec![bad.into(), good.encode_to_vec().into()],
            marks: vec![mark.encode_to_vec().into()],
            cursor: vec![9; 20].into(),
            caught_up: true,
        };
        let frame = Frame {
            number: 4,
            ack: 5,
            page: Some(page),
            ..Default::default()
        };
        let bytes: Bytes = frame.encode_to_vec().into();
        assert!(v1::ServerFrame::decode(bytes.clone()).is_err());
        let mended = v1::ServerFrame::decode(mended(bytes).unwrap()).unwrap();
        assert_eq!((mended.number, mended.ack), (4, 5));
        let page = v1::Page {
            conversations: vec![v1::Conversation::default()],
            events: vec![good.clone(), good],
            marks: vec![mark],
            cursor: vec![9; 20].into(),
            caught_up: true,
        };
        assert_eq!(mended.body, Some(v1::server_frame::Body::Page(page)));
    }
}
