//! What each limit does at the wire: who passes it is told so by a code and an
//! action, and when to come back; nobody else notices.

mod accounts;
mod doors;
mod requests;

use std::time::{Duration, Instant};

use bytes::Bytes;
use magpie_protocol::{
    limits::ALPN,
    wire::v1::{self, Action, ErrorCode, client_frame, server_frame},
};
use magpie_server::config::{Auto, Limits, Networks, Rate};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::peer::{
    Device, PASSWORD, Peer, World, all_events, fresh_id, hello, register, sign_in, text_to, texts,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// So many at once, then none for longer than a test takes.
fn only(burst: u32) -> Option<Rate> {
    Some(Rate::new(burst, 1, HOUR))
}

async fn limited(change: impl FnOnce(&mut Limits)) -> World {
    let mut limits = Limits::default();
    change(&mut limits);
    World::with(limits).await
}

/// It may come back, later.
fn is_limited(goodbye: &v1::Goodbye) {
    let said = (goodbye.code(), goodbye.action());
    assert_eq!(said, (ErrorCode::RateLimited, Action::Reconnect));
    assert!(goodbye.after_ms > 0, "{goodbye:?}");
}

/// What a registration or sign-in is answered.
async fn refused(world: &World, body: client_frame::Body) -> v1::Error {
    let mut peer = world.peer().await;
    peer.control(body).await;
    match peer.body().await {
        server_frame::Body::Refused(error) => error,
        other => panic!("not refused: {other:?}"),
    }
}

async fn send(peer: &mut Peer, text: &str) {
    let message = text_to("alice", text);
    peer.request(client_frame::Body::SendMessage(message)).await;
}

/// The texts that a new device of the user finds.
async fn history(world: &World, device: &Device) -> Vec<String> {
    let (_, pages) = world.connect(device, Bytes::new()).await;
    let events = all_events(&pages);
    texts(&events).into_iter().map(str::to_owned).collect()
}

/// The goodbye of a device whose next message is too much.
async fn sent_away(peer: &mut Peer) -> v1::Goodbye {
    send(peer, "one too many").await;
    peer.goodbye().await
}

/// Each refusal is counted under the name of its setting.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_counted() {
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .unwrap();
    let world = limited(|it| {
        it.connections_max = Auto(Some(2));
        it.send_rate_per_device = only(1);
    })
    .await;
    // It stays: one that was closed may count for a moment more.
    let mut first = world.peer().await;
    first.control(register("alice", "")).await;
    let alice = first.signed_in().await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    is_limited(&world.peer().await.goodbye().await);
    a.send(text_to("alice", "one")).await;
    is_limited(&sent_away(&mut a).await);
    let text = metrics.render();
    for limit in ["connections_max", "send_rate_per_device"] {
        let line = format!("magpie_limited_total{{limit=\"{limit}\"}}");
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}
