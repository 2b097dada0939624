//! What operators do over the socket in the data directory.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use bytes::Bytes;
use magpie_protocol::{
    id::{DeviceId, UserId},
    text::MessageText,
    wire::v1::{ErrorCode, client_frame::Body, server_frame::Body as Answer},
};
use magpie_server::{
    config::{AdminTask, BroadcastsTask, ReportsTask, UsersTask},
    operate::{BroadcastTold, Errand, Told},
    store::NewBroadcast,
};
use rusqlite::Connection;

use crate::{
    peer::{PASSWORD, World, all_events, hello, sign_in, text_of, text_to, texts},
    reconnects::until,
};

fn suspend(name: &str) -> AdminTask {
    AdminTask::Users(UsersTask::Suspend {
        name: name.to_owned(),
    })
}

async fn told(world: &World, task: AdminTask) -> Told {
    until("the socket is there", || async {
        world.operate(AdminTask::Stats).await.is_ok()
    })
    .await;
    serde_json::from_str(&world.operate(task).await.unwrap()).unwrap()
}

async fn sign_in_code(world: &World) -> Option<ErrorCode> {
    let mut peer = world.peer().await;
    peer.control(Body::SignIn(sign_in("alice", PASSWORD))).await;
    match peer.body().await {
        Answer::SignedIn(_) => None,
        Answer::Refused(error) => Some(error.code()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_suspended_is_out_until_they_are_resumed() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("alice", "hello")).await;
    told(&world, suspend("alice")).await;
    assert_eq!(a.goodbye().await.code(), ErrorCode::Unauthenticated);
    let mut again = world.peer().await;
    again.control(hello(&alice, Bytes::new())).await;
    assert_eq!(again.goodbye().await.code(), ErrorCode::Unauthenticated);
    assert_eq!(sign_in_code(&world).await, Some(ErrorCode::Suspended));
    let resume = UsersTask::Resume {
        name: "alice".to_owned(),
    };
    told(&world, AdminTask::Users(resume)).await;
    assert_eq!(sign_in_code(&world).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_is_written_down_also_one_that_is_refused() {
    let world = World::start().await;
    world.register("alice").await;
    let show = UsersTask::Show {
        name: "alice".to_owned(),
    };
    let Told::User(alice) = told(&world, AdminTask::Users(show)).await else {
        panic!("a user")
    };
    assert_eq!(
        (alice.standing.as_str(), alice.devices.len()),
        ("active", 1)
    );
    let refused = world.operate(suspend("mallory")).await.unwrap_err();
    assert_eq!(refused, "there is no user mallory");
    let close = AdminTask::Reports(ReportsTask::Close { id: 7 });
    let refused = world.operate(close).await.unwrap_err();
    assert_eq!(refused, "there is no open report 7");
    let delete = UsersTask::Delete {
        name: "alice".to_owned(),
    };
    told(&world, AdminTask::Users(delete)).await;
    let Told::Acts { acts } = told(&world, AdminTask::Log { limit: 100 }).await else {
        panic!("acts")
    };
    let me = rustix::process::geteuid().as_raw();
    assert!(acts.iter().all(|act| act.uid == me));
    let acts: Vec<_> = acts
        .iter()
        .map(|act| (act.action.as_str(), act.target.as_str()))
        .filter(|(action, _)| *action != "stats")
        .collect();
    assert_eq!(
        acts,
        [
            ("log", ""),
            ("users delete", "alice"),
            ("reports close", "7"),
            ("users suspend", "mallory"),
            ("users show", "alice"),
        ]
    );
}

/// Nobody but the server's user opens the socket, and what a password is does not get
/// into the log of acts.
#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_for_its_owner_alone() {
    let world = World::start().await;
    told(&world, AdminTask::Stats).await;
    let mode = std::fs::metadata(world.admin_socket())
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let errand = Errand::CreateUser {
        name: "alice".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let noted = format!("{} {}", errand.action(), errand.target());
    assert_eq!(noted, "users create alice");
}

fn broadcast(from: &str, text: &str) -> AdminTask {
    AdminTask::Broadcasts(BroadcastsTask::Send {
        from: from.to_owned(),
        text: Some(text.to_owned()),
    })
}

async fn broadcasts(world: &World) -> Vec<BroadcastTold> {
    let list = AdminTask::Broadcasts(BroadcastsTask::List { limit: 10 });
    match told(world, list).await {
        Told::Broadcasts { broadcasts } => broadcasts,
        other => panic!("{other:?}"),
    }
}

/// All of them, once they have ended.
async fn ended(world: &World) -> Vec<BroadcastTold> {
    until("all have ended", || async {
        let said = broadcasts(world).await;
        said.iter().all(|it| it.ended_at_ms.is_some())
    })
    .await;
    broadcasts(world).await
}

/// D2, D3. Who is connected gets it now, who is not later; its device is gone then.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_everybody_reaches_each_once() {
    let world = World::start().await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    world.register("magpie").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    for text in ["one", "two"] {
        told(&world, broadcast("magpie", text)).await;
        let events = a.events(1).await;
        assert_eq!(text_of(&events[0]), text);
        let sender = events[0].sender.clone().unwrap();
        assert_eq!(sender.name, "magpie");
    }
    let said = ended(&world).await;
    let said: Vec<_> = said.iter().map(|it| (it.text.as_str(), it.sent)).collect();
    assert_eq!(said, [("two", 2), ("one", 2)]);
    let (_, pages) = world.connect(&bob, Bytes::new()).await;
    let events = all_events(&pages);
    assert_eq!(texts(&events), ["one", "two"]);
    let show = UsersTask::Show {
        name: "magpie".to_owned(),
    };
    let Told::User(magpie) = told(&world, AdminTask::Users(show)).await else {
        panic!("a user")
    };
    assert_eq!(magpie.devices.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_sign_in_says_nothing_to_everybody() {
    let world = World::start().await;
    world.register("alice").await;
    told(&world, suspend("alice")).await;
    let refused = [
        (broadcast("mallory", "hi"), "there is no user mallory"),
        (
            broadcast("alice", "hi"),
            "alice may not sign in, or has changed just now",
        ),
    ];
    for (task, message) in refused {
        assert_eq!(world.operate(task).await.unwrap_err(), message);
    }
    assert!(world.operate(broadcast("alice", "")).await.is_err());
    assert_eq!(broadcasts(&world).await, []);
}

/// D2, D3. The server may end before it has said anything, or before it is written down
/// how far it has come.
#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_goes_on_after_a_restart_and_says_nothing_twice() {
    let world = World::start().await;
    let (alice, magpie) = (
        world.register("alice").await,
        world.register("magpie").await,
    );
    // Nobody rings a bell.
    let broadcast = NewBroadcast {
        sender: UserId::try_from(magpie.user_id.as_ref()).unwrap(),
        device: DeviceId::try_from(magpie.id.as_ref()).unwrap(),
        secret: [7; 16],
        text: MessageText::try_from("good news".to_owned()).unwrap(),
        at_ms: 0,
    };
    world.store.add_broadcast(&broadcast).await.unwrap();
    let world = world.restart().await;
    assert_eq!(ended(&world).await[0].sent, 1);

    let dir = world.admin_socket().parent().unwrap().to_owned();
    let beside = Connection::open(dir.join("magpie.db")).unwrap();
    beside.busy_timeout(Duration::from_secs(20)).unwrap();
    let forget = "UPDATE broadcasts SET reached_user = 0, sent = 0, ended_at_ms = NULL";
    assert_eq!(beside.execute(forget, []), Ok(1));
    drop(beside);
    let world = world.restart().await;
    assert_eq!(ended(&world).await[0].sent, 1);
    let (_, pages) = world.connect(&alice, Bytes::new()).await;
    assert_eq!(texts(&all_events(&pages)), ["good news"]);
}
