//! One running server: its parts, wired; its start and its end.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use metrics_exporter_prometheus::PrometheusHandle;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{self, Errands},
    clock::{Blocking, Clock, within},
    config::{Apps, Limits, MediaPlace},
    connection::Parts,
    delivery::{CursorKey, Feed, Keeper},
    dispatch::{Dispatch, outcome_reply},
    handler::{Accounts, Hellos, Pushes, Reports, SignInError},
    hub::{Ending, Hub},
    limits::{Limiter, TooFewFiles},
    listener,
    log::{Broadcasts, Chronicle, Committer, Departures, HighWater, Marks, Router},
    media::{self, Media, UnusablePlace},
    push::{Deadlines, Duty, Fcm, Pace, Parts as DutyParts},
    random::Random,
    shutdown::Shutdown,
    store::{LogState, SharedStore, StoreError},
    tls::Tls,
    tokens::Tokens,
};

/// Connections that the kernel holds until they are accepted: all clients of a
/// server that restarted come within seconds, and one that finds no room is heard
/// again only after a second or more. The kernel may lower it (`somaxconn`).
const BACKLOG: u32 = 4_096;

/// How long what is queued may take to commit once nobody is connected any more.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {reason}; is another server running?")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The password of nobody could not be hashed.
    #[error(transparent)]
    Accounts(#[from] SignInError),
    /// Photos and files cannot be kept where they are to be.
    #[error(transparent)]
    Media(#[from] UnusablePlace),
    /// The settings do not fit the process.
    #[error(transparent)]
    Limits(#[from] TooFewFiles),
}

/// What a server runs on.
pub struct Ground {
    /// The log.
    pub store: SharedStore,
    /// The certificate.
    pub tls: Tls,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// Where blocking work runs.
    pub blocking: Blocking,
    /// How sleeping devices are woken, if they are.
    pub push: Option<Push>,
    /// Where it is written down how far the log has come, if anywhere.
    pub data_dir: Option<PathBuf>,
    /// Where photos and files are kept, if they are, and where clients find them if not
    /// here.
    pub media: Option<(MediaPlace, Option<String>)>,
    /// How much of everything there may be.
    pub limits: Limits,
}

/// How sleeping devices are woken.
pub struct Push {
    /// Sends.
    pub fcm: Fcm,
    /// Pushes a second.
    pub rate_max: u32,
    /// How long devices have to confirm.
    pub deadlines: Deadlines,
    /// Apps whose pushes say what was said.
    pub previews: Apps,
}

/// A running server.
pub struct Node {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators look.
    pub admin: Option<SocketAddr>,
    /// How many connections may be open.
    pub connections_max: usize,
    certificate: Arc<ArcSwap<ServerConfig>>,
    drain_timeout: Duration,
    hub: Arc<Hub>,
    shutdown: Shutdown,
    accepting: JoinHandle<()>,
    connections: TaskTracker,
    tasks: TaskTracker,
}

/// Binds an address.
///
/// # Errors
///
/// [`StartError::Listen`].
pub fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error: std::io::Error| StartError::Listen {
        address,
        reason: error.to_string(),
    })
}

/// Takes over a socket that listens already.
///
/// # Errors
///
/// [`StartError::Listen`].
pub fn adopt(socket: std::net::TcpListener) -> Result<TcpListener, StartError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let address = socket.local_addr().unwrap_or(unknown);
    TcpListener::from_std(socket).map_err(|error| StartError::Listen {
        address,
        reason: error.to_string(),
    })
}

