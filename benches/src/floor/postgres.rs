//! PostgreSQL without a server before it: commits of one row, and the store's
//! own append with large batches.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use magpie_protocol::{
    id::{ConversationId, DeviceId, MessageId, UserId},
    text::{DeviceName, MessageText, UserName},
    wire::Target,
};
use magpie_server::store::{
    Account, Actor, Append, Command, NewDevice, Outcome, Shard, SharedStore, Standing, User,
    postgres,
};
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::{args, measure::Latencies, report::Report};

/// Rows of a large commit: the most that the server's committer takes at once.
const BATCH: usize = 500;

/// A table like the log, with as many indexes.
const TABLE: &str = "
    DROP TABLE IF EXISTS floor;
    CREATE TABLE floor (
        position bigint NOT NULL UNIQUE, conversation bigint, seq bigint, sender bigint,
        committed_at_ms bigint, message uuid, kind smallint, digest bytea, body bytea,
        PRIMARY KEY (conversation, seq), UNIQUE (sender, message));
    SET synchronous_commit = on";

const INSERT: &str = "INSERT INTO floor VALUES ($1, $2, $1, $2, $1, $3, 1, $4, $5)";

/// Adds the figures of the database at this URL, which is of no other use.
///
/// # Errors
///
/// The database says no, or the store does.
pub(super) async fn run(args: &args::Floor, url: &str, report: &mut Report) -> anyhow::Result<()> {
    let time = Duration::from_secs(args.seconds);
    let commits = Latencies::new()?;
    let rate = single_rows(url, time, &commits).await?;
    let label = "PostgreSQL commits of 1 row";
    report.number(label, "postgres_1_rows_per_second", rate, "rows/s");
    report.percentiles("  a commit", "postgres_1_commit_ms", commits.summary());

    let writer = Writer::start(url, args.connections).await?;
    for (rows, field) in [(1, "append_1"), (BATCH, "append_500")] {
        let commits = Latencies::new()?;
        let rate = writer.run(rows, time, &commits).await?;
        let label = format!("the store's append, batches of {rows}");
        report.number(&label, &format!("{field}_rows_per_second"), rate, "rows/s");
        let field = format!("{field}_commit_ms");
        report.percentiles("  a batch", &field, commits.summary());
    }
    Ok(())
}

/// One client that inserts a row, waits for its commit, and goes on.
async fn single_rows(url: &str, time: Duration, latencies: &Latencies) -> anyhow::Result<f64> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let moving = tokio::spawn(connection);
    client.batch_execute(TABLE).await?;
    let insert = client.prepare(INSERT).await?;
    let (digest, body) = ([7_u8; 16], [b'x'; 104]);
    let started = Instant::now();
    let mut count: i64 = 0;
    while started.elapsed() < time {
        count += 1;
        let (place, message) = (count % 100, Uuid::now_v7());
        let began = Instant::now();
        client
            .execute(
                &insert,
                &[&count, &place, &message, &&digest[..], &&body[..]],
            )
            .await?;
        latencies.record_since(began);
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    drop(client);
    moving.await??;
    Ok(rate)
}

/// Pairs of users, as the load has them, whose messages are appended.
struct Writer {
    store: SharedStore,
    pairs: Vec<(Actor, ConversationId)>,
}

impl Writer {
    /// Makes the users, and each pair's conversation with a first message.
    async fn start(url: &str, pairs: usize) -> anyhow::Result<Self> {
        let store: SharedStore = postgres::open(url, None, [7; 32]).await?;
        let mut firsts = Vec::with_capacity(pairs);
        for _ in 0..pairs {
            let (sender, _) = register(&store).await?;
            let (_, receiver) = register(&store).await?;
            firsts.push(message(sender, Target::User(receiver))?);
        }
        let mut writer = Self {
            store,
            pairs: Vec::with_capacity(pairs),
        };
        for batch in firsts.chunks(BATCH) {
            let made = writer.append(batch.into()).await?;
            let senders = batch.iter().map(|first| first.actor);
            writer.pairs.extend(senders.zip(made));
        }
        Ok(writer)
    }

    /// Rows a second of the time that the appends take, one after the other. What
    /// it takes to make up the next batch is not counted.
    async fn run(&self, rows: usize, time: Duration, latencies: &Latencies) -> anyhow::Result<f64> {
        let (mut busy, mut count) = (Duration::ZERO, 0);
        let mut turns = self.pairs.iter().cycle();
        while busy < time {
            let batch = turns
                .by_ref()
                .take(rows)
                .map(|(actor, id)| message(*actor, Target::Conversation(*id)))
                .collect::<anyhow::Result<Arc<[Append]>>>()?;
            let began = Instant::now();
            count += self.append(batch).await?.len();
            busy += began.elapsed();
            latencies.record_since(began);
        }
        Ok(count as f64 / busy.as_secs_f64())
    }

    /// The conversations, one for each message; every one must be accepted.
    async fn append(&self, batch: Arc<[Append]>) -> anyhow::Result<Vec<ConversationId>> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let at_ms = i64::try_from(now.as_millis())?;
        let committed = self.store.append(Shard::FIRST, batch, at_ms).await?;
        let accepted = committed.outcomes.iter().map(|outcome| match outcome {
            Outcome::Accepted { conversation, .. } => Ok(*conversation),
            Outcome::Refused(refusal) => Err(anyhow::anyhow!("refused: {refusal}")),
        });
        accepted.collect()
    }
}

async fn register(store: &SharedStore) -> anyhow::Result<(Actor, UserName)> {
    let id = Uuid::now_v7();
    let name = UserName::parse(&id.simple().to_string()).context("a made-up name is not one")?;
    let account = Account {
        user: User {
            id: UserId::new(id.into_bytes()),
            name: name.clone(),
        },
        password_hash: String::new(),
        standing: Standing::Active,
    };
    let device = NewDevice {
        id: DeviceId::new(Uuid::now_v7().into_bytes()),
        name: DeviceName::try_from("floor".to_owned()).context("a device's name is not one")?,
        token_hash: [7; 32],
    };
    store.create_user(&account, Some(&device), 0).await?;
    let actor = Actor {
        user: account.user.id,
        device: device.id,
    };
    Ok((actor, name))
}

fn message(actor: Actor, to: Target) -> anyhow::Result<Append> {
    let text = MessageText::try_from("x".repeat(100)).context("a text is not one")?;
    let message = text.into();
    Ok(Append {
        actor,
        id: MessageId::new(Uuid::now_v7().into_bytes()),
        command: Command::SendMessage { to, message },
    })
}
