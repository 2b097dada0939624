//! The body of an upload's request, as it comes: written down part by part, so that
//! whatever breaks costs no more than one part.

use std::time::Duration;

use aws_lc_rs::digest::{self, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use magpie_protocol::id::MediaId;
use tokio_util::sync::CancellationToken;

use super::{Media, http::Pulse, replies::Refused};
use crate::{clock::within, store::Part};

/// Bytes of a part. So much of an upload is in memory.
const PART_SIZE: usize = 256 * 1024;

/// What has arrived of a body already comes within this time.
const ARRIVED_WITHIN: Duration = Duration::from_millis(200);

/// What a body is to be.
pub(super) struct Wanted {
    algorithm: &'static digest::Algorithm,
    digest: Vec<u8>,
}

impl Wanted {
    pub(super) fn new(algorithm: &str, digest: Vec<u8>) -> Option<Self> {
        let algorithm = match algorithm {
            // tus asks for it. Nobody is kept out by it.
            "sha1" => &SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => &SHA256,
            _ => return None,
        };
        (digest.len() == algorithm.output_len()).then_some(Self { algorithm, digest })
    }

    /// If it is a SHA-256.
    pub(super) fn sha256(&self) -> Option<[u8; 32]> {
        self.digest.as_slice().try_into().ok()
    }
}

/// A body that is being received.
pub(super) struct Receiving<'a> {
    media: &'a Media,
    id: MediaId,
    /// Where the next part begins.
    start: u64,
    size: u64,
    buffer: Vec<Bytes>,
    buffered: usize,
    /// What it is to be, and what it is so far. Parts count all at once then, or none.
    wanted: Option<(Wanted, Context)>,
    uncounted: Vec<Part>,
}

impl<'a> Receiving<'a> {
    /// A body that goes on at a place of an upload of this size.
    pub(super) fn new(
        media: &'a Media,
        id: MediaId,
        (start, size): (u64, u64),
        wanted: Option<Wanted>,
    ) -> Self {
        let wanted = wanted.map(|wanted| {
            let context = Context::new(wanted.algorithm);
            (wanted, context)
        });
        Self {
            media,
            id,
            start,
            size,
            buffer: Vec::new(),
            buffered: 0,
            wanted,
            uncounted: Vec::new(),
        }
    }

    /// How much of the upload is there.
    pub(super) const fn received(&self) -> u64 {
        self.start
    }

    /// Takes all of a body, or what comes until `stop`. Of one that breaks off what came is
    /// kept.
    pub(super) async fn take(
        &mut self,
        mut body: Incoming,
        pulse: &Pulse,
        stop: &CancellationToken,
    ) -> Result<(), Refused> {
        loop {
            let next = match stop.run_until_cancelled(body.frame()).await {
                Some(next) => Some(next),
                // What has arrived was not sent in vain.
                None => within(ARRIVED_WITHIN, body.frame()).await,
            };
            if matches!(next, Some(None)) {
                break;
            }
            let Some(Some(Ok(frame))) = next else {
                if self.wanted.is_none() {
                    self.write(pulse).await?;
                }
                return Err(Refused::Broken);
            };
            let Ok(mut bytes) = frame.into_data() else {
                continue;
            };
            metrics::counter!(crate::metrics::MEDIA_BYTES_RECEIVED).increment(bytes.len() as u64);
            if let Some((_, context)) = &mut self.wanted {
                context.update(&bytes);
            }
            while !bytes.is_empty() {
                let room = PART_SIZE.saturating_sub(self.buffered);
                let piece = bytes.split_to(room.min(bytes.len()));
                self.buffered += piece.len();
                self.buffer.push(piece);
                if self.buffered >= PART_SIZE {
                    self.write(pulse).await?;
                }
                if !bytes.has_remaining() {
                    break;
                }
            }
        }
        self.write(pulse).await?;
        self.count_all().await
    }

    /// Writes what is in memory as a part.
    async fn write(&mut self, pulse: &Pulse) -> Result<(), Refused> {
        if self.buffered == 0 {
            return Ok(());
        }
        let _working = pulse.working();
        let random = self.media.parts.random.bytes();
        let part = Part {
            start: self.start,
            size: self.buffered as u64,
            name: random.map_err(|none| Refused::Unavailable(none.to_string()))?,
        };
        if part.start + part.size > self.size {
            return Err(Refused::TooLarge("this is more than Upload-Length said"));
        }
        let buffer = std::mem::take(&mut self.buffer);
        self.buffered = 0;
        let depot = &self.media.depot;
        depot.put_part(self.id, part.name, buffer).await?;
        match self.wanted {
            None => self.count(&[part]).await?,
            Some(_) => self.uncounted.push(part),
        }
        self.start += part.size;
        Ok(())
    }

    async fn count(&self, parts: &[Part]) -> Result<(), Refused> {
        let (store, expiry_ms) = (&self.media.parts.store, self.media.expiry_ms());
        // Not, if another request was faster.
        match store.add_parts(self.id, parts, expiry_ms).await? {
            true => Ok(()),
            false => Err(Refused::Offset),
        }
    }

    async fn count_all(&mut self) -> Result<(), Refused> {
        let Some((wanted, context)) = self.wanted.take() else {
            return Ok(());
        };
        if context.finish().as_ref() != wanted.digest.as_slice() {
            return Err(Refused::Checksum);
        }
        let parts = std::mem::take(&mut self.uncounted);
        self.count(&parts).await
    }
}