impl Node {
    /// Starts a server on a bound listener.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn start(
        mut ground: Ground,
        listener: TcpListener,
        admin: Option<(TcpListener, PrometheusHandle)>,
    ) -> Result<Self, StartError> {
        let local = |error: std::io::Error| StoreError::Unavailable {
            reason: error.to_string(),
        };
        let listen = listener.local_addr().map_err(local)?;
        let admin_address = admin
            .as_ref()
            .map(|(admin, _)| admin.local_addr())
            .transpose()
            .map_err(local)?;
        let parts = wire(&ground).await?;
        let hub = Arc::clone(&parts.dispatch.hub);
        let feed = Arc::clone(&parts.hellos.feed);
        let connections_max = parts.dispatch.limiter.door.connections_max();
        metrics::gauge!(crate::metrics::CONNECTIONS_MAX).set(connections_max as f64);

        let shutdown = Shutdown::default();
        let (connections, tasks) = (TaskTracker::new(), TaskTracker::new());
        let (drain, stop) = (shutdown.drain.clone(), shutdown.stop.clone());
        let broadcasts = start_upkeep(&ground, &parts, &tasks, &stop);
        if let Some(push) = ground.push.take() {
            tasks.spawn(duty(&ground, push, &feed).run(stop.clone()));
        }
        if let Some(dir) = &ground.data_dir {
            let file = HighWater::new(dir, &ground.store.cursor_key().await?);
            let (feed, blocking, stop) = (Arc::clone(&feed), ground.blocking, stop.clone());
            tasks.spawn(async move {
                file.keep(&feed.router, &feed.chronicle, blocking, stop)
                    .await;
            });
        }
        if let Some(dir) = ground.data_dir.clone() {
            let (errands, stop) = (errands(&ground, &parts, broadcasts), stop.clone());
            tasks.spawn(async move { admin::serve_socket(&dir, errands, stop).await });
        }
        if let Some(media) = parts.dispatch.media.clone() {
            tasks.spawn(media.keep(stop.clone()));
        }
        if let Some((admin, metrics)) = admin {
            tasks.spawn(admin::serve(
                admin,
                metrics,
                ground.store,
                Arc::clone(&feed.chronicle),
                Arc::clone(&hub),
                drain.clone(),
                stop,
            ));
        }
        let certificate = Arc::new(ArcSwap::new(ground.tls.config));
        let tracker = connections.clone();
        let accepting = tasks.spawn(listener::accept(
            listener,
            Arc::clone(&certificate),
            Arc::new(parts),
            tracker,
            drain,
        ));
        Ok(Self {
            listen,
            admin: admin_address,
            connections_max,
            certificate,
            drain_timeout: ground.limits.drain_timeout,
            hub,
            shutdown,
            accepting,
            connections,
            tasks,
        })
    }

    /// Serves new connections with another certificate; those that are there stay.
    pub fn replace_certificate(&self, tls: Tls) {
        self.certificate.store(tls.config);
    }

    /// Ends the server: accepts nobody, answers what was asked, says goodbye,
    /// commits what is queued. Takes at most `drain_timeout` and 2 s.
    pub async fn drain(self) {
        self.shutdown.drain.cancel();
        tracing::info!(devices = self.hub.connected(), "draining");
        // Who is told goodbye may come back at once: not to this server.
        if self.accepting.await.is_err() {
            tracing::error!("the task that accepts connections has failed");
        }
        self.hub.end_all(Ending::Draining);
        self.connections.close();
        if within(self.drain_timeout, self.connections.wait())
            .await
            .is_none()
        {
            tracing::warn!(
                devices = self.hub.connected(),
                "clients did not close in time"
            );
            // What they still ask for is not done any more.
            self.hub.end_all(Ending::Unavailable);
        }
        self.shutdown.stop.cancel();
        self.tasks.close();
        if within(STOP_TIMEOUT, self.tasks.wait()).await.is_none() {
            // Nobody was told that it is committed.
            tracing::warn!("not everything that was queued was committed in time");
        }
        tracing::info!("drained");
    }
}

/// Tells the store how far this node knows its log to have come.
fn remember_high_water(ground: &Ground, cursor_key: &[u8; 32]) {
    let Some(dir) = &ground.data_dir else { return };
    match HighWater::new(dir, cursor_key).read() {
        Ok(Some((epoch, reached))) => ground.store.has_been(epoch, &reached),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "the high-water file cannot be read"),
    }
}

/// Builds what does the errands of operators.
fn errands(ground: &Ground, parts: &Parts, broadcasts: Arc<Broadcasts>) -> Errands {
    Errands {
        store: Arc::clone(&ground.store),
        accounts: Arc::clone(&parts.accounts),
        broadcasts,
        hub: Arc::clone(&parts.dispatch.hub),
        clock: ground.clock,
    }
}

