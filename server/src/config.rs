//! Settings: the only place that reads the command line and the environment.

use std::{ffi::OsString, fmt, net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, error::ErrorKind};

mod push;

use self::push::PushArgs;
pub use self::push::PushSettings;
use crate::tls::Source;

/// Shards of one log: more than a database can use at once.
pub const DATABASE_SHARDS_MAX: u8 = 8;

/// A chat server that loses nothing.
#[derive(Clone, Debug, Parser)]
#[command(name = "magpied", version, about, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    task: Option<TaskArgs>,

    /// Where clients connect (TLS); port 0 takes a free one
    #[arg(
        long,
        env = "MAGPIE_LISTEN",
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:7443"
    )]
    listen: SocketAddr,

    /// Where the log, the keys and the development certificate are kept
    #[arg(
        long,
        env = "MAGPIE_DATA_DIR",
        value_name = "DIR",
        default_value = "./magpie-data"
    )]
    data_dir: PathBuf,

    /// Keep everything but the certificate in PostgreSQL: postgres://USER@HOST/DATABASE
    #[arg(
        long,
        env = "MAGPIE_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        global = true
    )]
    database_url: Option<String>,

    /// Into how many shards the log of a new database is divided: as many batches commit side by
    /// side. Fixed when the database is made
    #[arg(
        long,
        env = "MAGPIE_DATABASE_SHARDS",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u8).range(1..=i64::from(DATABASE_SHARDS_MAX)),
        requires = "database_url",
        global = true
    )]
    database_shards: Option<u8>,

    /// Where operators look (HTTP: /metrics, /livez, /readyz), or "off"
    #[arg(
        long,
        env = "MAGPIE_ADMIN_LISTEN",
        value_name = "ADDR:PORT|off",
        default_value = "127.0.0.1:7480"
    )]
    admin_listen: String,

    /// The certificate with its chain (PEM); without it a development certificate is made
    #[arg(
        long,
        env = "MAGPIE_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// The certificate's key (PEM)
    #[arg(
        long,
        env = "MAGPIE_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    #[command(flatten)]
    push: PushArgs,

    /// Make a development certificate also for an address that is not this machine's own
    #[arg(long)]
    development_certificate: bool,

    /// Print one JSON line when ready; logs go to standard error
    #[arg(long)]
    json: bool,
}

/// What is done instead of serving.
#[derive(Clone, Copy, Debug, Subcommand)]
enum TaskArgs {
    /// Bring the schema of the PostgreSQL database up to date, and end
    Migrate,
    /// Look after the pushes that wake sleeping devices
    #[command(subcommand)]
    Push(PushTask),
    /// Begin a new history after an older backup was restored, or a standby took over
    #[command(subcommand)]
    Epoch(EpochTask),
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum PushTask {
    /// Ask FCM whether it would take pushes of this account, and end; nothing is delivered
    Check,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum EpochTask {
    /// Begin it, and end; servers that run go on by themselves
    New {
        /// Sign out all devices: what was revoked after the backup was made is back otherwise
        #[arg(long)]
        sign_out_all: bool,
    },
}

const EXAMPLES: &str = "Examples:
  magpied                                    for development, on 127.0.0.1:7443
  magpied --listen 0.0.0.0:7443 --tls-cert chain.pem --tls-key key.pem
  magpied --listen 127.0.0.1:0 --admin-listen off --json
  magpied --database-url postgres://magpie@db/magpie
  magpied migrate --database-url postgres://owner@db/magpie
  magpied push check --push-account fcm.json
  magpied epoch new --database-url postgres://magpie@db/magpie

Exit status: 0 drained, 64 a wrong setting, 1 anything else.";

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    /// Serve until a signal.
    Serve,
    /// Bring the schema up to date, and end.
    Migrate,
    /// Ask FCM whether it would take pushes, and end.
    CheckPush,
    /// Begin a new epoch, and end.
    NewEpoch {
        /// Revoke all devices.
        sign_out_all: bool,
    },
}

impl From<Option<TaskArgs>> for Task {
    fn from(args: Option<TaskArgs>) -> Self {
        match args {
            None => Self::Serve,
            Some(TaskArgs::Migrate) => Self::Migrate,
            Some(TaskArgs::Push(PushTask::Check)) => Self::CheckPush,
            Some(TaskArgs::Epoch(EpochTask::New { sign_out_all })) => {
                Self::NewEpoch { sign_out_all }
            }
        }
    }
}

/// What the server needs to know, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators look.
    pub admin_listen: Option<SocketAddr>,
    /// Where the certificate is kept, and everything else without a database.
    pub data_dir: PathBuf,
    /// Where everything else is kept: the URL of a database of `PostgreSQL`. It
    /// may hold a password and is never printed.
    pub database_url: Option<Secret>,
    /// Shards of the log, if it is made now.
    pub database_shards: Option<usize>,
    /// What to do.
    pub task: Task,
    /// Where the certificate comes from.
    pub tls: Source,
    /// How sleeping devices are woken.
    pub push: PushSettings,
    /// Print one JSON line when ready.
    pub json: bool,
}

