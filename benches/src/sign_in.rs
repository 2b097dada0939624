//! How many devices can connect with their token in a second: TLS handshake,
//! hello, caught up, goodbye.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    args, clock,
    connection::Connection,
    credentials::{Crowd, Users},
    dialer::Dialer,
    load::close,
    measure::Latencies,
    process,
    report::Report,
};

/// Connects devices again and again.
///
/// # Errors
///
/// The server refused, or is not there.
pub(crate) async fn run(args: &args::SignIn) -> anyhow::Result<Report> {
    let mut crowd = Crowd::load(&args.server, "sign-in", Users::OneDeviceEach)?;
    let dialer = if args.resume {
        Dialer::resuming(&args.server)?
    } else {
        Dialer::new(&args.server)?
    };
    let connected = crowd.connect(&dialer, args.connections).await?;
    let devices = close(connected).await;

    let latencies = Arc::new(Latencies::new()?);
    let count = Arc::new(AtomicU64::new(0));
    let cpu = || process::both_cpu_micros(&args.server);
    let cpu_before = cpu()?;
    let started = Instant::now();
    let end = started + Duration::from_secs(args.seconds);
    let mut tasks = JoinSet::new();
    for mut device in devices {
        let (dialer, latencies, count) = (dialer.clone(), latencies.clone(), count.clone());
        tasks.spawn(async move {
            let mut taken = Vec::new();
            while Instant::now() < end {
                let began = clock::nanos();
                let connection = Connection::hello(&dialer, &mut device).await?;
                taken.push(clock::nanos().saturating_sub(began));
                latencies.record(&mut taken);
                count.fetch_add(1, Ordering::Relaxed);
                connection.close().await;
            }
            anyhow::Ok(device)
        });
    }
    let mut kept = Vec::new();
    while let Some(device) = tasks.join_next().await {
        kept.push(device??);
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = cpu()?;
    crowd.keep(kept)?;

    let count = count.load(Ordering::Relaxed);
    let tls = if args.resume { "resumed" } else { "full" };
    let title = format!("{} devices, {tls} TLS handshakes", args.connections);
    let mut report = Report::new("sign_in", title);
    report.setting("connections", args.connections);
    report.setting("resume", args.resume);
    report.setting("seconds", seconds);
    report.number("signed in", "per_second", count as f64 / seconds, "/s");
    report.percentiles("connect to caught up", "caught_up_ms", latencies.summary());
    let each = |now: Option<u64>, then: Option<u64>| {
        now.zip(then)
            .map(|(now, then)| (now - then) as f64 / count.max(1) as f64)
    };
    let (server, database) = (each(cpu.0, cpu_before.0), each(cpu.1, cpu_before.1));
    report.maybe("server's CPU", "server_cpu_us", server, "µs each");
    report.maybe("database's CPU", "database_cpu_us", database, "µs each");
    Ok(report)
}
