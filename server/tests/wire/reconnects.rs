//! Devices that come back: quick if nothing happened, refused if they were
//! revoked, whichever node knows of it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use magpie_protocol::{
    id::{DeviceId, UserId},
    wire::v1::{self, client_frame},
};
use magpie_server::{
    clock::Blocking,
    config::Limits,
    store::{NewDevice, SharedStore, embedded},
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    counted::Counted,
    peer::{Device, World, hello, text_of, text_to},
};

/// A server whose store says what it was asked.
async fn counted() -> (World, Arc<Counted>) {
    counted_with(Limits::default()).await
}

/// The same with other limits.
pub(crate) async fn counted_with(limits: Limits) -> (World, Arc<Counted>) {
    let dir = TempDir::new().unwrap();
    let store = embedded::open(dir.path(), Blocking::Pool, [7; 32]).unwrap();
    let counted = Counted::new(store);
    let store: SharedStore = Arc::clone(&counted) as SharedStore;
    (
        World::start_with(dir, store, limits).await.unwrap(),
        counted,
    )
}

fn ids(device: &Device) -> (UserId, DeviceId) {
    let user = UserId::try_from(device.user_id.as_ref()).unwrap();
    (user, DeviceId::try_from(device.id.as_ref()).unwrap())
}

/// Until something that must happen has.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, happened: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !happened().await {
        assert!(Instant::now() < deadline, "it never happened: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// What the store is asked on behalf of a device that connects with this cursor:
/// without what is asked all the time, and what is written behind its back.
async fn asked_for(world: &World, counted: &Counted, device: &Device, cursor: &Bytes) -> Asked {
    counted.take();
    let (peer, pages) = world.connect(device, cursor.clone()).await;
    drop(peer);
    (counted.take_asked_for(), pages)
}

type Asked = (Vec<&'static str>, Vec<v1::Page>);

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_without_news_asks_the_store_nothing() {
    let (world, counted) = counted().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("bob", "hello")).await;
    let (_, pages) = world.connect(&bob, Bytes::new()).await;
    let cursor = pages.last().unwrap().cursor.clone();
    // Once the tailer has read the log, what is remembered is believed.
    until("nothing is asked", || async {
        asked_for(&world, &counted, &bob, &cursor)
            .await
            .0
            .is_empty()
    })
    .await;
    let (_, pages) = asked_for(&world, &counted, &bob, &cursor).await;
    assert_eq!(pages.len(), 1);
    assert!(pages[0].caught_up && pages[0].events.is_empty());

    // With news it is read, and then known again.
    a.send(text_to("bob", "again")).await;
    let (asked, pages) = asked_for(&world, &counted, &bob, &cursor).await;
    assert!(asked.contains(&"user_page"), "{asked:?}");
    assert_eq!(text_of(&pages[0].events[0]), "again");
    let cursor = pages.last().unwrap().cursor.clone();
    until("nothing is asked", || async {
        asked_for(&world, &counted, &bob, &cursor)
            .await
            .0
            .is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_another_node_revoked_is_ended_and_refused() {
    let (world, _counted) = counted().await;
    let alice = world.register("alice").await;
    let (mut peer, pages) = world.connect(&alice, Bytes::new()).await;
    let cursor = pages.last().unwrap().cursor.clone();
    let (user, device) = ids(&alice);
    world.store.revoke_device(user, device).await.unwrap();
    let goodbye = peer.goodbye().await;
    assert_eq!(goodbye.action(), v1::Action::SignIn, "{goodbye:?}");
    let mut again = world.peer().await;
    again.control(hello(&alice, cursor)).await;
    assert_eq!(again.goodbye().await.action(), v1::Action::SignIn);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_another_node_replaced_is_refused() {
    let (world, _counted) = counted().await;
    let alice = world.register("alice").await;
    let (_, pages) = world.connect(&alice, Bytes::new()).await;
    let cursor = pages.last().unwrap().cursor.clone();
    let (user, device) = ids(&alice);
    let renewed = NewDevice {
        id: device,
        name: "phone".to_owned().try_into().unwrap(),
        token_hash: [9; 32],
    };
    let account = world.store.account_of(user).await.unwrap().unwrap();
    world.store.put_device(&account, &renewed, 0).await.unwrap();
    until("the old token is refused", || async {
        let mut peer = world.peer().await;
        peer.control(hello(&alice, cursor.clone())).await;
        matches!(
            peer.body().await,
            v1::server_frame::Body::Goodbye(goodbye) if goodbye.action() == v1::Action::SignIn
        )
    })
    .await;
}

/// D8. What a device has stored counts, however soon it is gone again: it would be
/// woken for it otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_left_before_its_hello_was_written_down_has_stored_what_it_stored() {
    let (world, counted) = counted().await;
    let alice = world.register("alice").await;
    let other = world.sign_in("alice").await;
    let bob = world.register("bob").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("alice", "to my other device")).await;
    drop(a);
    let is_asked = async |what| counted.take().contains(&what);
    until("she has left", || is_asked("detach")).await;
    {
        let _held = counted.hellos.write().await;
        // The keeper waits with this one.
        let (b, _) = world.connect(&bob, Bytes::new()).await;
        let (mut peer, pages) = world.connect(&other, Bytes::new()).await;
        assert_eq!(pages.iter().map(|page| page.events.len()).sum::<usize>(), 1);
        peer.ack().await;
        let goodbye = client_frame::Body::Goodbye(v1::Goodbye::default());
        peer.control(goodbye).await;
        assert!(peer.next().await.is_none(), "the server closes");
        drop(b);
        assert!(!counted.confirmed.lock().unwrap().contains(&ids(&other).1));
    }
    until("its cursor is written down", async || {
        counted.confirmed.lock().unwrap().contains(&ids(&other).1)
    })
    .await;
}

/// D8. A device that may go has stored what it acknowledged before it asked: it would
/// have to be woken for it otherwise, and its next wake be late.
#[tokio::test]
async fn what_a_device_has_stored_is_written_down_when_it_may_go() {
    let (world, counted) = counted().await;
    let alice = world.register("alice").await;
    let other = world.sign_in("alice").await;
    let bob = world.register("bob").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("alice", "to my other device")).await;
    let held = counted.hellos.write().await;
    // The keeper waits with this one.
    let (_b, _) = world.connect(&bob, Bytes::new()).await;
    let (mut peer, pages) = world.connect(&other, Bytes::new()).await;
    assert_eq!(pages.iter().map(|page| page.events.len()).sum::<usize>(), 1);
    peer.ack().await;
    let detach = client_frame::Body::Detach(v1::Detach {});
    let asked = peer.request(detach).await;
    let ping = client_frame::Body::Ping(v1::Ping::default());
    peer.control(ping).await;
    let pong = peer.body().await;
    assert!(matches!(pong, v1::server_frame::Body::Pong(_)), "{pong:?}");
    drop(held);
    let answer = peer.answer(asked).await;
    assert!(
        matches!(answer, v1::server_frame::Body::Done(_)),
        "{answer:?}"
    );
    assert!(counted.confirmed.lock().unwrap().contains(&ids(&other).1));
}
