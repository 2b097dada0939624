//! Oversized, truncated, garbage, out of order, unknown, unauthenticated and
//! replayed: a typed goodbye or error, and nobody else notices.

mod authorization;
mod bodies;
mod doors;
mod frames;
mod identity;
mod standing;

use bytes::{BufMut as _, Bytes, BytesMut};
use magpie_protocol::{
    frame::Frame as _,
    limits::{CLIENT_FRAME_SIZE_MAX, FRAME_SIZE_FIRST_MAX},
    wire::v1::{self, Action, ErrorCode, client_frame, server_frame},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::peer::{Peer, World, fresh_id, hello, sign_in, text_to};

async fn is_refused(peer: &mut Peer) {
    let goodbye = peer.goodbye().await;
    assert_eq!(goodbye.code(), ErrorCode::Violation, "{goodbye:?}");
    assert_eq!(goodbye.action(), Action::Reconnect);
}

fn length(size: usize) -> Vec<u8> {
    u32::try_from(size).unwrap().to_be_bytes().to_vec()
}

/// A connection that must not notice anything.
async fn bystander(world: &World) -> Peer {
    let device = world.register("bystander").await;
    world.connect(&device, Bytes::new()).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_frame_of_a_stranger_end_the_connection_and_no_other() {
    let world = World::start().await;
    let mut bystander = bystander(&world).await;
    let nested = [0x52, 0x02, 0x52, 0x00].to_vec();
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.extend([0x52, 0x00]);
    }
    let framed = |body: Vec<u8>| [length(body.len()), body].concat();
    let first_request = v1::ClientFrame {
        number: 1,
        body: Some(client_frame::Body::SendMessage(text_to("bystander", "hi"))),
        ..Default::default()
    };
    let mut request = BytesMut::new();
    first_request.write(&mut request);
    for bytes in [
        length(0),
        length(FRAME_SIZE_FIRST_MAX + 1),
        vec![0x7f, 0xff, 0xff, 0xff],
        vec![0xff; 4],
        framed(vec![0xff; 100]),
        framed(vec![0x0b, 0x0c]),
        framed(flood),
        framed(nested),
        request.to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut peer = world.peer().await;
        peer.write(&bytes).await;
        is_refused(&mut peer).await;
    }
    bystander.send(text_to("bystander", "still here")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_cut_off_is_never_acted_on() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let mut out = BytesMut::new();
    v1::ClientFrame {
        number: 1,
        body: Some(client_frame::Body::SendMessage(text_to("alice", "cut"))),
        ..Default::default()
    }
    .write(&mut out);
    for cut in [1, 4, 5, out.len() - 1] {
        let (mut a, _) = world.connect(&alice, Bytes::new()).await;
        a.write(&out[..cut]).await;
        drop(a);
    }
    let (mut a, pages) = world.connect(&alice, Bytes::new()).await;
    assert!(pages.iter().all(|page| page.events.is_empty()));
    assert_eq!(a.send(text_to("alice", "whole")).await.seq, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_rules_of_the_link_ends_the_session() {
    let world = World::start().await;
    let mut bystander = bystander(&world).await;
    let alice = world.register("alice").await;
    let request = |number: u64| v1::ClientFrame {
        number,
        critical: true,
        body: Some(client_frame::Body::FetchDevices(v1::FetchDevices {})),
        ..Default::default()
    };
    let hello_again = v1::ClientFrame {
        body: Some(hello(&alice, Bytes::new())),
        ..Default::default()
    };
    let ping = client_frame::Body::Ping(v1::Ping::default());
    for frames in [
        vec![request(2)],             // a gap
        vec![request(1), request(1)], // a replay
        vec![request(0)],             // no number
        vec![v1::ClientFrame {
            ack: 1 << 40,
            ..Default::default()
        }], // never sent
        vec![hello_again],            // twice
        vec![v1::ClientFrame {
            number: 1,
            body: Some(ping.clone()),
            ..Default::default()
        }],
        vec![
            v1::ClientFrame {
                body: Some(ping),
                ..Default::default()
            };
            50
        ], // a flood
    ] {
        let (mut a, _) = world.connect(&alice, Bytes::new()).await;
        let count = frames.len();
        for frame in frames {
            a.frame(frame).await;
        }
        let goodbye = a.goodbye().await;
        assert_eq!(
            goodbye.code(),
            ErrorCode::Violation,
            "{count} frames: {goodbye:?}"
        );
    }
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.write(&length(CLIENT_FRAME_SIZE_MAX + 1)).await;
    is_refused(&mut a).await;
    bystander.send(text_to("bystander", "still here")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_request_is_answered_if_it_is_critical_and_passed_over_if_not() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    for (number, critical) in [(1_u8, 0_u8), (2, 1)] {
        // number, critical, and field 99 with no bytes in it.
        let body = vec![0x08, number, 0x18, critical, 0x9a, 0x06, 0x00];
        let mut frame = BytesMut::new();
        frame.put_slice(&length(body.len()));
        frame.put_slice(&body);
        a.write(&frame).await;
    }
    a.number = 2;
    let server_frame::Body::Error(error) = a.answer(2).await else {
        panic!("an error")
    };
    assert_eq!(
        (error.code(), error.action()),
        (ErrorCode::Unsupported, Action::Never)
    );
    a.send(text_to("alice", "goes on")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_wrong_field_is_refused_by_name_and_the_session_goes_on() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let too_long = text_to("alice", &"x".repeat(16_385));
    for message in [
        v1::SendMessage {
            message: None,
            ..text_to("alice", "x")
        },
        v1::SendMessage {
            message: Some("nul\0".into()),
            ..text_to("alice", "x")
        },
        v1::SendMessage {
            message_id: Bytes::from_static(b"short"),
            ..text_to("alice", "x")
        },
        v1::SendMessage {
            to: None,
            ..text_to("alice", "x")
        },
        text_to("No Such Name!", "x"),
        too_long,
    ] {
        let id = message.message_id.clone();
        let number = a.request(client_frame::Body::SendMessage(message)).await;
        let server_frame::Body::Error(error) = a.answer(number).await else {
            panic!("error")
        };
        assert_eq!(
            (error.code(), error.action()),
            (ErrorCode::InvalidArgument, Action::Never)
        );
        assert_eq!(error.message_id, id);
    }
    assert_eq!(a.send(text_to("alice", &"x".repeat(16_384))).await.seq, 1);
}

/// D10: a stranger learns nothing: what is not theirs is like what is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_the_answer_of_what_does_not_exist() {
    let world = World::start().await;
    let (alice, eve) = (world.register("alice").await, world.register("eve").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let theirs = a.send(text_to("alice", "private")).await.conversation_id;
    let (mut e, _) = world.connect(&eve, Bytes::new()).await;
    let mut answers = Vec::new();
    for conversation_id in [theirs, fresh_id()] {
        let to = Some(v1::send_message::To::ConversationId(
            conversation_id.clone(),
        ));
        let history = v1::FetchHistory {
            conversation_id: conversation_id.clone(),
            limit: 10,
            from: Some(v1::fetch_history::From::AfterSeq(0)),
        };
        let mut of_one = Vec::new();
        for body in [
            client_frame::Body::SendMessage(v1::SendMessage {
                to,
                ..text_to("eve", "hi")
            }),
            client_frame::Body::FetchHistory(history),
            client_frame::Body::MarkRead(v1::MarkRead {
                conversation_id,
                seq: 1,
            }),
        ] {
            let number = e.request(body).await;
            let server_frame::Body::Error(error) = e.answer(number).await else {
                panic!("an error")
            };
            of_one.push((error.code(), error.action(), error.message));
        }
        answers.push(of_one);
    }
    assert_eq!(answers[0], answers[1]);
    assert!(
        answers[0]
            .iter()
            .all(|answer| answer.0 == ErrorCode::NotFound)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_device_or_damaged_begins_anew() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("bob", "one")).await;
    let (_, pages) = world.connect(&bob, Bytes::new()).await;
    let bobs = pages.last().unwrap().cursor.clone();
    let mut damaged = bobs.to_vec();
    damaged[3] ^= 1;
    for (device, cursor) in [(&alice, bobs), (&bob, damaged.into())] {
        let mut peer = world.peer().await;
        peer.control(hello(device, cursor)).await;
        let server_frame::Body::Welcome(welcome) = peer.body().await else {
            panic!("welcome")
        };
        assert!(welcome.starts_anew);
        let pages = peer.caught_up().await;
        assert_eq!(pages.iter().map(|page| page.events.len()).sum::<usize>(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_an_unknown_device_get_the_same_goodbye() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let mut wrong = alice.clone();
    wrong.token = vec![0; 32].into();
    let mut unknown = alice.clone();
    unknown.id = fresh_id();
    let mut goodbyes = Vec::new();
    for device in [wrong, unknown] {
        let mut peer = world.peer().await;
        peer.control(hello(&device, Bytes::new())).await;
        goodbyes.push(peer.goodbye().await);
    }
    assert_eq!(goodbyes[0], goodbyes[1]);
    assert_eq!(goodbyes[0].action(), Action::SignIn);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer_a_few_times() {
    let world = World::start().await;
    world.register("alice").await;
    let mut peer = world.peer().await;
    let mut answers = Vec::new();
    for name in ["alice", "nobody", "alice", "nobody", "alice"] {
        peer.control(client_frame::Body::SignIn(sign_in(name, "wrong password")))
            .await;
        let server_frame::Body::Refused(error) = peer.body().await else {
            panic!("refused")
        };
        answers.push(error);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(answers[0].code(), ErrorCode::WrongCredentials);
    peer.control(client_frame::Body::SignIn(sign_in(
        "alice",
        "wrong password",
    )))
    .await;
    is_refused(&mut peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_too_old_is_told_to_upgrade() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let client_frame::Body::Hello(current) = hello(&alice, Bytes::new()) else {
        unreachable!()
    };
    let mut peer = world.peer().await;
    let old = v1::Hello {
        protocol_version: 0,
        ..current
    };
    peer.control(client_frame::Body::Hello(old)).await;
    let goodbye = peer.goodbye().await;
    assert_eq!(
        (goodbye.code(), goodbye.action()),
        (ErrorCode::UpgradeRequired, Action::Upgrade)
    );
}

/// A ClientHello that offers TLS 1.2 at the most (RFC 5246, section 7.4.1.2).
fn tls12_client_hello() -> Vec<u8> {
    let groups = [0, 10, 0, 4, 0, 2, 0, 29]; // x25519
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3]; // ecdsa_secp256r1_sha256
    let mut hello = vec![3, 3];
    hello.extend([7; 32]); // random
    hello.extend([0]); // no session
    hello.extend([0, 2, 0xc0, 0x2b]); // ECDHE-ECDSA-AES128-GCM-SHA256
    hello.extend([1, 0]); // no compression
    hello.extend([0, 16]);
    hello.extend(groups.iter().chain(&signatures));
    let size = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, size + 4, 1, 0, 0, size];
    record.extend(hello);
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_below_1_3_another_alpn_and_none_are_refused() {
    let world = World::start().await;
    let mut old = TcpStream::connect(world.address).await.unwrap();
    old.write_all(&tls12_client_hello()).await.unwrap();
    let mut alert = [0; 7];
    old.read_exact(&mut alert).await.unwrap();
    // A fatal alert: protocol_version (RFC 8446, section 6.2).
    assert_eq!((alert[0], alert[5], alert[6]), (21, 2, 70));

    let tls13 = [&rustls::version::TLS13];
    assert!(world.tls(&[b"http/1.0"], &tls13).await.is_err());
    // Without ALPN the handshake succeeds, and the server closes before a byte.
    let mut stream = world.tls(&[], &tls13).await.unwrap();
    let mut byte = [0];
    assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
}
