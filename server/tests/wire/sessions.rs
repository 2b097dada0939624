//! What a well-behaved device sees.

use std::sync::Arc;

use bytes::Bytes;
use magpie_protocol::{
    id::{DeviceId, MessageId, UserId},
    text::UserName,
    wire::{
        Target,
        v1::{self, Action, ErrorCode, client_frame, server_frame},
    },
};
use magpie_server::store::{Actor, Append, Command, Shard};

use crate::peer::{World, all_events, fresh_id, hello, text_of, text_to, texts};

fn all_conversations(pages: &[v1::Page]) -> Vec<v1::Conversation> {
    pages
        .iter()
        .flat_map(|page| page.conversations.clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_reaches_every_device_of_both_and_its_sender_hears_accepted_alone() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let second = world.sign_in("alice").await;
    let (mut a1, _) = world.connect(&alice, Bytes::new()).await;
    let (mut a2, _) = world.connect(&second, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;

    let first = a1.send(text_to("bob", "one")).await;
    assert_eq!(first.seq, 1, "making a direct conversation is no event");
    assert_eq!(a1.send(text_to("bob", "two")).await.seq, 2);
    for other in [&mut a2, &mut b] {
        assert_eq!(texts(&other.events(2).await), ["one", "two"]);
    }
    // The first event of a conversation comes behind its description, also to its
    // sender; the second message is told by `accepted` alone.
    let (_, pages) = world.connect(&alice, Bytes::new()).await;
    assert_eq!(texts(&all_events(&pages)), ["one", "two"]);
    let described = all_conversations(&pages);
    assert_eq!(described.len(), 1);
    assert_eq!(described[0].members.len(), 2);
}

/// D2: what committed while a device was away comes with its next connection,
/// once, and nothing that it has comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_gets_what_follows_its_cursor() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("bob", "one")).await;
    let (b, pages) = world.connect(&bob, Bytes::new()).await;
    assert_eq!(texts(&all_events(&pages)), ["one"]);
    let cursor = pages.last().unwrap().cursor.clone();
    drop(b);

    for text in ["two", "three"] {
        a.send(text_to("bob", text)).await;
    }
    let world = world.restart().await;
    let (mut b, pages) = world.connect(&bob, cursor).await;
    assert_eq!(texts(&all_events(&pages)), ["two", "three"]);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("bob", "four")).await;
    assert_eq!(texts(&b.events(1).await), ["four"]);
}

/// D2: a device that connects for the first time long after it was made gets all
/// that came since; what is older is history.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_a_cursor_begins_where_it_was_made() {
    const COUNT: usize = 70;
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    for index in 0..COUNT {
        a.send(text_to("bob", &index.to_string())).await;
    }
    let (_, pages) = world.connect(&bob, Bytes::new()).await;
    assert_eq!(all_events(&pages).len(), COUNT);

    let second = world.sign_in("bob").await;
    a.send(text_to("bob", "since then")).await;
    let (_, pages) = world.connect(&second, Bytes::new()).await;
    let seqs: Vec<u64> = all_events(&pages).iter().map(|event| event.seq).collect();
    let first_recent = COUNT as u64 - 50 + 1;
    assert_eq!(seqs, (first_recent..=COUNT as u64 + 1).collect::<Vec<_>>());
    assert_eq!(pages[0].conversations[0].first_seq, 1);
}

