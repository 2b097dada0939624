//! Wakes for who wants few of them.

use magpie_protocol::setting::{Notify as Wanted, NotifyLevel, Setting};

use super::*;

async fn set(party: &Party, of: &Sleeper, level: NotifyLevel) {
    let notify = Wanted {
        level,
        until_ms: None,
    };
    let append = Append {
        actor: Actor {
            user: of.user,
            device: of.device,
        },
        id: MessageId::new(id()),
        command: Command::ChangeAccount {
            setting: Setting::Notify {
                conversation: None,
                notify,
            },
        },
    };
    let batch: Arc<[Append]> = [append].into();
    let shard = party.store.shards_of(&batch).await.unwrap().pop().unwrap();
    let committed = party.store.append(shard, batch, 0).await.unwrap();
    assert!(matches!(committed.outcomes[0], Outcome::Accepted { .. }));
}

/// D8. What is muted before its wake is sent wakes nobody, and what comes for them in
/// particular does.
#[tokio::test(flavor = "multi_thread")]
async fn who_wants_mentions_alone_is_woken_by_those() {
    let (store, _dir) = fresh();
    let party = Party::new(store, 3).await;
    let [quiet, muted, loud] = &party.sleepers[..] else {
        panic!("three of them")
    };
    for sleeper in &party.sleepers {
        party.send(&party.store, sleeper, "one").await;
    }
    set(&party, quiet, NotifyLevel::Mentions).await;
    set(&party, muted, NotifyLevel::None).await;
    let stop = CancellationToken::new();
    party.node(&party.store, Apps::default(), &stop);
    assert_eq!(party.pushes(loud).await, 1);
    for sleeper in [muted, quiet] {
        let message = v1::Message {
            mentions_everybody: true,
            ..v1::Message::from("all of you")
        };
        let append = Append {
            actor: party.sender,
            id: MessageId::new(id()),
            command: Command::SendMessage {
                to: Target::User(sleeper.name.clone()),
                message: message.try_into().unwrap(),
            },
        };
        let batch: Arc<[Append]> = [append].into();
        let now_ms = Clock::start().wall_ms();
        let shard = party.store.shards_of(&batch).await.unwrap().pop().unwrap();
        party.store.append(shard, batch, now_ms).await.unwrap();
    }
    assert_eq!(party.pushes(quiet).await, 1);
    assert_eq!(party.emulator.world().counts().sends, 2, "to two of them");
    stop.cancel();
}
