//! Frames written from parts that are encoded already: an event is encoded once,
//! however many devices receive it.

use bytes::{BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};

use super::v1;
use crate::seq::FrameNumber;

/// [`v1::Page`] with its events as encoded [`v1::Event`]s. The same bytes on the
/// wire.
#[derive(Clone, PartialEq, Message)]
pub struct EncodedPage {
    /// As in [`v1::Page`].
    #[prost(message, repeated, tag = "1")]
    pub conversations: Vec<v1::Conversation>,
    /// Encoded [`v1::Event`]s.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub events: Vec<Bytes>,
    /// As in [`v1::Page`].
    #[prost(message, repeated, tag = "3")]
    pub marks: Vec<v1::Mark>,
    /// As in [`v1::Page`].
    #[prost(bytes = "bytes", tag = "4")]
    pub cursor: Bytes,
    /// As in [`v1::Page`].
    #[prost(bool, tag = "5")]
    pub caught_up: bool,
}

/// [`v1::History`] with its events as encoded [`v1::Event`]s. The same bytes on the
/// wire.
#[derive(Clone, PartialEq, Message)]
pub struct EncodedHistory {
    /// As in [`v1::History`].
    #[prost(uint64, tag = "1")]
    pub in_reply_to: u64,
    /// Encoded [`v1::Event`]s.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub events: Vec<Bytes>,
    /// As in [`v1::History`].
    #[prost(bool, tag = "3")]
    pub complete: bool,
    /// As in [`v1::History`].
    #[prost(message, repeated, tag = "4")]
    pub states: Vec<v1::MessageState>,
    /// As in [`v1::History`].
    #[prost(uint64, tag = "5")]
    pub states_seq: u64,
}

/// Appends a frame, its length in front, whose body is `body` in field `tag`.
/// Returns the frame's size without the length.
///
/// Both directions number their fields alike, so this writes either.
pub fn write_frame(
    number: FrameNumber,
    ack: FrameNumber,
    tag: u32,
    body: &impl Message,
    out: &mut BytesMut,
) -> usize {
    let body_size = body.encoded_len();
    let size = varint_field_size(1, number.get())
        + varint_field_size(2, ack.get())
        + key_len(tag)
        + encoded_len_varint(body_size as u64)
        + body_size;
    out.reserve(crate::limits::LENGTH_SIZE + size);
    // Every limit on frames is far below 4 GiB.
    out.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    put_varint_field(1, number.get(), out);
    put_varint_field(2, ack.get(), out);
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(body_size as u64, out);
    body.encode_raw(out);
    size
}

fn varint_field_size(tag: u32, value: u64) -> usize {
    if value == 0 {
        0
    } else {
        key_len(tag) + encoded_len_varint(value)
    }
}

fn put_varint_field(tag: u32, value: u64, out: &mut BytesMut) {
    if value != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(value, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_page_is_a_page_on_the_wire() {
        let event = v1::Event {
            seq: 3,
            message_id: vec![1; 16].into(),
            ..Default::default()
        };
        let mark = v1::Mark {
            read_seq: 2,
            ..Default::default()
        };
        let encoded = EncodedPage {
            conversations: vec![v1::Conversation::default()],
            events: vec![event.encode_to_vec().into()],
            marks: vec![mark.clone()],
            cursor: vec![9; 20].into(),
            caught_up: true,
        };
        let mut out = BytesMut::new();
        let (number, ack) = (FrameNumber::new(300), FrameNumber::new(7));
        let size = write_frame(number, ack, 20, &encoded, &mut out);
        assert_eq!(out.len(), size + 4);
        let frame = v1::ServerFrame::decode(&out[4..]).unwrap();
        assert_eq!((frame.number, frame.ack), (300, 7));
        let page = v1::Page {
            conversations: vec![v1::Conversation::default()],
            events: vec![event],
            marks: vec![mark],
            cursor: vec![9; 20].into(),
            caught_up: true,
        };
        assert_eq!(frame.body, Some(v1::server_frame::Body::Page(page)));
    }
}
