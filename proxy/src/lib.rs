//! A TCP proxy that breaks connections, for tests on real processes.
//!
//! It listens on a port of its own on the loopback, forwards to a target, and
//! does to the bytes between what networks do: it cuts in mid-frame, stalls,
//! delays, swallows one direction while the socket looks alive (half-open), and
//! refuses. It knows nothing of TLS or frames: a cut after a random number of
//! bytes lands anywhere.
//!
//! Randomness comes from a seed, which the test prints when it fails. The same
//! seed gives the same choices; when they strike still depends on the machine.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

mod forward;
mod random;

use self::forward::Forward;
pub use self::random::Random;

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    /// They arrive, this much later.
    Passing { delay: Duration },
    /// So many arrive in a second.
    Paced { bytes_per_second: u64 },
    /// They wait; nothing more is read, so the sender's buffers fill.
    Stalled,
    /// They are read and thrown away; the socket stays open.
    Swallowed,
}

/// What is done to connections. Copied to each of them when it changes.
#[derive(Clone, Debug)]
struct Weather {
    /// Of new connections.
    target: SocketAddr,
    up: Flow,
    down: Flow,
    /// Connections accepted before this number are swallowed for good, both
    /// ways: half-open. Later ones work.
    half_open_before: u64,
    /// Connections accepted before this number are cut.
    cut_before: u64,
    refuses: bool,
    /// New connections are cut after a number of bytes from this range.
    cut_after: Option<(u64, u64)>,
}

/// What the proxy has seen and done so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Connections forwarded to the target.
    pub accepted: u64,
    /// Connections closed at once, by order or because the target was down.
    pub refused: u64,
    /// Connections cut by order or after their number of bytes.
    pub cut: u64,
    /// Bytes that arrived, both directions together.
    pub forwarded: u64,
    /// Bytes thrown away.
    pub swallowed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
    forwarded: AtomicU64,
    swallowed: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// A running proxy. It ends, with all its connections, when it is dropped.
///
/// Needs a tokio runtime; its methods may be called from any thread.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    counters: Arc<Counters>,
    /// The number of the next connection.
    upcoming: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy to `target` on a free port of the loopback.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let passing = Flow::Passing {
            delay: Duration::ZERO,
        };
        let (weather, watched) = watch::channel(Weather {
            target,
            up: passing,
            down: passing,
            half_open_before: 0,
            cut_before: 0,
            refuses: false,
            cut_after: None,
        });
        let counters = Arc::new(Counters::default());
        let upcoming = Arc::new(AtomicU64::new(0));
        let entrance = Entrance {
            weather: watched,
            counters: counters.clone(),
            upcoming: upcoming.clone(),
            random: Mutex::new(Random::new(seed)),
        };
        Ok(Self {
            address,
            weather,
            counters,
            upcoming,
            accepting: tokio::spawn(entrance.accept(listener)),
        })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            accepted: read(&self.counters.accepted),
            refused: read(&self.counters.refused),
            cut: read(&self.counters.cut),
            forwarded: read(&self.counters.forwarded),
            swallowed: read(&self.counters.swallowed),
        }
    }

    /// Cuts every connection now, with a reset; new ones work.
    pub fn cut_all(&self) {
        let before = self.upcoming.load(Ordering::SeqCst);
        self.weather.send_modify(|it| it.cut_before = before);
    }

    /// Cuts each new connection after a random number of bytes, counted over
    /// both directions, from this range; in the middle of whatever that is.
    pub fn cut_each_after(&self, bytes: RangeInclusive<u64>) {
        let range = (*bytes.start(), *bytes.end());
        self.weather.send_modify(|it| it.cut_after = Some(range));
    }

    /// New connections live as long as their ends want.
    pub fn cut_none(&self) {
        self.weather.send_modify(|it| it.cut_after = None);
    }

    /// Makes every connection half-open: both directions are swallowed, the
    /// sockets stay open, no end is told. New connections work.
    pub fn half_open_all(&self) {
        let before = self.upcoming.load(Ordering::SeqCst);
        self.weather.send_modify(|it| it.half_open_before = before);
    }

    /// Stops forwarding one direction until [`Self::pass`]; nothing is lost.
    pub fn stall(&self, direction: Direction) {
        self.set(direction, Flow::Stalled);
    }

    /// Throws away one direction's bytes until [`Self::pass`]. What a TLS
    /// connection lost it cannot go on without: cut such connections then.
    pub fn swallow(&self, direction: Direction) {
        self.set(direction, Flow::Swallowed);
    }

    /// Forwards one direction `delay` later than it came.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.set(direction, Flow::Passing { delay });
    }

    /// Forwards one direction no faster than so.
    pub fn pace(&self, direction: Direction, bytes_per_second: u64) {
        self.set(direction, Flow::Paced { bytes_per_second });
    }

    /// Forwards both directions at once, and takes new connections.
    pub fn pass(&self) {
        let passing = Flow::Passing {
            delay: Duration::ZERO,
        };
        self.weather.send_modify(|it| {
            (it.up, it.down) = (passing, passing);
            it.refuses = false;
        });
    }

    /// Closes new connections at once until [`Self::pass`].
    pub fn refuse(&self) {
        self.weather.send_modify(|it| it.refuses = true);
    }

    /// Cuts every connection, and forwards new ones to another target.
    pub fn redirect(&self, target: SocketAddr) {
        self.weather.send_modify(|it| it.target = target);
        self.cut_all();
    }

    fn set(&self, direction: Direction, flow: Flow) {
        self.weather.send_modify(|it| match direction {
            Direction::Up => it.up = flow,
            Direction::Down => it.down = flow,
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Where connections come in.
struct Entrance {
    weather: watch::Receiver<Weather>,
    counters: Arc<Counters>,
    upcoming: Arc<AtomicU64>,
    random: Mutex<Random>,
}

impl Entrance {
    async fn accept(self, listener: TcpListener) {
        // Connections end with the proxy: the set aborts them when it drops.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let Ok((client, _)) = listener.accept().await else {
                // Out of descriptors for a moment, perhaps.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            while connections.try_join_next().is_some() {}
            let number = self.upcoming.fetch_add(1, Ordering::SeqCst);
            let (refuses, cut_after, target) = {
                let weather = self.weather.borrow();
                (weather.refuses, weather.cut_after, weather.target)
            };
            if refuses {
                Counters::add(&self.counters.refused, 1);
                continue;
            }
            let bytes_left = cut_after.map(|(least, most)| {
                let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
                random.between(least, most)
            });
            let counters = self.counters.clone();
            let weather = self.weather.clone();
            connections.spawn(async move {
                let Ok(server) = TcpStream::connect(target).await else {
                    Counters::add(&counters.refused, 1);
                    return;
                };
                Counters::add(&counters.accepted, 1);
                let forward = Forward {
                    number,
                    bytes_left,
                    weather,
                    counters,
                };
                forward.run(client, server).await;
            });
        }
    }
}

#[cfg(test)]
mod tests;
