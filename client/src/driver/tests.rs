//! Stories of the driver against a scripted server.

mod epochs;
mod members;
mod presence;
mod script;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use magpie_protocol::{
    id::DeviceId,
    seq::Seq,
    session::{Input, Reply},
    wire::{EncodedHistory, FetchHistory, HistoryFrom, Request, v1},
};
use parking_lot::Mutex;
use tokio::{io::DuplexStream, sync::mpsc};

use self::script::{ALICE, CHAT, MemoryDial, Peer, Story, begin, event};
use crate::{
    client::Event,
    database::FILE_NAME,
    error::{DisconnectReason, SignInError},
    home::Home,
    model::Content,
    request::{OutboxState, Outcome},
    server::{Server, Trust},
    sign_in::{Person, enter},
};

/// D1, D3, D6.
#[tokio::test]
async fn what_was_not_answered_is_sent_again_with_its_id_in_its_order() {
    let mut story = begin();
    let ids = [story.send("one"), story.send("two"), story.send("three")];
    let (mut first, _) = story.connection().await;
    first.welcome(true).await;
    let (number, id, _) = first.message().await;
    for _ in 0..2 {
        first.message().await;
    }
    first.accept(number, id, 1).await;
    story
        .event(|event| matches!(event, Event::Accepted { .. }))
        .await;
    // Cut: the second one's acceptance is lost on the way.
    drop(first);

    let (mut second, _) = story.connection().await;
    second.welcome(false).await;
    for (seq, (expected, text)) in (2..).zip([(ids[1], "two"), (ids[2], "three")]) {
        let (number, id, sent) = second.message().await;
        assert_eq!((id, sent.as_str()), (expected, text));
        second.accept(number, id, seq).await;
    }
    let last = ids[2];
    story
        .event(|event| matches!(event, Event::Accepted { id, .. } if *id == last))
        .await;
    let history = story.home.history(CHAT, None, 10).unwrap();
    let stored: Vec<_> = history
        .events
        .iter()
        .map(|event| event.message_id)
        .collect();
    assert_eq!(stored, ids.map(Some));
    assert_eq!(story.home.outbox_count().unwrap(), 0);
    story.client.shutdown().await;
}

/// D6.
#[tokio::test]
async fn a_retryable_refusal_holds_the_rest() {
    let mut story = begin();
    let ids = [story.send("one"), story.send("two")];
    let (mut first, _) = story.connection().await;
    first.welcome(true).await;
    let (number, _, _) = first.message().await;
    let unavailable = v1::Error {
        code: v1::ErrorCode::Unavailable.into(),
        action: v1::Action::RetryAfter.into(),
        after_ms: 50,
        ..Default::default()
    };
    first.reply(number, Reply::Error(unavailable)).await;
    let event = story
        .event(|event| matches!(event, Event::Disconnected { .. }))
        .await;
    let Event::Disconnected { reason, retry_in } = event else {
        panic!("another event");
    };
    assert!(matches!(reason, DisconnectReason::Held(_)));
    assert!(retry_in >= Duration::from_millis(50));

    let (mut second, _) = story.connection().await;
    second.welcome(false).await;
    assert_eq!(second.message().await.1, ids[0]);
    assert_eq!(second.message().await.1, ids[1]);
}

/// D12.
#[tokio::test]
async fn a_final_refusal_marks_one_and_the_rest_goes_on() {
    let mut story = begin();
    let ids = [story.send("one"), story.send("two")];
    let (mut peer, _) = story.connection().await;
    peer.welcome(true).await;
    let (number, _, _) = peer.message().await;
    let not_found = v1::Error {
        code: v1::ErrorCode::NotFound.into(),
        action: v1::Action::Never.into(),
        ..Default::default()
    };
    peer.reply(number, Reply::Error(not_found)).await;
    let (number, id, _) = peer.message().await;
    peer.accept(number, id, 1).await;
    story
        .event(|event| matches!(event, Event::Accepted { .. }))
        .await;
    assert!(matches!(
        story.home.outcome(ids[0]).unwrap(),
        Some(Outcome::Failed(_))
    ));
    assert!(matches!(
        story.home.outcome(ids[1]).unwrap(),
        Some(Outcome::Accepted(_))
    ));
    let entry = story.home.outbox().next().unwrap().unwrap();
    assert!(matches!(entry.state, OutboxState::Failed(_)));
}

