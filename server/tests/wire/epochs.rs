//! A log that goes back, as after the restore of an older backup.

use bytes::Bytes;
use magpie_protocol::wire::v1::{self, client_frame, server_frame};
use magpie_server::store::{SharedStore, postgres as store};
use magpie_sim::postgres;
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::peer::{Device, World, hello, hello_of, text_to};

/// A database whose log can be set back.
struct Database {
    url: String,
    client: Client,
}

impl Database {
    async fn create() -> Self {
        let cluster = postgres::shared().unwrap();
        let url = cluster.create_database().await.unwrap();
        let name = url.rsplit('/').next().unwrap();
        let client = cluster.connect(name).await.unwrap();
        Self { url, client }
    }

    async fn open(&self) -> SharedStore {
        store::open(&self.url, None, [7; 32]).await.unwrap()
    }

    /// A server that knows nothing of the log but what is in it.
    async fn serve(&self) -> World {
        let world = World::start_on(TempDir::new().unwrap(), self.open().await).await;
        world.unwrap()
    }

    /// Forgets the last event, as an older backup would.
    async fn set_back(&self) {
        let sql = "DELETE FROM events WHERE position = (SELECT max(position) FROM events);
                   UPDATE log_head SET position = (SELECT max(position) FROM events)";
        self.client.batch_execute(sql).await.unwrap();
    }
}

/// Alice, who has written twice, and her cursor behind that.
async fn alice_writes(world: &World) -> (Device, Bytes) {
    let alice = world.register("alice").await;
    let (mut peer, _) = world.connect(&alice, Bytes::new()).await;
    peer.send(text_to("alice", "one")).await;
    peer.send(text_to("alice", "two")).await;
    drop(peer);
    let (_, pages) = world.connect(&alice, Bytes::new()).await;
    (alice, pages.last().unwrap().cursor.clone())
}

async fn refused(world: &World, device: &Device, cursor: &Bytes) -> bool {
    let mut peer = world.peer().await;
    peer.control(hello(device, cursor.clone())).await;
    match peer.body().await {
        server_frame::Body::Goodbye(goodbye) => {
            assert_eq!(goodbye.code(), v1::ErrorCode::Unavailable, "{goodbye:?}");
            true
        }
        server_frame::Body::Welcome(_) => false,
        other => panic!("{other:?}"),
    }
}

/// D11. Nobody is served until a new epoch began; then everybody begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_falls_under_a_living_server_stops_it_until_a_new_epoch() {
    if postgres::is_skipped() {
        return;
    }
    let database = Database::create().await;
    let world = database.serve().await;
    let (alice, cursor) = alice_writes(&world).await;
    let (mut peer, _) = world.connect(&alice, cursor.clone()).await;
    database.set_back().await;
    let goodbye = peer.goodbye().await;
    assert_eq!(goodbye.action(), v1::Action::Reconnect, "{goodbye:?}");
    assert!(refused(&world, &alice, &cursor).await);

    let begun = store::begin_epoch(&database.url, false).await.unwrap();
    let epoch = begun.state.history.epoch;
    assert!(epoch > 1);
    assert_eq!(begun.devices, 1);
    while refused(&world, &alice, &cursor).await {
        tokio::task::yield_now().await;
    }
    let mut peer = world.peer().await;
    peer.control(hello(&alice, cursor)).await;
    let server_frame::Body::Welcome(welcome) = peer.body().await else {
        panic!("not welcome");
    };
    assert_eq!((welcome.epoch, welcome.starts_anew), (epoch, true));
    let accepted = peer.send(text_to("alice", "two, again")).await;
    assert_eq!(accepted.seq, 2);
}

/// D11. A server that is started on an older backup knows how far it had come.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_start_on_a_log_that_went_back() {
    if postgres::is_skipped() {
        return;
    }
    let database = Database::create().await;
    let world = database.serve().await;
    alice_writes(&world).await;
    let dir = world.stop().await;
    database.set_back().await;
    let refused = match World::start_on(dir, database.open().await).await {
        Ok(_) => panic!("it was started"),
        Err(error) => error.to_string(),
    };
    assert!(refused.contains("`magpied epoch new`"), "{refused}");
}