/// D3.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_again_gives_the_same_answer_and_no_second_event() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let message = text_to("bob", "once");
    let first = a.send(message.clone()).await;
    drop(a);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let again = a.send(message.clone()).await;
    assert_eq!(
        (first.seq, first.committed_at_ms),
        (again.seq, again.committed_at_ms)
    );

    let other = v1::SendMessage {
        message: Some("something else".into()),
        ..message
    };
    let number = a.request(client_frame::Body::SendMessage(other)).await;
    let server_frame::Body::Error(error) = a.answer(number).await else {
        panic!("a conflict")
    };
    assert_eq!(error.code(), ErrorCode::Conflict);
    assert_eq!(error.action(), Action::Never);
    let (_, pages) = world.connect(&bob, Bytes::new()).await;
    assert_eq!(texts(&all_events(&pages)), ["once"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_and_requests_may_leave_without_waiting_for_the_welcome() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    world.register("bob").await;
    let mut a = world.peer().await;
    a.control(hello(&alice, Bytes::new())).await;
    for text in ["one", "two"] {
        a.request(client_frame::Body::SendMessage(text_to("bob", text)))
            .await;
    }
    let mut accepted = Vec::new();
    while accepted.len() < 2 {
        if let server_frame::Body::Accepted(it) = a.body().await {
            accepted.push((it.in_reply_to, it.seq));
        }
    }
    assert_eq!(accepted, [(1, 1), (2, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_of_a_device_replaces_the_older() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (mut older, _) = world.connect(&alice, Bytes::new()).await;
    let (mut newer, _) = world.connect(&alice, Bytes::new()).await;
    let goodbye = older.goodbye().await;
    assert_eq!(
        (goodbye.code(), goodbye.action()),
        (ErrorCode::Replaced, Action::Never)
    );
    newer.send(text_to("alice", "to myself")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_told_at_once_and_is_not_welcome_again() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let second = world.sign_in("alice").await;
    let (mut a1, _) = world.connect(&alice, Bytes::new()).await;
    let (mut a2, _) = world.connect(&second, Bytes::new()).await;
    let revoke = v1::RevokeDevice {
        device_id: second.id.clone(),
    };
    let number = a1.request(client_frame::Body::RevokeDevice(revoke)).await;
    assert!(matches!(
        a1.answer(number).await,
        server_frame::Body::Done(_)
    ));
    let goodbye = a2.goodbye().await;
    assert_eq!(
        (goodbye.code(), goodbye.action()),
        (ErrorCode::Unauthenticated, Action::SignIn)
    );

    let mut again = world.peer().await;
    again.control(hello(&second, Bytes::new())).await;
    assert_eq!(again.goodbye().await.action(), Action::SignIn);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_is_answered_and_ends_the_session() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let number = a.request(client_frame::Body::SignOut(v1::SignOut {})).await;
    assert!(matches!(
        a.answer(number).await,
        server_frame::Body::Done(_)
    ));
    assert_eq!(a.goodbye().await.action(), Action::SignIn);
}

/// A repeated registration (its answer was lost) is the same one; a name that is
/// taken by somebody else is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_may_be_repeated_by_the_same_device() {
    let world = World::start().await;
    let register = v1::Register {
        device_id: fresh_id(),
        name: "Alice".to_owned(),
        password: crate::peer::PASSWORD.to_owned(),
        device_name: String::new(),
        invitation: String::new(),
    };
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let mut peer = world.peer().await;
        peer.control(client_frame::Body::Register(register.clone()))
            .await;
        let server_frame::Body::SignedIn(it) = peer.body().await else {
            panic!("signed in")
        };
        assert_eq!(it.user.unwrap().name, "alice");
        tokens.push(it.device_token);
    }
    assert_ne!(tokens[0], tokens[1]);
    for other in [
        v1::Register {
            device_id: fresh_id(),
            ..register.clone()
        },
        v1::Register {
            password: "another password".to_owned(),
            ..register.clone()
        },
    ] {
        let mut peer = world.peer().await;
        peer.control(client_frame::Body::Register(other)).await;
        let server_frame::Body::Refused(error) = peer.body().await else {
            panic!("refused")
        };
        assert_eq!(error.code(), ErrorCode::NameTaken);
    }
}

/// A pong's cursor covers what others wrote to others, so that a quiet device
/// does not fall behind, and it is as good as a page's.
#[tokio::test(flavor = "multi_thread")]
async fn a_pong_brings_the_cursor_forward() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, pages) = world.connect(&bob, Bytes::new()).await;
    let before = pages.last().unwrap().cursor.clone();
    // Accepted may come before the message is on its way; the next one comes behind it.
    for text in ["to myself", "again"] {
        a.send(text_to("alice", text)).await;
    }
    b.control(client_frame::Body::Ping(v1::Ping {
        id: 7,
        cursor: before.clone(),
    }))
    .await;
    let server_frame::Body::Pong(pong) = b.body().await else {
        panic!("a pong")
    };
    let checkpoint = pong.checkpoint.unwrap();
    assert_eq!((pong.id, checkpoint.after_frame), (7, b.received));
    assert_ne!(checkpoint.cursor, before);
    drop(b);
    a.send(text_to("bob", "news")).await;
    let (_, pages) = world.connect(&bob, checkpoint.cursor).await;
    assert_eq!(texts(&all_events(&pages)), ["news"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_what_was_asked_and_says_when_to_come_back() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("alice", "before")).await;
    let (drained, goodbye) = tokio::join!(world.node.drain(), a.goodbye());
    assert_eq!(
        (goodbye.code(), goodbye.action()),
        (ErrorCode::Draining, Action::Reconnect)
    );
    assert!(goodbye.after_ms <= 5_000);
    let () = drained;
}

/// D9: a device that does not acknowledge gets no more than the window, and all
/// of the rest once it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_reads_on_from_the_log() {
    const COUNT: usize = 1_500;
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("bob", "0")).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    for index in 1..=COUNT {
        a.send(text_to("bob", &index.to_string())).await;
    }
    // Nothing was acknowledged meanwhile; now all of it is.
    let mut seqs = Vec::new();
    while seqs.len() < COUNT {
        if let server_frame::Body::Page(page) = b.body().await {
            seqs.extend(page.events.iter().map(|event| event.seq));
            b.ack().await;
        }
    }
    assert_eq!(seqs, (2..=COUNT as u64 + 1).collect::<Vec<_>>());
}