/// What is never printed.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// What it is.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Stop {
    /// Help or version was asked for: print it, exit 0.
    Asked(clap::Error),
    /// A wrong setting: print it, exit 64.
    Wrong(String),
}

impl Config {
    /// Reads `args` (the program's name first) and the environment.
    ///
    /// # Errors
    ///
    /// [`Stop`], with every problem found.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let args = Args::try_parse_from(args).map_err(|error| {
            let is_asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            if is_asked {
                Stop::Asked(error)
            } else {
                Stop::Wrong(error.render().to_string())
            }
        })?;
        let mut problems = Vec::new();
        let admin_listen = match args.admin_listen.as_str() {
            "off" => None,
            address => address.parse().map(Some).unwrap_or_else(|_| {
                problems.push(format!(
                    "--admin-listen is {address:?}, expected ADDR:PORT or \"off\""
                ));
                None
            }),
        };
        let tls = match (args.tls_cert, args.tls_key) {
            (Some(certificate), Some(key)) => Source::Files { certificate, key },
            _ => Source::Development {
                dir: args.data_dir.clone(),
                listen: args.listen,
            },
        };
        let task = Task::from(args.task);
        if task == Task::Migrate && args.database_url.is_none() {
            problems.push(
                "magpied migrate needs --database-url (the embedded store is brought up to date \
                 when it is opened)"
                    .to_owned(),
            );
        }
        let is_development = matches!(tls, Source::Development { .. });
        if is_development && !args.listen.ip().is_loopback() && !args.development_certificate {
            problems.push(format!(
                "--listen is {}, which others can reach: give --tls-cert and --tls-key \
                 (or --development-certificate, for a test)",
                args.listen
            ));
        }
        if !problems.is_empty() {
            return Err(Stop::Wrong(problems.join("\n")));
        }
        let Args {
            listen,
            data_dir,
            database_url,
            database_shards,
            json,
            push,
            ..
        } = args;
        Ok(Self {
            listen,
            admin_listen,
            data_dir,
            database_url: database_url.map(Secret),
            database_shards: database_shards.map(usize::from),
            task,
            tls,
            push: push.into(),
            json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Config, String> {
        let args = std::iter::once("magpied")
            .chain(args.iter().copied())
            .map(OsString::from);
        Config::read(args).map_err(|stop| match stop {
            Stop::Asked(error) => error.to_string(),
            Stop::Wrong(text) => text,
        })
    }

    #[test]
    fn the_defaults_are_those_of_the_readme() {
        let config = read(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7443");
        assert_eq!(config.admin_listen.unwrap().to_string(), "127.0.0.1:7480");
        assert_eq!(config.data_dir, PathBuf::from("./magpie-data"));
    }

    #[test]
    fn a_development_certificate_for_others_must_be_asked_for() {
        let refused = read(&["--listen", "0.0.0.0:7443"]).unwrap_err();
        assert!(refused.contains("--tls-cert"), "{refused}");
        assert!(read(&["--listen", "0.0.0.0:7443", "--development-certificate"]).is_ok());
    }

    #[test]
    fn a_database_url_is_never_printed() {
        let config = read(&["--database-url", "postgres://magpie:hush@db/magpie"]).unwrap();
        assert!(!format!("{config:?}").contains("hush"));
        let url = config.database_url.unwrap();
        assert_eq!(url.reveal(), "postgres://magpie:hush@db/magpie");
    }

    #[test]
    fn migrate_needs_a_database() {
        assert!(read(&["migrate"]).unwrap_err().contains("--database-url"));
        let config = read(&["migrate", "--database-url", "postgres://db/magpie"]).unwrap();
        assert_eq!(config.task, Task::Migrate);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let refused = read(&["--listen", "0.0.0.0:1", "--admin-listen", "nowhere"]).unwrap_err();
        assert!(
            refused.contains("--admin-listen is \"nowhere\""),
            "{refused}"
        );
        assert!(refused.contains("--listen is 0.0.0.0:1"), "{refused}");
    }
}
