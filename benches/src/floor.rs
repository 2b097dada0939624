//! What this machine can do without Magpie: figures mean little without the
//! floor they stand on, measured in the same run.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rusqlite::params;

use crate::{args, clock, measure::Latencies, report::Report};

mod echo;
mod postgres;

/// Writes that are timed one by one.
const SYNCS: u32 = 500;
/// Rows of a large commit.
const BATCH: u32 = 500;

/// Measures TLS, the disk, and SQLite or PostgreSQL, one after the other.
///
/// # Errors
///
/// The directory is not writable, or the database does not do it.
pub(crate) async fn run(args: &args::Floor) -> anyhow::Result<Report> {
    let mut report = Report::new("floor", "floors of this machine".to_owned());
    let time = Duration::from_secs(args.seconds);
    for (in_flight, field) in [(1, "echo_1_per_second"), (16, "echo_16_per_second")] {
        let rate = echo::run(args.connections, in_flight, time).await?;
        let label = format!(
            "TLS echo, {} connections, {in_flight} in flight",
            args.connections
        );
        report.number(&label, field, rate, "/s");
    }
    let dir = tempfile::tempdir_in(&args.dir)
        .with_context(|| format!("{} is not writable", args.dir.display()))?;
    let Some(url) = &args.database_url else {
        // A thread of its own: this blocks.
        let embedded = move || {
            disk(dir.path(), &mut report)?;
            sqlite(dir.path(), time, &mut report)?;
            Ok(report)
        };
        return tokio::task::spawn_blocking(embedded).await?;
    };
    disk(dir.path(), &mut report)?;
    postgres::run(args, url, &mut report).await?;
    Ok(report)
}

fn disk(dir: &Path, report: &mut Report) -> anyhow::Result<()> {
    let syncs = Latencies::new()?;
    let mut file = File::create(dir.join("sync"))?;
    let block = [0x5a; 4_096];
    file.write_all(&block)?;
    file.sync_all()?;
    for _ in 0..SYNCS {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&block)?;
        let began = clock::nanos();
        file.sync_data()?;
        syncs.record(&mut vec![clock::nanos() - began]);
    }
    report.percentiles("fdatasync of 4 KiB", "fdatasync_ms", syncs.summary());
    Ok(())
}

fn sqlite(dir: &Path, time: Duration, report: &mut Report) -> anyhow::Result<()> {
    for (rows, label, field) in [
        (1, "SQLite commits of 1 row", "sqlite_1"),
        (BATCH, "SQLite commits of 500 rows", "sqlite_500"),
    ] {
        let commits = Latencies::new()?;
        let rate = commit(&dir.join(field), rows, time, &commits)?;
        report.number(label, &format!("{field}_rows_per_second"), rate, "rows/s");
        let field = format!("{field}_commit_ms");
        report.percentiles("  a commit", &field, commits.summary());
    }
    Ok(())
}

/// Rows of a message's size, committed with full durability.
fn commit(path: &Path, rows: u32, time: Duration, latencies: &Latencies) -> anyhow::Result<f64> {
    let mut database = rusqlite::Connection::open(path)?;
    database.pragma_update(None, "journal_mode", "wal")?;
    database.pragma_update(None, "synchronous", "full")?;
    database.execute_batch(
        "CREATE TABLE event (
             position INTEGER PRIMARY KEY, conversation BLOB, seq INTEGER,
             sender BLOB, message BLOB, text TEXT);
         CREATE UNIQUE INDEX event_message ON event (sender, message);",
    )?;
    let text = "x".repeat(100);
    let (sender, started) = ([7_u8; 16], Instant::now());
    let mut count: u32 = 0;
    while started.elapsed() < time {
        let began = clock::nanos();
        let transaction = database.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO event (conversation, seq, sender, message, text)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for _ in 0..rows {
                count += 1;
                let message = uuid::Uuid::now_v7();
                insert.execute(params![sender, count, sender, message.as_bytes(), text])?;
            }
        }
        transaction.commit()?;
        latencies.record(&mut vec![clock::nanos() - began]);
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

/// What the echo's tasks share.
#[derive(Clone, Default)]
struct Run {
    ended: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
}

impl Run {
    fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
