//! One forwarded connection.

use std::{
    collections::VecDeque,
    future::pending,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Counters, Direction, Flow, Weather};

/// Bytes moved at a time: small, so that a cut seldom falls on a frame's end.
const PIECE_SIZE: usize = 4 * 1024;

/// Bytes that were forwarded and are not received yet, in one direction: they are lost with a
/// cut, and a reader that the machine holds up must not make that more than a network does.
/// Linux doubles it (socket(7)).
const ON_WIRE_MAX: usize = 32 * 1024;

/// Pieces that may be on their way in one direction while it is delayed.
/// Beyond it nothing more is read.
const PIECES_MAX: usize = 256;

pub(super) struct Forward {
    /// Connections are numbered as they come.
    pub(super) number: u64,
    /// The connection is cut after so many bytes.
    pub(super) bytes_left: Option<u64>,
    pub(super) weather: watch::Receiver<Weather>,
    pub(super) counters: Arc<Counters>,
}

impl Forward {
    /// Forwards until both ends have closed, or until the connection is cut.
    pub(super) async fn run(self, client: TcpStream, server: TcpStream) {
        // Small frames leave at once, as without a proxy. An error here only
        // makes it slower.
        drop(client.set_nodelay(true));
        drop(server.set_nodelay(true));
        for end in [&client, &server] {
            drop(socket2::SockRef::from(end).set_send_buffer_size(ON_WIRE_MAX));
        }
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        let left = Arc::new(AtomicU64::new(self.bytes_left.unwrap_or(u64::MAX)));
        let pipe = |direction, from, to| Pipe {
            number: self.number,
            direction,
            left: left.clone(),
            weather: self.weather.clone(),
            counters: self.counters.clone(),
            from,
            to,
            on_way: VecDeque::new(),
            paced_until: Instant::now(),
            ended: false,
        };
        let mut up = pipe(Direction::Up, client_read, server_write);
        let mut down = pipe(Direction::Down, server_read, client_write);
        let ended = tokio::select! {
            biased;
            () = cut(self.number, self.weather.clone()) => Err(Ended::Cut),
            ended = async { tokio::try_join!(up.run(), down.run()) } => ended.map(|_| ()),
        };
        if matches!(ended, Err(Ended::Cut)) {
            Counters::add(&self.counters.cut, 1);
            // A reset and no orderly end, as when a route goes away.
            reset(&up.to);
            reset(&down.to);
        }
    }
}

/// Why a connection is not forwarded any more.
#[derive(Debug)]
enum Ended {
    /// By order.
    Cut,
    /// One of the ends is gone.
    Lost,
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

/// Makes the close of this socket a reset. If it cannot be, it is a close.
fn reset(half: &OwnedWriteHalf) {
    drop(half.as_ref().set_zero_linger());
}

/// Resolves when the connection with this number is to be cut.
async fn cut(number: u64, mut weather: watch::Receiver<Weather>) {
    if weather.wait_for(|it| number < it.cut_before).await.is_err() {
        // The proxy is gone, and this task with it.
        pending().await
    }
}

/// One direction of a connection.
struct Pipe {
    number: u64,
    direction: Direction,
    /// Bytes until the cut, of both directions.
    left: Arc<AtomicU64>,
    weather: watch::Receiver<Weather>,
    counters: Arc<Counters>,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    /// Read, and not due yet.
    on_way: VecDeque<(Instant, Vec<u8>)>,
    /// When the next piece is due, of those that are paced.
    paced_until: Instant,
    /// The sender has closed its side.
    ended: bool,
}

impl Pipe {
    async fn run(&mut self) -> Result<(), Ended> {
        let mut buffer = vec![0; PIECE_SIZE];
        while !self.ended || !self.on_way.is_empty() {
            let flow = self.flow();
            let reads = !self.ended && flow != Flow::Stalled && self.on_way.len() < PIECES_MAX;
            let due_at = match flow {
                Flow::Passing { .. } | Flow::Paced { .. } | Flow::Swallowed => {
                    self.on_way.front().map(|(at, _)| *at)
                }
                Flow::Stalled => None,
            };
            let due = async {
                match due_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.weather.changed() => changed.map_err(|_| Ended::Lost)?,
                () = due => self.write().await?,
                size = self.from.read(&mut buffer), if reads => {
                    let piece = buffer.get(..size?).unwrap_or_default();
                    self.take(piece, flow).await?;
                }
            }
        }
        self.to.shutdown().await?;
        Ok(())
    }

    /// What happens to this connection's bytes now.
    fn flow(&mut self) -> Flow {
        let weather = self.weather.borrow_and_update();
        if self.number < weather.half_open_before {
            return Flow::Swallowed;
        }
        match self.direction {
            Direction::Up => weather.up,
            Direction::Down => weather.down,
        }
    }

    async fn take(&mut self, piece: &[u8], flow: Flow) -> Result<(), Ended> {
        let size = piece.len() as u64;
        match flow {
            // Half-open: even the end is not told.
            Flow::Swallowed if piece.is_empty() => pending().await,
            Flow::Swallowed => Counters::add(&self.counters.swallowed, size),
            Flow::Stalled | Flow::Passing { .. } | Flow::Paced { .. } if piece.is_empty() => {
                self.ended = true;
            }
            Flow::Stalled => self.on_way.push_back((Instant::now(), piece.to_vec())),
            Flow::Passing {
                delay: Duration::ZERO,
            } if self.on_way.is_empty() => self.forward(piece).await?,
            Flow::Paced { bytes_per_second } => {
                let due_at = self.paced_until.max(Instant::now());
                let takes = Duration::from_secs(size).div_f64(bytes_per_second.max(1) as f64);
                self.paced_until = due_at + takes;
                self.on_way.push_back((due_at, piece.to_vec()));
            }
            Flow::Passing { delay } => {
                let due_at = Instant::now() + delay;
                self.on_way.push_back((due_at, piece.to_vec()));
            }
        }
        Ok(())
    }

    /// Lets the first piece that is due arrive.
    async fn write(&mut self) -> Result<(), Ended> {
        match self.on_way.pop_front() {
            Some((_, piece)) => self.forward(&piece).await,
            None => Ok(()),
        }
    }

    /// Writes what the cut leaves of `piece`.
    async fn forward(&mut self, piece: &[u8]) -> Result<(), Ended> {
        let size = piece.len() as u64;
        let left = self.left.load(Ordering::Relaxed);
        self.left
            .store(left.saturating_sub(size), Ordering::Relaxed);
        let arrives = usize::try_from(left.min(size)).unwrap_or(piece.len());
        self.to
            .write_all(piece.get(..arrives).unwrap_or_default())
            .await?;
        Counters::add(&self.counters.forwarded, arrives as u64);
        if size >= left {
            return Err(Ended::Cut);
        }
        Ok(())
    }
}
