//! Who is there, told to those who watch them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use magpie_protocol::{
    id::UserId,
    wire::v1::{self, ErrorCode, PresenceState, account_change::Kind, client_frame, server_frame},
};
use magpie_server::{
    clock::Clock,
    config::Limits,
    store::{Look, postgres as store},
};
use magpie_sim::postgres;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    peer::{Device, PATIENCE, Peer, World, fresh_id, hello, text_to},
    people::hint,
    reconnects::until,
};

/// More than the grace, less than it takes a connection to be idle.
const LATER_MS: u64 = 45_000;

/// A world whose time can be moved on.
async fn world() -> (World, &'static AtomicU64) {
    let ahead_ms: &'static AtomicU64 = Box::leak(Box::default());
    (World::at(Clock::ahead(ahead_ms)).await, ahead_ms)
}

fn watching(users: &[&Device]) -> client_frame::Body {
    client_frame::Body::WatchPresence(v1::WatchPresence {
        user_ids: users.iter().map(|it| it.user_id.clone()).collect(),
    })
}

impl Peer {
    /// What it is told when it watches these.
    async fn watch(&mut self, users: &[&Device]) -> Vec<v1::Presence> {
        let number = self.request(watching(users)).await;
        match self.answer(number).await {
            server_frame::Body::Presences(told) => told.presences,
            other => panic!("no presences: {other:?}"),
        }
    }

    /// The next one who comes or goes.
    async fn presence(&mut self) -> v1::Presence {
        hint(self, |body| match body {
            server_frame::Body::Presence(presence) => Some(presence),
            _ => None,
        })
        .await
    }

    /// Of whom it was told until the pong came.
    async fn presences(&mut self) -> Vec<v1::Presence> {
        let ping = client_frame::Body::Ping(v1::Ping::default());
        self.control(ping).await;
        let mut presences = Vec::new();
        loop {
            match self.body().await {
                server_frame::Body::Presence(it) => presences.push(it),
                server_frame::Body::Pong(_) => return presences,
                _ => self.ack().await,
            }
        }
    }
}

fn state(presences: &[v1::Presence]) -> Vec<PresenceState> {
    presences.iter().map(v1::Presence::state).collect()
}

/// Alice, connected, who has written with bob; he is gone.
async fn acquainted(world: &World) -> (Peer, Device, Device) {
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    a.send(text_to("bob", "hi")).await;
    b.send(text_to("alice", "hello")).await;
    (a, alice, bob)
}

/// For longer than it takes to be told what there is to tell, a second at most. A slow
/// machine can make it pass, never fail.
async fn nothing_is_told(peer: &mut Peer) {
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(peer.presences().await, []);
}

