//! What users do with their account, and tell of others.

use bytes::Bytes;
use magpie_protocol::wire::v1::{
    self, Action, ErrorCode, client_frame::Body, event_content::Kind, server_frame::Body as Answer,
};
use magpie_server::{config::Limits, store::AccountChange};

use crate::peer::{PASSWORD, Peer, World, all_events, hello, sign_in, text_to};

const NEW: &str = "a longer battery staple";

fn change(current: &str, sign_out_others: bool) -> Body {
    Body::ChangePassword(v1::ChangePassword {
        current: current.to_owned(),
        new: NEW.to_owned(),
        sign_out_others,
    })
}

fn delete(password: &str) -> Body {
    Body::DeleteAccount(v1::DeleteAccount {
        password: password.to_owned(),
    })
}

async fn ask(peer: &mut Peer, body: Body) -> Answer {
    let number = peer.request(body).await;
    peer.answer(number).await
}

async fn is_done(peer: &mut Peer, body: Body) {
    let answer = ask(peer, body).await;
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
}

async fn is_refused(peer: &mut Peer, body: Body) -> ErrorCode {
    match ask(peer, body).await {
        Answer::Error(error) => error.code(),
        other => panic!("{other:?}"),
    }
}

async fn try_sign_in(world: &World, name: &str, password: &str) -> Option<ErrorCode> {
    let mut peer = world.peer().await;
    peer.control(Body::SignIn(sign_in(name, password))).await;
    match peer.body().await {
        Answer::SignedIn(_) => None,
        Answer::Refused(error) => Some(error.code()),
        other => panic!("{other:?}"),
    }
}

