//! Settings: the only place that reads the command line and the environment.
//!
//! `settings.rs` defines each of them once; what is given is merged in `source.rs`,
//! the weakest first: defaults, the file, the environment, flags.

mod admin;
mod apps;
mod bucket;
mod document;
mod invitation;
mod network;
mod settings;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Arg, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};
use clap_complete::Shell;

pub use self::{
    admin::{AdminTask, BroadcastsTask, NamedPassword, ReportsTask, UsersTask},
    apps::Apps,
    bucket::{Access, Bucket, MediaPlace},
    invitation::Invitations,
    network::{Networks, network},
    settings::{Limits, Push},
    value::{Auto, LogFilter, Rate, Registration, Secret, Size},
};
use self::{settings::General, source::Sources, table::Setting};
use crate::tls::Source;

/// Shards of one log: more than a database can use at once.
pub const DATABASE_SHARDS_MAX: u32 = 8;

/// A chat server that loses nothing.
#[derive(Clone, Debug, Parser)]
#[command(name = "magpied", version, about, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    task: Option<TaskArgs>,

    /// The settings' file (TOML): `magpied config --default` prints one
    #[arg(long, env = "MAGPIE_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Print one JSON line when ready; logs go to standard error
    #[arg(long)]
    json: bool,
}

/// What is done instead of serving.
#[derive(Clone, Debug, Subcommand)]
enum TaskArgs {
    /// Print how a running server is doing, as its admin listener tells it
    Status {
        /// One JSON object instead of a table
        #[arg(long)]
        json: bool,
    },

    /// Look after the users of a running server, over the socket in its data directory
    Admin {
        /// What to do
        #[command(subcommand)]
        task: AdminTask,

        /// One JSON object instead of words
        #[arg(long, global = true)]
        json: bool,
    },

    /// Bring the schema of the PostgreSQL database up to date, and end
    Migrate,

    /// Look after the pushes that wake sleeping devices
    #[command(subcommand)]
    Push(PushTask),

    /// Begin a new history after an older backup was restored, or a standby took over
    #[command(subcommand)]
    Epoch(EpochTask),

    /// Print the settings in force, with secrets masked, and end
    Config {
        /// Print a file with every setting, its meaning and its default
        #[arg(long)]
        default: bool,

        /// Print docs/configuration.md
        #[arg(long, hide = true)]
        markdown: bool,
    },

    /// Print a script that completes commands and flags in a shell
    Completions {
        /// For which shell
        shell: Shell,
    },

