//! A device with many conversations that comes back after a week: how long until
//! it has caught up on the few that changed.

use anyhow::ensure;
use bytes::Bytes;
use magpie_protocol::wire::v1::{self, client_frame::Body, send_message::To};
use uuid::Uuid;

use crate::{
    args, clock,
    connection::Connection,
    credentials::{Crowd, Device, Users},
    dialer::Dialer,
    measure::Latencies,
    process,
    report::Report,
};

/// Makes the conversations, writes what others write meanwhile, and comes back
/// again and again with the same cursor.
///
/// # Errors
///
/// The server refused, or is not there.
pub(crate) async fn run(args: &args::Away) -> anyhow::Result<Report> {
    let mut crowd = Crowd::load(&args.server, "away", Users::OneDeviceEach)?;
    let dialer = Dialer::new(&args.server)?;
    let connected = crowd.connect(&dialer, 2).await?;
    let Ok([mut friend, (away, connection)]) = <[_; 2]>::try_from(connected) else {
        anyhow::bail!("two devices were asked for");
    };
    connection.close().await;
    let groups: Vec<Bytes> = (0..args.conversations).map(|_| new_id()).collect();
    make_groups(&mut friend, &groups, &away.name).await?;
    let mut device = away;
    Connection::hello(&dialer, &mut device).await?.close().await;

    let notes = (0..args.others).map(|_| message(To::UserName(friend.0.name.clone())));
    let notes: Vec<Body> = notes.collect();
    friend.1.ask_all(notes, &mut friend.0).await?;
    let changed = groups.len() / args.changed.max(1);
    let changed = groups.iter().step_by(changed.max(1)).take(args.changed);
    let messages = changed.flat_map(|group| {
        std::iter::repeat_with(|| message(To::ConversationId(group.clone())))
            .take(args.messages)
            .collect::<Vec<_>>()
    });
    friend.1.ask_all(messages, &mut friend.0).await?;

    let caught_up = Latencies::new()?;
    let cpu = || process::both_cpu_micros(&args.server);
    let cpu_before = cpu()?;
    for _ in 0..args.rounds {
        let mut returning = device.clone();
        let connection = Connection::open(&dialer, returning.cursor()).await?;
        let began = clock::nanos();
        let connection = connection.catch_up(&mut returning).await?;
        caught_up.record(&mut vec![clock::nanos() - began]);
        ensure!(returning.cursor() != device.cursor(), "nothing had changed");
        connection.close().await;
    }
    let cpu = cpu()?;
    friend.1.close().await;

    let title = format!(
        "{} of {} conversations changed",
        args.changed, args.conversations
    );
    let mut report = Report::new("away", title);
    report.setting("conversations", args.conversations);
    report.setting("changed", args.changed);
    report.setting("messages", args.messages);
    report.setting("others", args.others);
    report.percentiles("hello to caught up", "caught_up_ms", caught_up.summary());
    let each = |now: Option<u64>, then: Option<u64>| {
        now.zip(then)
            .map(|(now, then)| (now - then) as f64 / f64::from(args.rounds.max(1)))
    };
    let server = each(cpu.0, cpu_before.0);
    report.maybe("server's CPU", "server_cpu_us", server, "µs a return");
    let database = each(cpu.1, cpu_before.1);
    report.maybe("database's CPU", "database_cpu_us", database, "µs a return");
    Ok(report)
}

async fn make_groups(
    (device, connection): &mut (Device, Connection),
    groups: &[Bytes],
    with: &str,
) -> anyhow::Result<()> {
    let create = groups.iter().map(|group| {
        Body::CreateGroup(v1::CreateGroup {
            message_id: group.clone(),
            title: "magpie-bench".to_owned(),
            user_names: vec![with.to_owned()],
        })
    });
    connection.ask_all(create, device).await
}

fn message(to: To) -> Body {
    Body::SendMessage(v1::SendMessage {
        message_id: new_id(),
        to: Some(to),
        message: Some(
            "a hundred bytes, more or less, of what people write to each other all day".into(),
        ),
    })
}

fn new_id() -> Bytes {
    Bytes::copy_from_slice(Uuid::now_v7().as_bytes())
}
