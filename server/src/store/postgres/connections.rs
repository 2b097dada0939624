//! Connections: how one is made, and those that everything but the committer
//! shares.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Transaction,
};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config, IsolationLevel};

use super::{
    session::{Failure, SET_UP},
    settings::{Settings, reason},
};

/// How many work at the same time; more wait.
const CONNECTION_COUNT: usize = 16;

/// How long to wait for a connection that others use.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to make a new one.
const CREATE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a used one may take to show that it is alive: a broken network path
/// must not hold a request for as long as TCP would.
const RECYCLE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection and the task that moves its bytes.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) task: JoinHandle<()>,
    pub(super) warnings: Warnings,
}

/// Whether the database warned. It does when a commit stopped waiting for its
/// standby: then nobody knows whether the commit survives.
#[derive(Clone, Default)]
pub(super) struct Warnings(Arc<AtomicBool>);

impl Warnings {
    /// Whether it did since this was last asked.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl Link {
    /// Connects and sets the connection up.
    pub(super) async fn connect(settings: &Settings) -> Result<Self, tokio_postgres::Error> {
        let (client, mut connection) = settings.config.connect(settings.tls.clone()).await?;
        let warnings = Warnings::default();
        let noted = warnings.clone();
        let task = tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notice(notice)) => {
                        if notice.severity() == "WARNING" {
                            noted.0.store(true, Ordering::Release);
                        }
                        tracing::info!(notice = notice.message(), "the database notes");
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(reason = reason(&error), "a connection broke");
                        return;
                    }
                }
            }
        });
        let link = Self {
            client,
            task,
            warnings,
        };
        link.client.batch_execute(SET_UP).await?;
        Ok(link)
    }
}

/// Connections that are kept.
pub(super) struct Connections(Pool);

impl Connections {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let config = ManagerConfig {
            recycling_method: RecyclingMethod::Verified,
        };
        let connector = Connector(settings.clone());
        let manager = Manager::from_connect(settings.config.clone(), connector, config);
        let pool = Pool::builder(manager)
            .max_size(CONNECTION_COUNT)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT_TIMEOUT))
            .create_timeout(Some(CREATE_TIMEOUT))
            .recycle_timeout(Some(RECYCLE_TIMEOUT))
            .build();
        pool.map(Self).map_err(|error| error.to_string())
    }

    /// A connection that answers.
    pub(super) async fn take(&self) -> Result<Object, Failure> {
        Ok(self.0.get().await?)
    }
}

/// One snapshot of the database for several statements. Dropping it ends it.
pub(super) async fn snapshot(taken: &mut Object) -> Result<Transaction<'_>, Failure> {
    let transaction = taken
        .build_transaction()
        .read_only(true)
        .isolation_level(IsolationLevel::RepeatableRead)
        .start();
    Ok(transaction.await?)
}

struct Connector(Settings);

type Connecting<'a> = Pin<
    Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + 'a>,
>;

impl Connect for Connector {
    // The settings are in the connector already.
    fn connect(&self, _config: &Config) -> Connecting<'_> {
        Box::pin(async {
            let Link { client, task, .. } = Link::connect(&self.0).await?;
            Ok((client, task))
        })
    }
}
