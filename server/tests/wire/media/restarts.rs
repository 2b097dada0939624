//! What is left of uploads when the server ends.

use super::{Uploader, get, id_of, picture, urls};
use crate::peer::World;

/// D12.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_restart() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let bytes = picture(1_500_000);
    let place = alice.begin(&world, bytes.len()).await;
    let half = &bytes[..800_000];
    assert_eq!(alice.patch(&world, &place, 0, half, &[]).await.status, 204);
    let world = world.restart().await;
    // The token is good on every server of the log.
    assert_eq!(alice.head(&world, &place).await.offset(), 800_000);
    let rest = &bytes[800_000..];
    let answer = alice.patch(&world, &place, 800_000, rest, &[]).await;
    assert_eq!(answer.status, 204);
    let world = world.restart().await;
    let urls = urls(&world, &alice.device, &[id_of(&place)]).await;
    assert!(get(&world, &urls[0].url, &[]).await.body == bytes);
}
