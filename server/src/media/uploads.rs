//! Uploads, as tus 1.0.0 says: core, creation, termination, checksum, expiration.

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use magpie_protocol::id::MediaId;

use super::{
    Media, UPLOADS,
    http::{Pulse, empty},
    receiving::{Receiving, Wanted},
    replies::{Body, Refused, TUS_RESUMABLE, TUS_VERSION},
    seal::Leave,
    slots::Full,
};
use crate::{
    limits::{Cost, Limiter},
    store::{BeginUpload, NewUpload, Upload, UploadBounds},
};

const EXTENSIONS: HeaderValue =
    HeaderValue::from_static("creation,termination,checksum,expiration");

/// Bytes of the header with what an uploader says of an upload.
const METADATA_SIZE_MAX: usize = 4 * 1024;

/// A request that is not answered. Dropped, it is.
struct Asked(Arc<Limiter>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.answered(1);
    }
}

impl Media {
    /// What is asked of all uploads.
    pub(super) async fn uploads<B>(
        &self,
        method: &Method,
        request: &Request<B>,
    ) -> Result<Response<Body>, Refused> {
        match *method {
            Method::OPTIONS => Ok(self.options()),
            Method::POST => {
                let headers = request.headers();
                let (leave, _asked) = self.admit(headers).await?;
                self.create(&leave, headers).await
            }
            _ => Err(Refused::Method),
        }
    }

