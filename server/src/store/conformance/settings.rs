//! What users set for themselves: their account logs.

use magpie_protocol::{
    id::{ConversationId, UserId},
    seq::Seq,
    setting::{Notify, NotifyLevel, Setting},
    wire::{FetchHistory, HistoryFrom, Target, v1, v1::event_content::Kind},
};

use super::{
    ALL, NOON, Player, World, add, decoded, send, seqs,
    wakes::{candidates, due, record, with_push},
};
use crate::store::{
    Addressed, Append, Command, DEADLINE_MS_MAX, MembershipChange, Outcome, Refusal, account_log,
};

fn contact(nickname: &str) -> Setting {
    Setting::Contact {
        user: UserId::new([9; 16]),
        favourite: true,
        nickname: nickname.to_owned().try_into().unwrap(),
    }
}

fn set(world: &World, player: &Player, setting: Setting) -> Append {
    world.request(player, Command::ChangeAccount { setting })
}

pub(in crate::store) async fn the_first_setting_makes_the_account_log(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let log = account_log(alice.id());
    let settings = [contact("Mum"), contact("Mummy")];
    let batch = settings.clone().map(|setting| set(&world, &alice, setting));
    let appended = world.append(&batch).await;
    assert_eq!(seqs(&appended.events), [1, 2]);
    let joined = Some(MembershipChange::Joined(vec![alice.id()]));
    assert_eq!(appended.events[0].change, joined);
    assert_eq!(appended.events[1].change, None);
    for (event, setting) in appended.events.iter().zip(&settings) {
        assert_eq!(event.conversation, log);
        let content = decoded(event).content.unwrap().kind.unwrap();
        let Kind::AccountChanged(changed) = content else {
            panic!("{content:?}")
        };
        assert_eq!(changed.change, Some(setting.to_wire()));
    }
    let again = world.append(&batch).await;
    assert_eq!((again.events, again.outcomes), (vec![], appended.outcomes));
    let mut other = batch[0].clone();
    other.command = batch[1].command.clone();
    assert_eq!(world.refuse(other).await, Refusal::Conflict);

    // As it is read again, by other nodes and the user's devices.
    let stretch = world
        .store
        .stretch(appended.after.in_shard(shard(&world, &alice)), ALL);
    let of_log = |it: &&crate::store::LogEvent| it.conversation == log;
    let read = stretch.await.unwrap().events;
    let read: Vec<_> = read.iter().filter(of_log).collect();
    assert_eq!(read, appended.events.iter().collect::<Vec<_>>());
    let page = world.page(&alice, appended.after, ALL).await;
    assert_eq!(seqs(&page.events), [1, 2]);
    let description = &page.conversations[0];
    assert_eq!(description.kind(), v1::ConversationKind::Account);
    assert_eq!(description.members.len(), 1);
    assert_eq!(world.page(&bob, appended.after, ALL).await.events, []);
}

fn shard(world: &World, player: &Player) -> crate::store::Shard {
    crate::store::Shard::of_conversation(account_log(player.id()), world.store.shard_count())
}

/// D10.
pub(in crate::store) async fn an_account_log_is_its_users_alone(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    world.accept(set(&world, &alice, contact("Mum"))).await;
    let log = account_log(alice.id());
    let history = FetchHistory {
        conversation: log,
        from: HistoryFrom::After(Seq::ZERO),
        limit: 10,
    };
    let own = world.store.history(alice.id(), history).await;
    assert_eq!(own.unwrap().unwrap().events.len(), 1);
    let others = world.store.history(bob.id(), history).await;
    assert_eq!(others, Ok(None));
    assert_eq!(world.mark(&bob, log, 1).await, None);
    let message = || send(Target::Conversation(log), "hello");
    for command in [message(), add(log, &[&bob])] {
        let refused = world.refuse(world.request(&bob, command.clone())).await;
        assert_eq!(refused, Refusal::NotFound);
        // Nor do they write there by other ways.
        let refused = world.refuse(world.request(&alice, command)).await;
        assert_eq!(refused, Refusal::NotPossible);
    }
    let among = [
        world.post(&alice, log, "in a batch"),
        world.to(&alice, &bob, "hi"),
    ];
    let outcomes = world.append(&among).await.outcomes;
    assert_eq!(outcomes[0], Outcome::Refused(Refusal::NotPossible));
    assert!(matches!(outcomes[1], Outcome::Accepted { .. }));
    let delete = Command::DeleteMessage {
        conversation: log,
        seq: Seq::new(1),
    };
    let refused = world.refuse(world.request(&alice, delete)).await;
    assert_eq!(refused, Refusal::NotPossible);
}

