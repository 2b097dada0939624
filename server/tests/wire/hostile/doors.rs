//! Before TLS is up: what is no handshake, or not all of one.

use std::{io, sync::Arc, time::Duration};

use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::time::timeout;

use super::*;
use crate::peer::PATIENCE;
use magpie_server::{
    config::{Auto, Limits},
    tls,
};

/// The ClientHello that a good client begins with.
fn client_hello() -> Vec<u8> {
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![magpie_protocol::limits::ALPN.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Closed by the server, and long before any deadline; what it said before.
async fn closed_at_once(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let read = stream.read_to_end(&mut said);
    match timeout(PATIENCE, read).await.expect("it is closed") {
        Ok(_) | Err(_) => said,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_is_closed_at_once_and_nobody_notices() {
    let world = World::start().await;
    let mut bystander = bystander(&world).await;
    // RFC 8446, section 5.1: no record is longer than 2^14 bytes.
    let oversized = [&[22, 3, 1, 0x40, 1][..], &[1; 0x4001]].concat();
    let empty_records = [22, 3, 1, 0, 0].repeat(100);
    // RFC 6101, appendix E: the hello of SSL 2.0.
    let ssl2 = [&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10][..], &[7; 37]].concat();
    let alert = [21, 3, 3, 0, 2, 2, 40].to_vec();
    let application_data = [&[23, 3, 3, 0, 16][..], &[0; 16]].concat();
    let mut damaged = client_hello();
    // The length of the cipher suites.
    damaged[77] ^= 0xff;
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: chat\r\n\r\n".to_vec(),
        oversized,
        empty_records,
        ssl2,
        alert,
        application_data,
        damaged,
    ] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(&bytes).await.ok();
        let said = closed_at_once(&mut stream).await;
        // An alert at most (RFC 8446, section 6), which tells a stranger nothing.
        assert!(said.len() <= 7, "{bytes:?}: {said:?}");
    }
    bystander.send(text_to("bystander", "still here")).await;
}

/// A ClientHello in records of one byte each is slow and allowed (RFC 8446, section
/// 5.1).
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_in_many_fragments_is_a_handshake() {
    let world = World::start().await;
    let hello = client_hello();
    let mut fragments = Vec::new();
    for byte in hello.get(5..).unwrap() {
        fragments.extend([22, 3, 1, 0, 1, *byte]);
    }
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&fragments).await.unwrap();
    let mut record = [0];
    stream.read_exact(&mut record).await.unwrap();
    assert_eq!(record, [22], "a ServerHello, not an alert");
}

/// Half-closed or reset after each byte of the handshake: no place is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_cut_at_any_byte_leaves_nothing_behind() {
    let limits = Limits {
        connections_max: Auto(Some(4)),
        refusals_max: 1,
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let hello = client_hello();
    for cut in 0..=hello.len() {
        for reset in [false, true] {
            let mut stream = connect_when_there_is_room(&world).await;
            stream.write_all(&hello[..cut]).await.unwrap();
            if reset {
                let socket = SockRef::from(&stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
            } else {
                stream.shutdown().await.unwrap();
                closed_at_once(&mut stream).await;
            }
        }
    }
    // All of the four places are free.
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(timeout(PATIENCE, room(&world)).await.unwrap());
    }
}

/// A connection is let in, or closed without a word when there is no room: the
/// server may not have noticed yet that the last ones are gone.
async fn connect_when_there_is_room(world: &World) -> TcpStream {
    let is_over = |error: &io::Error| error.kind() != io::ErrorKind::WouldBlock;
    loop {
        let stream = TcpStream::connect(world.address).await.unwrap();
        let mut byte = [0];
        let peeked = timeout(Duration::from_millis(1), stream.peek(&mut byte)).await;
        match peeked {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => assert!(is_over(&error), "{error}"),
            Err(_) => return stream,
        }
    }
}

/// A place for a peer, as soon as there is one.
async fn room(world: &World) -> Peer {
    loop {
        let alpn: &[&[u8]] = &[magpie_protocol::limits::ALPN];
        let Ok(stream) = world.tls(alpn, &[&rustls::version::TLS13]).await else {
            continue;
        };
        let mut peer = Peer::on(stream);
        peer.control(client_frame::Body::SignIn(sign_in(
            "nobody",
            "wrong password",
        )))
        .await;
        // Turned away with a goodbye, or answered.
        if matches!(peer.next().await, Some(frame) if matches!(
            frame.body, Some(server_frame::Body::Refused(_))
        )) {
            return peer;
        }
    }
}
