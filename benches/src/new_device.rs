//! A new device of a user with many conversations: how long after the password was
//! typed the most recent of them can be shown, and all of them. Through the SDK,
//! because a conversation can be shown when the local database has it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use magpie_client::{Client, Event, Home, Options, Server, Trust};
use magpie_protocol::wire::v1::{self, client_frame::Body, send_message::To};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    args,
    connection::{Connection, new_id},
    credentials::{Account, Crowd, Device, Users},
    dialer::Dialer,
    measure::Latencies,
    process,
    progress::Progress,
    report::Report,
};

/// How many conversations the first screen shows.
const SHOWN: usize = 50;

/// Nothing of what is awaited takes as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the rounds measured.
struct Tally {
    signed_in: Latencies,
    shown: Latencies,
    all: Latencies,
    listed: Latencies,
}

/// Makes the conversations, and signs in on a new device again and again.
///
/// # Errors
///
/// The server refused, or is not there; or what was shown is not what is most recent.
pub(crate) async fn run(args: &args::NewDevice) -> anyhow::Result<Report> {
    let mut crowd = Crowd::load(&args.server, "new-device", Users::OneDeviceEach)?;
    let dialer = Dialer::new(&args.server)?;
    let progress = Progress::new();
    let account = Account::make_up();
    let first = Uuid::now_v7().into_bytes();
    account.register(&dialer, first).await?;
    let mut connected = crowd.connect(&dialer, 1).await?;
    let mut friend = connected.pop().context("no device was connected")?;
    progress.tell(format!("making {} conversations", args.conversations));
    let groups = make_groups(&mut friend, args, account.name()).await?;

    let tally = Tally {
        signed_in: Latencies::new()?,
        shown: Latencies::new()?,
        all: Latencies::new()?,
        listed: Latencies::new()?,
    };
    let newest: Vec<&Bytes> = groups.iter().rev().take(SHOWN).collect();
    let cpu_before = process::both_cpu_micros(&args.server)?;
    for round in 1..=args.rounds {
        progress.tell(format!("new device {round} of {}", args.rounds));
        arrive(args, &account, &newest, &tally).await?;
    }
    let cpu = process::both_cpu_micros(&args.server)?;
    friend.1.close().await;
    drop(progress);

    let title = format!("a new device with {} conversations", args.conversations);
    let mut report = Report::new("new_device", title);
    report.setting("conversations", args.conversations);
    report.setting("messages", args.messages);
    report.percentiles("signed in", "signed_in_ms", tally.signed_in.summary());
    report.percentiles(
        "the 50 most recent shown",
        "shown_ms",
        tally.shown.summary(),
    );
    report.percentiles("all of them", "all_ms", tally.all.summary());
    report.percentiles(
        "listing all of them anew",
        "listed_ms",
        tally.listed.summary(),
    );
    let each = |now: Option<u64>, then: Option<u64>| {
        now.zip(then)
            .map(|(now, then)| (now - then) as f64 / f64::from(args.rounds.max(1)))
    };
    let server = each(cpu.0, cpu_before.0);
    report.maybe("server's CPU", "server_cpu_us", server, "µs a device");
    let database = each(cpu.1, cpu_before.1);
    report.maybe("database's CPU", "database_cpu_us", database, "µs a device");
    Ok(report)
}

/// The groups with both users, the most recent last.
async fn make_groups(
    (device, connection): &mut (Device, Connection),
    args: &args::NewDevice,
    with: &str,
) -> anyhow::Result<Vec<Bytes>> {
    let groups: Vec<Bytes> = (0..args.conversations).map(|_| new_id()).collect();
    let create = groups.iter().map(|group| {
        Body::CreateGroup(v1::CreateGroup {
            message_id: group.clone(),
            title: "magpie-bench".to_owned(),
            user_names: vec![with.to_owned()],
        })
    });
    connection.ask_all(create, device).await?;
    let messages = groups.iter().flat_map(|group| {
        std::iter::repeat_with(|| {
            Body::SendMessage(v1::SendMessage {
                message_id: new_id(),
                to: Some(To::ConversationId(group.clone())),
                message: Some(
                    "a hundred bytes, more or less, of what people write to each other all day"
                        .into(),
                ),
            })
        })
        .take(args.messages)
    });
    connection.ask_all(messages, device).await?;
    Ok(groups)
}

/// One new device, from the password until it has everything.
async fn arrive(
    args: &args::NewDevice,
    account: &Account,
    newest: &[&Bytes],
    tally: &Tally,
) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let home = Home::open(directory.path())?;
    let server = Server {
        address: args.server.server.clone(),
        trust: Trust::CaFile(args.server.ca.clone()),
    };
    let began = Instant::now();
    account.sign_in_home(&home, &server).await?;
    tally.signed_in.record_since(began);
    let lock = home.try_lock_connection()?.context("the home is in use")?;
    let client = Client::start(home.clone(), lock, server, Options::default());
    let mut shown = false;
    loop {
        let event = timeout(PATIENCE, client.next_event()).await;
        let event = event.context("the device never caught up")?;
        let event = event.context("the connection ended")?;
        if let Event::Disconnected { reason, .. } = &event {
            anyhow::bail!("disconnected: {reason}");
        }
        if !shown && shows(&home, newest, args.messages)? {
            shown = true;
            tally.shown.record_since(began);
        }
        if event == Event::CaughtUp {
            break;
        }
    }
    tally.all.record_since(began);
    let listed = Instant::now();
    let conversations = home.conversations()?;
    tally.listed.record_since(listed);
    ensure!(shown, "the most recent conversations were not shown");
    let count = conversations.len();
    ensure!(
        count == args.conversations,
        "{count} conversations came, not {}",
        args.conversations
    );
    client.shutdown().await;
    Ok(())
}

/// Whether the list shows these first, each with its newest message.
fn shows(home: &Home, newest: &[&Bytes], messages: usize) -> anyhow::Result<bool> {
    let lines = home.conversations()?;
    let all_here = newest.iter().all(|id| {
        let line = lines.iter().find(|line| line.id.bytes() == id.as_ref());
        // The group's own beginning counts too.
        line.is_some_and(|line| {
            line.head_seq.get() > messages as u64 && line.last_event_at_ms.is_some()
        })
    });
    Ok(all_here)
}