/// D7.
#[tokio::test]
async fn a_page_is_acknowledged_once_it_is_stored_and_its_cursor_opens_the_next_session() {
    let mut story = begin();
    let (mut first, hello) = story.connection().await;
    assert_eq!(hello.cursor, "");
    first.welcome(true).await;
    let number = first.page(&[1, 2], "far", true).await;
    story.event(|event| *event == Event::CaughtUp).await;
    assert_eq!(story.home.history(CHAT, None, 10).unwrap().events.len(), 2);
    // What the client says next carries the acknowledgement.
    story.send("hello");
    first.message().await;
    assert_eq!(first.session.acked(), number);
    drop(first);
    let (_second, hello) = story.connection().await;
    assert_eq!((hello.cursor.as_ref(), hello.epoch), (&b"far"[..], 1));
}

/// D5.
#[tokio::test]
async fn a_missing_event_is_fetched_before_the_device_is_caught_up() {
    let mut story = begin();
    let (mut peer, _) = story.connection().await;
    peer.welcome(true).await;
    peer.page(&[1], "one", false).await;
    peer.page(&[4], "four", true).await;
    let (number, request) = peer.request().await;
    let asked = FetchHistory {
        conversation: CHAT,
        from: HistoryFrom::After(Seq::new(1)),
        limit: 2,
    };
    assert!(request == Request::FetchHistory(asked));
    assert_eq!(story.home.history(CHAT, None, 10).unwrap().events.len(), 1);
    let history = Reply::History(EncodedHistory {
        events: vec![event(2), event(3)],
        complete: false,
        ..Default::default()
    });
    peer.reply(number, history).await;
    story.event(|event| *event == Event::CaughtUp).await;
    let history = story.home.history(CHAT, None, 10).unwrap();
    assert_eq!((history.events.len(), history.gaps.len()), (4, 0));
}

/// D5.
#[tokio::test]
async fn what_cannot_be_read_stays_visible_and_stops_nothing() {
    let mut story = begin();
    let (mut peer, _) = story.connection().await;
    peer.welcome(true).await;
    // A text that is no text; no event at all; and one that breaks off in its text.
    let mut bad_text = event(2).to_vec();
    let text = bad_text.windows(8).position(|part| part == b"number 2");
    bad_text[text.unwrap()] = 0xff;
    let nothing = Bytes::from_static(&[0xff; 3]);
    let cut = event(5).slice(..event(5).len() - 1);
    let events = [
        event(1),
        bad_text.clone().into(),
        nothing.clone(),
        event(4),
        cut,
    ];
    peer.page_of(events.to_vec(), "far", true).await;
    // Only what cannot even be placed is missing.
    let (number, _) = peer.request().await;
    let history = Reply::History(EncodedHistory {
        events: vec![nothing],
        complete: true,
        ..Default::default()
    });
    peer.reply(number, history).await;
    story.event(|event| *event == Event::CaughtUp).await;
    assert_eq!(story.home.credential().unwrap().cursor, "far");
    let history = story.home.history(CHAT, None, 10).unwrap();
    let shown: Vec<_> = history
        .events
        .iter()
        .map(|event| (event.seq.get(), event.content == Content::Unknown))
        .collect();
    assert_eq!(shown, [(1, false), (2, true), (4, false), (5, true)]);
    assert_eq!(history.events[1].raw, bad_text);
    let gap = history.gaps[0];
    assert_eq!((gap.from.get(), gap.to.get(), gap.on_demand), (3, 3, true));
}

#[tokio::test]
async fn a_server_that_starts_anew_is_compared_and_not_doubled() {
    let mut story = begin();
    let (mut first, _) = story.connection().await;
    first.welcome(true).await;
    first.page(&[1, 2], "far", true).await;
    story.event(|event| *event == Event::CaughtUp).await;
    drop(first);
    let (mut second, _) = story.connection().await;
    second.welcome(true).await;
    second.page(&[1, 2, 3], "anew", true).await;
    story.event(|event| *event == Event::BeganAnew).await;
    story.event(|event| *event == Event::CaughtUp).await;
    assert_eq!(story.home.history(CHAT, None, 10).unwrap().events.len(), 3);
    assert_eq!(story.home.credential().unwrap().cursor, "anew");
}