    /// Write a manual page for each command
    Man {
        /// Where to; made if it is absent
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
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
  magpied status
  magpied admin users suspend mallory
  magpied push check --push-account fcm.json
  magpied epoch new --database-url postgres://magpie@db/magpie
  magpied config --default > magpie.toml; magpied --config magpie.toml

Each setting is also MAGPIE_... in the environment (MAGPIE_LISTEN) and a line of the file
(listen = \"0.0.0.0:7443\").

Exit status: 0 drained (status: ready), 64 a wrong setting, 1 anything else.";

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Task {
    /// Serve until a signal.
    Serve,
    /// Bring the schema up to date, and end.
    Migrate,
    /// Ask a running server how it is doing, and end.
    Status {
        /// For programs.
        json: bool,
    },
    /// Have a running server do an operator's task, and end.
    Admin {
        /// Which.
        task: AdminTask,
        /// For programs.
        json: bool,
    },
    /// Ask FCM whether it would take pushes, and end.
    CheckPush,
    /// Begin a new epoch, and end.
    NewEpoch {
        /// Revoke all devices.
        sign_out_all: bool,
    },
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
    /// Where photos and files are kept.
    pub media: MediaPlace,
    /// Where clients find them, if not here.
    pub media_url: Option<String>,
    /// Where everything else is kept: the URL of a database of `PostgreSQL`. It
    /// may hold a password and is never printed.
    pub database_url: Option<Secret>,
    /// Shards of the log, if it is made now.
    pub database_shards: Option<usize>,
    /// What to do.
    pub task: Task,
    /// Where the certificate comes from.
    pub tls: Source,
    /// What is logged.
    pub log: LogFilter,
    /// Print one JSON line when ready.
    pub json: bool,
    /// How sleeping devices are woken.
    pub push: Push,
    /// How much of everything there may be.
    pub limits: Limits,
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Stop {
    /// Help, version or settings were asked for: print it, exit 0.
    Asked(String),
    /// A wrong setting: print it, exit 64.
    Wrong(String),
}

impl Config {
    /// Reads `args` (the program's name first), the file and the environment.
    ///
    /// # Errors
    ///
    /// [`Stop`], with every problem found.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let ours = |(name, value): (OsString, OsString)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            let is_ours = name.starts_with("MAGPIE_") || Access::knows(&name);
            is_ours.then_some((name, value))
        };
        Self::merge(args, &std::env::vars_os().filter_map(ours).collect())
    }

    fn merge(
        args: impl IntoIterator<Item = OsString>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Stop> {
        let matches = command().try_get_matches_from(args).map_err(stopped)?;
        let args = Args::from_arg_matches(&matches).map_err(stopped)?;
        if let Some(text) = reference(args.task.as_ref())? {
            return Err(Stop::Asked(text));
        }
        let mut sources = Sources::new();
        if let Some(path) = &args.config {
            sources.add_file(path);
        }
        sources.add_environment(environment);
        for setting in settings::table() {
            if let Some(text) = matches.get_one::<String>(setting.key) {
                sources.add_flag(&setting, text.clone());
            }
        }
        let general = General::read(&mut sources);
        let (push, limits) = (Push::read(&mut sources), Limits::read(&mut sources));
        let Sources {
            effective,
            mut problems,
            ..
        } = sources;
        problems.extend(contradictions(&args, &general, &push, &limits));
        let (media, wrong) = MediaPlace::read(&general, environment, &limits);
        problems.extend(wrong);
        if !problems.is_empty() {
            return Err(Stop::Wrong(problems.join("\n")));
        }
        let task = match args.task {
            None => Task::Serve,
            Some(TaskArgs::Status { json }) => Task::Status { json },
            Some(TaskArgs::Admin { task, json }) => Task::Admin { task, json },
            Some(TaskArgs::Migrate) => Task::Migrate,
            Some(TaskArgs::Push(PushTask::Check)) => Task::CheckPush,
            Some(TaskArgs::Epoch(EpochTask::New { sign_out_all })) => {
                Task::NewEpoch { sign_out_all }
            }
            Some(TaskArgs::Config { .. } | TaskArgs::Completions { .. } | TaskArgs::Man { .. }) => {
                return Err(Stop::Asked(document::effective_file(&effective)));
            }
        };
        Ok(Self {
            tls: source(&general),
            listen: general.listen,
            admin_listen: general.admin_listen,
            media,
            media_url: general.media_url,
            data_dir: general.data_dir,
            database_url: general.database_url,
            database_shards: general.database_shards.0.map(|count| count as usize),
            task,
            log: general.log,
            json: args.json,
            push,
            limits,
        })
    }
}

/// What can be told without looking at a setting.
fn reference(task: Option<&TaskArgs>) -> Result<Option<String>, Stop> {
    Ok(match task {
        Some(TaskArgs::Config { markdown: true, .. }) => Some(document::page()),
        Some(TaskArgs::Config { default: true, .. }) => Some(document::default_file()),
        Some(TaskArgs::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command(), "magpied", &mut script);
            Some(String::from_utf8_lossy(&script).into_owned())
        }
        Some(TaskArgs::Man { directory }) => {
            let pages = command().disable_help_subcommand(true);
            std::fs::create_dir_all(directory)
                .and_then(|()| clap_mangen::generate_to(pages, directory))
                .map_err(|error| {
                    let directory = directory.display();
                    Stop::Wrong(format!(
                        "manual pages cannot be written to {directory}: {error}"
                    ))
                })?;
            Some(String::new())
        }
        Some(
            TaskArgs::Config { .. }
            | TaskArgs::Status { .. }
            | TaskArgs::Admin { .. }
            | TaskArgs::Migrate
            | TaskArgs::Push(_)
            | TaskArgs::Epoch(_),
        )
        | None => None,
    })
}

/// Where a service manager wants to be told how the server is doing
/// (`sd_notify(3)`).
#[must_use]
pub fn notify_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|it| !it.is_empty())
}

