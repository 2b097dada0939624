//! What users let others know of themselves, and how they are found.

use std::time::Duration;

use bytes::Bytes;
use magpie_protocol::wire::v1::{
    self, ErrorCode, account_change::Kind, client_frame, find_users::By, server_frame,
};
use magpie_server::config::{Limits, Rate};

use crate::{
    peer::{Device, Peer, World, fresh_id, hello, text_to},
    reconnects::counted_with,
};

fn called(name: &str) -> Kind {
    Kind::Profile(v1::Profile {
        display_name: name.to_owned(),
        ..Default::default()
    })
}

async fn profiles(peer: &mut Peer, body: client_frame::Body) -> Vec<v1::UserProfile> {
    let number = peer.request(body).await;
    match peer.answer(number).await {
        server_frame::Body::Profiles(found) => found.profiles,
        other => panic!("no profiles: {other:?}"),
    }
}

fn fetch(of: &Device, version: u64) -> client_frame::Body {
    let known = v1::KnownProfile {
        user_id: of.user_id.clone(),
        version,
    };
    client_frame::Body::FetchProfiles(v1::FetchProfiles { known: vec![known] })
}

fn find(by: By) -> client_frame::Body {
    client_frame::Body::FindUsers(v1::FindUsers { by: Some(by) })
}

/// The next hint of one kind.
pub(crate) async fn hint<T>(peer: &mut Peer, taken: impl Fn(server_frame::Body) -> Option<T>) -> T {
    loop {
        let frame = peer.next().await.expect("the server closed");
        if let Some(hint) = frame.body.and_then(&taken) {
            assert_eq!(frame.number, 0, "a hint has no number");
            return hint;
        }
        peer.ack().await;
    }
}

async fn hinted(peer: &mut Peer) -> v1::ProfileChanged {
    let taken = |body| match body {
        server_frame::Body::ProfileChanged(hint) => Some(hint),
        _ => None,
    };
    hint(peer, taken).await
}

/// D10. Who is connected is told, if they know each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_profile_is_hinted_at_to_whom_its_user_knows() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (bob, eve) = (world.register("bob").await, world.register("eve").await);
    let asleep = world.sign_in("bob").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("bob", "hi")).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let (mut e, _) = world.connect(&eve, Bytes::new()).await;
    let client_frame::Body::Hello(mut in_background) = hello(&asleep, Bytes::new()) else {
        panic!("no hello")
    };
    in_background.background = true;
    let mut sleeping = world.peer().await;
    sleeping
        .control(client_frame::Body::Hello(in_background))
        .await;
    sleeping.caught_up().await;

    let version = a.set(called("Ann")).await;
    let hint = hinted(&mut b).await;
    assert_eq!(
        (hint.user_id, hint.version),
        (alice.user_id.clone(), version)
    );
    let found = profiles(&mut b, fetch(&alice, 0)).await;
    assert_eq!(found[0].display_name, "Ann");
    assert_eq!(profiles(&mut b, fetch(&alice, version)).await, []);
    // What was told before this one would have come by now.
    for peer in [&mut e, &mut sleeping] {
        peer.control(client_frame::Body::Ping(v1::Ping::default()))
            .await;
        loop {
            match peer.body().await {
                server_frame::Body::Pong(_) => break,
                server_frame::Body::Page(_) => {}
                other => panic!("a stranger, or who sleeps, is told: {other:?}"),
            }
        }
    }
    assert_eq!(profiles(&mut e, fetch(&alice, 0)).await, []);
}

/// D10, D12. A name that cannot be told from another, or turns the text around it.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_hides_or_turns_a_text_is_refused() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    for name in ["\u{202e}nnA", "An\u{200b}n", " ", "An\u{7}n"] {
        let change = v1::ChangeAccount {
            message_id: fresh_id(),
            change: Some(v1::AccountChange {
                kind: Some(called(name)),
            }),
        };
        let number = a.request(client_frame::Body::ChangeAccount(change)).await;
        let server_frame::Body::Error(refused) = a.answer(number).await else {
            panic!("{name:?} is taken")
        };
        assert_eq!(refused.code(), ErrorCode::InvalidArgument);
        assert!(refused.message.starts_with("display name holds"));
    }
}