/// D11.
#[tokio::test]
async fn a_forgotten_cursor_stays_forgotten_until_a_page_brings_another() {
    let mut story = begin();
    let (mut first, _) = story.connection().await;
    first.welcome(true).await;
    first.page(&[1], "far", true).await;
    story.event(|event| *event == Event::CaughtUp).await;
    drop(first);
    let (mut second, hello) = story.connection().await;
    assert_eq!(hello.cursor, "far");
    second.welcome(true).await;
    story.event(|event| *event == Event::BeganAnew).await;
    drop(second);
    for _ in 0..2 {
        let (mut peer, hello) = story.connection().await;
        assert_eq!(hello.cursor, "");
        peer.welcome(true).await;
        story
            .event(|event| matches!(event, Event::Connected { .. }))
            .await;
    }
}

#[tokio::test]
async fn a_draining_server_is_waited_for() {
    let mut story = begin();
    let (mut first, _) = story.connection().await;
    first.welcome(true).await;
    let (code, action) = (v1::ErrorCode::Draining, v1::Action::Reconnect);
    first.goodbye(code, action, 30).await;
    let event = story
        .event(|event| matches!(event, Event::Disconnected { .. }))
        .await;
    assert!(matches!(event, Event::Disconnected { retry_in, .. } if retry_in.as_millis() >= 30));
    story.connection().await;
}

#[tokio::test(start_paused = true)]
async fn a_replaced_device_comes_back_once_and_stays_away_when_replaced_again() {
    let mut story = begin();
    let (code, action) = (v1::ErrorCode::Replaced, v1::Action::Never);
    let (mut first, _) = story.connection().await;
    first.welcome(true).await;
    first.goodbye(code, action, 0).await;
    let event = story
        .event(|event| matches!(event, Event::Disconnected { .. }))
        .await;
    let Event::Disconnected { reason, retry_in } = event else {
        panic!("another event");
    };
    assert!(matches!(reason, DisconnectReason::Goodbye(said) if said.code == code));
    assert!((20..=40).contains(&retry_in.as_secs()), "{retry_in:?}");
    // Virtual time.
    tokio::time::sleep(retry_in).await;
    let (mut second, _) = story.connection().await;
    second.welcome(false).await;
    second.goodbye(code, action, 0).await;
    story.event(|event| *event == Event::Replaced).await;
    assert_eq!(story.client.next_event().await, None);
}

#[tokio::test]
async fn a_revoked_device_keeps_its_outbox_and_may_be_signed_in_again_by_its_user() {
    let mut story = begin();
    story.send("hello");
    let (mut peer, _) = story.connection().await;
    let (code, action) = (v1::ErrorCode::Unauthenticated, v1::Action::SignIn);
    peer.goodbye(code, action, 0).await;
    story
        .event(|event| matches!(event, Event::SignedOut { .. }))
        .await;
    assert!(!story.home.account().unwrap().unwrap().signed_in);
    assert_eq!(story.home.outbox_count().unwrap(), 1);
}

/// One thread and streams in memory: the driver takes all that has come.
async fn driver_runs() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// D7.
#[tokio::test]
async fn a_connection_that_breaks_with_a_checkpoint_held_writes_one_turn_at_a_time() {
    let mut story = begin();
    let ids = [story.send("one"), story.send("two")];
    let path = story.home.directory().join(FILE_NAME);
    let (mut first, _) = story.connection().await;
    first.welcome(true).await;
    let (one, _, _) = first.message().await;
    let (two, _, _) = first.message().await;
    // Nothing can be written: what comes now waits behind the turn of the first
    // answer.
    let writer = rusqlite::Connection::open(path).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    first.accept(one, ids[0], 1).await;
    driver_runs().await;
    first.accept(two, ids[1], 2).await;
    let checkpoint = v1::Checkpoint {
        after_frame: 2,
        cursor: Bytes::from_static(b"far"),
    };
    first.session.pong(0, Some(checkpoint), &mut first.out);
    first.flush().await;
    drop(first);
    driver_runs().await;
    writer.execute_batch("COMMIT").unwrap();

    let (mut second, _) = story.connection().await;
    second.welcome(false).await;
    story
        .event(|event| matches!(event, Event::Connected { .. }))
        .await;
    assert_eq!(story.home.outbox_count().unwrap(), 0);
}

