//! Counts what a frame would decode to, before anything is decoded.
//!
//! A frame of empty sub-messages decodes to 126 times its size, so the limit on
//! its bytes does not bound memory; this does. It walks the bytes once, without
//! allocation, with the schema's own table of which fields are messages.

use crate::limits::DEPTH_MAX;

mod table {
    include!(concat!(env!("OUT_DIR"), "/elements.rs"));

    pub(super) fn sub_message(message: usize, field: u32) -> Option<usize> {
        SUB_MESSAGES
            .get(message)?
            .iter()
            .find(|(number, _)| *number == field)
            .map(|(_, inner)| *inner)
    }
}

/// Which message a frame's bytes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Root {
    /// A frame that a client sends.
    ClientFrame,
    /// A frame that the server sends.
    ServerFrame,
}

/// Why bytes are not worth decoding.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Uncountable {
    /// More fields than the limit.
    #[error("frame has more than {max} fields")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// Messages nested deeper than [`DEPTH_MAX`].
    #[error("frame nests messages deeper than {DEPTH_MAX}")]
    TooDeep,
    /// Not protobuf, or the deprecated groups.
    #[error("frame is not valid protobuf")]
    Malformed,
}

/// Counts the fields in `bytes`, of whatever depth.
///
/// # Errors
///
/// [`Uncountable`], if there are more than `max`, or they cannot be counted.
pub fn count(root: Root, bytes: &[u8], max: usize) -> Result<usize, Uncountable> {
    let root = match root {
        Root::ClientFrame => table::CLIENT_FRAME,
        Root::ServerFrame => table::SERVER_FRAME,
    };
    let mut counted = 0;
    count_message(root, bytes, max, 0, &mut counted)?;
    Ok(counted)
}

fn count_message(
    message: usize,
    mut bytes: &[u8],
    max: usize,
    depth: usize,
    counted: &mut usize,
) -> Result<(), Uncountable> {
    if depth > DEPTH_MAX {
        return Err(Uncountable::TooDeep);
    }
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let field = u32::try_from(key >> 3).map_err(|_| Uncountable::Malformed)?;
        if field == 0 {
            return Err(Uncountable::Malformed);
        }
        *counted += 1;
        if *counted > max {
            return Err(Uncountable::TooMany { max });
        }
        match key & 7 {
            0 => drop(take_varint(&mut bytes)?),
            1 => drop(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(take_varint(&mut bytes)?)
                    .map_err(|_| Uncountable::Malformed)?;
                let inner = take(&mut bytes, length)?;
                if let Some(message) = table::sub_message(message, field) {
                    count_message(message, inner, max, depth + 1, counted)?;
                }
            }
            5 => drop(take(&mut bytes, 4)?),
            _ => return Err(Uncountable::Malformed),
        }
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Uncountable> {
    let (taken, rest) = bytes
        .split_at_checked(length)
        .ok_or(Uncountable::Malformed)?;
    *bytes = rest;
    Ok(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Uncountable> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = *take(bytes, 1)?.first().ok_or(Uncountable::Malformed)?;
        // The tenth byte holds the 64th bit alone.
        if shift == 63 && byte > 1 {
            return Err(Uncountable::Malformed);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Uncountable::Malformed)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::wire::v1;

    #[test]
    fn fields_of_all_depths_are_counted() {
        let frame = v1::ServerFrame {
            number: 1,
            body: Some(v1::server_frame::Body::Page(v1::Page {
                events: vec![
                    v1::Event {
                        seq: 7,
                        ..Default::default()
                    };
                    3
                ],
                ..Default::default()
            })),
            ..Default::default()
        };
        // number, page, and three events of one field each.
        assert_eq!(count(Root::ServerFrame, &frame.encode_to_vec(), 100), Ok(8));
    }

    #[test]
    fn a_frame_of_empty_messages_is_refused_before_it_is_decoded() {
        let mut events = Vec::new();
        for _ in 0..30_000 {
            events.extend([0x12, 0x00]); // Page.events, empty
        }
        let mut frame = vec![0xa2, 0x01]; // ServerFrame.page
        prost::encoding::encode_varint(events.len() as u64, &mut frame);
        frame.extend(events);
        assert_eq!(
            count(Root::ServerFrame, &frame, 1_024),
            Err(Uncountable::TooMany { max: 1_024 })
        );
    }

    #[test]
    fn what_is_not_protobuf_is_refused() {
        let too_long_varint = [
            0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
        ];
        for bytes in [
            &[0x00][..],         // field 0
            &[0x0b],             // a group
            &[0x0f],             // wire type 7
            &[0xa2, 0x01, 0x05], // a length beyond the end
            &[0x80],             // an unfinished varint
            &too_long_varint,
        ] {
            assert_eq!(
                count(Root::ClientFrame, bytes, 64),
                Err(Uncountable::Malformed),
                "{bytes:02x?}"
            );
        }
    }
}
