//! What messages refer to, fetched into the cache: gone on with after cuts, and compared with
//! what it should be before anybody sees it.

use std::{
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use http_body_util::BodyExt as _;
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{HeaderMap, HeaderValue, RANGE},
};
use magpie_protocol::{
    id::MediaId,
    session::Answer,
    wire::v1::{self, client_frame::Body},
};
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    Cache, Http,
    http::{HttpError, Moved, sentence},
    stage::hash,
};
use crate::{
    client::{Client, Event},
    error::RequestError,
    message::Media,
};

/// Tries that fetch nothing before it is given up.
const TRIES_MAX: u32 = 5;

/// Between tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Bytes that are written to the disk at once.
const WRITE_SIZE: usize = 256 * 1024;

/// What is to be fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WantedMedia {
    /// What.
    pub id: MediaId,
    /// Bytes and SHA-256, if the message says so: of smaller pictures it does not.
    pub exactly: Option<(u64, [u8; 32])>,
}

impl From<&Media> for WantedMedia {
    fn from(media: &Media) -> Self {
        Self {
            id: media.id,
            exactly: Some((media.size, media.sha256)),
        }
    }
}

impl From<MediaId> for WantedMedia {
    fn from(id: MediaId) -> Self {
        Self { id, exactly: None }
    }
}

/// Something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The session is not there, or the server refuses.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It is not there, or not for this user (any more).
    #[error("it is not on the server (any more), or not for you")]
    NotThere,
    /// What is there is not what the message says.
    #[error("what the server has is not what was sent")]
    Other,
    /// The server refuses.
    #[error("{0}")]
    Refused(String),
    /// It was tried, and did not come.
    #[error("it cannot be fetched: {0}")]
    Broken(String),
    /// It cannot be stored.
    #[error("it cannot be stored: {0}")]
    Local(#[from] io::Error),
}

impl Client {
    /// Fetches a photo or file, or a smaller picture of one, unless it is here. Where it is
    /// then: in the home's cache, where it stays until others that were used since need
    /// the place ([`Options::media_cache_size`](crate::Options::media_cache_size)). It has
    /// the size and SHA-256 that were asked for.
    ///
    /// # Errors
    ///
    /// [`MediaError`]. What has come by then is kept for the next try.
    pub async fn fetch_media(&self, what: impl Into<WantedMedia>) -> Result<PathBuf, MediaError> {
        let wanted = what.into();
        if let Some(path) = self.home().media(wanted.id) {
            return Ok(path);
        }
        let url = self.media_url(&wanted).await?;
        let sha256 = url.sha256.as_ref().try_into();
        let sha256 = sha256.map_err(|_| RequestError::WrongAnswer)?;
        let found = (url.size, sha256);
        if wanted.exactly.is_some_and(|exactly| exactly != found) {
            return Err(MediaError::Other);
        }
        let fetching = Fetching {
            cache: Cache::of_home(self.home().directory()),
            id: wanted.id,
            url: url.url,
            found,
            client: self,
        };
        fetching.run().await
    }

    async fn media_url(&self, wanted: &WantedMedia) -> Result<v1::MediaUrl, MediaError> {
        let request = v1::FetchMediaUrls {
            media_ids: vec![wanted.id.to_wire()],
        };
        let answered = self.ask(Body::FetchMediaUrls(request)).await?;
        let Answer::MediaUrls(urls) = answered.answer else {
            return Err(RequestError::WrongAnswer.into());
        };
        let mut urls = urls.urls.into_iter();
        let url = urls.find(|url| url.media_id == wanted.id.to_wire());
        url.ok_or(MediaError::NotThere)
    }
}

struct Fetching<'client> {
    cache: Cache,
    id: MediaId,
    url: String,
    found: (u64, [u8; 32]),
    client: &'client Client,
}

