//! `magpie-bench`: a load generator for a Magpie server, and floors to hold its
//! figures against.
//!
//! It speaks the raw protocol: no SDK, no local database (but for `new-device`, which
//! measures those). "Delivered" means
//! that the receiving connection has the event, "handled" follows at once and
//! the acknowledgement by the rules of the link. One task per connection and
//! few allocations, because it shares the machine with the server it measures.

mod args;
mod away;
mod beside;
mod clock;
mod connection;
mod credentials;
mod dialer;
mod fan_out;
mod figures;
mod flood;
mod floor;
mod idle;
mod load;
mod measure;
#[cfg(test)]
mod model;
mod new_device;
mod precedence;
mod process;
mod progress;
mod report;
mod returning;
mod sign_in;
mod silent;
#[cfg(test)]
mod tests;
mod uploads;
mod wakes;

use anyhow::Context as _;
use clap::Parser as _;

use crate::args::{Args, Command};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Command::FanOut(_) | Command::Uploads(_) = args.command {
        precedence::take();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let report = match &args.command {
        Command::Pairs(it) => load::pairs(it).await?,
        Command::Open(it) => load::open(it).await?,
        Command::Idle(it) => idle::run(it).await?,
        Command::SignIn(it) => sign_in::run(it).await?,
        Command::Away(it) => away::run(it).await?,
        Command::NewDevice(it) => new_device::run(it).await?,
        Command::FanOut(it) => fan_out::run(it).await?,
        Command::Uploads(it) => uploads::run(it).await?,
        Command::Wakes(it) => wakes::run(it).await?,
        Command::Silent(it) => silent::run(it).await?,
        Command::Flood(it) => flood::run(it).await?,
        Command::Return(it) => returning::run(it).await?,
        Command::Floor(it) => floor::run(it).await?,
        Command::Medians(it) => return figures::medians(it),
        Command::Page(it) => return figures::page(it),
    };
    report.print(args.json)
}
