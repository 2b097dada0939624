//! What a connection that does nothing costs the server.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    args,
    connection::Connection,
    credentials::{Crowd, Device, Users},
    dialer::Dialer,
    load::close,
    process,
    report::Report,
};

/// How long the answer to a ping may take.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Pings leave spread over this time, as heartbeats do.
const PING_SPREAD: Duration = Duration::from_secs(3);

/// Opens the connections, lets the server settle, asks each whether it lives.
///
/// # Errors
///
/// The server refused, or is not there.
pub(crate) async fn run(args: &args::Idle) -> anyhow::Result<Report> {
    let mut crowd = Crowd::load(&args.server, "idle", Users::ManyDevices(args.devices))?;
    let dialer = Dialer::new(&args.server)?;
    // Once without counting: registers everybody, and leaves the server with
    // the memory that its registrations took.
    let warm = crowd.connect(&dialer, args.connections.min(100)).await?;
    crowd.keep(close(warm).await)?;
    crowd.grow_to(&dialer, args.connections).await?;
    tokio::time::sleep(Duration::from_secs(args.settle)).await;

    let resident = || args.server.pid.map(process::resident_kib).transpose();
    let before = resident()?;
    let started = Instant::now();
    let connected = crowd.connect(&dialer, args.connections).await?;
    let took = started.elapsed();
    tokio::time::sleep(Duration::from_secs(args.settle)).await;
    let after = resident()?;

    let count = connected.len();
    let alive = heartbeat(connected).await;
    let settled = resident()?;
    let mut report = Report::new("idle", format!("{count} idle connections"));
    report.setting("connections", count);
    report.setting("devices_per_user", args.devices);
    if let (Some(before), Some(after), Some(settled)) = (before, after, settled) {
        let each = |kib: u64| kib.saturating_sub(before) as f64 / count.max(1) as f64;
        let mib = |kib: u64| kib as f64 / 1_024.0;
        report.number("memory before", "resident_before_mib", mib(before), "MiB");
        report.number("memory with them", "resident_mib", mib(after), "MiB");
        report.number("each", "resident_kib_each", each(after), "KiB");
        let label = "each, after heartbeats";
        report.number(label, "resident_kib_each_later", each(settled), "KiB");
    }
    report.count("alive", "alive", alive.len() as u64);
    let rate = count as f64 / took.as_secs_f64();
    report.number("connected", "connected_per_second", rate, "/s");
    crowd.keep(close(alive).await)?;
    Ok(report)
}

/// Pings every connection; returns those that answered in time.
async fn heartbeat(connected: Vec<(Device, Connection)>) -> Vec<(Device, Connection)> {
    let count = u32::try_from(connected.len().max(1)).unwrap_or(u32::MAX);
    let mut pings = JoinSet::new();
    for (index, (device, connection)) in (0_u32..).zip(connected) {
        let after = PING_SPREAD * index / count;
        pings.spawn(async move {
            tokio::time::sleep(after).await;
            timeout(ALIVE_TIMEOUT, answer(device, connection))
                .await
                .context("no answer to a ping")?
        });
    }
    let mut alive = Vec::with_capacity(pings.len());
    while let Some(ping) = pings.join_next().await {
        match ping {
            Ok(Ok(it)) => alive.push(it),
            Ok(Err(error)) => eprintln!("a connection is dead: {error:#}"),
            Err(error) => eprintln!("a connection is dead: {error}"),
        }
    }
    alive
}

/// Pings, and waits until something comes back.
async fn answer(
    device: Device,
    mut connection: Connection,
) -> anyhow::Result<(Device, Connection)> {
    let mut incoming = Vec::new();
    connection.ping();
    let heard = connection.reads();
    while connection.reads() == heard {
        connection.flush().await?;
        connection.turn(&mut incoming).await?;
    }
    Ok((device, connection))
}