fn mute(of: Option<ConversationId>, level: NotifyLevel, until_ms: Option<i64>) -> Setting {
    Setting::Notify {
        conversation: of,
        notify: Notify { level, until_ms },
    }
}

/// Of what is set for all conversations and for one the stricter holds, until its time
/// has come.
pub(in crate::store) async fn a_candidate_says_for_what_its_user_is_woken(world: World) {
    use NotifyLevel::{All, Mentions, None as Nothing};
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    with_push(&world, &bob).await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    let head = world.head().await;
    let (one, all) = (Some(direct), None);
    for (setting, expected) in [
        (mute(one, Nothing, None), Nothing),
        (mute(one, Mentions, Some(NOON + 1)), Mentions),
        (mute(one, Mentions, Some(NOON)), All),
        (mute(all, Mentions, None), Mentions),
        (mute(one, Nothing, Some(NOON + 1)), Nothing),
        (mute(one, All, None), Mentions),
        (mute(all, All, None), All),
        (mute(Some(ConversationId::new([7; 16])), Nothing, None), All),
    ] {
        world.accept(set(&world, &bob, setting.clone())).await;
        world
            .accept(set(&world, &alice, mute(all, Nothing, None)))
            .await;
        let found = candidates(&world, direct, head).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].level, expected, "{setting:?}");
    }
}

pub(in crate::store) async fn a_wake_for_what_was_muted_since_is_not_tried_again(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let phone = with_push(&world, &bob).await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "one")).await;
    let first = world.head().await;
    assert_eq!(record(&world, phone, first, NOON).await.len(), 1);
    let tea = world.group(&alice, &[&bob]).await;
    world.accept(world.post(&alice, tea, "two")).await;
    let second = world.head().await;
    let later = NOON + DEADLINE_MS_MAX;
    let tried = due(&world, later).await;
    assert_eq!((tried[0].position, tried[0].tries), (first, 2));
    let quiet = mute(Some(direct), NotifyLevel::None, None);
    world.accept(set(&world, &bob, quiet)).await;
    let tried = due(&world, later * 2).await;
    assert_eq!((tried[0].position, tried[0].tries), (second, 1));
    let quiet = mute(None, NotifyLevel::None, Some(later * 4));
    world.accept(set(&world, &bob, quiet)).await;
    assert_eq!(due(&world, later * 3).await, []);
    assert_eq!(due(&world, later * 5).await, [], "nor is it kept");
}

pub(in crate::store) async fn it_is_found_for_whom_a_message_is_meant(world: World) {
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let (direct, _) = world.accept(world.to(&alice, &bob, "plain")).await;
    let plain = world.head().await;
    let mut positions = vec![plain];
    let mention = v1::Mention {
        user_id: bob.id().to_wire(),
        start: 0,
        length: 4,
    };
    for message in [
        v1::Message {
            mentions: vec![mention],
            ..v1::Message::from("@bob")
        },
        v1::Message {
            mentions_everybody: true,
            ..v1::Message::from("all")
        },
        v1::Message {
            reply_to_seq: 1,
            ..v1::Message::from("yes")
        },
    ] {
        let message = message.try_into().unwrap();
        let to = Target::Conversation(direct);
        let command = Command::SendMessage { to, message };
        world.accept(world.request(&bob, command)).await;
        positions.push(world.head().await);
    }
    let mut found = world.store.addressed(&positions).await.unwrap();
    found.sort_by_key(|it| it.position);
    let expected = [
        (false, vec![]),
        (false, vec![bob.id()]),
        (true, vec![]),
        (false, vec![alice.id()]),
    ];
    let expected: Vec<Addressed> = expected
        .into_iter()
        .zip(positions)
        .map(|((everybody, users), position)| Addressed {
            position,
            everybody,
            users,
        })
        .collect();
    assert_eq!(found, expected);
}

pub(in crate::store) async fn what_somebody_deleted_had_set_is_gone(world: World) {
    let alice = world.player("alice").await;
    let after = world.head().await;
    for setting in [contact("Mum"), mute(None, NotifyLevel::None, None)] {
        world.accept(set(&world, &alice, setting)).await;
    }
    let delete = crate::store::AccountChange::Delete;
    let deleted = world.store.change_account(alice.id(), None, &delete).await;
    assert_eq!(deleted, Ok(Some(vec![alice.actor.device])));
    let events = world.store.stretch(after, ALL).await.unwrap().events;
    assert_eq!(seqs(&events), [1, 2]);
    for event in &events {
        assert_eq!(decoded(event).content.unwrap().kind, None);
    }
}
