//! A proxy before `PostgreSQL` that knows its messages, and cuts a connection
//! exactly between a `COMMIT` and its answer.
//!
//! It understands the frontend/backend protocol, version 3, as far as that takes:
//! where a message begins and ends, a simple query and a command's completion.
//! Connections must come without TLS (`sslmode=disable`).

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// As a client sends it.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// As the database answers it.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

/// What becomes of a commit whose answer the client never sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// The database has committed; both sides are cut before the answer passes.
    Committed,
    /// It never hears of the commit and undoes everything; both sides are cut.
    Undone,
    /// The client is cut. The database is not, and hears of the commit so much
    /// later, unless the client has ended the orphan by then.
    Late(Duration),
}

/// A running proxy. It ends, with all its connections, when it is dropped.
///
/// Needs a tokio runtime; its methods may be called from any thread.
#[derive(Debug)]
pub struct CommitProxy {
    address: SocketAddr,
    orders: Arc<Orders>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Orders {
    target: SocketAddr,
    /// What a query says, and what is sent in its place; of the same length.
    rewrite: Option<(&'static str, &'static str)>,
    /// For the next commit.
    next: Mutex<Option<Fate>>,
    struck: AtomicU64,
    rewritten: AtomicU64,
}

impl CommitProxy {
    /// Starts a proxy to `target` on a free port of the loopback.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        Self::rewriting(target, None).await
    }

    /// Starts a proxy that also puts one text in the place of another, of the
    /// same length, in every simple query.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn rewriting(
        target: SocketAddr,
        rewrite: Option<(&'static str, &'static str)>,
    ) -> io::Result<Self> {
        debug_assert!(rewrite.is_none_or(|(from, to)| from.len() == to.len()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let orders = Arc::new(Orders {
            target,
            rewrite,
            next: Mutex::default(),
            struck: AtomicU64::default(),
            rewritten: AtomicU64::default(),
        });
        Ok(Self {
            address,
            accepting: tokio::spawn(accept(listener, orders.clone())),
            orders,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Decides the fate of the next commit.
    pub fn strike(&self, fate: Fate) {
        let mut next = self.orders.next();
        *next = Some(fate);
    }

    /// How many commits have met their fate.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.orders.struck.load(Ordering::SeqCst)
    }

    /// How many queries were rewritten.
    #[must_use]
    pub fn rewritten(&self) -> u64 {
        self.orders.rewritten.load(Ordering::SeqCst)
    }
}

impl Drop for CommitProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Orders {
    fn next(&self) -> std::sync::MutexGuard<'_, Option<Fate>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_struck(&self) {
        self.struck.fetch_add(1, Ordering::SeqCst);
    }

    fn rewrite(&self, message: &mut [u8]) {
        let Some((from, to)) = self.rewrite.filter(|_| message.first() == Some(&b'Q')) else {
            return;
        };
        let mut windows = message.windows(from.len());
        let found = windows.position(|it| it == from.as_bytes());
        let place = found.and_then(|at| message.get_mut(at..at + from.len()));
        if let Some(place) = place {
            place.copy_from_slice(to.as_bytes());
            self.rewritten.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn accept(listener: TcpListener, orders: Arc<Orders>) {
    // Connections end with the proxy: the set aborts them when it drops.
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors for a moment, perhaps.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let orders = orders.clone();
        connections.spawn(async move {
            // How it ended is told to both sides by the end of their sockets.
            drop(forward(client, &orders).await);
        });
    }
}

async fn forward(client: TcpStream, orders: &Orders) -> io::Result<()> {
    let server = TcpStream::connect(orders.target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let fate = Mutex::new(None);
    let mut up = Up {
        from: BufReader::new(client_read),
        to: server_write,
        orders,
        fate: &fate,
    };
    tokio::select! {
        biased;
        ended = up.run() => ended?,
        ended = down(BufReader::new(server_read), client_write, &fate) => {
            return ended.inspect(|()| orders.has_struck());
        }
    }
    // Both are dropped now but the way to the database.
    let Up { from, mut to, .. } = up;
    drop(from);
    orders.has_struck();
    let fate = *fate.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Fate::Late(delay)) = fate {
        sleep(delay).await;
        to.write_all(COMMIT).await?;
    }
    Ok(())
}

/// From the client to the database.
struct Up<'a> {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    orders: &'a Orders,
    /// Of this connection's last commit.
    fate: &'a Mutex<Option<Fate>>,
}

impl Up<'_> {
    /// Ends well at a commit that is not to pass.
    async fn run(&mut self) -> io::Result<()> {
        // The first message has no kind.
        let mut message = read_message(&mut self.from, 0).await?;
        loop {
            self.orders.rewrite(&mut message);
            if message == COMMIT {
                let fate = self.orders.next().take();
                *self.fate.lock().unwrap_or_else(PoisonError::into_inner) = fate;
                match fate {
                    Some(Fate::Undone | Fate::Late(_)) => return Ok(()),
                    Some(Fate::Committed) | None => {}
                }
            }
            self.to.write_all(&message).await?;
            message = read_message(&mut self.from, 1).await?;
        }
    }
}

/// From the database to the client. Ends well at an answer that is not to pass.
async fn down(
    mut from: BufReader<OwnedReadHalf>,
    mut to: OwnedWriteHalf,
    fate: &Mutex<Option<Fate>>,
) -> io::Result<()> {
    loop {
        let message = read_message(&mut from, 1).await?;
        if message == COMMITTED
            && *fate.lock().unwrap_or_else(PoisonError::into_inner) == Some(Fate::Committed)
        {
            return Ok(());
        }
        to.write_all(&message).await?;
    }
}

/// One message: its kind, if it has one, its length, which counts itself, and
/// the rest.
async fn read_message(from: &mut (impl AsyncRead + Unpin), kind: usize) -> io::Result<Vec<u8>> {
    let mut message = vec![0; kind + 4];
    from.read_exact(&mut message).await?;
    let length = message
        .iter()
        .skip(kind)
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    message.resize(kind + length.max(4), 0);
    from.read_exact(message.get_mut(kind + 4..).unwrap_or_default())
        .await?;
    Ok(message)
}

#[cfg(test)]
mod tests;
