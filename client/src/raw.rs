//! Frames read a second time, with each event left as it came: fields and kinds
//! that this version does not know must reach the local database, and decoding
//! would drop them.

use bytes::Bytes;
use magpie_protocol::wire::EncodedPage;
use prost::Message;

/// [`ServerFrame`](magpie_protocol::wire::v1::ServerFrame), as far as it carries
/// events.
#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(message, optional, tag = "20")]
    page: Option<EncodedPage>,
    #[prost(message, optional, tag = "33")]
    history: Option<History>,
}

/// [`History`](magpie_protocol::wire::v1::History), its events encoded.
#[derive(Clone, PartialEq, Message)]
struct History {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    events: Vec<Bytes>,
}

/// [`Event`](magpie_protocol::wire::v1::Event), its content encoded.
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

/// The encoded content of an encoded event; empty if there is none.
pub(crate) fn content(event: &Bytes) -> Bytes {
    Event::decode(event.clone())
        .map(|event| event.content)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use magpie_protocol::wire::v1;

    use super::*;

    #[test]
    fn an_event_of_an_unknown_kind_keeps_its_content() {
        // Field 6 (content) of 3 bytes: field 99, varint 1.
        let event = Bytes::from_static(&[0x32, 3, 0x98, 0x06, 1]);
        assert_eq!(content(&event), Bytes::from_static(&[0x98, 0x06, 1]));
        let page = EncodedPage {
            events: vec![event.clone()],
            ..Default::default()
        };
        let frame = Frame {
            page: Some(page),
            history: None,
        };
        let bytes: Bytes = frame.encode_to_vec().into();
        assert!(v1::ServerFrame::decode(bytes.clone()).is_ok());
        assert_eq!(events(bytes), [event]);
    }
}