/// The grace is over for those who are gone, once it is written that they are.
async fn later(world: &World, ahead_ms: &AtomicU64, (watcher, gone): (&Device, &[&Device])) {
    let user = |it: &Device| UserId::try_from(it.user_id.as_ref()).unwrap();
    let looks = gone.iter().map(|it| Look {
        watcher: user(watcher),
        watched: user(it),
    });
    let looks: Vec<Look> = looks.collect();
    until("it is written that they are gone", async || {
        let seen = world.store.presences(&looks, 0).await.unwrap();
        seen.iter().all(|it| !it.unwrap().is_attached)
    })
    .await;
    ahead_ms.fetch_add(LATER_MS, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_comes_is_told_at_once_and_who_is_gone_after_a_while() {
    let (world, ahead_ms) = world().await;
    let (mut a, alice, bob) = acquainted(&world).await;
    // He left a moment ago.
    let told = a.watch(&[&bob]).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].user_id, bob.user_id);
    assert_eq!(told[0].state(), PresenceState::Online);
    later(&world, ahead_ms, (&alice, &[&bob])).await;
    let told = a.presence().await;
    assert_eq!(told.state(), PresenceState::Offline);
    assert!(told.last_seen_at_ms > 0);
    assert_eq!(told.last_seen_at_ms % 60_000, 0, "in whole minutes");
    assert_eq!(a.watch(&[&bob]).await, std::slice::from_ref(&told));

    ahead_ms.fetch_add(LATER_MS, Ordering::Relaxed);
    let (b, _) = world.connect(&bob, Bytes::new()).await;
    assert_eq!(a.presence().await.state(), PresenceState::Online);
    // A phone that roams.
    drop(b);
    let (b, _) = world.connect(&bob, Bytes::new()).await;
    nothing_is_told(&mut a).await;
    ahead_ms.fetch_add(LATER_MS, Ordering::Relaxed);
    nothing_is_told(&mut a).await;
    drop(b);
    nothing_is_told(&mut a).await;
    later(&world, ahead_ms, (&alice, &[&bob])).await;
    let gone = a.presence().await;
    assert_eq!(gone.state(), PresenceState::Offline);
    assert!(gone.last_seen_at_ms > told.last_seen_at_ms);

    // After a restart, too.
    let world = world.restart().await;
    let (mut a, _) = world
        .connect(&world.sign_in("alice").await, Bytes::new())
        .await;
    assert_eq!(a.watch(&[&bob]).await, [gone]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_woken_or_goes_to_the_background_is_not_there() {
    let (world, ahead_ms) = world().await;
    let (mut a, alice, bob) = acquainted(&world).await;
    later(&world, ahead_ms, (&alice, &[&bob])).await;
    let away = a.watch(&[&bob]).await;
    assert_eq!(state(&away), [PresenceState::Offline]);

    let mut b = world.peer().await;
    let client_frame::Body::Hello(hello) = hello(&bob, Bytes::new()) else {
        panic!("a hello")
    };
    b.control(client_frame::Body::Hello(v1::Hello {
        background: true,
        ..hello
    }))
    .await;
    nothing_is_told(&mut a).await;
    assert_eq!(a.watch(&[&bob]).await, away);
    drop(b);

    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    assert_eq!(a.presence().await.state(), PresenceState::Online);
    let number = b.request(client_frame::Body::Detach(v1::Detach {})).await;
    b.answer(number).await;
    later(&world, ahead_ms, (&alice, &[&bob])).await;
    assert_eq!(a.presence().await.state(), PresenceState::Offline);
}

/// D9. However often people come and go: of each it is told that they are there, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_reconnects_are_no_storm() {
    let (world, ahead_ms) = world().await;
    let (mut a, alice, bob) = acquainted(&world).await;
    let mut people = vec![bob];
    for name in ["carol", "dora", "eve"] {
        let device = world.register(name).await;
        let (mut peer, _) = world.connect(&device, Bytes::new()).await;
        a.send(text_to(name, "hi")).await;
        peer.send(text_to("alice", "hello")).await;
        people.push(device);
    }
    let watched: Vec<&Device> = people.iter().collect();
    later(&world, ahead_ms, (&alice, &watched)).await;
    let told = a.watch(&watched).await;
    assert_eq!(state(&told), [PresenceState::Offline; 4]);
    for _ in 0..250 {
        for device in &people {
            let mut peer = world.peer().await;
            peer.control(hello(device, Bytes::new())).await;
            peer.body().await;
        }
    }
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(a.presence().await);
    }
    nothing_is_told(&mut a).await;
    assert_eq!(state(&told), [PresenceState::Online; 4]);
    let mut users: Vec<Bytes> = told.into_iter().map(|it| it.user_id).collect();
    users.sort();
    users.dedup();
    assert_eq!(users.len(), 4);
}

