//! Wakes for who lets friends alone write.

use magpie_protocol::{
    friendship::FriendAction,
    setting::{Reach as Messages, Setting},
};

use super::*;

async fn append(party: &Party, actor: Actor, command: Command) {
    let append = Append {
        actor,
        id: MessageId::new(id()),
        command,
    };
    let batch: Arc<[Append]> = [append].into();
    let shard = party.store.shards_of(&batch).await.unwrap().pop().unwrap();
    let now_ms = Clock::start().wall_ms();
    let committed = party.store.append(shard, batch, now_ms).await.unwrap();
    assert!(matches!(committed.outcomes[0], Outcome::Accepted { .. }));
}

/// D8. A message of a stranger wakes nobody, and being asked to be friends does.
#[tokio::test(flavor = "multi_thread")]
async fn a_friend_request_wakes_who_lets_friends_alone_write() {
    let (store, _dir) = fresh();
    let party = Party::new(store, 2).await;
    let [closed, open] = &party.sleepers[..] else {
        panic!("two of them")
    };
    let actor = Actor {
        user: closed.user,
        device: closed.device,
    };
    let setting = Setting::Privacy {
        messages: Messages::Friends,
    };
    append(&party, actor, Command::ChangeAccount { setting }).await;
    for sleeper in &party.sleepers {
        party.send(&party.store, sleeper, "hello").await;
    }
    let stop = CancellationToken::new();
    party.node(&party.store, Apps::default(), &stop);
    assert_eq!(party.pushes(open).await, 1);
    assert_eq!(party.emulator.world().counts().sends, 1, "to one of them");
    let request = Command::ChangeFriendship {
        name: closed.name.clone(),
        action: FriendAction::Request,
    };
    append(&party, party.sender, request).await;
    assert_eq!(party.pushes(closed).await, 1);
    stop.cancel();
}
