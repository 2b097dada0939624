//! Files that are to be sent: what was made of them lies in the home from the moment when
//! they are attached until the server has it, whatever becomes of the originals.

use std::{
    fs::{self, File},
    io::{self, Read, Seek as _, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use magpie_protocol::{id::MediaId, media::is_file_name};

use super::{
    Attachment, AttachmentKind, Cache, InvalidAttachment,
    picture::{self, Picture, Pictures},
};
use crate::message::Media;

/// Bytes read at once.
const CHUNK: usize = 128 * 1024;

/// A file of which no request knows is a remnant after so long.
const REMNANT_AGE: Duration = Duration::from_secs(24 * 3_600);

/// An object to upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Object {
    /// What it is called until the server names it.
    pub(crate) id: MediaId,
    pub(crate) size: u64,
    pub(crate) sha256: [u8; 32],
}

/// Something to be sent, ready: [`Home::attach`](crate::Home::attach) makes it. Dropped
/// before it is queued, nothing is left of it.
#[derive(Debug)]
pub struct Attached {
    media: Media,
    objects: Vec<Object>,
    stage: Stage,
    is_kept: bool,
}

impl Attached {
    /// What a message has of it, or, by its id, a profile or a group as its photo. The
    /// ids are the home's own; what is sent has those that the server gives.
    #[must_use]
    pub const fn media(&self) -> &Media {
        &self.media
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = Object> {
        self.objects.iter().copied()
    }

    /// A request waits for it.
    pub(crate) const fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !self.is_kept {
            for object in &self.objects {
                self.stage.remove(object.id);
            }
        }
    }
}

/// The directory of what is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    directory: PathBuf,
}

impl Stage {
    pub(crate) fn of_home(home: &Path) -> Self {
        let directory = home.join("media").join("outgoing");
        Self { directory }
    }

    pub(crate) fn path(&self, id: MediaId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// It is of no use any more.
    pub(crate) fn remove(&self, id: MediaId) {
        // A remnant is found again.
        drop(fs::remove_file(self.path(id)));
    }

    /// Takes back what was sent from here once and is in the cache since, to be sent again.
    /// `None` if it is not there, or not what it was, if that is known.
    pub(crate) fn take_back(&self, cache: &Cache, it: &Object) -> io::Result<Option<Object>> {
        let path = self.path(it.id);
        if !path.exists() {
            private_directory(&self.directory)?;
            match cache.give_back(it.id, &path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let (size, sha256) = hash(&File::open(&path)?)?;
        let found = Object {
            id: it.id,
            size,
            sha256,
        };
        let is_it = match it.size {
            0 => size > 0,
            _ => found == *it,
        };
        Ok(is_it.then_some(found))
    }

    /// Removes what was attached and never queued.
    pub(crate) fn sweep(&self, is_known: impl Fn(MediaId) -> bool) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.parse().ok());
            let modified = entry.metadata().and_then(|it| it.modified());
            let age = modified.map(|at| SystemTime::now().duration_since(at));
            let is_old = matches!(age, Ok(Ok(age)) if age > REMNANT_AGE);
            if is_old && !id.is_some_and(&is_known) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }

    fn create(&self, id: MediaId) -> io::Result<File> {
        private_directory(&self.directory)?;
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(id))
    }

    /// Copies all of it, durably.
    fn copy(&self, mut from: impl Read) -> io::Result<Object> {
        let id = MediaId::new(uuid::Uuid::now_v7().into_bytes());
        let mut to = self.create(id)?;
        let mut context = Context::new(&SHA256);
        let mut buffer = vec![0; CHUNK];
        let mut size = 0;
        loop {
            let count = from.read(&mut buffer)?;
            let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
                break;
            };
            context.update(read);
            to.write_all(read)?;
            size += read.len() as u64;
        }
        to.sync_all()?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(context.finish().as_ref());
        Ok(Object { id, size, sha256 })
    }

    fn put(&self, attached: &mut Attached, picture: &Picture) -> io::Result<Object> {
        let object = self.copy(picture.bytes.as_slice())?;
        attached.objects.push(object);
        Ok(object)
    }

    /// Makes of a file what is to be sent. Blocks.
    pub(crate) fn attach(&self, it: &Attachment) -> Result<Attached, InvalidAttachment> {
        let refuse = |reason| InvalidAttachment {
            path: it.path.clone(),
            reason,
        };
        let pictures = match it.kind {
            AttachmentKind::File => None,
            AttachmentKind::Photo | AttachmentKind::Original => {
                let pictures = picture::read(&it.path);
                Some(pictures.map_err(|reason| refuse(reason.into()))?)
            }
        };
        let mut attached = Attached {
            media: Media {
                id: MediaId::new([0; 16]),
                size: 0,
                sha256: [0; 32],
                content_type: "application/octet-stream".to_owned(),
                pixels: None,
                thumbhash: Bytes::new(),
                thumbnails: Vec::new(),
                file_name: file_name(&it.path),
            },
            objects: Vec::new(),
            stage: self.clone(),
            is_kept: false,
        };
        let filled = self.fill(&mut attached, it, pictures);
        filled.map_err(|error| refuse(error.into()))?;
        if attached.media.size == 0 {
            return Err(refuse(super::Unfit::Empty));
        }
        Ok(attached)
    }

    fn fill(
        &self,
        attached: &mut Attached,
        it: &Attachment,
        pictures: Option<Pictures>,
    ) -> io::Result<()> {
        // The small ones first: they are soon there.
        for small in pictures.iter().flat_map(|it| &it.thumbnails) {
            let object = self.put(attached, small)?;
            attached.media.thumbnails.push(object.id);
        }
        let object = match (&pictures, it.kind) {
            (Some(pictures), AttachmentKind::Photo) => self.put(attached, &pictures.whole)?,
            (Some(_), AttachmentKind::Original | AttachmentKind::File) | (None, _) => {
                let object = self.copy(File::open(&it.path)?)?;
                attached.objects.push(object);
                object
            }
        };
        let media = &mut attached.media;
        (media.id, media.size, media.sha256) = (object.id, object.size, object.sha256);
        let Some(pictures) = pictures else {
            return Ok(());
        };
        media.thumbhash = pictures.thumbhash.into();
        if it.kind == AttachmentKind::Photo {
            let whole = &pictures.whole;
            media.pixels = Some((whole.width, whole.height));
            media.content_type = whole.content_type.to_owned();
            // The name says when it was taken, and what wrote it.
            media.file_name = None;
        } else {
            media.pixels = Some(pictures.pixels);
            media.content_type = pictures.content_type.to_owned();
        }
        Ok(())
    }
}

/// Bytes and SHA-256 of a file.
pub(super) fn hash(mut file: &File) -> io::Result<(u64, [u8; 32])> {
    file.rewind()?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
            break;
        };
        context.update(read);
        size += read.len() as u64;
    }
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(context.finish().as_ref());
    Ok((size, sha256))
}

/// The name of a file, if it can be one everywhere.
fn file_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    is_file_name(name).then(|| name.to_owned())
}

/// A directory that nobody else can read.
pub(super) fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}
