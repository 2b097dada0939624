//! What operators say to everybody.

use magpie_protocol::text::MessageText;

use super::{NOON, World};
use crate::store::{AccountChange, NewBroadcast};

pub(in crate::store) async fn a_broadcast_is_for_each_user_once(world: World) {
    let alice = world.player("alice").await;
    let sender = world.player("magpie").await;
    let (bob, carol) = (world.player("bob").await, world.player("carol").await);
    let suspend = &AccountChange::Suspend;
    let suspended = world.store.change_account(bob.id(), None, suspend).await;
    assert!(suspended.unwrap().is_some());
    let begun = world
        .store
        .add_broadcast(&NewBroadcast {
            sender: sender.id(),
            device: sender.actor.device,
            secret: [7; 16],
            text: MessageText::try_from("hello".to_owned()).unwrap(),
            at_ms: NOON,
        })
        .await;
    assert_eq!(begun, Ok(()));
    // Who comes later gets nothing.
    world.player("dave").await;

    let open = world.store.broadcasts(true, 10).await.unwrap();
    let [it] = open.as_slice() else {
        panic!("{open:?}")
    };
    assert_eq!(it.sender, (sender.id(), "magpie".to_owned()));
    assert_eq!((it.device, it.secret), (sender.actor.device, [7; 16]));
    assert_eq!((it.text.as_str(), it.begun_at_ms), ("hello", NOON));
    assert_eq!((it.sent, it.ended_at_ms), (0, None));

    let next = async |count| world.store.recipients(it.id, count).await.unwrap();
    let names: Vec<_> = next(10).await.into_iter().map(|it| it.name).collect();
    assert_eq!(names, [alice.name(), carol.name()]);
    let first = next(1).await;
    // Another node was as far.
    for _ in 0..2 {
        let reached = world.store.broadcast_reached(it.id, first[0].key, 1).await;
        assert_eq!(reached, Ok(()));
    }
    let rest = next(10).await;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].name, carol.name());
    let reached = world.store.broadcast_reached(it.id, rest[0].key, 1).await;
    assert_eq!(reached, Ok(()));
    assert_eq!(next(10).await, []);

    for at_ms in [NOON + 5, NOON + 6] {
        assert_eq!(world.store.end_broadcast(it.id, at_ms).await, Ok(()));
    }
    assert_eq!(world.store.broadcasts(true, 10).await, Ok(vec![]));
    let ended = world.store.broadcasts(false, 10).await.unwrap();
    assert_eq!((ended[0].sent, ended[0].ended_at_ms), (2, Some(NOON + 5)));
}
