//! How far the log has come, written down outside the database: a restored backup
//! cannot know it, and then this node does not serve it unasked.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use magpie_protocol::seq::Position;
use tokio_util::sync::CancellationToken;

use super::{chronicle::Chronicle, router::Router};
use crate::{
    clock::{Blocking, within},
    store::Positions,
};

/// The file in the data directory.
const FILE: &str = "high-water";

/// How often it is written. What a backup lacks is mostly more than a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// The file of one log.
#[derive(Clone, Debug)]
pub struct HighWater {
    path: PathBuf,
    /// Tells this log from another one that was served from here before.
    log: String,
}

impl HighWater {
    /// The file in `dir` of the log with this key of cursors.
    #[must_use]
    pub fn new(dir: &Path, cursor_key: &[u8; 32]) -> Self {
        let mut log = String::new();
        for byte in digest(&SHA256, cursor_key).as_ref().iter().take(8) {
            // Writing to a string cannot fail.
            write!(log, "{byte:02x}").ok();
        }
        let path = dir.join(FILE);
        Self { path, log }
    }

    /// Epoch and place that were written last, if this log's ever were.
    ///
    /// # Errors
    ///
    /// If there is a file and it cannot be read.
    pub fn read(&self) -> io::Result<Option<(u64, Positions)>> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let mut words = text.split_ascii_whitespace();
        if words.next() != Some(&self.log) {
            return Ok(None);
        }
        let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "it says nothing");
        parse(words).map(Some).ok_or_else(unreadable)
    }

    /// Writes down how far the log has come.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(&self, epoch: u64, reached: &Positions) -> io::Result<()> {
        let mut text = format!("{} {epoch}", self.log);
        for position in reached.each() {
            write!(text, " {}", position.get()).map_err(io::Error::other)?;
        }
        text.push('\n');
        // Readers find the old one or the new one, also after a power cut.
        let fresh = self.path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)
    }

    /// Writes until `stop`.
    pub async fn keep(
        self,
        router: &Router,
        chronicle: &Chronicle,
        blocking: Blocking,
        stop: CancellationToken,
    ) {
        let mut written = None;
        let mut has_ended = false;
        while !has_ended {
            has_ended = within(INTERVAL, stop.cancelled()).await.is_some();
            let now = (chronicle.history().epoch, router.published());
            if written == Some(now) || chronicle.is_stopped() {
                continue;
            }
            let file = self.clone();
            let done = blocking.run(move || file.write(now.0, &now.1)).await;
            match done {
                Some(Ok(())) => written = Some(now),
                Some(Err(error)) => {
                    tracing::warn!(%error, path = %self.path.display(), "the high-water file was not written");
                }
                None => return,
            }
        }
    }
}

/// Epoch and place, as they are written.
fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<(u64, Positions)> {
    let epoch = words.next()?.parse().ok()?;
    let each = words.map(|word| word.parse().map(Position::new));
    let each: Vec<Position> = each.collect::<Result<_, _>>().ok()?;
    Some((epoch, Positions::from_each(&each)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_for_the_same_log_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = HighWater::new(dir.path(), &[1; 32]);
        assert_eq!(file.read().unwrap(), None);
        let reached = Positions::from(Position::new(42));
        file.write(3, &reached).unwrap();
        assert_eq!(file.read().unwrap(), Some((3, reached)));
        let other = HighWater::new(dir.path(), &[2; 32]);
        assert_eq!(other.read().unwrap(), None);
        fs::write(dir.path().join(FILE), format!("{} 3 4x", file.log)).unwrap();
        assert!(file.read().is_err(), "it is damaged");
    }
}
