//! The same in a bucket, and what only a bucket does: it is away for a while, and sends out
//! what it holds itself.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use magpie_protocol::wire::v1::{self, client_frame};
use magpie_proxy::Proxy;
use magpie_server::clock::Clock;
use reqwest::{Client, redirect::Policy};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use super::{
    Http, Uploader, fetches_what_was_uploaded, get, goes_on_where_it_was_cut_off, id_of,
    messages::photo,
    moto::{Pail, SECRET},
    picture, restarts, urls,
};
use crate::{
    peer::{PATIENCE, World, fresh_id},
    process::{magpied, run},
};

const HOUR_MS: u64 = 3_600_000;

/// A server on a bucket, unless there is none to test with.
pub(super) async fn world(is_presigned: bool) -> Option<(World, Pail)> {
    let pail = Pail::make().await?;
    let place = pail.place(pail.address, is_presigned);
    Some((World::keeping(place, Clock::start()).await, pail))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_to_a_bucket_is_fetched_as_it_was() {
    let Some((world, pail)) = world(false).await else {
        return;
    };
    fetches_what_was_uploaded(&world).await;
    let names = pail.names().await;
    assert!(names.iter().any(|it| it.starts_with("chat/blobs/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_a_bucket_goes_on_where_it_was_cut_off() {
    if let Some((world, _pail)) = world(false).await {
        goes_on_where_it_was_cut_off(&world).await;
    }
}

/// D12.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_a_bucket_goes_on_after_a_restart() {
    if let Some((world, _pail)) = world(false).await {
        restarts::goes_on_after_a_restart(world).await;
    }
}

/// D12.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_a_bucket_survives_that_the_server_is_killed() {
    if let Some(pail) = Pail::make().await {
        let dir = TempDir::new().unwrap();
        restarts::survives_kills(dir.path(), &pail.environment(pail.address)).await;
        assert!(!dir.path().join("media").exists());
    }
}

/// Waits until it is so.
async fn until(is_so: impl AsyncFn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("it does not become so");
}

/// D10, D12. Half an upload, one that nobody referred to, and one that a message refers to
/// until it is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_holds_what_is_referred_to_and_nothing_else() {
    let Some(pail) = Pail::make().await else {
        return;
    };
    let ahead_ms: &'static AtomicU64 = Box::leak(Box::default());
    let place = pail.place(pail.address, false);
    let world = World::keeping(place, Clock::ahead(ahead_ms)).await;
    let alice = Uploader::new(&world, "alice").await;
    let bob = world.register("bob").await;
    let half = alice.begin(&world, 1_000_000).await;
    let sent = alice.patch(&world, &half, 0, &[7; 600_000], &[]).await;
    assert_eq!(sent.status, 204);
    alice.upload(&world, &picture(1_000)).await;
    let bytes = picture(600_000);
    let id = alice.upload(&world, &bytes).await;
    let (mut peer, _) = world.connect(&alice.device, Bytes::new()).await;
    let accepted = peer.send(photo("bob", id.clone(), &bytes)).await;
    drop(peer);
    assert!(pail.names().await.len() >= 5);

    // Looked at when a server starts: first what has expired, and an hour later its bytes.
    ahead_ms.fetch_add(25 * HOUR_MS, Ordering::Relaxed);
    let world = world.restart().await;
    let found = urls(&world, &bob, std::slice::from_ref(&id)).await;
    assert!(get(&world, &found[0].url, &[]).await.body == bytes);
    let alice = Uploader::of(&world, alice.device).await;
    until(async || alice.head(&world, &half).await.status == 404).await;
    ahead_ms.fetch_add(2 * HOUR_MS, Ordering::Relaxed);
    let world = world.restart().await;
    until(async || pail.names().await.len() == 1).await;
    let found = urls(&world, &bob, std::slice::from_ref(&id)).await;
    assert!(get(&world, &found[0].url, &[]).await.body == bytes);

    let deletion = v1::DeleteMessage {
        message_id: fresh_id(),
        conversation_id: accepted.conversation_id,
        seq: accepted.seq,
    };
    let (mut peer, _) = world.connect(&alice.device, Bytes::new()).await;
    let deletion = client_frame::Body::DeleteMessage(deletion);
    let number = peer.request(deletion).await;
    peer.answer(number).await;
    drop(peer);
    let ids = [id];
    assert_eq!(urls(&world, &bob, &ids).await, []);
    // Who uploaded it has it until it expires.
    assert_eq!(urls(&world, &alice.device, &ids).await.len(), 1);
    ahead_ms.fetch_add(25 * HOUR_MS, Ordering::Relaxed);
    let world = world.restart().await;
    until(async || urls(&world, &alice.device, &ids).await.is_empty()).await;
    ahead_ms.fetch_add(2 * HOUR_MS, Ordering::Relaxed);
    let _world = world.restart().await;
    until(async || pail.names().await.is_empty()).await;
}

/// A bucket that goes away and comes back, and a server that keeps photos there.
async fn behind_a_proxy() -> Option<(Pail, Proxy, World)> {
    let pail = Pail::make().await?;
    let proxy = Proxy::start(pail.address, 1).await.unwrap();
    let place = pail.place(proxy.address(), false);
    let world = World::keeping(place, Clock::start()).await;
    Some((pail, proxy, world))
}

/// D12. What was sent before counts, and the server says when to come back.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_when_the_bucket_is_back() {
    let Some((pail, proxy, world)) = behind_a_proxy().await else {
        return;
    };
    let alice = Uploader::new(&world, "alice").await;
    let bytes = picture(1_500_000);
    let place = alice.begin(&world, bytes.len()).await;
    let sent = alice.patch(&world, &place, 0, &bytes[..700_000], &[]).await;
    assert_eq!(sent.status, 204);
    proxy.refuse();
    proxy.cut_all();
    let rest = &bytes[700_000..];
    let refused = alice.patch(&world, &place, 700_000, rest, &[]).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert!(!refused.text().contains(&pail.name), "{}", refused.text());
    assert_eq!(alice.head(&world, &place).await.offset(), 700_000);
    proxy.pass();
    let sent = alice.patch(&world, &place, 700_000, rest, &[]).await;
    assert_eq!(sent.status, 204);
    let found = urls(&world, &alice.device, &[id_of(&place)]).await;
    assert!(get(&world, &found[0].url, &[]).await.body == bytes);
}