/// Signs out, and gets a goodbye instead of an answer. Around it other things happen.
async fn sign_out_with_a_goodbye(before: impl Fn(&Story), behind: impl Fn(&Story)) {
    let mut story = begin();
    let (mut peer, _) = story.connection().await;
    peer.welcome(true).await;
    let ended = async {
        let heard = peer.input().await;
        assert!(matches!(heard, Input::Request { .. }));
        before(&story);
        let (code, action) = (v1::ErrorCode::Unauthenticated, v1::Action::SignIn);
        peer.goodbye(code, action, 0).await;
        behind(&story);
    };
    let (signed_out, ()) = tokio::join!(story.client.sign_out(), ended);
    signed_out.unwrap();
    assert!(story.home.account().unwrap().is_none());
}

/// The server ends the credential, and its goodbye may overtake its answer.
#[tokio::test]
async fn signing_out_succeeds_though_the_goodbye_comes_before_the_answer() {
    sign_out_with_a_goodbye(|_| (), |_| ()).await;
}

/// What the server said last is heard though nothing can be said to it any more.
#[tokio::test]
async fn signing_out_succeeds_though_the_connection_breaks_right_after_the_goodbye() {
    let breaks = |story: &Story| story.is_late.store(true, Ordering::Relaxed);
    let writes = |story: &Story| {
        story.send("one");
    };
    sign_out_with_a_goodbye(breaks, writes).await;
}

#[tokio::test]
async fn shutting_down_stores_and_says_goodbye() {
    let mut story = begin();
    let (mut peer, _) = story.connection().await;
    peer.welcome(true).await;
    story
        .event(|event| matches!(event, Event::Connected { .. }))
        .await;
    let home = story.home.clone();
    assert!(home.try_lock_connection().unwrap().is_none());
    let (heard, ()) = tokio::join!(peer.input(), story.client.shutdown());
    assert!(matches!(heard, Input::Goodbye));
    assert!(home.try_lock_connection().unwrap().is_some());
}

/// Answers registrations, but loses the first answer.
async fn forgetful_registrar(
    mut connections: mpsc::UnboundedReceiver<DuplexStream>,
    asked: &Mutex<Vec<DeviceId>>,
) {
    while let Some(stream) = connections.recv().await {
        let mut peer = Peer::new(stream);
        let Input::Register(it) = peer.input().await else {
            panic!("no registration");
        };
        asked.lock().push(it.device);
        if asked.lock().len() == 1 {
            continue;
        }
        let signed_in = v1::SignedIn {
            user: Some(v1::User {
                user_id: ALICE.to_wire(),
                name: "alice".to_owned(),
            }),
            device_id: it.device.to_wire(),
            device_token: vec![9; 32].into(),
        };
        peer.session.signed_in(&signed_in, &mut peer.out);
        peer.flush().await;
    }
}

#[tokio::test]
async fn a_registration_whose_answer_was_lost_is_repeated_for_the_same_device() {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(directory.path()).unwrap();
    let (dialled, connections) = mpsc::unbounded_channel();
    let asked = Mutex::new(Vec::new());
    let server = Server {
        address: "memory:1".to_owned(),
        trust: Trust::System,
    };
    let person = Person {
        name: "Alice",
        password: "correct horse",
        device_name: "",
        invitation: "",
    };
    let person_asks = async {
        let dial = MemoryDial {
            dialled,
            is_late: Arc::default(),
        };
        let first = enter(&home, &server, &dial, person, true).await;
        assert!(matches!(first, Err(SignInError::Lost { .. })));
        let account = enter(&home, &server, &dial, person, true).await.unwrap();
        assert_eq!(account.name, "alice");
        let again = enter(&home, &server, &dial, person, true).await;
        let refused = again.unwrap_err().to_string();
        assert_eq!(refused, "this home belongs to alice already");
    };
    tokio::join!(person_asks, forgetful_registrar(connections, &asked));
    let asked = asked.into_inner();
    assert_eq!((asked.len(), asked[0]), (2, asked[1]));
}
