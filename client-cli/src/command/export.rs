//! `export`: all that the server and this home hold of the user, as JSON files.
//!
//! Each conversation has a file of its own, to which pages are appended in the order
//! of seq. So what was interrupted goes on behind the last whole line, and a later
//! export fetches only what is new. What was written of another history, or of another
//! user, is no beginning of this one: it is removed first.
//!
//! Nobody but its owner reads what is written.

mod media;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use magpie_client::{Account, Client, ConversationId, ErrorCode, From as HistoryFrom, Seq};
use serde::{Deserialize, Serialize};

use super::audit::in_time;
use crate::{
    args::ExportArgs,
    carrier::{Carrier, Patience},
    context::Context,
    failure::{Exit, Failure},
    line::Line,
    progress::Progress,
};

const HISTORY_MAX: u32 = 200;
const CONVERSATIONS_MAX: u32 = 100;

/// Says of what the directory is an export.
const ORIGIN: &str = "export.json";

pub(crate) async fn run(context: &Context, typed: ExportArgs) -> Result<Exit, Failure> {
    let account = context.signed_in()?;
    let directory = typed.directory;
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory);
    made.map_err(|error| at(&directory, error))?;
    let mut carrier = Carrier::own(context)?;
    let patience = Patience::new(context.timeout());
    carrier.until_caught_up(&patience).await?;
    let mut exporting = Exporting {
        context,
        client: carrier.client()?,
        directory: &directory,
        with_media: typed.media,
        events: 0,
    };
    let exported = exporting.run(&account).await;
    let events = exporting.events;
    carrier.shutdown().await;
    let (conversations, media) = exported?;
    context.output.line(&Line::Exported {
        directory: directory.display().to_string(),
        conversations,
        events,
        media,
    })?;
    Ok(Exit::Done)
}

struct Exporting<'run> {
    context: &'run Context,
    client: &'run Client,
    directory: &'run Path,
    with_media: bool,
    /// Written by now.
    events: u64,
}

/// Of what a directory is an export.
#[derive(Deserialize, PartialEq, Serialize)]
struct Origin {
    user_id: String,
    epoch: u64,
    base: u64,
}

/// As much of a line as says where it stands.
#[derive(Deserialize)]
struct Placed {
    seq: u64,
}

