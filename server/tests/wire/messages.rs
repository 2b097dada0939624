//! What is done to messages, over the wire.

use std::time::Duration;

use bytes::Bytes;
use magpie_protocol::{
    seq::Seq,
    text::UserName,
    wire::v1::{self, ErrorCode, client_frame::Body, event_content::Kind, server_frame},
};

use magpie_server::{
    config::Limits,
    store::{Actor, Append, Command, MarkRead, Shard},
};

use crate::peer::{Peer, World, all_events, fresh_id, text_to};

fn kind(event: &v1::Event) -> Kind {
    event.content.clone().unwrap().kind.unwrap()
}

fn edit(conversation_id: &Bytes, seq: u64, text: &str) -> Body {
    Body::EditMessage(v1::EditMessage {
        message_id: fresh_id(),
        conversation_id: conversation_id.clone(),
        seq,
        message: Some(text.into()),
    })
}

fn delete(conversation_id: &Bytes, seq: u64) -> Body {
    Body::DeleteMessage(v1::DeleteMessage {
        message_id: fresh_id(),
        conversation_id: conversation_id.clone(),
        seq,
    })
}

fn react(conversation_id: &Bytes, seq: u64, removed: bool) -> Body {
    Body::React(v1::React {
        message_id: fresh_id(),
        conversation_id: conversation_id.clone(),
        seq,
        emoji: "👍".to_owned(),
        removed,
    })
}

async fn accepted(peer: &mut Peer, body: Body) -> u64 {
    let number = peer.request(body).await;
    match peer.answer(number).await {
        server_frame::Body::Accepted(it) => it.seq,
        other => panic!("{other:?}"),
    }
}

async fn refused(peer: &mut Peer, body: Body) -> ErrorCode {
    let number = peer.request(body).await;
    match peer.answer(number).await {
        server_frame::Body::Error(it) => it.code(),
        other => panic!("{other:?}"),
    }
}

/// D2, D4. Each change is an event; who comes later gets a deleted message without what
/// it said, and history says what became of the others.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_messages_reaches_everybody() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let direct = a.send(text_to("bob", "helo")).await.conversation_id;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let phone = world.sign_in("bob").await;
    let (mut watcher, _) = world.connect(&phone, Bytes::new()).await;
    a.send(text_to("bob", "secret")).await;
    assert_eq!(accepted(&mut a, edit(&direct, 1, "hello")).await, 3);
    assert_eq!(accepted(&mut b, react(&direct, 1, false)).await, 4);
    assert_eq!(accepted(&mut a, delete(&direct, 2)).await, 5);
    let live = watcher.events(4).await;
    let seqs: Vec<u64> = live.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [2, 3, 4, 5]);
    assert_eq!(kind(&live[0]), Kind::Message("secret".into()));
    let deleted = Kind::MessageDeleted(v1::MessageDeleted { seq: 2 });
    assert_eq!(kind(&live[3]), deleted);
    let (mut b, pages) = world.connect(&bob, Bytes::new()).await;
    let later = all_events(&pages);
    assert_eq!(kind(&later[1]), Kind::Message(v1::Message::default()));
    let fetch = Body::FetchHistory(v1::FetchHistory {
        conversation_id: direct,
        from: Some(v1::fetch_history::From::AfterSeq(0)),
        limit: 2,
    });
    let number = b.request(fetch).await;
    let server_frame::Body::History(history) = b.answer(number).await else {
        panic!("history")
    };
    assert_eq!(history.states_seq, 5);
    let [state] = &history.states[..] else {
        panic!("{history:?}")
    };
    assert_eq!((state.seq, state.edited_seq), (1, 3));
    assert_eq!(state.message, Some("hello".into()));
    let reaction = v1::Reaction {
        emoji: "👍".to_owned(),
        count: 1,
        own: true,
    };
    assert_eq!(state.reactions, [reaction]);
}

/// D12.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_done_to_a_message_is_refused_by_its_reason() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let direct = a.send(text_to("bob", "mine")).await.conversation_id;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    for (body, code) in [
        (edit(&direct, 1, "yours"), ErrorCode::NotAllowed),
        (delete(&direct, 1), ErrorCode::NotAllowed),
        (delete(&direct, 9), ErrorCode::NotFound),
        (react(&direct, 1, true), ErrorCode::NothingToDo),
        (react(&direct, 0, false), ErrorCode::InvalidArgument),
        (edit(&direct, 1, ""), ErrorCode::InvalidArgument),
    ] {
        assert_eq!(refused(&mut b, body).await, code);
    }
}

/// D12. The operator says for how long.
#[tokio::test(flavor = "multi_thread")]
async fn who_edits_too_late_is_told_so() {
    let limits = Limits {
        edit_time_limit: Some(Duration::ZERO),
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let notes = a.send(text_to("alice", "a note")).await.conversation_id;
    // It may still be the same millisecond.
    for _ in 0..50 {
        let number = a.request(edit(&notes, 1, "another")).await;
        if let server_frame::Body::Error(error) = a.answer(number).await {
            assert_eq!(error.code(), ErrorCode::TooLate);
            return;
        }
    }
    panic!("50 edits in one millisecond");
}

/// D10. Another node removed her, and then he read there: this one learns of both at
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_is_not_told_who_reads_after_that() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let carol = world.register("carol").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let create = Body::CreateGroup(v1::CreateGroup {
        message_id: fresh_id(),
        title: "Tea".to_owned(),
        user_names: vec!["bob".to_owned(), "carol".to_owned()],
    });
    let number = a.request(create).await;
    let server_frame::Body::Accepted(group) = a.answer(number).await else {
        panic!("not made")
    };
    let (mut c, _) = world.connect(&carol, Bytes::new()).await;
    let conversation = group.conversation_id.as_ref().try_into().unwrap();
    let actor = Actor {
        user: alice.user_id.as_ref().try_into().unwrap(),
        device: alice.id.as_ref().try_into().unwrap(),
    };
    let remove = Append {
        actor,
        id: fresh_id().as_ref().try_into().unwrap(),
        command: Command::RemoveMember {
            conversation,
            name: UserName::parse("carol").unwrap(),
        },
    };
    let (store, shard) = (&world.store, Shard::FIRST);
    store.append(shard, [remove].into(), 1).await.unwrap();
    let read = MarkRead {
        user: bob.user_id.as_ref().try_into().unwrap(),
        conversation,
        seq: Seq::new(1),
    };
    store.mark_read(shard, &[read]).await.unwrap();
    let mut marks = Vec::new();
    loop {
        if let server_frame::Body::Page(page) = c.body().await {
            c.ack().await;
            marks.extend(page.marks);
            if !page.events.is_empty() {
                break;
            }
        }
    }
    marks.retain(|mark| mark.read_seq > 0);
    assert_eq!(marks, []);
}
