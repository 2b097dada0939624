//! Photos that come in from many phones at once, while others talk: what it costs the
//! server's memory, and those who talk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use magpie_protocol::{
    session::Answer,
    wire::v1::{self, client_frame::Body},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_rustls::client::TlsStream;

use crate::{
    args,
    beside::{Beside, Measured},
    connection::Rejected,
    credentials::{Crowd, Users},
    dialer::Dialer,
    load::close,
    precedence::Background,
    process,
    report::Report,
};

/// Uploads of one device at a time: the server's default for
/// `media_uploads_per_device_max`.
const PER_DEVICE: usize = 4;

/// Bytes written at a time; each a moment of its own if the upload has a pace.
const PIECE: usize = 16 * 1024;

/// Of an answer without a body.
const HEAD_SIZE_MAX: usize = 16 * 1024;

/// From one look at the server's memory to the next.
const LOOK: Duration = Duration::from_millis(50);

/// What the uploads count together.
#[derive(Default)]
struct Counts {
    is_over: AtomicBool,
    whole: AtomicU64,
    bytes: AtomicU64,
}

/// Lets pairs talk alone, then beside the uploads, equally long.
///
/// # Errors
///
/// The server refused, is not there, or keeps no photos.
pub(crate) async fn run(args: &args::Uploads) -> anyhow::Result<Report> {
    magpie_server::limits::raise();
    let uploads = args.uploads as usize;
    let dialer = Dialer::new(&args.server)?;
    let mut crowd = Crowd::load(&args.server, "uploads", Users::OneDeviceEach)?;
    let mut connected = crowd.connect(&dialer, uploads.div_ceil(PER_DEVICE)).await?;
    let mut tokens = Vec::with_capacity(connected.len());
    for (device, connection) in &mut connected {
        let fetch = Body::FetchMediaToken(v1::FetchMediaToken {});
        tokens.push(token(connection.ask(fetch, device).await?)?);
    }
    crowd.keep(close(connected).await)?;

    let beside = Beside::begin(&args.server, (args.pairs, args.rate), &dialer).await?;
    let span = Duration::from_secs(args.seconds);
    sleep(span).await;
    let resident = || args.server.pid.map(process::resident_kib).transpose();
    let before = resident()?;
    beside.measured.is_busy.store(true, Ordering::Relaxed);
    let counts = Arc::new(Counts::default());
    let background = Background::begin()?;
    let mut tasks = JoinSet::new();
    for (index, token) in tokens.iter().cycle().take(uploads).enumerate() {
        let upload = Upload {
            dialer: dialer.http(),
            token: token.clone(),
            size: args.size as usize,
            pace: args.pace,
            // Not all at the same moment.
            first: Duration::from_millis(index as u64 * 1_000 / uploads as u64),
            counts: Arc::clone(&counts),
        };
        tasks.spawn_on(upload.run(), background.handle()?);
    }
    let began = Instant::now();
    let mut peak = before;
    while began.elapsed() < span {
        sleep(LOOK).await;
        peak = peak.max(resident()?);
    }
    counts.is_over.store(true, Ordering::Relaxed);
    let took = began.elapsed().as_secs_f64();
    let rate = counts.bytes.load(Ordering::Relaxed) as f64 / took / 1e6;
    beside.measured.is_busy.store(false, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let whole = counts.whole.load(Ordering::Relaxed);
    let measured = beside.end().await?;
    Ok(report(args, (before, peak), (whole, rate), &measured))
}

fn token(answer: Answer) -> anyhow::Result<v1::MediaToken> {
    if let Answer::Error(error) = answer {
        return Err(Rejected::from(error)).context("the server keeps no photos");
    }
    let Answer::MediaToken(token) = answer else {
        bail!("an answer to another request");
    };
    Ok(token)
}

fn report(
    args: &args::Uploads,
    (before, peak): (Option<u64>, Option<u64>),
    (whole, rate): (u64, f64),
    measured: &Measured,
) -> Report {
    let title = format!(
        "{} uploads at once of {} bytes for {} s",
        args.uploads, args.size, args.seconds
    );
    let mut report = Report::new("uploads", title);
    report.setting("uploads", args.uploads);
    report.setting("size", args.size);
    report.setting("pace", args.pace);
    report.setting("seconds", args.seconds);
    report.setting("pairs", args.pairs);
    report.setting("rate", args.rate);
    report.count("whole", "whole", whole);
    report.number("came in", "megabytes_per_second", rate, "MB/s");
    let mib = |kib: u64| kib as f64 / 1_024.0;
    report.maybe(
        "memory before",
        "resident_before_mib",
        before.map(mib),
        "MiB",
    );
    report.maybe("memory at most", "resident_mib", peak.map(mib), "MiB");
    let (idle, meanwhile) = (measured.idle.summary(), measured.meanwhile.summary());
    report.percentiles("others, idle", "idle_ms", idle);
    report.percentiles("others, meanwhile", "meanwhile_ms", meanwhile);
    let ratio = meanwhile.p99 / idle.p99.max(0.001);
    report.number("… to idle, p99", "meanwhile_ratio", ratio, "x");
    report
}

/// One phone's upload, and the next one when it is whole.
struct Upload {
    dialer: Dialer,
    token: v1::MediaToken,
    size: usize,
    pace: u32,
    first: Duration,
    counts: Arc<Counts>,
}

impl Upload {
    async fn run(self) -> anyhow::Result<()> {
        sleep(self.first).await;
        let mut http = Http(self.dialer.dial().await?);
        // Bytes of a photo that is made smaller no further.
        let mut noise = 0x9e37_79b9_7f4a_7c15_u64 ^ self.first.as_nanos() as u64;
        let mut piece = vec![0; PIECE];
        while !self.counts.is_over.load(Ordering::Relaxed) {
            for byte in &mut piece {
                noise = noise.rotate_left(7).wrapping_mul(0x5851_f42d_4c95_7f2d) + 1;
                *byte = (noise >> 56) as u8;
            }
            self.upload(&mut http, &piece).await?;
        }
        Ok(())
    }

    async fn upload(&self, http: &mut Http, piece: &[u8]) -> anyhow::Result<()> {
        let place = http.create(&self.token, self.size).await?;
        let at = place.find("/media/").context("a Location elsewhere")?;
        let path = place.get(at..).unwrap_or_default();
        http.begin_patch(path, &self.token, self.size).await?;
        let began = Instant::now();
        let mut sent = 0;
        while sent < self.size {
            let size = PIECE.min(self.size - sent);
            let bytes = piece.get(..size).unwrap_or_default();
            http.0.write_all(bytes).await.context("an upload was cut")?;
            sent += size;
            self.counts.bytes.fetch_add(size as u64, Ordering::Relaxed);
            if self.counts.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            if self.pace > 0 {
                let due = Duration::from_secs_f64(sent as f64 / f64::from(self.pace));
                sleep_until(began + due).await;
            }
        }
        http.0.flush().await?;
        http.answer(204).await?;
        self.counts.whole.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A connection that speaks as much HTTP/1.1 as tus needs.
struct Http(TlsStream<TcpStream>);

impl Http {
    /// Begins an upload. Where it is.
    async fn create(&mut self, token: &v1::MediaToken, size: usize) -> anyhow::Result<String> {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n\
             Authorization: Bearer {}\r\nUpload-Length: {size}\r\nContent-Length: 0\r\n\r\n",
            token.uploads_url, token.token
        );
        self.0.write_all(head.as_bytes()).await?;
        self.0.flush().await?;
        let answer = self.answer(201).await?;
        let place = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location").then(|| value.trim())
        });
        Ok(place.context("an upload without a Location")?.to_owned())
    }

    /// Says that all of it follows.
    async fn begin_patch(
        &mut self,
        path: &str,
        token: &v1::MediaToken,
        size: usize,
    ) -> anyhow::Result<()> {
        let head = format!(
            "PATCH {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n\
             Authorization: Bearer {}\r\nUpload-Offset: 0\r\n\
             Content-Type: application/offset+octet-stream\r\nContent-Length: {size}\r\n\r\n",
            token.token
        );
        Ok(self.0.write_all(head.as_bytes()).await?)
    }

    /// The head of the answer, which has this status and no body.
    async fn answer(&mut self, status: u16) -> anyhow::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let is_open = self.0.read_buf(&mut head).await? > 0;
            if !is_open || head.len() > HEAD_SIZE_MAX {
                bail!("no answer to an upload");
            }
        }
        let head = String::from_utf8(head).context("an answer that is no text")?;
        let first = head.lines().next().unwrap_or_default();
        if first.split(' ').nth(1) != Some(&status.to_string()) {
            bail!("an upload was answered {first:?}");
        }
        Ok(head)
    }
}
