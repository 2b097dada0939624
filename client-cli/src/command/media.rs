//! `photo`, `file`, `save`: photos and files.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use magpie_client::{
    Attached, Attachment, AttachmentKind, Content, Media, MessageId, NewRequest, Recipient,
};

use super::{
    devices::connected,
    message::{compose, queued},
};
use crate::{
    args::{
        media::{Photo, Save, SendFile},
        message,
    },
    carrier::Carrier,
    context::Context,
    failure::{Exit, Failure},
    line::{Line, Shown},
};

/// How many names are tried for a file that must not be written over another.
const NAMES_MAX: u32 = 1_000;

pub(crate) async fn photo(context: &Context, asked: Photo) -> Result<Exit, Failure> {
    let kind = match asked.original {
        true => AttachmentKind::Original,
        false => AttachmentKind::Photo,
    };
    let sending = Sending {
        to: asked.to,
        files: asked.files,
        kind,
        caption: asked.caption,
    };
    sending.run(context, asked.queue).await
}

pub(crate) async fn file(context: &Context, asked: SendFile) -> Result<Exit, Failure> {
    let sending = Sending {
        to: asked.to,
        files: asked.files,
        kind: AttachmentKind::File,
        caption: asked.caption,
    };
    sending.run(context, asked.queue).await
}

struct Sending {
    to: Recipient,
    files: Vec<PathBuf>,
    kind: AttachmentKind,
    caption: String,
}

impl Sending {
    async fn run(self, context: &Context, only: bool) -> Result<Exit, Failure> {
        context.signed_in()?;
        let mut attached = Vec::new();
        for path in self.files {
            attached.push(attach(context, path, self.kind).await?);
        }
        let nothing = message::Attached::default();
        let mut message = compose(context, &self.to, &self.caption, &nothing)?;
        message.media = attached.iter().map(|it| it.media().clone()).collect();
        let request = NewRequest::Send {
            to: self.to,
            message: message.try_into()?,
        };
        let id = context.home.queue_with(request, attached)?;
        queued(context, id, only).await
    }
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
    let media = media_of(context, asked.message)?;
    let is_here = media.iter().all(|it| context.home.media(it.id).is_some());
    let carrier = match is_here {
        true => None,
        false => Some(connected(context).await?),
    };
    fs::create_dir_all(&asked.directory).map_err(|error| at(&asked.directory, error))?;
    let saved = save_all(context, carrier.as_ref(), &asked, &media).await;
    if let Some(carrier) = carrier {
        carrier.shutdown().await;
    }
    saved.map(|()| Exit::Done)
}

fn media_of(context: &Context, message: MessageId) -> Result<Vec<Media>, Failure> {
    let found = match context.home.find(message)? {
        Some(place) => context.home.event(place)?,
        None => None,
    };
    let media = match found.map(|(event, _)| event.content) {
        Some(Content::Message(message)) => message.media,
        Some(_) | None => Vec::new(),
    };
    if media.is_empty() {
        return Err(Failure::NoMedia { id: message });
    }
    Ok(media)
}

async fn save_all(
    context: &Context,
    carrier: Option<&Carrier<'_>>,
    asked: &Save,
    media: &[Media],
) -> Result<(), Failure> {
    for it in media {
        let from = match (context.home.media(it.id), carrier) {
            (Some(from), _) => from,
            (None, Some(carrier)) => carrier.client()?.fetch_media(it).await?,
            (None, None) => return Err(Failure::NoMedia { id: asked.message }),
        };
        let path = copy(&from, &asked.directory, &name(it))?;
        context.output.line(&Line::Saved {
            message_id: Shown(asked.message),
            media_id: Shown(it.id),
            path: path.display().to_string(),
            size: it.size,
        })?;
    }
    Ok(())
}

/// Under which name to save it. A stranger chose it: it is no path, and it is seen.
fn name(media: &Media) -> String {
    if let Some(name) = &media.file_name {
        return match name.starts_with('.') {
            true => format!("_{name}"),
            false => name.clone(),
        };
    }
    let ending = match media.content_type.as_str() {
        "image/jpeg" => ".jpg",
        "image/png" => ".png",
        "image/webp" => ".webp",
        "image/gif" => ".gif",
        _ => "",
    };
    format!("magpie-{}{ending}", media.id)
}

/// Copies a file, under another name if that one is taken.
fn copy(from: &Path, directory: &Path, name: &str) -> Result<PathBuf, Failure> {
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
        let copied = io::copy(&mut source, &mut to).and_then(|_| to.sync_all());
        if let Err(error) = copied {
            // A part of it is of no use.
            drop(fs::remove_file(&path));
            return Err(at(&path, error));
        }
        return Ok(path);
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
