//! One running server: its parts, wired; its start and its end.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::task::TaskTracker;

use crate::{
    admin,
    clock::{Blocking, Clock, within},
    connection::Parts,
    delivery::{CursorKey, Feed, Keeper},
    dispatch::{Dispatch, outcome_reply},
    handler::{Accounts, Hellos, Pushes, SignInError},
    hub::{Ending, Hub},
    listener,
    log::{Chronicle, Committer, HighWater, Marks, Router},
    push::{Deadlines, Duty, Fcm, Pace, Parts as DutyParts},
    random::Random,
    shutdown::Shutdown,
    store::{LogState, Positions, SharedStore, StoreError},
    tls::Tls,
    tokens::Tokens,
};

/// How many connections and requests read the store at once.
const READS_MAX: usize = 64;

/// How many passwords are hashed at once: each takes a core and 19 MiB.
const HASHING_MAX: usize = 2;

/// How long clients have to close after the goodbye.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

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
}

/// How sleeping devices are woken.
pub struct Push {
    /// Sends.
    pub fcm: Fcm,
    /// Pushes a second.
    pub rate_max: u32,
    /// How long devices have to confirm.
    pub deadlines: Deadlines,
}

/// A running server.
pub struct Node {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators look.
    pub admin: Option<SocketAddr>,
    hub: Arc<Hub>,
    shutdown: Shutdown,
    connections: TaskTracker,
    tasks: TaskTracker,
}

/// Binds an address.
///
/// # Errors
///
/// [`StartError::Listen`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen {
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
        ground: Ground,
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

        let shutdown = Shutdown::default();
        let (connections, tasks) = (TaskTracker::new(), TaskTracker::new());
        let (drain, stop) = (shutdown.drain.clone(), shutdown.stop.clone());
        let (router, tail_stop) = (Arc::clone(&feed.router), stop.clone());
        tasks.spawn(async move { router.tail(tail_stop).await });
        tasks.spawn(Arc::clone(&parts.dispatch.committer).run(stop.clone()));
        tasks.spawn(Arc::clone(&parts.dispatch.marks).run(stop.clone()));
        let (keeper, keeper_stop) = (Arc::clone(&feed.keeper), stop.clone());
        tasks.spawn(async move { keeper.run(keeper_stop).await });
        if let Some(push) = ground.push {
            let parts = DutyParts {
                store: Arc::clone(&ground.store),
                fcm: push.fcm,
                pace: Pace::new(push.rate_max, ground.clock, ground.random.clone()),
                deadlines: push.deadlines,
                clock: ground.clock,
                random: ground.random.clone(),
                news: feed.router.news(),
            };
            tasks.spawn(Arc::new(Duty::new(parts)).run(stop.clone()));
        }
        if let Some(dir) = &ground.data_dir {
            let file = HighWater::new(dir, &ground.store.cursor_key().await?);
            let (feed, blocking, stop) = (Arc::clone(&feed), ground.blocking, stop.clone());
            tasks.spawn(async move {
                file.keep(&feed.router, &feed.chronicle, blocking, stop)
                    .await;
            });
        }
        if let Some((admin, metrics)) = admin {
            tasks.spawn(admin::serve(
                admin,
                metrics,
                ground.store,
                Arc::clone(&feed.chronicle),
                drain.clone(),
                stop,
            ));
        }
        let (tls, tracker) = (ground.tls.config, connections.clone());
        tasks.spawn(listener::accept(
            listener,
            tls,
            Arc::new(parts),
            tracker,
            drain,
        ));
        Ok(Self {
            listen,
            admin: admin_address,
            hub,
            shutdown,
            connections,
            tasks,
        })
    }

    /// Ends the server: accepts nobody, answers what was asked, says goodbye,
    /// commits what is queued. Takes at most about 10 s.
    pub async fn drain(self) {
        self.shutdown.drain.cancel();
        tracing::info!(devices = self.hub.connected(), "draining");
        self.hub.end_all(Ending::Draining);
        self.connections.close();
        if within(DRAIN_TIMEOUT, self.connections.wait())
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
        self.tasks.wait().await;
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

fn router(
    ground: &Ground,
    hub: &Arc<Hub>,
    tokens: &Arc<Tokens>,
    chronicle: &Arc<Chronicle>,
    heads: &Positions,
) -> Arc<Router> {
    Arc::new(Router::new(
        Arc::clone(&ground.store),
        Arc::clone(hub),
        Arc::clone(tokens),
        Arc::clone(chronicle),
        ground.clock,
        heads,
    ))
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
    let cursor_key = store.cursor_key().await?;
    remember_high_water(ground, &cursor_key);
    let LogState { history, heads } = store.state().await?;
    let (hub, tokens) = (Arc::new(Hub::default()), Arc::new(Tokens::default()));
    let chronicle = Arc::new(Chronicle::new(Arc::clone(&hub), history));
    let router = router(ground, &hub, &tokens, &chronicle, &heads);
    let committer = Committer::new(
        Arc::clone(store),
        Arc::clone(&router),
        Arc::clone(&chronicle),
        *clock,
        outcome_reply,
    );
    let keeper = Arc::new(Keeper::new(Arc::clone(store), Arc::clone(&router), *clock));
    let reads = Arc::new(Semaphore::new(READS_MAX));
    let feed = Feed {
        store: Arc::clone(store),
        router: Arc::clone(&router),
        keeper,
        key: CursorKey::new(&cursor_key),
        chronicle,
        reads: Arc::clone(&reads),
    };
    let pushes = Pushes {
        store: Arc::clone(store),
        keeper: Arc::clone(&feed.keeper),
        clock: *clock,
    };
    let accounts = Accounts::new(
        Arc::clone(store),
        Arc::clone(&tokens),
        random.clone(),
        *clock,
        *blocking,
        HASHING_MAX,
    )?;
    let hellos = Hellos {
        feed: Arc::new(feed),
        hub: Arc::clone(&hub),
        tokens: Arc::clone(&tokens),
        clock: *clock,
    };
    let dispatch = Dispatch {
        store: Arc::clone(store),
        committer: Arc::new(committer),
        marks: Arc::new(Marks::new(Arc::clone(store), router)),
        tokens,
        hub,
        reads,
        pushes,
        random: random.clone(),
    };
    let random = random.clone();
    Ok(Parts {
        dispatch: Arc::new(dispatch),
        accounts,
        hellos,
        clock: *clock,
        random,
    })
}
