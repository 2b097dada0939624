//! What the user has sent of photos and files, and their profile photo, beside what an export
//! says of them. What others have sent is theirs: lines of the export name it, and `save`
//! fetches it.
//!
//! Each is named by its id, and ends as what it begins with: a name that somebody chose
//! is nowhere but in a line.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use magpie_client::{Client, MediaError, MediaId, WantedMedia};
use serde::Deserialize;

use super::{at, is_of_conversation};
use crate::{
    command::media::{ending, fetch},
    context::Context,
    failure::Failure,
};

/// What is not whole.
const PART: &str = "part";

/// As much of a line as says what its sender has sent with it, or which message was deleted.
#[derive(Deserialize)]
struct Said {
    seq: u64,
    #[serde(default)]
    kind: String,
    target_seq: Option<u64>,
    #[serde(default)]
    sender: String,
    #[serde(default)]
    media: Vec<Sent>,
}

#[derive(Deserialize)]
struct Sent {
    media_id: String,
    size: u64,
    sha256: String,
}

impl Sent {
    fn wanted(&self) -> Option<WantedMedia> {
        let sha256 = data_encoding::HEXLOWER.decode(self.sha256.as_bytes());
        Some(WantedMedia {
            id: self.media_id.parse().ok()?,
            exactly: Some((self.size, sha256.ok()?.try_into().ok()?)),
        })
    }
}

/// Fetches what is not there yet. How many that was.
pub(super) async fn export(
    context: &Context,
    client: &Client,
    (directory, user): (&Path, &str),
) -> Result<u64, Failure> {
    let into = media_of(directory);
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&into);
    made.map_err(|error| at(&into, error))?;
    let mut wanted = sent(directory, user).map_err(|error| at(directory, error))?;
    let photo = context.home.own_profile()?.photo;
    wanted.extend(photo.map(WantedMedia::from));
    let mut there = there(&into).map_err(|error| at(&into, error))?;
    let (mut written, mut gone) = (0, 0_u64);
    for it in wanted {
        if !there.insert(it.id) {
            continue;
        }
        match fetch(context, client, it).await {
            Ok(from) => {
                copy(&from, &into, it.id)?;
                written += 1;
            }
            // It was deleted since, or is no photo any more.
            Err(Failure::Media(MediaError::NotThere)) => gone += 1,
            Err(failure) => return Err(failure),
        }
    }
    if gone > 0 {
        let sentence = format!("{gone} photos and files are not on the server any more");
        context.output.note(&sentence);
    }
    Ok(written)
}

fn media_of(directory: &Path) -> PathBuf {
    directory.join("media")
}

/// All that the user has sent and nobody has deleted, as the files of conversations say, each
/// once.
fn sent(directory: &Path, user: &str) -> io::Result<Vec<WantedMedia>> {
    let mut found = Vec::new();
    let mut known = HashSet::new();
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| is_of_conversation(path));
    paths.sort_unstable();
    for path in paths {
        let mut standing = BTreeMap::new();
        for line in BufReader::new(File::open(path)?).lines() {
            let Ok(said) = serde_json::from_str::<Said>(&line?) else {
                continue;
            };
            if said.kind == "message_deleted" {
                standing.remove(&said.target_seq.unwrap_or_default());
            } else if said.sender == user && !said.media.is_empty() {
                standing.insert(said.seq, said.media);
            }
        }
        let wanted = standing.values().flatten().filter_map(Sent::wanted);
        found.extend(wanted.filter(|it| known.insert(it.id)));
    }
    Ok(found)
}

/// What an earlier run has written.
fn there(into: &Path) -> io::Result<HashSet<MediaId>> {
    let mut there = HashSet::new();
    for entry in fs::read_dir(into)? {
        there.extend(whole(&entry?.path()));
    }
    Ok(there)
}

/// Which one a file is, if it is one, and whole.
fn whole(path: &Path) -> Option<MediaId> {
    let is_part = path.extension().is_some_and(|ending| ending == PART);
    named(path).filter(|_| !is_part)
}

fn named(path: &Path) -> Option<MediaId> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// Whoever looks finds all of it or nothing.
fn copy(from: &Path, into: &Path, id: MediaId) -> Result<(), Failure> {
    let name = format!("{id}{}", ending(from)?);
    let (part, path) = (into.join(format!("{id}.{PART}")), into.join(name));
    let copied = File::open(from).and_then(|mut from| {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut to = options.open(&part)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        fs::rename(&part, &path)
    });
    copied.map_err(|error| at(&part, error))
}

/// Removes what was written of something else.
pub(super) fn forget(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(media_of(directory)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if named(&path).is_some() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