/// D10. Of a stranger, of nobody, of who hides it and of who blocks the one who asks the
/// same is said.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_is_told_to_nobody_from_then_on() {
    let (world, _) = world().await;
    let (mut a, alice, bob) = acquainted(&world).await;
    let eve = world.register("eve").await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let (mut e, _) = world.connect(&eve, Bytes::new()).await;
    e.send(text_to("alice", "who are you")).await;
    let nobody = Device {
        user_id: fresh_id(),
        ..eve.clone()
    };
    let hidden = [PresenceState::Hidden; 2];
    assert_eq!(state(&e.watch(&[&alice, &nobody]).await), hidden);
    assert_eq!(state(&a.watch(&[&eve, &alice]).await), hidden);
    assert_eq!(state(&a.watch(&[&bob]).await), [PresenceState::Online]);
    assert_eq!(state(&b.watch(&[&alice]).await), [PresenceState::Online]);

    let hide = |hidden| Kind::OwnPresence(v1::OwnPresence { hidden });
    let block = |blocked| {
        Kind::Block(v1::Block {
            user_id: alice.user_id.clone(),
            blocked,
        })
    };
    for (yes, no) in [(hide(true), hide(false)), (block(true), block(false))] {
        for (change, state) in [(yes, PresenceState::Hidden), (no, PresenceState::Online)] {
            b.set(change).await;
            let told = [a.presence().await, b.presence().await];
            assert_eq!(
                told.map(|it| (it.state(), it.last_seen_at_ms)),
                [(state, 0); 2]
            );
        }
    }
    assert_eq!(e.presences().await, []);
    // Whoever hides it while nobody is told anything is not told of when they come.
    b.set(hide(true)).await;
    assert_eq!(a.presence().await.state(), PresenceState::Hidden);
    drop(b);
    let (_b, _) = world.connect(&bob, Bytes::new()).await;
    nothing_is_told(&mut a).await;
}

/// D9. The last request holds, and a connection watches no more than 64.
#[tokio::test(flavor = "multi_thread")]
async fn only_those_are_told_of_who_are_watched_now() {
    let (world, ahead_ms) = world().await;
    let (mut a, alice, bob) = acquainted(&world).await;
    later(&world, ahead_ms, (&alice, &[&bob])).await;
    assert_eq!(state(&a.watch(&[&bob]).await), [PresenceState::Offline]);
    assert_eq!(a.watch(&[]).await, []);
    let (_b, _) = world.connect(&bob, Bytes::new()).await;
    nothing_is_told(&mut a).await;
    let number = a.request(watching(&[&bob; 65])).await;
    let server_frame::Body::Error(refused) = a.answer(number).await else {
        panic!("refused")
    };
    assert_eq!(refused.code(), ErrorCode::InvalidArgument);
    assert_eq!(a.watch(&[&bob; 64]).await.len(), 64);
}

/// Also while it is not seen from here: a word between nodes is not needed.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_connected_to_another_node_is_there() {
    if postgres::is_skipped() {
        return;
    }
    let ahead_ms: &'static AtomicU64 = Box::leak(Box::default());
    let clock = Clock::ahead(ahead_ms);
    let cluster = postgres::shared().unwrap();
    let url = cluster.create_database().await.unwrap();
    let node = async || {
        let store = store::open(&url, None, [7; 32]).await.unwrap();
        let dir = TempDir::new().unwrap();
        let started = World::start_at(dir, store, Limits::default(), clock);
        started.await.unwrap()
    };
    let (here, there) = (node().await, node().await);
    let (mut a, alice, bob) = acquainted(&here).await;
    later(&here, ahead_ms, (&alice, &[&bob])).await;
    assert_eq!(state(&a.watch(&[&bob]).await), [PresenceState::Offline]);
    let (b, _) = there.connect(&bob, Bytes::new()).await;
    let until_told = async |peer: &mut Peer| {
        timeout(PATIENCE, async {
            loop {
                // The other node is asked about every ten seconds.
                ahead_ms.fetch_add(5_000, Ordering::Relaxed);
                let told = peer.presences().await;
                if !told.is_empty() {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        })
        .await
        .expect("nothing was told")
    };
    assert_eq!(state(&until_told(&mut a).await), [PresenceState::Online]);
    drop(b);
    there.stop().await;
    assert_eq!(state(&until_told(&mut a).await), [PresenceState::Offline]);
}