    /// What is asked of one upload.
    pub(super) async fn on_upload(
        self: Arc<Self>,
        id: MediaId,
        method: &Method,
        pulse: &Pulse,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refused> {
        if *method == Method::OPTIONS {
            return Ok(self.options());
        }
        let (leave, asked) = self.admit(request.headers()).await?;
        let find = || self.parts.store.upload(leave.user, id);
        let mut upload = find().await?.ok_or(Refused::NotFound)?;
        if *method == Method::HEAD {
            self.receivers.stop(id).await;
            upload = find().await?.ok_or(Refused::NotFound)?;
        }
        match *method {
            Method::HEAD => self.tell(&leave, id, upload, pulse).await,
            Method::POST => self.place_part(id, &upload, request.headers()).await,
            Method::PATCH => {
                let pulse = pulse.clone();
                // It goes on when the connection ends: what came of its body is kept.
                let patching = async move {
                    let _asked = asked;
                    self.patch(&leave, id, upload, &pulse, request).await
                };
                let patched = tokio::spawn(patching).await;
                patched.map_err(|error| Refused::Unavailable(error.to_string()))?
            }
            Method::DELETE => self.terminate(&leave, id).await,
            _ => Err(Refused::Method),
        }
    }

    /// What the server can do.
    fn options(&self) -> Response<Body> {
        let mut response = empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert("tus-version", TUS_VERSION);
        headers.insert("tus-extension", EXTENSIONS);
        let size_max = self.parts.limiter.limits.media_size_max.0;
        headers.insert("tus-max-size", size_max.into());
        headers.insert(
            "tus-checksum-algorithm",
            HeaderValue::from_static("sha1,sha256"),
        );
        response
    }

    /// Who asks. A device that was signed out has no token that is good.
    async fn admit(&self, headers: &HeaderMap) -> Result<(Leave, Asked), Refused> {
        if headers.get(TUS_RESUMABLE) != Some(&TUS_VERSION) {
            return Err(Refused::Version);
        }
        let said = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let token = said.and_then(|it| it.strip_prefix(b"Bearer "));
        let leave = token.and_then(|it| self.key.open(it, self.parts.clock.wall_ms()));
        let leave = leave.ok_or(Refused::Token)?;
        let (tokens, now) = (&self.parts.tokens, self.parts.clock.now());
        let device = match tokens.get(leave.device, now) {
            Some(device) => Some(device),
            None => self.parts.store.device(leave.device).await?,
        };
        if device.is_none_or(|device| device.user.id != leave.user) {
            return Err(Refused::Token);
        }
        let cost = Cost {
            appends: false,
            requests: 1,
            size: 0,
            names: &[],
            look_ups: 0,
        };
        let limiter = &self.parts.limiter;
        limiter.request(leave.user, leave.device, cost, now)?;
        Ok((leave, Asked(Arc::clone(limiter))))
    }

    async fn create(&self, leave: &Leave, headers: &HeaderMap) -> Result<Response<Body>, Refused> {
        if headers.contains_key("upload-defer-length") {
            return Err(Refused::Wrong(
                "say how long the upload is from its beginning",
            ));
        }
        let size = number(headers, "upload-length")
            .ok_or(Refused::Wrong("Upload-Length is missing, or no number"))?;
        let limits = &self.parts.limiter.limits;
        if size == 0 {
            return Err(Refused::Wrong("there is nothing in it"));
        }
        if size > limits.media_size_max.0 as u64 {
            return Err(Refused::TooLarge("this is larger than one upload may be"));
        }
        let random = self.parts.random.bytes();
        let id = random.map_err(|none| Refused::Unavailable(none.to_string()))?;
        let upload = NewUpload {
            id: MediaId::new(id),
            user: leave.user,
            size,
            sha256: wanted_sha256(headers)?,
            expires_at_ms: self.expiry_ms(),
        };
        let bounds = UploadBounds {
            size_max: limits.media_size_per_user_max.0 as u64,
            unfinished_max: limits.media_unfinished_per_user_max.into(),
        };
        match self.parts.store.begin_upload(&upload, bounds).await? {
            BeginUpload::Done => {}
            BeginUpload::TooLarge => {
                return Err(Refused::TooLarge("you have as much as you may have here"));
            }
            BeginUpload::TooMany => return Err(Refused::TooManyUnfinished),
        }
        let mut response = empty(StatusCode::CREATED);
        let place = format!("{UPLOADS}/{}", upload.id);
        if let Ok(place) = HeaderValue::try_from(place) {
            response.headers_mut().insert("location", place);
        }
        self.put_expiry(&mut response, Some(upload.expires_at_ms));
        self.offer_parts(&mut response);
        Ok(response)
    }

    /// How far an upload is. One that is whole becomes what it is meant to be, if that
    /// was cut off.
    async fn tell(
        &self,
        leave: &Leave,
        id: MediaId,
        upload: Upload,
        pulse: &Pulse,
    ) -> Result<Response<Body>, Refused> {
        if upload.received == upload.size && !upload.is_stored {
            let _working = pulse.working();
            self.assemble(leave.user, id, &upload).await?;
        }
        let mut response = empty(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert("upload-offset", upload.received.into());
        headers.insert("upload-length", upload.size.into());
        self.put_expiry(&mut response, upload.expires_at_ms);
        self.offer_parts(&mut response);
        Ok(response)
    }

    async fn patch(
        &self,
        leave: &Leave,
        id: MediaId,
        upload: Upload,
        pulse: &Pulse,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refused> {
        let (head, body) = request.into_parts();
        let headers = &head.headers;
        let is_ours = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)
            == Some(b"application/offset+octet-stream");
        if !is_ours {
            return Err(Refused::ContentType);
        }
        let offset = number(headers, "upload-offset")
            .ok_or(Refused::Wrong("Upload-Offset is missing, or no number"))?;
        if offset != upload.received {
            return Err(Refused::Offset);
        }
        let room = upload.size.saturating_sub(offset);
        if number(headers, "content-length").is_some_and(|size| size > room) {
            return Err(Refused::TooLarge("this is more than Upload-Length said"));
        }
        let wanted = wanted_checksum(headers)?;
        let _slot = self.slots.take(leave.device).map_err(|full| match full {
            Full::Device => Refused::TooManyAtOnce,
            Full::All => Refused::Busy,
        })?;
        let received = match self.count_placed(id, offset, headers).await? {
            Some(size) => offset + size,
            None => {
                let mut receiving = Receiving::new(self, id, (offset, upload.size), wanted);
                let receiver = self.receivers.begin(id);
                receiving.take(body, pulse, receiver.stop()).await?;
                receiving.received()
            }
        };
        if received == upload.size && !upload.is_stored {
            let _working = pulse.working();
            self.assemble(leave.user, id, &upload).await?;
        }
        let mut response = empty(StatusCode::NO_CONTENT);
        response
            .headers_mut()
            .insert("upload-offset", received.into());
        self.put_expiry(&mut response, Some(self.expiry_ms()));
        Ok(response)
    }

    async fn terminate(&self, leave: &Leave, id: MediaId) -> Result<Response<Body>, Refused> {
        let (store, trash_at_ms) = (&self.parts.store, self.trash_ms());
        match store.remove_media(leave.user, id, trash_at_ms).await? {
            true => Ok(empty(StatusCode::NO_CONTENT)),
            false => Err(Refused::NotFound),
        }
    }

    fn put_expiry(&self, response: &mut Response<Body>, at_ms: Option<i64>) {
        let date = at_ms.map(|at_ms| self.parts.clock.http_date(at_ms));
        let date = date.and_then(|date| HeaderValue::try_from(date).ok());
        if let Some(date) = date {
            response.headers_mut().insert("upload-expires", date);
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|it| it.to_str().ok())
}

pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = text(headers, name)?;
    let are_digits = text.bytes().all(|it| it.is_ascii_digit());
    are_digits.then(|| text.parse().ok()).flatten()
}

/// What the uploader says that the whole is: `sha256` in the metadata. The rest of them
/// is for nobody.
fn wanted_sha256(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Refused> {
    let wrong = Refused::Wrong("sha256 in Upload-Metadata is 64 hexadecimal digits");
    let Some(metadata) = text(headers, "upload-metadata") else {
        return Ok(None);
    };
    if metadata.len() > METADATA_SIZE_MAX {
        return Err(Refused::Wrong("Upload-Metadata is too long"));
    }
    let mut pairs = metadata.split(',').map(str::trim);
    let Some(value) = pairs.find_map(|pair| pair.strip_prefix("sha256 ")) else {
        return Ok(None);
    };
    let digits = BASE64.decode(value.trim().as_bytes()).ok();
    let bytes = digits.and_then(|it| HEXLOWER_PERMISSIVE.decode(&it).ok());
    let sha256 = bytes.and_then(|it| it.try_into().ok());
    sha256.map(Some).ok_or(wrong)
}

/// What the uploader says that the body of this request is.
pub(super) fn wanted_checksum(headers: &HeaderMap) -> Result<Option<Wanted>, Refused> {
    let Some(said) = headers.get("upload-checksum") else {
        return Ok(None);
    };
    let parsed = said.to_str().ok().and_then(|it| it.split_once(' '));
    let wanted = parsed.and_then(|(algorithm, digest)| {
        let digest = BASE64.decode(digest.trim().as_bytes()).ok()?;
        Wanted::new(algorithm, digest)
    });
    let wrong = Refused::Wrong("Upload-Checksum is \"sha1\" or \"sha256\" and the hash in base64");
    wanted.map(Some).ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::try_from(value).unwrap());
        headers
    }

    #[test]
    fn a_length_is_digits_that_fit() {
        let length = |value| number(&headers("upload-length", value), "upload-length");
        assert_eq!(length("12"), Some(12));
        for wrong in ["", "-1", "+1", "1e3", "0x10", " 1", "99999999999999999999"] {
            assert_eq!(length(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_the_whole_is_stands_among_other_metadata() {
        let digits = "07".repeat(32);
        let value = BASE64.encode(digits.as_bytes());
        let metadata = format!("filename d29ybGQ=,sha256 {value}, empty");
        let found = wanted_sha256(&headers("upload-metadata", &metadata));
        assert_eq!(found.unwrap(), Some([7; 32]));
        let none = wanted_sha256(&headers("upload-metadata", "filename d29ybGQ="));
        assert_eq!(none.unwrap(), None);
        for wrong in ["sha256 !", "sha256 d29ybGQ="] {
            let found = wanted_sha256(&headers("upload-metadata", wrong));
            assert!(found.is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_checksum_has_an_algorithm_that_we_know_and_its_length() {
        let checksum = |value: &str| wanted_checksum(&headers("upload-checksum", value));
        let sha1 = format!("sha1 {}", BASE64.encode(&[1; 20]));
        assert!(checksum(&sha1).unwrap().is_some());
        for wrong in ["sha1", "sha1 !", "md5 AAAA", "sha256 AAAA"] {
            assert!(checksum(wrong).is_err(), "{wrong:?}");
        }
    }
}
