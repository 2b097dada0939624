//! Friends, while everybody looks.

use magpie_protocol::wire::v1::{
    self, ErrorCode, FriendAction, client_frame, event_content::Kind, server_frame,
};

use crate::peer::{PASSWORD, Peer, World, fresh_id};

async fn befriend(of: &mut Peer, name: &str, action: FriendAction) -> Result<u64, ErrorCode> {
    let change = v1::ChangeFriendship {
        message_id: fresh_id(),
        user_name: name.to_owned(),
        action: action.into(),
    };
    let number = of
        .request(client_frame::Body::ChangeFriendship(change))
        .await;
    match of.answer(number).await {
        server_frame::Body::Accepted(accepted) => Ok(accepted.seq),
        server_frame::Body::Error(error) => Err(error.code()),
        other => panic!("{other:?}"),
    }
}

/// The next event: its sender's name, and whether they are friends; `None` if they are
/// asked.
async fn told(peer: &mut Peer) -> (String, Option<bool>) {
    let event = peer.events(1).await.remove(0);
    let friends = match event.content.unwrap().kind.unwrap() {
        Kind::FriendRequested(_) => None,
        Kind::FriendshipChanged(it) => Some(it.friends),
        other => panic!("{other:?}"),
    };
    (event.sender.unwrap().name, friends)
}

/// Also to those who have deleted their account since: nobody is the friend of nobody.
#[tokio::test(flavor = "multi_thread")]
async fn friends_are_told_as_it_happens() {
    let world = World::start().await;
    let ([_, _], [mut a, mut b], [mut of_alice, mut of_bob]) = world.two_of_two().await;
    for (name, expected) in [
        ("alice", ErrorCode::InvalidArgument),
        ("nobody", ErrorCode::NotFound),
    ] {
        let refused = befriend(&mut a, name, FriendAction::Request).await;
        assert_eq!(refused, Err(expected), "{name}");
    }
    assert_eq!(befriend(&mut a, "bob", FriendAction::Request).await, Ok(1));
    for peer in [&mut of_alice, &mut of_bob] {
        assert_eq!(told(peer).await, ("alice".to_owned(), None));
    }
    assert_eq!(befriend(&mut b, "alice", FriendAction::Accept).await, Ok(2));
    for peer in [&mut of_alice, &mut of_bob] {
        assert_eq!(told(peer).await, ("bob".to_owned(), Some(true)));
    }

    let delete = v1::DeleteAccount {
        password: PASSWORD.to_owned(),
    };
    let number = a.request(client_frame::Body::DeleteAccount(delete)).await;
    let answer = a.answer(number).await;
    assert!(matches!(answer, server_frame::Body::Done(_)), "{answer:?}");
    assert_eq!(told(&mut of_bob).await, (String::new(), Some(false)));
    let refused = befriend(&mut b, "alice", FriendAction::Request).await;
    assert_eq!(refused, Err(ErrorCode::NotFound));
}