/// Starts what goes on behind all connections.
fn start_upkeep(
    ground: &Ground,
    parts: &Parts,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Arc<Broadcasts> {
    let feed = &parts.hellos.feed;
    let (router, tail_stop) = (Arc::clone(&feed.router), stop.clone());
    tasks.spawn(async move { router.tail(tail_stop).await });
    tasks.spawn(Arc::clone(&feed.router).fan_out(stop.clone()));
    tasks.spawn(feed.router.acquaintances().run(stop.clone()));
    tasks.spawn(feed.router.presences().run(stop.clone()));
    tasks.spawn(Arc::clone(&parts.dispatch.committer).run(stop.clone()));
    tasks.spawn(Arc::clone(&parts.dispatch.marks).run(stop.clone()));
    let (store, router) = (Arc::clone(&ground.store), Arc::clone(&feed.router));
    let (clock, random) = (ground.clock, ground.random.clone());
    let departures = Departures::new(
        Arc::clone(&store),
        Arc::clone(&router),
        clock,
        random.clone(),
    );
    tasks.spawn(departures.run(stop.clone()));
    let broadcasts = Arc::new(Broadcasts::new(store, router, clock, random));
    tasks.spawn(Arc::clone(&broadcasts).run(stop.clone()));
    let (keeper, keeper_stop) = (Arc::clone(&feed.keeper), stop.clone());
    tasks.spawn(async move { keeper.run(keeper_stop).await });
    broadcasts
}

/// Builds what wakes devices.
fn duty(ground: &Ground, push: Push, feed: &Feed) -> Arc<Duty> {
    let (clock, random) = (ground.clock, ground.random.clone());
    Arc::new(Duty::new(DutyParts {
        store: Arc::clone(&ground.store),
        fcm: push.fcm,
        pace: Pace::new(push.rate_max, clock, random.clone()),
        deadlines: push.deadlines,
        previews: push.previews,
        answers: feed.keeper.answers(),
        clock,
        random,
        news: feed.router.news(),
    }))
}

/// Builds what all deliveries share, on a log that did not go back.
async fn feed(ground: &Ground, hub: &Arc<Hub>, tokens: &Arc<Tokens>) -> Result<Feed, StoreError> {
    let Ground { store, clock, .. } = ground;
    let cursor_key = store.cursor_key().await?;
    remember_high_water(ground, &cursor_key);
    let LogState { history, heads } = store.state().await?;
    store.serves(history.epoch);
    store.bound_groups(ground.limits.group_members_max);
    store.begin_node(clock.wall_ms()).await?;
    let chronicle = Arc::new(Chronicle::new(Arc::clone(hub), history));
    let router = Arc::new(Router::new(
        Arc::clone(store),
        Arc::clone(hub),
        Arc::clone(tokens),
        Arc::clone(&chronicle),
        *clock,
        &heads,
    ));
    Ok(Feed {
        store: Arc::clone(store),
        keeper: Arc::new(Keeper::new(Arc::clone(store), Arc::clone(&router), *clock)),
        router,
        key: CursorKey::new(&cursor_key),
        chronicle,
        reads: Arc::new(Semaphore::new(ground.limits.reads_max as usize)),
    })
}

/// Builds what keeps photos and files, if they are kept.
async fn media(
    ground: &Ground,
    tokens: &Arc<Tokens>,
    limiter: &Arc<Limiter>,
) -> Result<Option<Arc<Media>>, StartError> {
    let Some((place, url)) = &ground.media else {
        return Ok(None);
    };
    let parts = media::Parts {
        store: Arc::clone(&ground.store),
        secret: ground.store.cursor_key().await?,
        url: url.clone(),
        tokens: Arc::clone(tokens),
        limiter: Arc::clone(limiter),
        clock: ground.clock,
        random: ground.random.clone(),
    };
    Ok(Some(Arc::new(Media::open(place, parts).await?)))
}

/// Builds what connections share.
async fn wire(ground: &Ground) -> Result<Parts, StartError> {
    let Ground {
        store,
        clock,
        random,
        blocking,
        ..
    } = ground;
    let limiter = Arc::new(Limiter::new(ground.limits.clone())?);
    let (hub, tokens) = (
        Arc::new(Hub::new(&ground.limits)),
        Arc::new(Tokens::default()),
    );
    let feed = feed(ground, &hub, &tokens).await?;
    let committer = Committer::new(
        Arc::clone(store),
        Arc::clone(&feed.router),
        Arc::clone(&feed.chronicle),
        *clock,
        outcome_reply,
    );
    let pushes = Pushes {
        store: Arc::clone(store),
        hub: Arc::clone(&hub),
        keeper: Arc::clone(&feed.keeper),
        clock: *clock,
    };
    let accounts = Arc::new(Accounts::new(
        Arc::clone(store),
        Arc::clone(&tokens),
        random.clone(),
        *clock,
        *blocking,
        Arc::clone(&limiter),
    )?);
    let dispatch = Dispatch {
        store: Arc::clone(store),
        committer: Arc::new(committer),
        marks: Arc::new(Marks::new(Arc::clone(store), Arc::clone(&feed.router))),
        presences: feed.router.presences(),
        tokens: Arc::clone(&tokens),
        hub: Arc::clone(&hub),
        reads: Arc::clone(&feed.reads),
        pushes,
        accounts: Arc::clone(&accounts),
        media: media(ground, &tokens, &limiter).await?,
        reports: Reports {
            store: Arc::clone(store),
            clock: *clock,
        },
        random: random.clone(),
        limiter: Arc::clone(&limiter),
        clock: *clock,
    };
    let hellos = Hellos {
        feed: Arc::new(feed),
        hub,
        tokens,
        clock: *clock,
        limiter,
    };
    Ok(Parts {
        dispatch: Arc::new(dispatch),
        accounts,
        hellos,
        clock: *clock,
        random: random.clone(),
    })
}