/// The command line, with a flag for each setting.
fn command() -> clap::Command {
    settings::table()
        .into_iter()
        .fold(Args::command(), |command, setting| {
            command.arg(flag(&setting))
        })
}

fn flag(setting: &Setting) -> Arg {
    let flag = Arg::new(setting.key)
        .long(setting.flag())
        .help(format!(
            "{} [default: {}]",
            setting.meaning,
            match setting.default.as_str() {
                "" => "nothing",
                default => default,
            }
        ))
        .help_heading(setting.group)
        .value_name("VALUE")
        .global(true);
    if setting.is_switch {
        return flag
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true");
    }
    flag
}

fn stopped(error: clap::Error) -> Stop {
    let text = error.render().to_string();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        Stop::Asked(text)
    } else {
        Stop::Wrong(text)
    }
}

fn source(general: &General) -> Source {
    match (&general.tls_cert, &general.tls_key) {
        (Some(certificate), Some(key)) => Source::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        },
        _ => Source::Development {
            dir: general.data_dir.clone(),
            listen: general.listen,
        },
    }
}

/// What is set of pushes that nobody sends.
fn useless(push: &Push) -> Option<String> {
    let set = [
        ("push_url", push.push_url.is_some()),
        ("push_token_url", push.push_token_url.is_some()),
        ("push_ca", push.push_ca.is_some()),
        ("push_previews", push.push_previews != Apps::default()),
    ];
    let set = set.iter().filter(|(_, is_set)| *is_set);
    let names: Vec<&str> = set.map(|(name, _)| *name).collect();
    let is_or_are = if names.len() == 1 { "is" } else { "are" };
    let names = (!names.is_empty()).then(|| names.join(" and "))?;
    Some(format!(
        "{names} {is_or_are} of no use without push_account"
    ))
}

/// What is wrong with settings that are each allowed.
fn contradictions(args: &Args, general: &General, push: &Push, limits: &Limits) -> Vec<String> {
    let mut problems = Vec::new();
    if matches!(args.task, Some(TaskArgs::Status { .. })) && general.admin_listen.is_none() {
        problems.push("magpied status asks the admin listener, and admin_listen is off".to_owned());
    }
    if matches!(args.task, Some(TaskArgs::Migrate)) && general.database_url.is_none() {
        problems.push(
            "magpied migrate needs database_url (the embedded store is brought up to date \
             when it is opened)"
                .to_owned(),
        );
    }
    if general.tls_cert.is_some() != general.tls_key.is_some() {
        let one = |it: &Option<PathBuf>| if it.is_some() { "given" } else { "missing" };
        problems.push(format!(
            "tls_cert is {} and tls_key is {}: give both or neither",
            one(&general.tls_cert),
            one(&general.tls_key)
        ));
    }
    let is_development = matches!(source(general), Source::Development { .. });
    let is_for_others = !general.listen.ip().is_loopback();
    if is_development && is_for_others && !general.development_certificate {
        problems.push(format!(
            "listen is {}, which others can reach: give tls_cert and tls_key \
             (or development_certificate, for a test)",
            general.listen
        ));
    }
    if let Some(url) = general.media_url.as_deref()
        && (!url.starts_with("https://") || url.ends_with('/'))
    {
        problems.push(format!(
            "media_url is {url}: it begins with https:// and ends without a slash"
        ));
    }
    if push.push_account.is_none() {
        problems.extend(useless(push));
    }
    if matches!(args.task, Some(TaskArgs::Push(_))) && push.push_account.is_none() {
        problems.push("magpied push check needs push_account".to_owned());
    }
    if limits.registration == Registration::Invitation && limits.invitations.is_empty() {
        problems.push("registration is invitation, and there are no invitations".to_owned());
    }
    problems
}
