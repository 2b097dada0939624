//! Parts that are put into the bucket by who uploads, and counted by the server.

use data_encoding::BASE64;
use reqwest::Client;

use super::{Answer, Http, Uploader, bucket::world, id_of, picture, sha256, urls};
use crate::peer::World;

const OFFSET_STREAM: (&str, &str) = ("content-type", "application/offset+octet-stream");

fn checksum(bytes: &[u8]) -> String {
    BASE64.encode(&sha256(bytes))
}

/// Asks where a part is to be put.
async fn place(world: &World, by: &Uploader, upload: &str, at: usize, part: &[u8]) -> Answer {
    let (at, size) = (at.to_string(), part.len().to_string());
    let checksum = format!("sha256 {}", checksum(part));
    let headers = by.headers(&[
        ("upload-offset", &at),
        ("magpie-part", &size),
        ("upload-checksum", &checksum),
    ]);
    let mut http = Http::connect(world).await;
    http.ask("POST", upload, &headers, b"").await
}

/// What the bucket says to these bytes, with the checksum of others.
async fn put(answer: &Answer, bytes: &[u8], said: &[u8]) -> u16 {
    let request = Client::new()
        .put(answer.header("location").unwrap())
        .header("x-amz-checksum-sha256", checksum(said))
        .body(bytes.to_vec());
    request.send().await.unwrap().status().as_u16()
}

/// Says that a part is there.
async fn count(world: &World, by: &Uploader, upload: &str, at: usize, size: usize) -> Answer {
    let (at, size) = (at.to_string(), size.to_string());
    let headers = by.headers(&[
        OFFSET_STREAM,
        ("upload-offset", &at),
        ("magpie-part", &size),
    ]);
    let mut http = Http::connect(world).await;
    http.ask("PATCH", upload, &headers, b"").await
}

/// D12. In between the server takes a part itself, and starts anew.
#[tokio::test(flavor = "multi_thread")]
async fn parts_that_were_put_into_the_bucket_count_once_the_server_has_seen_them() {
    let Some((world, pail)) = world(true).await else {
        return;
    };
    let alice = Uploader::new(&world, "alice").await;
    let bytes = picture(2_500_000);
    let upload = alice.begin(&world, bytes.len()).await;
    let told = alice.head(&world, &upload).await;
    assert_eq!(told.header("magpie-part-max"), Some("1048576"));
    let first = &bytes[..1_000_000];
    let placed = place(&world, &alice, &upload, 0, first).await;
    assert_eq!((placed.status, placed.body.len()), (201, 0));
    let early = count(&world, &alice, &upload, 0, first.len()).await;
    assert_eq!(early.status, 409, "it is not there yet");
    assert_eq!(alice.head(&world, &upload).await.offset(), 0);
    assert_eq!(put(&placed, first, first).await, 200);
    let other = count(&world, &alice, &upload, 0, first.len() - 1).await;
    assert_eq!(other.status, 460, "it has another size");
    let counted = count(&world, &alice, &upload, 0, first.len()).await;
    assert_eq!((counted.status, counted.offset()), (204, 1_000_000));
    let again = count(&world, &alice, &upload, 0, first.len()).await;
    assert_eq!(again.status, 409, "it counts once");

    let world = world.restart().await;
    let second = &bytes[1_000_000..1_500_000];
    let sent = alice.patch(&world, &upload, 1_000_000, second, &[]).await;
    assert_eq!(sent.status, 204);
    let last = &bytes[1_500_000..];
    let placed = place(&world, &alice, &upload, 1_500_000, last).await;
    assert_eq!(put(&placed, last, last).await, 200);
    let counted = count(&world, &alice, &upload, 1_500_000, last.len()).await;
    assert_eq!((counted.status, counted.offset()), (204, 2_500_000));
    let found = urls(&world, &alice.device, &[id_of(&upload)]).await;
    assert_eq!(found[0].sha256, sha256(&bytes));
    assert_eq!(found[0].content_type, "image/png");
    drop(pail);
}

/// D9, D10. However often it is asked for, there is one place, for the bytes that were said.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_the_bucket_is_for_one_part_of_ones_own() {
    let Some((world, pail)) = world(true).await else {
        return;
    };
    let alice = Uploader::new(&world, "alice").await;
    let eve = Uploader::new(&world, "eve").await;
    let upload = alice.begin(&world, 20_000_000).await;
    let (one, other) = ([1; 1_000], [2; 1_000]);
    let placed = place(&world, &alice, &upload, 0, &one).await;
    assert_eq!(put(&placed, &other, &one).await, 400);
    assert_eq!(put(&placed, &one, &one).await, 200);
    let placed = place(&world, &alice, &upload, 0, &other).await;
    assert_eq!(put(&placed, &other, &other).await, 200);
    assert_eq!(pail.names().await.len(), 1, "there is one object");

    assert_eq!(place(&world, &eve, &upload, 0, &one).await.status, 404);
    assert_eq!(count(&world, &eve, &upload, 0, 1_000).await.status, 404);
    assert_eq!(place(&world, &alice, &upload, 1, &one).await.status, 409);
    let large = vec![0; (1 << 20) + 1];
    assert_eq!(place(&world, &alice, &upload, 0, &large).await.status, 413);
    assert_eq!(place(&world, &alice, &upload, 0, &[]).await.status, 400);
    let small = alice.begin(&world, 999).await;
    assert_eq!(place(&world, &alice, &small, 0, &one).await.status, 413);
    let headers = alice.headers(&[("upload-offset", "0"), ("magpie-part", "9")]);
    let mut http = Http::connect(&world).await;
    let unsaid = http.ask("POST", &upload, &headers, b"").await;
    assert_eq!(unsaid.status, 400, "its checksum is not said");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_leave_of_the_operator_all_bytes_pass_the_server() {
    let Some((world, _pail)) = world(false).await else {
        return;
    };
    let alice = Uploader::new(&world, "alice").await;
    let upload = alice.begin(&world, 1_000).await;
    let told = alice.head(&world, &upload).await;
    assert_eq!(told.header("magpie-part-max"), None);
    assert_eq!(place(&world, &alice, &upload, 0, &[1]).await.status, 405);
    // Nobody puts anything there, so the header says nothing.
    assert_eq!(count(&world, &alice, &upload, 0, 1_000).await.offset(), 0);
}
