//! The length prefix: bytes to frames and back.
//!
//! [`split`] is the one place that looks at a length. The server's connection
//! calls it on a slice of its read buffer; [`Codec`] wraps it for tokio-util's
//! `Framed` (SDK, tests, fuzzers).

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    limits::LENGTH_SIZE,
    wire::{
        elements::{Root, Uncountable, count},
        v1,
    },
};

/// Why bytes are not a frame. The connection cannot go on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// The length prefix is zero.
    #[error("frame of 0 bytes")]
    Empty,
    /// The length prefix exceeds the limit. Nothing was allocated for it.
    #[error("frame of {size} bytes exceeds the limit of {max}")]
    TooLarge {
        /// What the prefix says.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// Too many or too deeply nested fields, or no protobuf at all.
    #[error(transparent)]
    Uncountable(#[from] Uncountable),
    /// Countable, and yet not what the schema says.
    #[error("frame does not fit the schema")]
    Schema,
}

/// The bounds of the frames that one side takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrameLimits {
    /// Bytes, without the length prefix.
    pub size_max: usize,
    /// Fields of whatever depth.
    pub elements_max: usize,
}

impl FrameLimits {
    /// What the server takes from a client that it does not know yet.
    pub const FIRST: Self = Self {
        size_max: crate::limits::FRAME_SIZE_FIRST_MAX,
        elements_max: crate::limits::ELEMENTS_FIRST_MAX,
    };
    /// What the server takes from a signed-in client.
    pub const CLIENT: Self = Self {
        size_max: crate::limits::CLIENT_FRAME_SIZE_MAX,
        elements_max: crate::limits::CLIENT_ELEMENTS_MAX,
    };
    /// What a client takes from the server.
    pub const SERVER: Self = Self {
        size_max: crate::limits::SERVER_FRAME_SIZE_MAX,
        elements_max: crate::limits::SERVER_ELEMENTS_MAX,
    };
}

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Split<'a> {
    /// A whole frame without its length, and what follows it.
    Frame(&'a [u8], &'a [u8]),
    /// This many more bytes are needed, at least.
    Incomplete(usize),
}

/// Splits the first frame off `bytes`.
///
/// # Errors
///
/// [`FrameError::Empty`] or [`FrameError::TooLarge`], as soon as the length is
/// there.
pub fn split(bytes: &[u8], size_max: usize) -> Result<Split<'_>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_SIZE>() else {
        return Ok(Split::Incomplete(LENGTH_SIZE - bytes.len()));
    };
    let size = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if size == 0 {
        return Err(FrameError::Empty);
    }
    if size > size_max {
        return Err(FrameError::TooLarge {
            size,
            max: size_max,
        });
    }
    Ok(match rest.split_at_checked(size) {
        Some((frame, rest)) => Split::Frame(frame, rest),
        None => Split::Incomplete(size - rest.len()),
    })
}

/// A frame of one direction.
pub trait Frame: Message + Default {
    /// Which one.
    const ROOT: Root;

    /// Decodes a frame's bytes, counted first.
    ///
    /// # Errors
    ///
    /// [`FrameError::Uncountable`] or [`FrameError::Schema`].
    fn parse(
        bytes: impl AsRef<[u8]> + bytes::Buf,
        elements_max: usize,
    ) -> Result<Self, FrameError> {
        count(Self::ROOT, bytes.as_ref(), elements_max)?;
        Self::decode(bytes).map_err(|_| FrameError::Schema)
    }

    /// Appends the frame with its length in front.
    fn write(&self, out: &mut BytesMut) {
        let size = self.encoded_len();
        out.reserve(LENGTH_SIZE + size);
        out.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
        self.encode_raw(out);
    }
}

impl Frame for v1::ClientFrame {
    const ROOT: Root = Root::ClientFrame;
}

impl Frame for v1::ServerFrame {
    const ROOT: Root = Root::ServerFrame;
}

/// Frames for tokio-util's `Framed`: takes `I`, gives any frame.
#[derive(Debug)]
pub struct Codec<I> {
    limits: FrameLimits,
    takes: std::marker::PhantomData<fn() -> I>,
}

impl<I> Codec<I> {
    /// A codec that takes frames within `limits`.
    #[must_use]
    pub const fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            takes: std::marker::PhantomData,
        }
    }
}

/// What ends a framed stream.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The peer's bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl<I: Frame> Decoder for Codec<I> {
    type Item = (I, usize);
    type Error = CodecError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<(I, usize)>, CodecError> {
        let size = match split(bytes, self.limits.size_max)? {
            Split::Frame(frame, _) => frame.len(),
            Split::Incomplete(more) => {
                bytes.reserve(more);
                return Ok(None);
            }
        };
        bytes.advance(LENGTH_SIZE);
        // Shared, not copied: the fields of the frame point into the buffer.
        let frame: Bytes = bytes.split_to(size).freeze();
        Ok(Some((I::parse(frame, self.limits.elements_max)?, size)))
    }
}

impl<I, O: Frame> Encoder<O> for Codec<I> {
    type Error = CodecError;

    fn encode(&mut self, frame: O, out: &mut BytesMut) -> Result<(), CodecError> {
        frame.write(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(id: u64) -> v1::ClientFrame {
        let ping = v1::Ping {
            id,
            cursor: Bytes::new(),
        };
        v1::ClientFrame {
            body: Some(v1::client_frame::Body::Ping(ping)),
            ..Default::default()
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_arrive() {
        for size in [4_097_u32, 1 << 31, u32::MAX] {
            let prefix = size.to_be_bytes();
            let refused = split(&prefix, 4_096);
            assert_eq!(
                refused,
                Err(FrameError::TooLarge {
                    size: size as usize,
                    max: 4_096
                })
            );
        }
        assert_eq!(split(&[0, 0, 0, 0], 4_096), Err(FrameError::Empty));
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_split() {
        let mut stream = BytesMut::new();
        for id in 1..=3 {
            ping(id).write(&mut stream);
        }
        for first in 0..=stream.len() {
            let mut codec = Codec::<v1::ClientFrame>::new(FrameLimits::FIRST);
            let mut buffer = BytesMut::from(&stream[..first]);
            let mut taken = Vec::new();
            while let Some((frame, _)) = codec.decode(&mut buffer).unwrap() {
                taken.push(frame);
            }
            buffer.extend_from_slice(&stream[first..]);
            while let Some((frame, _)) = codec.decode(&mut buffer).unwrap() {
                taken.push(frame);
            }
            assert_eq!(taken, [ping(1), ping(2), ping(3)], "split at {first}");
        }
    }
}
