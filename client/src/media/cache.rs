//! What was fetched, so that it is fetched once: a directory of files, of which those go
//! first that were not used for longest.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use magpie_protocol::id::MediaId;

use super::stage::private_directory;

/// The ending of what is not whole.
const PART: &str = "part";

/// What nobody goes on with goes after so long.
const PART_AGE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The directory of what was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    pub(crate) fn of_home(home: &Path) -> Self {
        let directory = home.join("media").join("cache");
        Self { directory }
    }

    fn path(&self, id: MediaId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    pub(super) fn part_path(&self, id: MediaId) -> PathBuf {
        self.path(id).with_extension(PART)
    }

    /// Where it is, if it is here. It is in use now.
    pub(crate) fn find(&self, id: MediaId) -> Option<PathBuf> {
        let path = self.path(id);
        let file = File::options().append(true).open(&path).ok()?;
        // On a disk that is full it is the older for it.
        drop(file.set_modified(SystemTime::now()));
        Some(path)
    }

    /// It is to be here no more.
    pub(crate) fn remove(&self, id: MediaId) {
        for path in [self.path(id), self.part_path(id)] {
            // Mostly there is none.
            drop(fs::remove_file(path));
        }
    }

    /// Takes in what was sent from here.
    pub(crate) fn adopt(&self, id: MediaId, from: &Path) {
        let taken =
            private_directory(&self.directory).and_then(|()| fs::rename(from, self.path(id)));
        // Then it is fetched again.
        drop(taken);
    }

    /// The other way round: it is to be sent again.
    pub(super) fn give_back(&self, id: MediaId, to: &Path) -> io::Result<()> {
        fs::rename(self.path(id), to)
    }

    /// The file of what is not whole, for one at a time; `None` while somebody else has it.
    pub(super) fn begin(&self, id: MediaId) -> io::Result<Option<File>> {
        private_directory(&self.directory)?;
        let mut options = File::options();
        options.create(true).append(true).read(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.part_path(id))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// It is whole.
    pub(super) fn finish(&self, id: MediaId, size_max: u64) -> io::Result<PathBuf> {
        let path = self.path(id);
        fs::rename(self.part_path(id), &path)?;
        self.shrink(size_max, &path)?;
        Ok(path)
    }

    /// Removes what was not used for longest, until the rest fits. `newest` stays.
    fn shrink(&self, size_max: u64, newest: &Path) -> io::Result<()> {
        let now = SystemTime::now();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let used_at = metadata.modified().unwrap_or(now);
            let path = entry.path();
            if path.extension().is_none() {
                files.push((used_at, metadata.len(), path));
            } else if now.duration_since(used_at).is_ok_and(|age| age > PART_AGE) {
                drop(fs::remove_file(path));
            }
        }
        files.sort_unstable();
        let mut size: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, freed, path) in files {
            if size <= size_max {
                break;
            }
            if path != newest && fs::remove_file(&path).is_ok() {
                size = size.saturating_sub(freed);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::of_home(home.path());
        let id = |number| MediaId::new([number; 16]);
        let used = |number, age| {
            let file = File::options().append(true).open(cache.path(id(number)));
            let at = SystemTime::now() - Duration::from_secs(age);
            file.unwrap().set_modified(at).unwrap();
        };
        for number in 1..=3 {
            let mut part = cache.begin(id(number)).unwrap().unwrap();
            assert!(
                cache.begin(id(number)).unwrap().is_none(),
                "for one at a time"
            );
            part.write_all(&[number; 100]).unwrap();
            cache.finish(id(number), 1_000).unwrap();
            used(number, 100 - u64::from(number));
        }
        assert!(cache.find(id(1)).is_some(), "it is in use now");
        let mut part = cache.begin(id(4)).unwrap().unwrap();
        part.write_all(&[4; 100]).unwrap();
        cache.finish(id(4), 250).unwrap();
        let here = [1, 2, 3, 4].map(|number| cache.find(id(number)).is_some());
        assert_eq!(here, [true, false, false, true]);
        // One that is larger than all stays until the next comes.
        cache.finish(id(4), 10).unwrap_err();
        cache
            .begin(id(5))
            .unwrap()
            .unwrap()
            .write_all(&[5; 100])
            .unwrap();
        cache.finish(id(5), 10).unwrap();
        let here = [1, 2, 3, 4, 5].map(|number| cache.find(id(number)).is_some());
        assert_eq!(here, [false, false, false, false, true]);
    }
}