/// D11. A device's cursor is authentic: so far the log has been once.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_beyond_the_log_stops_the_server() {
    if postgres::is_skipped() {
        return;
    }
    let database = Database::create().await;
    let world = database.serve().await;
    let (alice, cursor) = alice_writes(&world).await;
    world.stop().await;
    database.set_back().await;
    let world = database.serve().await;
    let bob = world.register("bob").await;
    assert!(!refused(&world, &bob, &Bytes::new()).await);
    assert!(refused(&world, &alice, &cursor).await);
    assert!(refused(&world, &bob, &Bytes::new()).await);
}

/// D11. What one node found, no other passes over, however far the log goes on.
#[tokio::test(flavor = "multi_thread")]
async fn no_node_serves_a_log_of_which_another_found_that_it_went_back() {
    if postgres::is_skipped() {
        return;
    }
    let database = Database::create().await;
    let world = database.serve().await;
    alice_writes(&world).await;
    world.stop().await;
    database.set_back().await;
    // This one knows from elsewhere how far it had come; the next one does not.
    let knowing = database.open().await;
    let here = knowing.state().await.unwrap();
    let mut reached = here.heads;
    for position in here.heads.each() {
        reached.set(position.next());
    }
    knowing.has_been(here.history.epoch, &reached);
    assert!(knowing.state().await.is_err());

    let ahead = "UPDATE log_head SET position = position + 10";
    database.client.batch_execute(ahead).await.unwrap();
    let unknowing = database.open().await;
    let refused = unknowing.state().await.unwrap_err().to_string();
    assert!(refused.contains("`magpied epoch new`"), "{refused}");
    store::begin_epoch(&database.url, false).await.unwrap();
    for store in [knowing, unknowing] {
        store.state().await.unwrap();
    }
}

/// What the snapshot says that the histories have in common of the one conversation.
async fn common(world: &World, device: &Device, epoch: u64) -> Option<u64> {
    let mut peer = world.peer().await;
    peer.control(hello_of(device, epoch, Bytes::new())).await;
    let pages = peer.caught_up().await;
    let mut described = pages.iter().flat_map(|page| &page.conversations);
    described.next().unwrap().common_seq
}

/// D6, D11. What it must send again comes first, and the server alone knows from the
/// beginning that there is such a thing.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_another_history_is_told_what_is_common_before_it_may_write() {
    if postgres::is_skipped() {
        return;
    }
    let database = Database::create().await;
    let world = database.serve().await;
    let (alice, cursor) = alice_writes(&world).await;
    world.stop().await;
    database.set_back().await;
    let begun = store::begin_epoch(&database.url, false).await.unwrap();
    let world = database.serve().await;

    let marks = client_frame::Body::MarkRead(v1::MarkRead {
        conversation_id: vec![1; 16].into(),
        seq: 2,
    });
    let message = client_frame::Body::SendMessage(text_to("alice", "overtakes"));
    for early in [message, marks] {
        let mut peer = world.peer().await;
        peer.control(hello_of(&alice, 1, cursor.clone())).await;
        peer.request(early).await;
        let goodbye = peer.goodbye().await;
        let said = (goodbye.code(), goodbye.action(), goodbye.after_ms);
        let expected = (v1::ErrorCode::Unavailable, v1::Action::Reconnect, 0);
        assert_eq!(said, expected, "{goodbye:?}");
    }
    let mut peer = world.peer().await;
    peer.control(hello_of(&alice, 1, cursor)).await;
    let devices = client_frame::Body::FetchDevices(v1::FetchDevices {});
    let number = peer.request(devices).await;
    // Each in its own time.
    let (mut has_devices, mut has_caught_up) = (false, false);
    while !(has_devices && has_caught_up) {
        match peer.body().await {
            server_frame::Body::Welcome(welcome) => assert!(welcome.starts_anew),
            server_frame::Body::Devices(it) => has_devices = it.in_reply_to == number,
            server_frame::Body::Page(page) if page.caught_up => has_caught_up = true,
            server_frame::Body::Page(page) => {
                let [described] = page.conversations.as_slice() else {
                    panic!("{page:?}");
                };
                assert_eq!((described.head_seq, described.common_seq), (1, Some(1)));
            }
            other => panic!("{other:?}"),
        }
    }
    // The request acknowledges the page that says so.
    let accepted = peer.send(text_to("alice", "two, again")).await;
    assert_eq!(accepted.seq, 2);

    let epoch = begun.state.history.epoch;
    assert_eq!(common(&world, &alice, 1).await, Some(1));
    assert_eq!(common(&world, &alice, epoch + 1).await, Some(0), "unknown");
    assert_eq!(common(&world, &alice, 0).await, None, "the first hello");
}
