//! Where the password comes from: never from an argument, which every user of
//! the machine could read.

use std::{
    env,
    io::{self, BufRead, IsTerminal, Read},
};

use magpie_client::Password;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// More than any password may have.
const LINE_SIZE_MAX: u64 = 8 * 1024;

/// Standard input if asked so, else `MAGPIE_PASSWORD`, else a prompt; a new
/// password is asked for twice.
pub(crate) fn read(from_stdin: bool, is_new: bool) -> Result<Password, Failure> {
    let typed = if from_stdin {
        first_line()?
    } else if let Ok(password) = env::var("MAGPIE_PASSWORD") {
        password
    } else if io::stdin().is_terminal() {
        prompt(is_new)?
    } else {
        return Err(Failure::NoPassword);
    };
    Ok(Password::try_from(typed)?)
}

/// The password as it is, and what it is to be: two lines of standard input if asked
/// so, else prompts.
pub(crate) fn read_change(from_stdin: bool) -> Result<(Password, Password), Failure> {
    let (current, new) = if from_stdin {
        (first_line()?, first_line()?)
    } else if io::stdin().is_terminal() {
        let listens = signal(SignalKind::interrupt()).map_err(Failure::Input)?;
        let current = ask("Current password: ")?;
        drop(listens);
        (current, prompt(true)?)
    } else {
        return Err(Failure::NoPassword);
    };
    Ok((Password::try_from(current)?, Password::try_from(new)?))
}

pub(crate) fn first_line() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .take(LINE_SIZE_MAX)
        .read_line(&mut line)
        .map_err(Failure::Input)?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Asks without an echo. Ctrl-C and Ctrl-D end it.
fn prompt(is_new: bool) -> Result<String, Failure> {
    // While nobody listens, Ctrl-C kills this process before the terminal has
    // its echo back.
    let listens = signal(SignalKind::interrupt()).map_err(Failure::Input)?;
    let password = ask("Password: ")?;
    if is_new && ask("Password again: ")? != password {
        return Err(Failure::PasswordsDiffer);
    }
    drop(listens);
    Ok(password)
}

fn ask(words: &str) -> Result<String, Failure> {
    use io::ErrorKind::{Interrupted, UnexpectedEof};
    rpassword::prompt_password(words).map_err(|error| {
        if matches!(error.kind(), Interrupted | UnexpectedEof) {
            Failure::NotTyped
        } else {
            Failure::Input(error)
        }
    })
}
