//! Parts of uploads that clients put into the bucket themselves, so that the bytes do not
//! pass this server: it says where, looks whether they came, and counts them.
//!
//! A part's name follows from its upload and where it begins, so however often somebody
//! asks where to put it, the bucket holds it once: it is no way past what a user may have.
//! For the same reason the URL is for these bytes alone, and the bucket must compare them.

use std::time::Duration;

use hyper::{HeaderMap, Response, StatusCode, header::HeaderValue};
use magpie_protocol::id::MediaId;

use super::{
    Media,
    http::empty,
    replies::{Body, Refused},
    uploads::{number, wanted_checksum},
};
use crate::store::{Part, Upload};

/// How many bytes a part has that is put into the bucket.
const PART: &str = "magpie-part";

/// How many it may have; absent if all bytes pass the server.
const PART_MAX: &str = "magpie-part-max";

/// A few of them are in memory when they become a whole.
const PART_SIZE_MAX: u64 = 1 << 20;

/// How long a part may be begun to be put. It goes with the others of its upload, an hour
/// after that ended.
const PUT_VALIDITY: Duration = Duration::from_secs(300);

impl Media {
    /// Says that parts may be put into the bucket, if they may.
    pub(super) fn offer_parts(&self, response: &mut Response<Body>) {
        if self.depot.takes_parts() {
            response
                .headers_mut()
                .insert(PART_MAX, PART_SIZE_MAX.into());
        }
    }

    /// Where the next part of an upload is to be put.
    pub(super) async fn place_part(
        &self,
        id: MediaId,
        upload: &Upload,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refused> {
        if !self.depot.takes_parts() {
            return Err(Refused::Method);
        }
        let start = number(headers, "upload-offset");
        let start = start.ok_or(Refused::Wrong("Upload-Offset is missing, or no number"))?;
        if start != upload.received {
            return Err(Refused::Offset);
        }
        let size = number(headers, PART).filter(|size| *size > 0);
        let size = size.ok_or(Refused::Wrong("Magpie-Part is missing, or no size"))?;
        if size > PART_SIZE_MAX {
            return Err(Refused::TooLarge("this is more than Magpie-Part-Max said"));
        }
        if size > upload.size.saturating_sub(start) {
            return Err(Refused::TooLarge("this is more than Upload-Length said"));
        }
        let checksum = wanted_checksum(headers)?.and_then(|wanted| wanted.sha256());
        let checksum = checksum.ok_or(Refused::Wrong(
            "Upload-Checksum says the sha256 of the part",
        ))?;
        let name = self.key.part_name(id, start);
        let url = self
            .depot
            .presign_part(id, name, &checksum, PUT_VALIDITY)
            .await?;
        let url = url.and_then(|url| HeaderValue::try_from(url).ok());
        let mut response = empty(StatusCode::CREATED);
        let headers = response.headers_mut();
        headers.insert("location", url.ok_or(Refused::Method)?);
        Ok(response)
    }

    /// Counts the part that was put where we said, if this is about one. Its size.
    pub(super) async fn count_placed(
        &self,
        id: MediaId,
        start: u64,
        headers: &HeaderMap,
    ) -> Result<Option<u64>, Refused> {
        let Some(size) = number(headers, PART).filter(|_| self.depot.takes_parts()) else {
            return Ok(None);
        };
        let part = Part {
            start,
            size,
            name: self.key.part_name(id, start),
        };
        match self.depot.part_size(id, part.name).await? {
            None => return Err(Refused::NotPlaced),
            Some(found) if found != size || size == 0 => return Err(Refused::Checksum),
            Some(_) => {}
        }
        let store = &self.parts.store;
        match store.add_parts(id, &[part], self.expiry_ms()).await? {
            true => Ok(Some(size)),
            false => Err(Refused::Offset),
        }
    }
}
