//! What a device that is welcome may ask for.

use super::*;

/// D6, D12: what was sent before the limit is answered, the rest is not done; what
/// is sent again on the next connection follows in its order.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_sends_too_fast_is_sent_away_and_nothing_overtakes() {
    let world = limited(|it| {
        it.send_rate_per_device = Some(Rate::new(3, 3, Duration::from_secs(2)));
    })
    .await;
    let alice = world.register("alice").await;
    let messages: Vec<_> = (0..6)
        .map(|index| text_to("alice", &index.to_string()))
        .collect();
    let (mut waits, mut accepted) = (0, 0);
    while accepted < messages.len() {
        let (mut a, _) = world.connect(&alice, Bytes::new()).await;
        for message in &messages[accepted..] {
            let body = client_frame::Body::SendMessage(message.clone());
            a.request(body).await;
        }
        loop {
            match a.body().await {
                server_frame::Body::Accepted(it) => {
                    assert_eq!(it.message_id, messages[accepted].message_id);
                    accepted += 1;
                    if accepted == messages.len() {
                        break;
                    }
                }
                server_frame::Body::Goodbye(goodbye) => {
                    is_limited(&goodbye);
                    waits += 1;
                    let after = Duration::from_millis(goodbye.after_ms.into());
                    tokio::time::sleep(after).await;
                    break;
                }
                server_frame::Body::Page(_) => {}
                other => panic!("neither accepted nor goodbye: {other:?}"),
            }
        }
    }
    assert!(waits > 0);
    assert_eq!(
        history(&world, &world.sign_in("alice").await).await,
        ["0", "1", "2", "3", "4", "5"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_devices_of_a_user_share_the_users_bucket() {
    let world = limited(|it| it.send_rate_per_user = only(2)).await;
    let first = world.register("alice").await;
    let second = world.sign_in("alice").await;
    for device in [&first, &second] {
        let (mut a, _) = world.connect(device, Bytes::new()).await;
        a.send(text_to("alice", "one")).await;
    }
    let (mut a, _) = world.connect(&first, Bytes::new()).await;
    is_limited(&sent_away(&mut a).await);
    // Another user is not touched.
    let bob = world.register("bob").await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    b.send(text_to("alice", "hello")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_limited_apart_from_messages() {
    for of_user in [false, true] {
        let world = limited(|it| {
            let rate = only(20_000);
            if of_user {
                it.send_size_rate_per_user = rate;
            } else {
                it.send_size_rate_per_device = rate;
            }
        })
        .await;
        let alice = world.register("alice").await;
        let (mut a, _) = world.connect(&alice, Bytes::new()).await;
        a.send(text_to("alice", &"x".repeat(15_000))).await;
        send(&mut a, &"x".repeat(15_000)).await;
        is_limited(&a.goodbye().await);
    }
}

/// A message to many is many deliveries, and they are counted once they happened.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_limited_by_whom_they_go_to() {
    let world = limited(|it| it.delivery_rate_per_user = only(5)).await;
    let alice = world.register("alice").await;
    for name in ["bob", "carol", "dave"] {
        world.register(name).await;
    }
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let create = v1::CreateGroup {
        message_id: fresh_id(),
        title: "tea".to_owned(),
        user_names: ["bob", "carol", "dave"].map(str::to_owned).to_vec(),
    };
    let group = v1::send_message::To::ConversationId(create.message_id.clone());
    let number = a.request(client_frame::Body::CreateGroup(create)).await;
    a.answer(number).await;
    let mut sent = 0;
    let goodbye = loop {
        let message = v1::SendMessage {
            to: Some(group.clone()),
            ..text_to("alice", "to four")
        };
        a.request(client_frame::Body::SendMessage(message)).await;
        let body = loop {
            let body = a.body().await;
            if !matches!(body, server_frame::Body::Page(_)) {
                break body;
            }
        };
        match body {
            server_frame::Body::Accepted(_) => sent += 1,
            server_frame::Body::Goodbye(goodbye) => break goodbye,
            other => panic!("neither accepted nor goodbye: {other:?}"),
        }
    };
    is_limited(&goodbye);
    // 4 of 5, then 8: the third has to wait, unless it overtook the count.
    assert!((2..=3).contains(&sent), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_for_names_is_limited_and_naming_friends_again_is_not() {
    let world = limited(|it| it.lookup_rate_per_user = only(3)).await;
    let alice = world.register("alice").await;
    world.register("bob").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    for _ in 0..10 {
        a.send(text_to("bob", "hello")).await;
    }
    for guess in ["guess1", "guess2"] {
        let message = text_to(guess, "are you there?");
        let number = a.request(client_frame::Body::SendMessage(message)).await;
        let server_frame::Body::Error(error) = a.answer(number).await else {
            panic!("an error")
        };
        assert_eq!(error.code(), ErrorCode::NotFound);
    }
    a.send(text_to("bob", "hello again")).await;
    let third = text_to("guess3", "are you there?");
    a.request(client_frame::Body::SendMessage(third)).await;
    is_limited(&a.goodbye().await);
}

/// D12: a request without a place in an order is refused, and the session goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_only_reads_is_refused_for_a_while() {
    let world = limited(|it| it.request_rate_per_device = only(2)).await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let ask = || client_frame::Body::FetchDevices(v1::FetchDevices {});
    for _ in 0..2 {
        let number = a.request(ask()).await;
        assert!(matches!(
            a.answer(number).await,
            server_frame::Body::Devices(_)
        ));
    }
    let number = a.request(ask()).await;
    let server_frame::Body::Error(error) = a.answer(number).await else {
        panic!("an error")
    };
    let said = (error.code(), error.action());
    assert_eq!(said, (ErrorCode::RateLimited, Action::RetryAfter));
    assert!(error.after_ms > 0);
    a.send(text_to("alice", "goes on")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_limited_and_those_of_who_left_do_not_count() {
    const MAX: u32 = 4;
    let world = limited(|it| it.requests_max = MAX).await;
    let alice = world.register("alice").await;
    // Each round leaves more behind than may be in flight.
    for _ in 0..5 {
        let (mut a, _) = world.connect(&alice, Bytes::new()).await;
        for _ in 0..MAX {
            send(&mut a, "unanswered").await;
        }
    }
    // The server notices that they are gone in its own time.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (mut a, _) = world.connect(&alice, Bytes::new()).await;
        send(&mut a, "answered").await;
        let body = loop {
            let body = a.body().await;
            if !matches!(body, server_frame::Body::Page(_)) {
                break body;
            }
        };
        match body {
            server_frame::Body::Accepted(_) => break,
            server_frame::Body::Goodbye(goodbye) => is_limited(&goodbye),
            other => panic!("neither accepted nor goodbye: {other:?}"),
        }
        assert!(Instant::now() < deadline, "requests were never given up");
    }
}

/// D9: slow is never a reason to close; to take and never to acknowledge is.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_pings_and_never_acknowledges_is_closed() {
    const TIMEOUT: Duration = Duration::from_millis(1_500);
    let world = limited(|it| it.ack_timeout = TIMEOUT).await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let started = Instant::now();
    b.send(text_to("alice", "one")).await;
    // The conversation's description: acknowledged.
    b.events(1).await;
    let pings = async {
        loop {
            a.control(client_frame::Body::Ping(v1::Ping::default()))
                .await;
            // The pong, pages, and at last the goodbye.
            loop {
                match a.body().await {
                    server_frame::Body::Goodbye(goodbye) => return goodbye,
                    server_frame::Body::Pong(_) => break,
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let goodbye = pings.await;
    let said = (goodbye.code(), goodbye.action());
    assert_eq!(said, (ErrorCode::TimedOut, Action::Reconnect));
    assert!(started.elapsed() >= TIMEOUT);
    // The other device has been quiet as long, with nothing to acknowledge.
    b.send(text_to("alice", "still here")).await;
}

/// A device that begins anew again and again is told to wait; one with a cursor is
/// not.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_a_device_are_limited() {
    let world = limited(|it| it.snapshot_rate_per_device = only(2)).await;
    let alice = world.register("alice").await;
    let mut cursor = Bytes::new();
    for _ in 0..2 {
        let (_, pages) = world.connect(&alice, Bytes::new()).await;
        cursor = pages.last().unwrap().cursor.clone();
    }
    let mut peer = world.peer().await;
    peer.control(hello(&alice, Bytes::new())).await;
    is_limited(&peer.goodbye().await);
    world.connect(&alice, cursor).await;
}
