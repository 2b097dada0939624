//! How many files the process may open, and so how many connections fit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Auto, Limits};

/// Files that are no connections: the database, the log, listeners, TLS files.
const OTHERS: u64 = 200;

/// More connections than one process holds, whatever its limit of files.
const CONNECTIONS_AUTO_MAX: u64 = 1_000_000;

/// The settings want more than the process may open.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "connections_max is {wanted}, but this process may open {files} files, which is enough for \
     {allowed} connections: raise the limit (ulimit -n; LimitNOFILE= of systemd) or lower the setting"
)]
pub struct TooFewFiles {
    /// The setting.
    pub wanted: u32,
    /// The limit of the process.
    pub files: u64,
    /// What fits.
    pub allowed: u64,
}

/// Raises the process's limit as far as the system lets it.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// How many connections this process serves.
///
/// # Errors
///
/// [`TooFewFiles`].
pub(super) fn connections_max(limits: &Limits) -> Result<usize, TooFewFiles> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let max = fitting(limits.connections_max, limits.refusals_max, files)?;
    Ok(usize::try_from(max).unwrap_or(usize::MAX))
}

fn fitting(wanted: Auto, refusals_max: u32, files: u64) -> Result<u64, TooFewFiles> {
    let others = OTHERS + u64::from(refusals_max);
    // A process with few files still serves some.
    let allowed = files.saturating_sub(others).max(files / 2);
    match wanted.0 {
        None => Ok(allowed.min(CONNECTIONS_AUTO_MAX)),
        Some(wanted) if u64::from(wanted) <= allowed => Ok(wanted.into()),
        Some(wanted) => Err(TooFewFiles {
            wanted,
            files,
            allowed,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(fitting(Auto(None), 64, 1_024), Ok(760));
        assert_eq!(fitting(Auto(None), 64, 100), Ok(50));
        assert_eq!(fitting(Auto(None), 64, u64::MAX), Ok(1_000_000));
        assert_eq!(fitting(Auto(Some(760)), 64, 1_024), Ok(760));
        let refused = fitting(Auto(Some(761)), 64, 1_024).unwrap_err();
        assert_eq!(refused.allowed, 760);
    }
}