async fn is_signed_out(peer: &mut Peer) {
    let goodbye = peer.goodbye().await;
    let said = (goodbye.code(), goodbye.action());
    assert_eq!(said, (ErrorCode::Unauthenticated, Action::SignIn));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_the_one_that_counts() {
    let world = World::start().await;
    let phone = world.register("alice").await;
    let tablet = world.sign_in("alice").await;
    let (mut phone, _) = world.connect(&phone, Bytes::new()).await;
    let (mut other, _) = world.connect(&tablet, Bytes::new()).await;
    let wrong = is_refused(&mut phone, change("not my password", false)).await;
    assert_eq!(wrong, ErrorCode::WrongCredentials);
    is_done(&mut phone, change(PASSWORD, false)).await;
    let old = try_sign_in(&world, "alice", PASSWORD).await;
    assert_eq!(old, Some(ErrorCode::WrongCredentials));
    assert_eq!(try_sign_in(&world, "alice", NEW).await, None);
    other.send(text_to("alice", "still signed in")).await;

    is_done(&mut phone, change(NEW, true)).await;
    is_signed_out(&mut other).await;
    let mut again = world.peer().await;
    again.control(hello(&tablet, Bytes::new())).await;
    is_signed_out(&mut again).await;
    phone.send(text_to("alice", "so am I")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_the_current_password_ends_soon() {
    let limits = Limits {
        sign_in_rate_per_account: Some(magpie_server::config::Rate::new(
            2,
            1,
            std::time::Duration::from_secs(3_600),
        )),
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let alice = world.register("alice").await;
    let (mut peer, _) = world.connect(&alice, Bytes::new()).await;
    for body in [change("not my password", false), delete("not my password")] {
        let code = is_refused(&mut peer, body).await;
        assert_eq!(code, ErrorCode::WrongCredentials);
    }
    let code = is_refused(&mut peer, delete(PASSWORD)).await;
    assert_eq!(code, ErrorCode::RateLimited);
    peer.send(text_to("alice", "still here")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_deletes_their_account_is_gone_everywhere_and_leaves() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let tablet = world.sign_in("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut other, _) = world.connect(&tablet, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    a.send(text_to("bob", "remember me")).await;
    let create = v1::CreateGroup {
        message_id: crate::peer::fresh_id(),
        title: "tea".to_owned(),
        user_names: vec!["bob".to_owned()],
    };
    let Answer::Accepted(tea) = ask(&mut a, Body::CreateGroup(create)).await else {
        panic!("accepted")
    };
    is_done(&mut a, delete(PASSWORD)).await;
    is_signed_out(&mut a).await;
    is_signed_out(&mut other).await;
    for device in [&alice, &tablet] {
        let mut peer = world.peer().await;
        peer.control(hello(device, Bytes::new())).await;
        is_signed_out(&mut peer).await;
    }
    let gone = try_sign_in(&world, "alice", PASSWORD).await;
    assert_eq!(gone, Some(ErrorCode::WrongCredentials));
    let mut stranger = world.peer().await;
    stranger.control(crate::peer::register("alice", "")).await;
    let Answer::Refused(taken) = stranger.body().await else {
        panic!("refused")
    };
    assert_eq!(taken.code(), ErrorCode::NameTaken);

    // The groups are left in a while, and bob is told.
    let left = async {
        loop {
            let frame = b.next().await.unwrap();
            let Some(Answer::Page(page)) = frame.body else {
                continue;
            };
            let left = page.events.into_iter().find(|event| {
                let content = event.content.as_ref().unwrap();
                event.conversation_id == tea.conversation_id
                    && matches!(content.kind, Some(v1::event_content::Kind::MemberLeft(_)))
            });
            if let Some(left) = left {
                return left;
            }
        }
    };
    assert_eq!(left.await.sender.unwrap().name, "");
    let (_, pages) = world.connect(&bob, Bytes::new()).await;
    let first = all_events(&pages)
        .into_iter()
        .find(|event| event.conversation_id != tea.conversation_id)
        .unwrap();
    assert_eq!(crate::peer::text_of(&first), "remember me");
    assert_eq!(first.sender.unwrap().name, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_another_node_suspended_is_ended_and_refused() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let user = alice.user_id.as_ref().try_into().unwrap();
    let changed = world
        .store
        .change_account(user, None, &AccountChange::Suspend);
    assert_eq!(changed.await.unwrap().unwrap().len(), 1);
    is_signed_out(&mut a).await;
    let mut again = world.peer().await;
    again.control(hello(&alice, Bytes::new())).await;
    is_signed_out(&mut again).await;
}

fn report(about: v1::report::About) -> Body {
    Body::Report(v1::Report {
        about: Some(about),
        reason: v1::ReportReason::Abuse.into(),
        text: "look".to_owned(),
    })
}

/// D10.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_kept_if_the_reporter_may_read_what_it_is_about() {
    use v1::report::About;
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let eve = world.register("eve").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let accepted = a.send(text_to("bob", "something rude")).await;
    let place = |seq| {
        About::Event(v1::EventPlace {
            conversation_id: accepted.conversation_id.clone(),
            seq,
        })
    };
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let (mut e, _) = world.connect(&eve, Bytes::new()).await;
    for about in [
        place(1),
        place(2),
        About::UserName("nobody.here".to_owned()),
    ] {
        is_done(&mut e, report(about)).await;
    }
    is_done(&mut a, report(place(1))).await;
    assert_eq!(world.store.reports(0, 10).await.unwrap(), []);

    is_done(&mut b, report(place(1))).await;
    is_done(&mut b, report(About::UserName("eve".to_owned()))).await;
    let reports = world.store.reports(0, 10).await.unwrap();
    let about: Vec<_> = reports
        .iter()
        .map(|it| (it.reporter.as_str(), it.user.1.as_str(), it.event.is_some()))
        .collect();
    assert_eq!(about, [("bob", "alice", true), ("bob", "eve", false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_keeps_what_the_message_said_when_it_was_reported() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let accepted = a.send(text_to("bob", "kind")).await;
    let edit = Body::EditMessage(v1::EditMessage {
        message_id: Bytes::copy_from_slice(&[9; 16]),
        conversation_id: accepted.conversation_id.clone(),
        seq: 1,
        message: Some(v1::Message {
            text: "rude".to_owned(),
            ..Default::default()
        }),
    });
    assert!(matches!(ask(&mut a, edit).await, Answer::Accepted(_)));
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let place = v1::report::About::Event(v1::EventPlace {
        conversation_id: accepted.conversation_id,
        seq: 1,
    });
    is_done(&mut b, report(place)).await;
    let reports = world.store.reports(0, 10).await.unwrap();
    let content = reports[0].event.clone().unwrap().content.unwrap();
    let Some(Kind::Message(message)) = content.kind else {
        panic!("{content:?}")
    };
    assert_eq!(message.text, "rude");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_reports_so_often_a_day() {
    let limits = Limits {
        report_rate_per_user: Some(magpie_server::config::Rate::new(
            1,
            1,
            std::time::Duration::from_secs(3_600),
        )),
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let body = || report(v1::report::About::UserName("nobody.here".to_owned()));
    is_done(&mut a, body()).await;
    assert_eq!(is_refused(&mut a, body()).await, ErrorCode::RateLimited);
}
