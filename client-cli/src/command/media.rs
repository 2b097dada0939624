//! `photo`, `file`, `save`: photos and files.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use magpie_client::{
    Attached, Attachment, AttachmentKind, Client, Content, Event, MediaError, MediaId, MessageId,
    NewRequest, RequestError, WantedMedia,
};
use tokio::time::{Instant, sleep};

use super::{
    devices::connected,
    message::{compose, queued},
};
use crate::{
    args::{
        media::{Photo, Save, SendFile, Sent},
        message,
    },
    carrier::Carrier,
    context::Context,
    failure::{Exit, Failure},
    line::{Line, Shown},
    moving::Moving,
};

/// How many names are tried for a file that must not be written over another.
const NAMES_MAX: u32 = 1_000;

/// Between tries while the connection is away.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn photo(context: &Context, asked: Photo) -> Result<Exit, Failure> {
    let kind = match asked.original {
        true => AttachmentKind::Original,
        false => AttachmentKind::Photo,
    };
    send(context, asked.what, kind).await
}

pub(crate) async fn file(context: &Context, asked: SendFile) -> Result<Exit, Failure> {
    send(context, asked.what, AttachmentKind::File).await
}

async fn send(context: &Context, what: Sent, kind: AttachmentKind) -> Result<Exit, Failure> {
    context.signed_in()?;
    let mut attached = Vec::new();
    for path in what.files {
        attached.push(attach(context, path, kind).await?);
    }
    let nothing = message::Attached::default();
    let mut message = compose(context, &what.to, &what.caption, &nothing)?;
    message.media = attached.iter().map(|it| it.media().clone()).collect();
    let request = NewRequest::Send {
        to: what.to,
        message: message.try_into()?,
    };
    let id = context.home.queue_with(request, attached)?;
    queued(context, id, what.queue).await
}

/// Makes a file ready to be sent.
pub(super) async fn attach(
    context: &Context,
    path: PathBuf,
    kind: AttachmentKind,
) -> Result<Attached, Failure> {
    Ok(context.home.attach(Attachment { path, kind }).await?)
}

pub(crate) async fn save(context: &Context, asked: Save) -> Result<Exit, Failure> {
    context.account()?;
    let found = find(context, asked.id)?;
    let is_here = |it: &Found| context.home.media(it.wanted.id).is_some();
    let carrier = match found.iter().all(is_here) {
        true => None,
        false => Some(connected(context).await?),
    };
    fs::create_dir_all(&asked.directory).map_err(|error| at(&asked.directory, error))?;
    let saved = save_all(context, carrier.as_ref(), &asked, found).await;
    if let Some(carrier) = carrier {
        carrier.shutdown().await;
    }
    saved.map(|()| Exit::Done)
}

/// Something to save.
struct Found {
    wanted: WantedMedia,
    /// Of a message.
    message: Option<MessageId>,
    /// Under which name, if it has one; a stranger chose it.
    name: Option<String>,
}

/// What an id means: a message with photos and files, or else a photo.
fn find(context: &Context, id: MessageId) -> Result<Vec<Found>, Failure> {
    let Some(place) = context.home.find(id)? else {
        let photo = Found {
            wanted: MediaId::new(id.bytes()).into(),
            message: None,
            name: None,
        };
        return Ok(vec![photo]);
    };
    let found = context.home.event(place)?;
    let media = match found.map(|(event, _)| event.content) {
        Some(Content::Message(message)) => message.media,
        Some(_) | None => Vec::new(),
    };
    if media.is_empty() {
        return Err(Failure::NoMedia { id });
    }
    let found = media.into_iter().map(|it| Found {
        wanted: (&it).into(),
        message: Some(id),
        name: it.file_name,
    });
    Ok(found.collect())
}

