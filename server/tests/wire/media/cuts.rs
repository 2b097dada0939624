//! Uploads over a network that breaks.

use std::time::Duration;

use magpie_proxy::Proxy;
use magpie_server::config::Limits;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{Http, Uploader, get, id_of, picture, urls};
use crate::{
    peer::{PATIENCE, World},
    trust::connector,
};

const WHOLE: usize = 20_000_000;
const CUT: u64 = 2_000_000;

/// A 20 MB photo over a proxy that cuts each connection after 2 MB arrives as it is, with
/// less than 5% of its bytes sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_all_the_time_arrives_nearly_without_a_repeat() {
    let world = World::start().await;
    let proxy = Proxy::start(world.address, 1).await.unwrap();
    let alice = Uploader::new(&world, "alice").await;
    let bytes = picture(WHOLE);
    let place = alice.begin(&world, WHOLE).await;
    proxy.cut_each_after(CUT..=CUT);
    let connector = connector(&world.ca(), &[b"http/1.1"], &[&rustls::version::TLS13]);
    let mut offset = 0;
    for _ in 0..60 {
        let tcp = TcpStream::connect(proxy.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let Ok(stream) = connector.connect(name, tcp).await else {
            continue;
        };
        let mut stream = Http(stream).0;
        let mut head = format!("PATCH {place} HTTP/1.1\r\nhost: localhost\r\n");
        let (length, at) = ((WHOLE - offset).to_string(), offset.to_string());
        let more = [
            ("content-type", "application/offset+octet-stream"),
            ("upload-offset", at.as_str()),
            ("content-length", length.as_str()),
        ];
        for (key, value) in alice.headers(&more) {
            head += &format!("{key}: {value}\r\n");
        }
        drop(stream.write_all((head + "\r\n").as_bytes()).await);
        // As fast as a good network, not as loopback: what is on its way when the cut
        // comes goes with it.
        for piece in bytes[offset..].chunks(32 * 1024) {
            if stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        // An answer, or the cut.
        drop(timeout(PATIENCE, stream.read_u8()).await.unwrap());
        drop(stream);
        offset = usize::try_from(alice.head(&world, &place).await.offset()).unwrap();
        if offset == WHOLE {
            break;
        }
    }
    assert_eq!(offset, WHOLE);
    let sent = usize::try_from(proxy.counts().forwarded).unwrap();
    assert!(sent * 100 < WHOLE * 105, "{sent} bytes were sent");
    let urls = urls(&world, &alice.device, &[id_of(&place)]).await;
    assert!(get(&world, &urls[0].url, &[]).await.body == bytes);
}

/// Whoever asks how far an upload is has lost its connection, even if the server does not
/// know yet.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_over_another_network_goes_on_at_once() {
    let world = World::with(Limits::default()).await;
    let alice = Uploader::new(&world, "alice").await;
    let place = alice.begin(&world, 1_000_000).await;
    let mut http = Http::connect(&world).await;
    let mut head = format!("PATCH {place} HTTP/1.1\r\nhost: localhost\r\n");
    let more = [
        ("content-type", "application/offset+octet-stream"),
        ("upload-offset", "0"),
        ("content-length", "1000000"),
    ];
    for (key, value) in alice.headers(&more) {
        head += &format!("{key}: {value}\r\n");
    }
    http.write((head + "\r\n").as_bytes()).await;
    http.write(&[7; 600_000]).await;
    // Nothing tells when all of it has been read.
    let offset = timeout(PATIENCE, async {
        loop {
            let offset = alice.head(&world, &place).await.offset();
            if offset > 0 {
                return usize::try_from(offset).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let rest = vec![7; 1_000_000 - offset];
    let answer = alice.patch(&world, &place, offset, &rest, &[]).await;
    assert_eq!((answer.status, answer.offset()), (204, 1_000_000));
}
