//! `magpied admin`: takes an errand to a running server.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{COUNT_MAX, Errand, PATH, SOCKET, Told, table};
use crate::config::{AdminTask, BroadcastsTask, ReportsTask, UsersTask};

/// How long a server may take: a password waits for its turn to be hashed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// More than any password may have.
const LINE_SIZE_MAX: u64 = 8 * 1024;

/// More than any message may have: the server says so.
const TEXT_SIZE_READ_MAX: u64 = 1024 * 1024;

/// Why an errand was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// Nothing answers there.
    #[error(
        "no server answers on {socket}: {reason}; is it running, is its data_dir that directory, \
         and are you its user, or root?", socket = socket.display()
    )]
    Unreachable {
        /// Which socket.
        socket: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The server did not do it.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
    },
    /// There is nothing to say.
    #[error("standard input is no text: {reason}")]
    NoText {
        /// Why not.
        reason: String,
    },
    /// There is no password to give.
    #[error("no password: {reason}")]
    NoPassword {
        /// Why not.
        reason: String,
    },
}

/// Takes an errand to the server whose data directory this is. Returns what to print:
/// a JSON object, or words for people.
///
/// # Errors
///
/// [`OperateError`].
pub async fn run(data_dir: &Path, task: &AdminTask, json: bool) -> Result<String, OperateError> {
    let errand = errand(task)?;
    let told = ask(&data_dir.join(SOCKET), &errand).await?;
    if let Told::Refused { message } = told {
        return Err(OperateError::Refused { message });
    }
    if !json {
        return Ok(table::text(&told));
    }
    let line = serde_json::to_string(&told).map_err(|error| OperateError::Refused {
        message: error.to_string(),
    })?;
    Ok(line + "\n")
}

async fn ask(socket: &Path, errand: &Errand) -> Result<Told, OperateError> {
    let unreachable = |error: reqwest::Error| OperateError::Unreachable {
        socket: socket.to_owned(),
        reason: crate::status::root_cause(&error),
    };
    let client = reqwest::Client::builder()
        .unix_socket(socket)
        .no_proxy()
        .timeout(TIMEOUT)
        .build()
        .map_err(unreachable)?;
    let answer = client
        .post(format!("http://localhost{PATH}"))
        .json(errand)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(unreachable)?;
    answer.json().await.map_err(unreachable)
}

fn errand(task: &AdminTask) -> Result<Errand, OperateError> {
    let name = |name: &String| name.clone();
    Ok(match task {
        AdminTask::Users(task) => match task {
            UsersTask::Create(it) => Errand::CreateUser {
                name: it.name.clone(),
                password: password(it.password_stdin)?,
            },
            UsersTask::ResetPassword(it) => Errand::ResetPassword {
                name: it.name.clone(),
                password: password(it.password_stdin)?,
            },
            UsersTask::Show { name: of } => Errand::ShowUser { name: name(of) },
            UsersTask::Suspend { name: of } => Errand::SuspendUser { name: name(of) },
            UsersTask::Resume { name: of } => Errand::ResumeUser { name: name(of) },
            UsersTask::Delete { name: of } => Errand::DeleteUser { name: name(of) },
        },
        AdminTask::Reports(ReportsTask::List { after, limit }) => Errand::ListReports {
            after: *after,
            limit: (*limit).min(COUNT_MAX),
        },
        AdminTask::Reports(ReportsTask::Close { id }) => Errand::CloseReport { id: *id },
        AdminTask::Broadcasts(BroadcastsTask::Send { from, text }) => Errand::Broadcast {
            from: from.clone(),
            text: match text {
                Some(text) => text.clone(),
                None => typed_text()?,
            },
        },
        AdminTask::Broadcasts(BroadcastsTask::List { limit }) => Errand::ListBroadcasts {
            limit: (*limit).min(COUNT_MAX),
        },
        AdminTask::Stats => Errand::Count,
        AdminTask::Log { limit } => Errand::ListActs {
            limit: (*limit).min(COUNT_MAX),
        },
    })
}

/// All of standard input, without the end of its last line.
fn typed_text() -> Result<String, OperateError> {
    let mut text = String::new();
    let read = io::stdin()
        .lock()
        .take(TEXT_SIZE_READ_MAX)
        .read_to_string(&mut text);
    read.map_err(|error| OperateError::NoText {
        reason: error.to_string(),
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// From the first line of standard input, or asked for twice.
fn password(from_stdin: bool) -> Result<String, OperateError> {
    let no_password = |reason: &str| OperateError::NoPassword {
        reason: reason.to_owned(),
    };
    let unread = |error: io::Error| no_password(&error.to_string());
    if from_stdin {
        let mut line = String::new();
        let mut input = io::stdin().lock().take(LINE_SIZE_MAX);
        input.read_line(&mut line).map_err(unread)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    if !io::stdin().is_terminal() {
        return Err(no_password("use --password-stdin, or run it on a terminal"));
    }
    let typed = rpassword::prompt_password("Password: ").map_err(unread)?;
    let again = rpassword::prompt_password("Password again: ").map_err(unread)?;
    if typed == again {
        return Ok(typed);
    }
    Err(no_password("the two differ"))
}
