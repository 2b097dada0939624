//! Searches small worlds through, or runs random ones until the time is up.

use std::{
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use magpie_sim::{
    search::Scope,
    world::{Faults, Mutant, Setup, World, steps_of_seed},
};

const USAGE: &str = "\
usage: small-worlds [--seconds N] [--seed N] [--steps N]
       small-worlds --search SIZE [--worlds N]

  --seconds N   how long random worlds are run (default 10)
  --seed N      the first one's number (default: the time)
  --steps N     steps of each (default 800)
  --search SIZE search all scopes: with 1 those of the tests, with 2 twice as many
                faults and delays, and without a bound on worlds
  --worlds N    end each scope after so many";

struct Options {
    seconds: u64,
    seed: u64,
    steps: usize,
    search: Option<usize>,
    worlds: Option<usize>,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut options = Options {
        seconds: 10,
        seed: since_1970.as_secs() << 20,
        steps: 800,
        search: None,
        worlds: None,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--seconds" => options.seconds = value.parse().ok()?,
            "--seed" => options.seed = value.parse().ok()?,
            "--steps" => options.steps = value.parse().ok()?,
            "--search" => options.search = Some(value.parse().ok()?),
            "--worlds" => options.worlds = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    match options.search {
        Some(size) => search(size, options.worlds),
        None => run(&options),
    }
}

fn search(size: usize, worlds: Option<usize>) -> ExitCode {
    for mut scope in Scope::all(size) {
        scope.worlds_max = worlds.unwrap_or(scope.worlds_max);
        let begun = Instant::now();
        match scope.search(Mutant::None) {
            Ok(it) => println!(
                "{}: {} worlds, {} steps between them, up to {} deep, {} in {:.1?}",
                scope.name,
                it.worlds,
                it.steps,
                it.depth,
                if it.complete {
                    "all of them"
                } else {
                    "not all"
                },
                begun.elapsed()
            ),
            Err(found) => {
                eprintln!("{}: {found}", scope.name);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn run(options: &Options) -> ExitCode {
    let Options {
        seconds,
        seed: first,
        steps,
        ..
    } = *options;
    println!("{seconds} seconds of worlds of {steps} steps, from seed {first} on");
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut seed, mut messages) = (first, 0);
    while Instant::now() < until {
        let steps = steps_of_seed(seed, steps, Faults::All);
        match World::run(&Setup::small(), Mutant::None, &steps) {
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
