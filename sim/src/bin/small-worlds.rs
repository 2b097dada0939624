//! Runs small worlds from seed to seed until the time is up.

use std::{
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use magpie_sim::world::{Faults, Mutant, World, steps_of_seed};

const USAGE: &str = "usage: small-worlds [--seconds N] [--seed N] [--steps N]";

struct Options {
    seconds: u64,
    seed: u64,
    steps: usize,
}

fn options(arguments: impl Iterator<Item = String>) -> Option<Options> {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut options = Options {
        seconds: 10,
        seed: since_1970.as_secs() << 20,
        steps: 800,
    };
    let mut arguments = arguments;
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--seconds" => options.seconds = value.parse().ok()?,
            "--seed" => options.seed = value.parse().ok()?,
            "--steps" => options.steps = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(Options {
        seconds,
        seed: first,
        steps,
    }) = options(std::env::args().skip(1))
    else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    println!("{seconds} seconds of worlds of {steps} steps, from seed {first} on");
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut seed, mut messages) = (first, 0);
    while Instant::now() < until {
        match World::run(Mutant::None, &steps_of_seed(seed, steps, Faults::All)) {
            Ok(world) => messages += world.effort().handed_in,
            Err(broken) => {
                eprintln!("seed {seed}: {broken}");
                return ExitCode::FAILURE;
            }
        }
        seed += 1;
    }
    println!(
        "{} worlds, {messages} messages: every promise kept",
        seed - first
    );
    ExitCode::SUCCESS
}
