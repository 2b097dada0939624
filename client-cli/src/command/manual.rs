//! `completions` and `man`: this program's command line, for shells and readers.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    args::Arguments,
    failure::{Exit, Failure},
};

pub(crate) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "magpie", &mut script);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&script)?;
    stdout.flush()?;
    Ok(Exit::Done)
}

pub(crate) fn pages(directory: &Path) -> Result<Exit, Failure> {
    let command = Arguments::command().disable_help_subcommand(true);
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory))
        .map_err(|error| Failure::File {
            path: directory.display().to_string(),
            error,
        })?;
    Ok(Exit::Done)
}
