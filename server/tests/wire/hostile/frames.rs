//! Frames of signed-in devices that are not what they should be.

use prost::Message as _;

use super::*;
use crate::peer::{Device, texts};

/// A field of Protocol Buffers' wire format: key and bytes.
fn field(number: u64, wire_type: u64, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint((number << 3) | wire_type, &mut out);
    out.extend(rest);
    out
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&length(body.len()), body].concat()
}

/// The first request of a session, as bytes that can be spoilt.
fn request(body: client_frame::Body) -> Vec<u8> {
    let frame = v1::ClientFrame {
        number: 1,
        critical: true,
        body: Some(body),
        ..Default::default()
    };
    frame.encode_to_vec()
}

fn message(text: &str) -> Vec<u8> {
    request(client_frame::Body::SendMessage(text_to("alice", text)))
}

/// What comes back for a frame of a new connection.
async fn answer(world: &World, device: &Device, frame: &[u8]) -> server_frame::Body {
    let (mut peer, _) = world.connect(device, Bytes::new()).await;
    peer.write(&framed(frame)).await;
    loop {
        match peer.body().await {
            server_frame::Body::Page(_) => {}
            body => return body,
        }
    }
}

/// Wire types that do not exist, keys without a number, varints without an end,
/// lengths beyond the end or below zero, groups, nesting: a violation each, and nobody
/// else notices.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_protobuf_ends_the_session() {
    let world = World::start().await;
    let mut bystander = bystander(&world).await;
    let alice = world.register("alice").await;
    let good = message("hi");
    let huge_varint = [0xff; 11];
    let mut minus_one = Vec::new();
    prost::encoding::encode_varint(u64::MAX, &mut minus_one);
    let groups = field(99, 3, &[]).repeat(16_000);
    let mut nested = Vec::new();
    for _ in 0..101 {
        let mut inner = Vec::new();
        prost::encoding::encode_varint(nested.len() as u64, &mut inner);
        inner.extend(&nested);
        nested = field(20, 2, &inner);
    }
    let not_utf8 = {
        let mut spoilt = message("aaaa");
        let at = spoilt.windows(4).position(|it| it == b"aaaa").unwrap();
        // An overlong "/", and the first half of a surrogate pair.
        spoilt[at..at + 4].copy_from_slice(&[0xc0, 0xaf, 0xed, 0xa0]);
        spoilt
    };
    for (what, frame) in [
        ("wire type 6", [&good[..], &field(99, 6, &[])].concat()),
        ("wire type 7", [&good[..], &field(99, 7, &[])].concat()),
        ("number 0", [&good[..], &field(0, 0, &[1])].concat()),
        ("varint", [&good[..], &field(99, 0, &huge_varint)].concat()),
        ("length", [&good[..], &field(99, 2, &[5, 1])].concat()),
        ("length -1", [&good[..], &field(99, 2, &minus_one)].concat()),
        ("groups", groups),
        ("text that is no UTF-8", not_utf8),
    ] {
        let said = answer(&world, &alice, &frame).await;
        let server_frame::Body::Goodbye(goodbye) = said else {
            panic!("{what}: {said:?}")
        };
        assert_eq!(goodbye.code(), ErrorCode::Violation, "{what}");
        // No text of a library reaches a stranger.
        assert!(goodbye.message.len() < 100, "{what}: {goodbye:?}");
    }
    let said = answer(&world, &alice, &nested).await;
    let is_refused = matches!(
        &said,
        server_frame::Body::Goodbye(_) | server_frame::Body::Error(_)
    );
    assert!(is_refused, "{said:?}");
    bystander.send(text_to("bystander", "still here")).await;
    let (_, pages) = world.connect(&alice, Bytes::new()).await;
    assert!(pages.iter().all(|page| page.events.is_empty()));
}

/// What a later version adds changes nothing; of what is there twice, the last
/// counts, as Protocol Buffers have it.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_passed_over_and_the_last_of_two_counts() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let unknown = [message("one"), field(1_000, 2, &[3, 1, 2, 3])].concat();
    let both = [
        request(client_frame::Body::FetchDevices(v1::FetchDevices {})),
        message("two"),
    ];
    let mut twice = v1::ClientFrame {
        number: 7,
        ..Default::default()
    }
    .encode_to_vec();
    twice.extend(message("three"));
    for frame in [unknown, both.concat(), twice] {
        let said = answer(&world, &alice, &frame).await;
        assert!(matches!(said, server_frame::Body::Accepted(_)), "{said:?}");
    }
    let (_, pages) = world.connect(&alice, Bytes::new()).await;
    let events = crate::peer::all_events(&pages);
    assert_eq!(texts(&events), ["one", "two", "three"]);
}

/// Whatever people type comes back as they typed it, or is refused by name.
#[tokio::test(flavor = "multi_thread")]
async fn strange_texts_are_kept_as_they_are() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let combining = format!("e{}", "\u{301}".repeat(1_000));
    let strange = [
        "'; DROP TABLE events; --",
        "\u{202e}txt.exe",
        "\r\n\t",
        "\u{1b}[2J",
        "\u{fffd}\u{feff}\u{200b}",
        "👩‍👩‍👧‍👦",
        "%s%n$1",
        &combining,
    ];
    for text in strange {
        a.send(text_to("alice", text)).await;
    }
    let other = world.sign_in("alice").await;
    let (_, pages) = world.connect(&other, Bytes::new()).await;
    let events = crate::peer::all_events(&pages);
    assert_eq!(texts(&events), strange);
    // No database of ours stores U+0000 in a text.
    let nul = text_to("alice", "a\u{0}b");
    let id = nul.message_id.clone();
    let number = a.request(client_frame::Body::SendMessage(nul)).await;
    let server_frame::Body::Error(error) = a.answer(number).await else {
        panic!("an error")
    };
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert_eq!(error.message_id, id);
}

/// D3. An id is its user's: again with another content it is a conflict, and what
/// somebody else does with it is nobody's business.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_used_again_is_a_conflict_for_its_user_alone() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let first = text_to("alice", "mine");
    a.send(first.clone()).await;
    let other = v1::SendMessage {
        message: Some("another".into()),
        ..first.clone()
    };
    let number = a.request(client_frame::Body::SendMessage(other)).await;
    let server_frame::Body::Error(error) = a.answer(number).await else {
        panic!("an error")
    };
    assert_eq!(
        (error.code(), error.action()),
        (ErrorCode::Conflict, Action::Never)
    );
    let theirs = v1::SendMessage {
        message_id: first.message_id.clone(),
        ..text_to("bob", "of another user")
    };
    assert_eq!(b.send(theirs).await.seq, 1);
    let again = a.send(first).await;
    assert_eq!(again.seq, 1, "the first one stays");
}