/// What another node appended, or a doorbell lost: the tailer reads the log.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_no_doorbell_told_of_is_found_in_the_log() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("bob", "one")).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let append = |text: &str| Append {
        actor: Actor {
            user: UserId::try_from(alice.user_id.as_ref()).unwrap(),
            device: DeviceId::try_from(alice.id.as_ref()).unwrap(),
        },
        id: MessageId::try_from(fresh_id().as_ref()).unwrap(),
        command: Command::SendMessage {
            to: Target::User(UserName::parse("bob").unwrap()),
            message: text.try_into().unwrap(),
        },
    };
    for text in ["two", "three"] {
        world
            .store
            .append(Shard::FIRST, Arc::new([append(text)]), 0)
            .await
            .unwrap();
    }
    // A batch of this node that follows a hole does not overtake it.
    a.send(text_to("bob", "four")).await;
    assert_eq!(texts(&b.events(3).await), ["two", "three", "four"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_member_has_stored_and_read_is_told_and_kept() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let conversation_id = a.send(text_to("bob", "one")).await.conversation_id;
    b.events(1).await;
    let delivered = a.mark(|mark| mark.user_id == bob.user_id).await;
    assert_eq!((delivered.delivered_seq, delivered.read_seq), (1, 0));
    assert_eq!(delivered.conversation_id, conversation_id);

    // More than there is counts as all there is.
    let mark = v1::MarkRead {
        conversation_id,
        seq: 99,
    };
    let number = b.request(client_frame::Body::MarkRead(mark)).await;
    assert!(matches!(
        b.answer(number).await,
        server_frame::Body::Done(_)
    ));
    let read = a.mark(|mark| mark.read_seq > 0).await;
    assert_eq!((&read.user_id, read.read_seq), (&bob.user_id, 1));

    let (_, pages) = world.connect(&alice, Bytes::new()).await;
    let described = all_conversations(&pages);
    let members = &described[0].members;
    let of_bob = members
        .iter()
        .find(|it| it.user.as_ref().unwrap().user_id == bob.user_id);
    assert_eq!(
        (of_bob.unwrap().delivered_seq, of_bob.unwrap().read_seq),
        (1, 1)
    );
}

/// D2, D4: whoever is added while connected gets the description and then all
/// that follows, and no cursor passes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_is_added_while_connected_is_served_from_there() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let create = v1::CreateGroup {
        message_id: fresh_id(),
        title: "tea".to_owned(),
        user_names: Vec::new(),
    };
    let conversation_id = create.message_id.clone();
    let number = a.request(client_frame::Body::CreateGroup(create)).await;
    assert!(matches!(
        a.answer(number).await,
        server_frame::Body::Accepted(_)
    ));
    for round in 0..2 {
        let add = v1::AddMembers {
            message_id: fresh_id(),
            conversation_id: conversation_id.clone(),
            user_names: vec!["bob".to_owned()],
        };
        let number = a.request(client_frame::Body::AddMembers(add)).await;
        assert!(matches!(
            a.answer(number).await,
            server_frame::Body::Accepted(_)
        ));
        let page = b.page_with_events().await;
        assert_eq!(page.conversations.len(), 1, "round {round}");
        assert_eq!(page.conversations[0].first_seq, page.events[0].seq);
        let remove = v1::RemoveMember {
            message_id: fresh_id(),
            conversation_id: conversation_id.clone(),
            user_name: "bob".to_owned(),
        };
        let number = a.request(client_frame::Body::RemoveMember(remove)).await;
        assert!(matches!(
            a.answer(number).await,
            server_frame::Body::Accepted(_)
        ));
        assert_eq!(b.events(1).await[0].seq, page.events[0].seq + 1);
    }
}

/// D10: a removed member receives the removal, and nothing after it, live and later.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_receives_the_removal_last() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let create = v1::CreateGroup {
        message_id: fresh_id(),
        title: "tea".to_owned(),
        user_names: vec!["bob".to_owned()],
    };
    let conversation_id = create.message_id.clone();
    let number = a.request(client_frame::Body::CreateGroup(create)).await;
    assert!(matches!(
        a.answer(number).await,
        server_frame::Body::Accepted(_)
    ));
    let to_group = |text: &str| v1::SendMessage {
        message_id: fresh_id(),
        to: Some(v1::send_message::To::ConversationId(
            conversation_id.clone(),
        )),
        message: Some(text.into()),
    };
    a.send(to_group("seen")).await;
    let remove = v1::RemoveMember {
        message_id: fresh_id(),
        conversation_id: conversation_id.clone(),
        user_name: "bob".to_owned(),
    };
    let number = a.request(client_frame::Body::RemoveMember(remove)).await;
    assert!(matches!(
        a.answer(number).await,
        server_frame::Body::Accepted(_)
    ));
    a.send(to_group("not for bob")).await;
    a.send(text_to("bob", "privately")).await;

    let live = b.events(4).await;
    let seqs: Vec<u64> = live.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 1]);
    assert_eq!(text_of(&live[3]), "privately");
    let (_, pages) = world.connect(&bob, Bytes::new()).await;
    let later = all_events(&pages);
    assert_eq!(
        later
            .iter()
            .filter(|it| it.conversation_id == conversation_id)
            .count(),
        3
    );
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let number = b
        .request(client_frame::Body::SendMessage(to_group("let me in")))
        .await;
    let server_frame::Body::Error(error) = b.answer(number).await else {
        panic!("refused")
    };
    assert_eq!(error.code(), ErrorCode::NotFound);
}