impl Fetching<'_> {
    async fn run(self) -> Result<PathBuf, MediaError> {
        let file = loop {
            match self.cache.begin(self.id)? {
                Some(file) => break file,
                // Somebody else fetches it.
                None => sleep(PAUSE).await,
            }
            if let Some(path) = self.cache.find(self.id) {
                return Ok(path);
            }
        };
        let mut http = self.client.http()?;
        // What an earlier run has written may have suffered since, as when the power failed.
        if file.metadata()?.len() > 0 {
            self.fetch_rest(&mut http, &file).await?;
            match self.finish(&file).await {
                Err(MediaError::Other) => file.set_len(0)?,
                finished => return finished,
            }
        }
        self.fetch_rest(&mut http, &file).await?;
        let finished = self.finish(&file).await;
        if matches!(finished, Err(MediaError::Other)) {
            drop(std::fs::remove_file(self.cache.part_path(self.id)));
        }
        finished
    }

    /// Until there are as many bytes as there should be.
    async fn fetch_rest(&self, http: &mut Http, file: &File) -> Result<(), MediaError> {
        let (size, _) = self.found;
        let mut tries = 0;
        loop {
            let have = file.metadata()?.len();
            if have >= size {
                return Ok(());
            }
            let gone_on = self.go_on(http, file, have).await;
            let now = file.metadata()?.len();
            let reason = match gone_on {
                Ok(()) => "the answer broke off".to_owned(),
                Err(MediaError::Broken(reason)) => reason,
                Err(error) => return Err(error),
            };
            tries = if now > have { 0 } else { tries + 1 };
            if tries >= TRIES_MAX {
                return Err(MediaError::Broken(reason));
            }
            if now < size {
                sleep(PAUSE).await;
            }
        }
    }

    /// Compares it with what it should be.
    async fn finish(&self, file: &File) -> Result<PathBuf, MediaError> {
        let (cache, id, found) = (self.cache.clone(), self.id, self.found);
        let size_max = self.client.media_cache_size();
        let file = file.try_clone()?;
        let finishing = spawn_blocking(move || {
            if hash(&file)? != found {
                return Err(MediaError::Other);
            }
            file.sync_all()?;
            Ok(cache.finish(id, size_max)?)
        });
        finishing.await.map_err(io::Error::other)?
    }

    async fn go_on(&self, http: &mut Http, file: &File, have: u64) -> Result<(), MediaError> {
        let mut headers = HeaderMap::new();
        if have > 0
            && let Ok(range) = HeaderValue::try_from(format!("bytes={have}-"))
        {
            headers.insert(RANGE, range);
        }
        let moved = Moved::default();
        let asked = http.get(&self.url, headers, &moved);
        let answer = asked.await.map_err(broken)?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if have > 0 => {}
            // All of it, whatever was asked for.
            StatusCode::OK => file.set_len(0)?,
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(MediaError::NotThere),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(MediaError::Broken(sentence(answer, &moved).await));
            }
            _ => return Err(MediaError::Refused(sentence(answer, &moved).await)),
        }
        self.take(answer, file, &moved).await
    }

    /// Writes what comes, and no more than there should be.
    async fn take(
        &self,
        answer: Response<Incoming>,
        file: &File,
        moved: &Moved,
    ) -> Result<(), MediaError> {
        let (size, _) = self.found;
        let mut body = answer.into_body();
        let mut received = file.metadata()?.len();
        let mut buffer = Vec::new();
        loop {
            let next = moved.within(body.frame()).await;
            let frame = match next {
                Ok(Some(Ok(frame))) => Some(frame),
                Ok(None) => None,
                // What came before counts.
                Ok(Some(Err(error))) => {
                    write(file, std::mem::take(&mut buffer)).await?;
                    return Err(MediaError::Broken(error.to_string()));
                }
                Err(error) => {
                    write(file, std::mem::take(&mut buffer)).await?;
                    return Err(broken(error));
                }
            };
            let is_over = frame.is_none();
            if let Some(data) = frame.as_ref().and_then(|frame| frame.data_ref()) {
                moved.add(data.len());
                received += data.len() as u64;
                if received > size {
                    return Err(MediaError::Other);
                }
                buffer.extend_from_slice(data);
            }
            if is_over || buffer.len() >= WRITE_SIZE {
                write(file, std::mem::take(&mut buffer)).await?;
                self.client.notice(Event::Downloading {
                    media: self.id,
                    received,
                    size,
                });
            }
            if is_over {
                return Ok(());
            }
        }
    }
}

async fn write(file: &File, bytes: Vec<u8>) -> Result<(), MediaError> {
    let mut file = file.try_clone()?;
    let writing = spawn_blocking(move || file.write_all(&bytes));
    Ok(writing.await.map_err(io::Error::other)??)
}

fn broken(error: HttpError) -> MediaError {
    match error {
        HttpError::Place(_) => MediaError::Refused(error.to_string()),
        HttpError::Connect(_) | HttpError::Broken(_) | HttpError::Stalled => {
            MediaError::Broken(error.to_string())
        }
    }
}