impl Exporting<'_> {
    /// Returns how many conversations there are, and how many photos and files were written,
    /// if they were asked for.
    async fn run(&mut self, account: &Account) -> Result<(u64, Option<u64>), Failure> {
        loop {
            let origin = self.origin(account)?;
            let directory = self.directory;
            begin(directory, &origin).map_err(|error| at(directory, error))?;
            let count = self.export(account).await?;
            let written = match self.with_media {
                true => {
                    let of = (directory, account.name.as_str());
                    Some(media::export(self.context, self.client, of).await?)
                }
                false => None,
            };
            // Another history may have begun meanwhile.
            if self.origin(account)? == origin {
                return Ok((count, written));
            }
        }
    }

    fn origin(&self, account: &Account) -> Result<Origin, Failure> {
        let served = self.context.home.served()?;
        Ok(Origin {
            user_id: account.user_id.to_string(),
            epoch: served.map_or(0, |served| served.epoch),
            base: served.map_or(0, |served| served.base),
        })
    }

    async fn export(&mut self, account: &Account) -> Result<u64, Failure> {
        let bar = indicatif::ProgressBar::no_length();
        let progress = Progress::new(&bar, "events exported");
        self.write("account.json", [Line::Whoami(account.clone().into())])?;
        let devices = in_time(self.context, self.client.devices()).await?;
        self.write("devices.json", devices.into_iter().map(Line::device))?;
        let outbox: Result<Vec<_>, _> = self.context.home.outbox().collect();
        self.write("outbox.json", outbox?.into_iter().map(Line::outbox))?;
        let mut after = None;
        let mut lines = Vec::new();
        loop {
            let asking = self.client.fetch_conversations(after, CONVERSATIONS_MAX);
            let page = in_time(self.context, asking).await?;
            for line in page.conversations {
                after = Some(line.id);
                self.conversation(line.id, &progress).await?;
                lines.push(Line::conversation(line));
            }
            if page.complete {
                break;
            }
        }
        let count = lines.len() as u64;
        self.write("conversations.json", lines)?;
        Ok(count)
    }

    /// Writes a file anew, with a line for each.
    fn write(&self, name: &str, lines: impl IntoIterator<Item = Line>) -> Result<(), Failure> {
        let path = self.directory.join(name);
        let mut text = Vec::new();
        for line in lines {
            push(&mut text, &line).map_err(|error| at(&path, error))?;
        }
        write(&path, &text).map_err(|error| at(&path, error))
    }

    /// Appends what the file of a conversation lacks.
    async fn conversation(
        &mut self,
        id: ConversationId,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let path = self.directory.join(format!("{id}.jsonl"));
        let (mut file, mut after) = resume(&path).map_err(|error| at(&path, error))?;
        loop {
            let from = HistoryFrom::After(after);
            let asking = self.client.fetch_history(id, from, HISTORY_MAX);
            let page = match in_time(self.context, asking).await {
                // It is not for this user any more.
                Err(Failure::Refused(refusal)) if refusal.code == ErrorCode::NotFound => break,
                page => page?,
            };
            let mut text = Vec::new();
            for event in page.events {
                after = event.seq;
                self.events += 1;
                push(&mut text, &Line::event(event)).map_err(|error| at(&path, error))?;
            }
            file.write_all(&text).map_err(|error| at(&path, error))?;
            progress.set(self.events);
            if page.complete || text.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

/// Removes what was written of something else.
fn begin(directory: &Path, origin: &Origin) -> io::Result<()> {
    let path = directory.join(ORIGIN);
    let before = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if before.as_ref() == Some(origin) {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if is_of_conversation(&path) {
            fs::remove_file(path)?;
        }
    }
    media::forget(directory)?;
    let mut text = serde_json::to_vec(origin)?;
    text.push(b'\n');
    write(&path, &text)
}

/// Whether the name of a file is one that an export gives to a conversation's.
fn is_of_conversation(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str());
    path.extension()
        .is_some_and(|extension| extension == "jsonl")
        && name.is_some_and(|name| name.parse::<ConversationId>().is_ok())
}

/// Writes a file anew.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = open(path)?;
    file.set_len(0)?;
    file.write_all(text)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Opens a file behind its last whole line, and says which seq that is.
fn resume(path: &Path) -> io::Result<(File, Seq)> {
    let mut file = open(path)?;
    let (mut whole, mut after) = (0, Seq::ZERO);
    let mut reader = BufReader::new(&file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let size = reader.read_until(b'\n', &mut line)?;
        let placed = serde_json::from_slice::<Placed>(&line);
        let (true, Ok(placed)) = (line.ends_with(b"\n"), placed) else {
            break;
        };
        whole += size as u64;
        after = Seq::new(placed.seq);
    }
    drop(reader);
    file.set_len(whole)?;
    file.seek(SeekFrom::Start(whole))?;
    Ok((file, after))
}

fn push(text: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

fn at(path: &Path, error: io::Error) -> Failure {
    let path: PathBuf = path.to_owned();
    Failure::File {
        path: path.display().to_string(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_goes_on_behind_the_last_whole_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.jsonl");
        let (_, after) = resume(&path).unwrap();
        assert_eq!(after, Seq::ZERO);
        fs::write(&path, "{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3").unwrap();
        let (mut file, after) = resume(&path).unwrap();
        assert_eq!(after, Seq::new(2));
        file.write_all(b"{\"seq\":3}\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3}\n");
    }

    /// D11.
    #[test]
    fn what_was_exported_of_another_history_is_not_gone_on_with() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let conversation = directory.join("32cf2950-a5d8-874a-ba88-9b9f7590831c.jsonl");
        let others = directory.join("notes.jsonl");
        let origin = |epoch| Origin {
            user_id: "alice".to_owned(),
            epoch,
            base: 7,
        };
        begin(directory, &origin(1)).unwrap();
        for path in [&conversation, &others] {
            fs::write(path, "{\"seq\":1}\n").unwrap();
        }
        begin(directory, &origin(1)).unwrap();
        assert_eq!(resume(&conversation).unwrap().1, Seq::new(1));
        begin(directory, &origin(2)).unwrap();
        assert!(!conversation.exists());
        assert!(others.exists(), "not ours");
    }

    #[test]
    fn nobody_else_reads_an_export() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("account.json");
        write(&path, b"long\n").unwrap();
        write(&path, b"{}\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
