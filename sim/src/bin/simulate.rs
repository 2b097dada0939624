//! Simulates days with faults, seed after seed, or runs a trace again.

use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use indicatif::{ProgressBar, ProgressStyle};
use magpie_sim::{
    swarm::{Failure, Figures, Plan, Trace},
    world::Mutant,
};

const USAGE: &str = "\
usage: simulate [--seeds N] [--from SEED] [--hours N] [--healthy]
       simulate --replay FILE

  --seeds N     plans to run (default 100)
  --from SEED   the first one's number (default: the time)
  --hours N     simulated hours of each (default 24)
  --healthy     eight devices that chat once a minute, and nothing fails
  --replay FILE run a trace again";

/// How often a failing trace is tried without some of its steps.
const SHRINK_TRIES: usize = 5_000;

struct Options {
    seeds: u64,
    from: u64,
    hours: u64,
    healthy: bool,
    replay: Option<String>,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut options = Options {
        seeds: 100,
        from: since_1970.as_secs() << 20,
        hours: 24,
        healthy: false,
        replay: None,
    };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next();
        match name.as_str() {
            "--seeds" => options.seeds = value()?.parse().ok()?,
            "--from" => options.from = value()?.parse().ok()?,
            "--hours" => options.hours = value()?.parse().ok()?,
            "--healthy" => options.healthy = true,
            "--replay" => options.replay = Some(value()?),
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
    match &options.replay {
        Some(path) => replay(path),
        None => simulate(&options),
    }
}

fn replay(path: &str) -> ExitCode {
    let trace = fs::read_to_string(path).map_err(|error| error.to_string());
    let trace = trace.and_then(|text| text.parse::<Trace>().map_err(|error| error.to_string()));
    match trace.map(|trace| trace.replay()) {
        Ok(Ok(world)) => {
            println!("every promise kept: {:?}", world.effort());
            ExitCode::SUCCESS
        }
        Ok(Err(broken)) => {
            eprintln!("{broken}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::from(64)
        }
    }
}

fn simulate(options: &Options) -> ExitCode {
    let duration = Duration::from_secs(3_600 * options.hours);
    let bar = ProgressBar::new(options.seeds);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {eta}") {
        bar.set_style(style);
    }
    let begun = Instant::now();
    let mut all = Figures::default();
    for seed in options.from..options.from.saturating_add(options.seeds) {
        let plan = if options.healthy {
            Plan::healthy(seed, duration)
        } else {
            Plan {
                duration,
                ..Plan::of_seed(seed)
            }
        };
        match plan.run(Mutant::None) {
            Ok((figures, _)) => all += figures,
            Err(failure) => {
                bar.abandon();
                return tell(&failure);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let took = begun.elapsed();
    let times = all.simulated.as_secs_f64() / took.as_secs_f64();
    println!("{} seeds from {} on, {all}", options.seeds, options.from);
    println!("every promise kept; {took:.1?}, {times:.0} times real time");
    ExitCode::SUCCESS
}

/// Says what is broken, and writes down the shortest way to it that is found.
fn tell(failure: &Failure) -> ExitCode {
    eprintln!("{failure}");
    let short = failure.trace.shrink(failure.broken.promise, SHRINK_TRIES);
    let path = format!("seed-{}.trace", failure.seed);
    match fs::write(&path, short.to_string()) {
        Ok(()) => eprintln!("{} steps break it: simulate --replay {path}", short.len()),
        Err(error) => eprintln!("{path}: {error}\n{short}"),
    }
    ExitCode::FAILURE
}