/// D12. All has come, and it cannot be made one object: who asks again makes it.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_finished_when_the_bucket_is_back() {
    let Some((_pail, proxy, world)) = behind_a_proxy().await else {
        return;
    };
    let alice = Uploader::new(&world, "alice").await;
    let bytes = picture(2_000_000);
    let place = alice.begin(&world, bytes.len()).await;
    let half = &bytes[..1_900_000];
    assert_eq!(alice.patch(&world, &place, 0, half, &[]).await.status, 204);
    // The last part still arrives; reading all of them does not.
    proxy.cut_each_after(150_000..=150_000);
    proxy.cut_all();
    let last = &bytes[1_900_000..];
    let refused = alice.patch(&world, &place, 1_900_000, last, &[]).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    proxy.cut_none();
    proxy.cut_all();
    assert_eq!(alice.head(&world, &place).await.offset(), 2_000_000);
    let found = urls(&world, &alice.device, &[id_of(&place)]).await;
    assert!(get(&world, &found[0].url, &[]).await.body == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fetches_is_sent_to_the_bucket_if_that_is_wanted() {
    let Some((world, pail)) = world(true).await else {
        return;
    };
    let alice = Uploader::new(&world, "alice").await;
    let bytes = picture(900_000);
    let id = alice.upload(&world, &bytes).await;
    let url = urls(&world, &alice.device, &[id]).await.remove(0).url;
    let answer = get(&world, &url, &[]).await;
    assert_eq!((answer.status, answer.body.len()), (307, 0));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let elsewhere = answer.header("location").unwrap();
    assert!(elsewhere.starts_with(&format!("http://{}/{}/chat/", pail.address, pail.name)));
    assert!(elsewhere.contains("X-Amz-Expires=120") && !elsewhere.contains(SECRET));

    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let fetched = client.get(elsewhere).send().await.unwrap();
    let header = |name| fetched.headers()[name].to_str().unwrap();
    assert_eq!(header("content-type"), "image/png");
    assert_eq!(header("content-disposition"), "attachment");
    assert!(fetched.bytes().await.unwrap() == bytes);
    let range = client.get(elsewhere).header("range", "bytes=500-509");
    let range = range.send().await.unwrap();
    assert_eq!(range.status(), 206);
    assert_eq!(range.bytes().await.unwrap(), &bytes[500..510]);

    // What needs no bytes is answered here, and who may not have it is not sent anywhere.
    let mut http = Http::connect(&world).await;
    let head = http.ask("HEAD", &url, &[], b"").await;
    let length = head.header("content-length");
    assert_eq!((head.status, length), (200, Some("900000")));
    let etag = head.header("etag").unwrap();
    let known = get(&world, &url, &[("if-none-match", etag)]).await;
    assert_eq!(known.status, 304);
    let range = get(&world, &url, &[("range", "bytes=900000-")]).await;
    assert_eq!(range.status, 416);
    let other = get(&world, &format!("{url}0"), &[]).await;
    assert_eq!((other.status, other.header("location")), (403, None));
}

/// A service that refuses all that is asked.
async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4_096];
            drop(stream.read(&mut head).await);
            let refusal = "<Error><Code>AccessDenied</Code></Error>";
            let answer = format!(
                "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{refusal}",
                refusal.len()
            );
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_of_no_use_is_told_in_a_sentence_at_the_start() {
    let Some(pail) = Pail::make().await else {
        return;
    };
    let absent = Pail {
        address: pail.address,
        name: "magpie-nowhere".to_owned(),
    };
    let nobody = "127.0.0.1:1".parse().unwrap();
    for (pail, address, sentence) in [
        (&absent, pail.address, "there is no bucket magpie-nowhere"),
        (&pail, nobody, "it cannot be written to: "),
        (&pail, refusing().await, "403 Forbidden AccessDenied"),
    ] {
        let dir = TempDir::new().unwrap();
        let mut command = magpied(dir.path());
        command.envs(pail.environment(address));
        let (code, out, error) = run(&mut command).await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{error}");
        let begins = format!(
            "photos and files cannot be kept in s3://{}/chat: ",
            pail.name
        );
        assert!(
            error.contains(&begins) && error.contains(sentence),
            "{error}"
        );
        for hidden in [SECRET, "X-Amz", "Signature"] {
            assert!(!error.contains(hidden), "{error}");
        }
    }
}