/// Names, links and beginnings are tried out of one bucket; a beginning tells of as many
/// as twenty.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_lists_the_users_by_looking_for_them() {
    let hour = Duration::from_secs(3_600);
    let limits = Limits {
        lookup_rate_per_user: Some(Rate::new(50, 1, hour)),
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let alice = world.register("alice").await;
    let eve = world.register("eve").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.set(Kind::Discoverable(v1::Discoverable { discoverable: true }))
        .await;
    let secret = Bytes::from(vec![7; 16]);
    a.set(Kind::Link(v1::Link {
        secret: secret.clone(),
    }))
    .await;
    let (mut e, _) = world.connect(&eve, Bytes::new()).await;
    let prefix = || find(By::Prefix("ali".to_owned()));
    let link = |secret| {
        find(By::Link(v1::UserLink {
            user_name: "alice".to_owned(),
            secret,
        }))
    };
    assert_eq!(profiles(&mut e, prefix()).await.len(), 1);
    assert_eq!(profiles(&mut e, prefix()).await.len(), 1);
    assert_eq!(profiles(&mut e, link(secret)).await.len(), 1);
    for guess in 0..8 {
        let guess = Bytes::from(vec![guess; 16]);
        if guess[0] != 7 {
            assert_eq!(profiles(&mut e, link(guess)).await, []);
        }
    }
    // 48 of 50: two names more.
    let name = |name: &str| find(By::UserName(name.to_owned()));
    assert_eq!(profiles(&mut e, name("alice")).await.len(), 1);
    assert_eq!(profiles(&mut e, name("nobody")).await, []);
    // Whom they know already they may look for.
    assert_eq!(profiles(&mut e, name("alice")).await.len(), 1);
    for body in [prefix(), link(Bytes::from(vec![9; 16])), name("carol")] {
        let number = e.request(body).await;
        let server_frame::Body::Error(refused) = e.answer(number).await else {
            panic!("not limited")
        };
        assert_eq!(refused.code(), ErrorCode::RateLimited);
    }
}

fn typing(conversation_id: Bytes, typing: bool) -> client_frame::Body {
    client_frame::Body::Typing(v1::Typing {
        conversation_id,
        typing,
        ..Default::default()
    })
}

/// Pings, and returns who was said to type until the pong came.
async fn typists(peer: &mut Peer) -> Vec<(Bytes, bool)> {
    let ping = v1::Ping::default();
    peer.control(client_frame::Body::Ping(ping)).await;
    let mut typists = Vec::new();
    loop {
        match peer.body().await {
            server_frame::Body::Typing(it) => typists.push((it.user_id, it.typing)),
            server_frame::Body::Pong(_) => return typists,
            _ => peer.ack().await,
        }
    }
}

/// The next one who is said to type.
async fn typist(peer: &mut Peer) -> v1::Typing {
    let taken = |body| match body {
        server_frame::Body::Typing(typing) => Some(typing),
        _ => None,
    };
    hint(peer, taken).await
}

/// D10. Only those are told who are in the conversation.
#[tokio::test(flavor = "multi_thread")]
async fn who_types_is_told_to_companions_alone_and_at_most_every_three_seconds() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (bob, eve) = (world.register("bob").await, world.register("eve").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let direct = a.send(text_to("bob", "hi")).await.conversation_id;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let (mut e, _) = world.connect(&eve, Bytes::new()).await;
    for _ in 0..10 {
        a.control(typing(direct.clone(), true)).await;
    }
    let told = typist(&mut b).await;
    assert_eq!(
        (told.conversation_id, told.user_id, told.typing),
        (direct.clone(), alice.user_id.clone(), true)
    );
    a.control(typing(direct.clone(), false)).await;
    let told = typist(&mut b).await;
    assert_eq!((told.user_id, told.typing), (alice.user_id.clone(), false));
    assert_eq!(typists(&mut b).await, []);
    assert_eq!(typists(&mut e).await, []);
    assert_eq!(typists(&mut a).await, [], "nor is who types");
}

/// D9, D10. A flood to strangers, to what is not there and to what is no id: nobody is
/// told, nobody is answered, the store is hardly asked, and the connection lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_typing_is_dropped_without_an_answer() {
    let limits = Limits {
        request_rate_per_device: Some(Rate::new(20, 1, Duration::from_secs(3_600))),
        ..Limits::default()
    };
    let (world, counted) = counted_with(limits).await;
    let alice = world.register("alice").await;
    let (bob, eve) = (world.register("bob").await, world.register("eve").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let direct = a.send(text_to("bob", "hi")).await.conversation_id;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let (mut e, _) = world.connect(&eve, Bytes::new()).await;
    counted.take();
    for round in 0..500 {
        e.control(typing(direct.clone(), round % 2 == 0)).await;
        e.control(typing(fresh_id(), true)).await;
        e.control(typing(Bytes::from_static(b"no id"), true)).await;
    }
    assert_eq!(typists(&mut e).await, []);
    assert_eq!(typists(&mut b).await, []);
    let asked = counted.take();
    let asked = asked.iter().filter(|it| **it == "companions").count();
    assert!(asked <= 20, "{asked} times");
}
