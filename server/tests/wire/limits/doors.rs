//! Connections: deadlines, how many, how fast.

use super::*;

/// The handshake's deadline is one of the whole of it: a byte now and then does not
/// put it off.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_finish_the_handshake_in_time_is_closed() {
    let world = limited(|it| it.handshake_timeout = Duration::from_millis(400)).await;
    let started = Instant::now();
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    let mut slow = TcpStream::connect(world.address).await.unwrap();
    let drip = async {
        // The head of a long handshake record, byte by byte.
        for byte in [22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3].into_iter().cycle() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if slow.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    };
    let mut byte = [0];
    let (read, ()) = tokio::join!(silent.read(&mut byte), drip);
    assert!(matches!(read, Ok(0) | Err(_)));
    assert!(started.elapsed() >= Duration::from_millis(400));
    world.register("alice").await;
}

/// So is the hello's, from the connection on.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_say_hello_in_time_is_told_and_closed() {
    let world = limited(|it| it.hello_timeout = Duration::from_millis(500)).await;
    let started = Instant::now();
    let mut silent = world.peer().await;
    let mut slow = world.peer().await;
    let drip = async {
        for _ in 0..40 {
            // A length, and then never the whole frame.
            slow.write(&[0, 0, 1, 0]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        slow.goodbye().await
    };
    let (goodbye, late) = tokio::join!(silent.goodbye(), drip);
    for goodbye in [goodbye, late] {
        let said = (goodbye.code(), goodbye.action());
        assert_eq!(said, (ErrorCode::TimedOut, Action::Reconnect));
    }
    assert!(started.elapsed() >= Duration::from_millis(500));
}

/// D9, D12.
#[tokio::test(flavor = "multi_thread")]
async fn above_the_connections_in_all_one_is_told_when_to_come_back() {
    let world = limited(|it| it.connections_max = Auto(Some(2))).await;
    let alice = world.register("alice").await;
    let (mut first, _) = world.connect(&alice, Bytes::new()).await;
    let second = world.peer().await;
    is_limited(&world.peer().await.goodbye().await);
    first.send(text_to("alice", "still here")).await;
    drop(second);
    // The place is free as soon as the server has seen it.
    loop {
        let mut peer = world.peer().await;
        peer.control(hello(&alice, Bytes::new())).await;
        match peer.body().await {
            server_frame::Body::Welcome(_) => break,
            server_frame::Body::Goodbye(goodbye) => is_limited(&goodbye),
            other => panic!("neither welcome nor goodbye: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_refusals_at_once_one_is_closed_without_a_word() {
    let world = limited(|it| {
        it.connections_max = Auto(Some(1));
        it.refusals_max = 0;
    })
    .await;
    let _only = world.peer().await;
    assert!(
        world
            .tls(&[ALPN], &[&rustls::version::TLS13])
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_unless_it_is_trusted() {
    let world = limited(|it| {
        it.connections_per_address_max = 1;
        it.trusted_networks = Networks::default();
    })
    .await;
    let _only = world.peer().await;
    is_limited(&world.peer().await.goodbye().await);

    let world = limited(|it| it.connections_per_address_max = 1).await;
    let _first = world.peer().await;
    world.register("alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_comes_in_at_a_limited_rate() {
    let world = limited(|it| {
        it.connection_rate_per_address = Some(Rate::new(2, 1, Duration::from_secs(1)));
        it.trusted_networks = Networks::default();
    })
    .await;
    let (_first, _second) = (world.peer().await, world.peer().await);
    is_limited(&world.peer().await.goodbye().await);
}
