//! `magpie`, the command-line client.
//!
//! `args.rs` says what may be typed, `command/` has one file for each command,
//! `line.rs` every line that is printed. `docs/cli.md` describes it for people
//! who write scripts.

mod args;
mod carrier;
mod colour;
mod command;
mod context;
mod failure;
mod line;
mod moving;
mod output;
mod paint;
mod password;
mod printable;
mod progress;
#[cfg(test)]
mod reference;
mod torture;
mod trust;
mod wait;

use std::process::ExitCode;

use crate::{
    args::Arguments,
    failure::{Exit, Failure},
    line::Line,
    output::Output,
};

fn main() -> ExitCode {
    let arguments = Arguments::of_process();
    let output = Output::new(&arguments.global);
    match run(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let exit = failure.exit();
            if exit != Exit::Done {
                report(&output, &failure);
            }
            exit.into()
        }
    }
}

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::Input)?;
    let result = runtime.block_on(command::run(arguments));
    // Nothing that still runs can lose anything: do not wait for it.
    runtime.shutdown_background();
    result
}

/// One clear sentence: a line for programs, or a note for people.
fn report(output: &Output, failure: &Failure) {
    if output.is_json() {
        // If standard output is gone too, the exit code has to do.
        drop(output.line(&Line::failure(failure)));
    }
    output.failure(&failure.to_string());
}