async fn save_all(
    context: &Context,
    carrier: Option<&Carrier<'_>>,
    asked: &Save,
    found: Vec<Found>,
) -> Result<(), Failure> {
    for it in found {
        let from = match (context.home.media(it.wanted.id), carrier) {
            (Some(from), _) => from,
            (None, Some(carrier)) => fetch(context, carrier.client()?, it.wanted).await?,
            (None, None) => return Err(Failure::NoMedia { id: asked.id }),
        };
        let name = match &it.name {
            // It is no path; and it is to be seen.
            Some(name) if name.starts_with('.') => format!("_{name}"),
            Some(name) => name.clone(),
            None => format!("magpie-{}{}", it.wanted.id, ending(&from)?),
        };
        let (path, size) = copy(&from, &asked.directory, &name)?;
        context.output.line(&Line::Saved {
            message_id: it.message.map(Shown),
            media_id: Shown(it.wanted.id),
            path: path.display().to_string(),
            size,
        })?;
    }
    Ok(())
}

/// Fetches a photo or file unless it is here, and shows how far it is. Where it is.
pub(super) async fn fetch(
    context: &Context,
    client: &Client,
    wanted: WantedMedia,
) -> Result<PathBuf, Failure> {
    let mut moving = Moving::new(&context.output);
    let mut away_since = None;
    loop {
        let fetched = fetch_once(client, wanted, &mut moving).await?;
        // The driver connects again meanwhile.
        let Err(MediaError::Request(RequestError::NotConnected)) = fetched else {
            return Ok(fetched?);
        };
        let since = *away_since.get_or_insert_with(Instant::now);
        if context
            .timeout()
            .is_some_and(|limit| since.elapsed() >= limit)
        {
            return Ok(fetched?);
        }
        sleep(PAUSE).await;
    }
}

async fn fetch_once(
    client: &Client,
    wanted: WantedMedia,
    moving: &mut Moving<'_>,
) -> Result<Result<PathBuf, MediaError>, Failure> {
    let mut fetching = std::pin::pin!(client.fetch_media(wanted));
    let mut goes_on = true;
    loop {
        let event = tokio::select! {
            biased;
            event = client.next_event(), if goes_on => event,
            fetched = &mut fetching => return Ok(fetched),
        };
        goes_on = event.is_some();
        if let Some(Event::Downloading {
            media,
            received,
            size,
        }) = event
        {
            moving.show((received, size), || Line::Fetching {
                media_id: Shown(media),
                received,
                size,
            })?;
        }
    }
}

/// How the name of a picture ends, by what it begins with.
pub(super) fn ending(path: &Path) -> Result<&'static str, Failure> {
    const ENDINGS: [(&[u8], &str); 4] = [
        (b"\xff\xd8\xff", ".jpg"),
        (b"\x89PNG", ".png"),
        (b"GIF8", ".gif"),
        (b"RIFF", ".webp"),
    ];
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| at(path, error))?;
    let read = file.take(4).read_to_end(&mut start);
    read.map_err(|error| at(path, error))?;
    let mut endings = ENDINGS.iter();
    let found = endings.find(|(magic, _)| start.starts_with(magic));
    Ok(found.map_or("", |(_, ending)| ending))
}

/// Copies a file, under another name if that one is taken.
fn copy(from: &Path, directory: &Path, name: &str) -> Result<(PathBuf, u64), Failure> {
    let mut source = File::open(from).map_err(|error| at(from, error))?;
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem, format!(".{ending}")),
        Some(_) | None => (name, String::new()),
    };
    for number in 1..=NAMES_MAX {
        let path = match number {
            1 => directory.join(name),
            number => directory.join(format!("{stem} ({number}){ending}")),
        };
        let mut options = OpenOptions::new();
        let mut to = match options.write(true).create_new(true).open(&path) {
            Ok(to) => to,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(at(&path, error)),
        };
        let copied = io::copy(&mut source, &mut to);
        let stored = copied.and_then(|size| to.sync_all().map(|()| size));
        return match stored {
            Ok(size) => Ok((path, size)),
            Err(error) => {
                // A part of it is of no use.
                drop(fs::remove_file(&path));
                Err(at(&path, error))
            }
        };
    }
    Err(at(
        &directory.join(name),
        io::ErrorKind::AlreadyExists.into(),
    ))
}

fn at(path: &Path, error: io::Error) -> Failure {
    Failure::File {
        path: path.display().to_string(),
        error,
    }
}
