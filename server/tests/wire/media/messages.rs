//! Photos in messages: who gets a URL of them, and until when.

use bytes::Bytes;
use magpie_protocol::wire::v1::{self, client_frame, server_frame};

use super::{Uploader, ask, get, picture, sha256, urls};
use crate::peer::{World, fresh_id};

/// A message with one photo.
pub(super) fn photo(name: &str, id: Bytes, bytes: &[u8]) -> v1::SendMessage {
    v1::SendMessage {
        message_id: fresh_id(),
        to: Some(v1::send_message::To::UserName(name.to_owned())),
        message: Some(v1::Message {
            media: vec![v1::Media {
                media_id: id,
                size: bytes.len() as u64,
                sha256: sha256(bytes).into(),
                content_type: "image/png".to_owned(),
                file_name: "at the sea.png".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        }),
    }
}

/// D10.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_a_message_fetches_what_is_in_it_until_it_is_deleted() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let bob = world.register("bob").await;
    let eve = world.register("eve").await;
    let bytes = picture(900_000);
    let id = alice.upload(&world, &bytes).await;
    let ids = [id.clone()];
    assert_eq!(urls(&world, &bob, &ids).await, []);

    let (mut peer, _) = world.connect(&alice.device, Bytes::new()).await;
    let accepted = peer.send(photo("bob", id.clone(), &bytes)).await;
    let urls_of_bob = urls(&world, &bob, &ids).await;
    let answer = get(&world, &urls_of_bob[0].url, &[]).await;
    assert!(answer.body == bytes);
    assert_eq!(urls(&world, &eve, &ids).await, []);
    // The same for all, so that a cache can serve it.
    assert_eq!(urls(&world, &alice.device, &ids).await, urls_of_bob);

    let deletion = v1::DeleteMessage {
        message_id: fresh_id(),
        conversation_id: accepted.conversation_id,
        seq: accepted.seq,
    };
    let (mut peer, _) = world.connect(&alice.device, Bytes::new()).await;
    let number = peer
        .request(client_frame::Body::DeleteMessage(deletion))
        .await;
    let deleted = peer.answer(number).await;
    assert!(matches!(deleted, server_frame::Body::Accepted(_)));
    assert_eq!(urls(&world, &bob, &ids).await, []);
}

/// D10.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_shares_what_is_somebody_elses() {
    let world = World::start().await;
    let alice = Uploader::new(&world, "alice").await;
    let eve = world.register("eve").await;
    let bytes = picture(100);
    let id = alice.upload(&world, &bytes).await;
    let mut answers = Vec::new();
    for id in [id.clone(), fresh_id()] {
        let body = client_frame::Body::SendMessage(photo("eve", id, &bytes));
        let server_frame::Body::Error(error) = ask(&world, &eve, body).await else {
            panic!("it was sent");
        };
        answers.push((error.code(), error.action(), error.message));
    }
    assert_eq!(answers[0].0, v1::ErrorCode::MediaNotFound);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(urls(&world, &eve, &[id]).await, []);
}
