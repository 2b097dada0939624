//! The sender of pushes against the FCM emulator, with each of its faults.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it did not expect"
)]

mod check;
mod duty;
mod kills;
mod silent;

use std::{sync::Arc, time::Duration};

use magpie_fcm_emulator::{Delivered, Emulator, Fault, FaultKind, Reach, Standing};
use magpie_protocol::{
    id::ConversationId,
    push::{Platform, PushToken},
    seq::{Position, Seq},
};
use magpie_server::{
    clock::Clock,
    push::{Endpoints, EndpointsError, Fcm, Form, Outcome, PushMessage, ServiceAccount, WakeId},
    store::Preview,
};

const TOKEN: &str = "a-device:APA91b";

/// An emulator with one device, and a sender to it.
struct Scene {
    emulator: Emulator,
    fcm: Fcm,
}

impl Scene {
    async fn new() -> Self {
        let emulator = Emulator::start("127.0.0.1:0".parse().unwrap()).await;
        let emulator = emulator.unwrap();
        emulator
            .world()
            .set_device(TOKEN, Standing::Registered, Reach::Online);
        let fcm = sender(&emulator, Endpoints::default()).unwrap();
        Self { emulator, fcm }
    }

    async fn send(&self, platform: Platform) -> Outcome {
        self.fcm.send(&message(platform)).await
    }

    async fn wake(&self) -> Outcome {
        self.send(Platform::Android).await
    }

    fn pushes(&self) -> Vec<Delivered> {
        self.emulator.world().pushes(TOKEN, 0)
    }

    /// What a wake becomes while one send fails like this.
    async fn failing(&self, kind: FaultKind) -> Outcome {
        let world = self.emulator.world();
        world.set_fault(Fault::next(kind, 1));
        let outcome = self.wake().await;
        world.clear_faults();
        outcome
    }
}

/// A sender to an emulator, as its account.
fn sender(emulator: &Emulator, endpoints: Endpoints) -> Result<Fcm, EndpointsError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("account.json");
    emulator.write_account(&file).unwrap();
    let endpoints = Endpoints {
        base_url: Some(emulator.url()),
        ..endpoints
    };
    let account = ServiceAccount::read(&file).unwrap();
    Fcm::new(account, &endpoints, Clock::start())
}

fn message(platform: Platform) -> PushMessage {
    PushMessage {
        platform,
        token: PushToken::parse(TOKEN).unwrap(),
        wake: WakeId(7),
        epoch: 1,
        form: Form::Data,
        preview: None,
        life: Duration::from_secs(30),
        now_ms: Clock::start().wall_ms(),
    }
}

#[tokio::test]
async fn every_kind_of_message_is_one_that_fcm_takes() {
    let scene = Scene::new().await;
    let preview = Preview {
        position: Position::new(3),
        conversation: ConversationId::new([3; 16]),
        seq: Seq::new(2),
        sender: "alice".to_owned(),
        text: "\u{1f426}\u{1}".repeat(3_000),
    };
    for platform in [Platform::Android, Platform::Ios, Platform::Web] {
        for preview in [None, Some(preview.clone())] {
            let message = PushMessage {
                preview,
                ..message(platform)
            };
            assert_eq!(scene.fcm.send(&message).await, Outcome::Sent);
        }
    }
    let alert = PushMessage {
        form: Form::Alert,
        ..message(Platform::Android)
    };
    assert_eq!(scene.fcm.send(&alert).await, Outcome::Sent);
    let pushes = scene.pushes();
    assert_eq!(pushes.len(), 7);
    assert_eq!(pushes[0].message["data"]["magpie_wake"], "0000000000000007");
    assert_eq!(scene.emulator.world().counts().token_requests, 1);
}

#[tokio::test]
async fn a_check_delivers_nothing_and_finds_a_dead_token() {
    let scene = Scene::new().await;
    assert_eq!(scene.fcm.validate(TOKEN).await, Outcome::Sent);
    assert_eq!(scene.pushes(), []);
    assert_eq!(scene.fcm.validate("nobody:12345").await, Outcome::TokenGone);
}

#[tokio::test]
async fn many_requests_are_in_flight_on_one_connection() {
    let scene = Arc::new(Scene::new().await);
    let world = scene.emulator.world();
    world.set_fault(Fault {
        delay_ms: 300,
        ..Fault::all(FaultKind::Slow)
    });
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let scene = Arc::clone(&scene);
            tokio::spawn(async move { scene.wake().await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Outcome::Sent);
    }
    let counts = world.counts();
    assert!(counts.in_flight_max > 25, "{counts:?}");
    assert_eq!(counts.token_requests, 1, "they waited for the same one");
}

#[tokio::test]
async fn an_access_token_that_ended_is_renewed_and_the_push_sent() {
    let scene = Scene::new().await;
    assert_eq!(scene.wake().await, Outcome::Sent);
    scene.emulator.world().end_access();
    assert_eq!(scene.wake().await, Outcome::Sent);
    let counts = scene.emulator.world().counts();
    assert_eq!((counts.token_requests, counts.taken), (2, 2));
}

#[tokio::test]
async fn an_access_token_is_renewed_before_it_ends() {
    let scene = Scene::new().await;
    // Of so short a life that it is renewed at half of it.
    scene.emulator.world().set_token_life(Duration::ZERO);
    scene.wake().await;
    scene
        .emulator
        .world()
        .set_token_life(Duration::from_secs(3600));
    assert_eq!(scene.wake().await, Outcome::Sent);
    let counts = scene.emulator.world().counts();
    assert!(counts.token_requests >= 2, "{counts:?}");
}

#[tokio::test]
async fn each_error_of_fcm_says_what_is_to_be_done() {
    let scene = Scene::new().await;
    for (kind, name) in [
        (FaultKind::Unregistered, "token_gone"),
        (FaultKind::InvalidArgument, "bad_message"),
        (FaultKind::SenderIdMismatch, "misconfigured"),
        (FaultKind::ThirdPartyAuthError, "misconfigured"),
        (FaultKind::QuotaExceeded, "slow_down"),
        (FaultKind::Unavailable, "unavailable"),
        (FaultKind::Internal, "unavailable"),
        (FaultKind::Reset, "unavailable"),
    ] {
        assert_eq!(scene.failing(kind).await.name(), name, "{kind:?}");
    }
    // An access token that is refused for no reason is renewed, once.
    assert_eq!(
        scene.failing(FaultKind::Unauthenticated).await,
        Outcome::Sent
    );
    assert_eq!(scene.pushes().len(), 1);
}

#[tokio::test]
async fn retry_after_is_heard() {
    let scene = Scene::new().await;
    for (kind, after_secs) in [(FaultKind::QuotaExceeded, 7), (FaultKind::Unavailable, 11)] {
        scene.emulator.world().set_fault(Fault {
            retry_after_secs: Some(after_secs),
            ..Fault::next(kind, 1)
        });
        let heard = match scene.wake().await {
            Outcome::SlowDown { after } => Some(after),
            Outcome::Unavailable { after, .. } => after,
            Outcome::Sent
            | Outcome::TokenGone
            | Outcome::Misconfigured { .. }
            | Outcome::BadMessage { .. } => None,
        };
        assert_eq!(heard, Some(Duration::from_secs(after_secs)));
    }
}

#[tokio::test]
async fn a_lost_answer_is_no_success_though_the_push_came() {
    let scene = Scene::new().await;
    scene.emulator.world().set_fault(Fault {
        after_effect: true,
        ..Fault::next(FaultKind::Reset, 1)
    });
    assert_eq!(scene.wake().await.name(), "unavailable");
    assert_eq!(scene.pushes().len(), 1);
}

#[tokio::test]
async fn tokens_are_told_apart() {
    let scene = Scene::new().await;
    let world = scene.emulator.world();
    world.set_device(TOKEN, Standing::Unregistered, Reach::Online);
    assert_eq!(scene.wake().await, Outcome::TokenGone);
    world.set_device(TOKEN, Standing::Foreign, Reach::Online);
    let code = "SENDER_ID_MISMATCH".to_owned();
    assert_eq!(scene.wake().await, Outcome::Misconfigured { code });
    let short = PushMessage {
        token: PushToken::parse("x").unwrap(),
        ..message(Platform::Android)
    };
    assert_eq!(scene.fcm.send(&short).await, Outcome::TokenGone);
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let scene = Scene::new().await;
    let Scene { emulator, fcm } = scene;
    assert_eq!(fcm.validate(TOKEN).await, Outcome::Sent);
    drop(emulator);
    let mut outcome = fcm.validate(TOKEN).await;
    // What was on its way while it ended may still be answered.
    for _ in 0..100 {
        if outcome != Outcome::Sent {
            break;
        }
        tokio::task::yield_now().await;
        outcome = fcm.validate(TOKEN).await;
    }
    assert_eq!(outcome.name(), "unavailable");
}

#[tokio::test]
async fn an_assertion_that_is_not_for_this_endpoint_is_refused() {
    // Another emulator's key: the signature does not fit.
    let other = Scene::new().await;
    let scene = Scene::new().await;
    let endpoints = Endpoints {
        token_uri: Some(format!("{}/token", scene.emulator.url())),
        ..Endpoints::default()
    };
    let fcm = sender(&other.emulator, endpoints).unwrap();
    let Outcome::Misconfigured { code } = fcm.validate(TOKEN).await else {
        panic!("it was accepted");
    };
    assert!(code.contains("invalid_grant"), "{code}");
}

#[tokio::test]
async fn over_tls_it_pushes_to_whom_it_was_told_to_trust_and_to_nobody_else() {
    let emulator = Emulator::start_with_tls("127.0.0.1:0".parse().unwrap()).await;
    let emulator = emulator.unwrap();
    emulator
        .world()
        .set_device(TOKEN, Standing::Registered, Reach::Online);
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, emulator.ca().unwrap()).unwrap();
    let trusting = Endpoints {
        ca: Some(ca.clone()),
        ..Endpoints::default()
    };
    let fcm = sender(&emulator, trusting.clone()).unwrap();
    for _ in 0..2 {
        assert_eq!(fcm.send(&message(Platform::Android)).await, Outcome::Sent);
    }
    let pushes = emulator.world().pushes(TOKEN, 0);
    assert_eq!(pushes.len(), 2);
    assert!(pushes.iter().all(|it| it.is_http2), "{pushes:?}");

    let fcm = sender(&emulator, Endpoints::default()).unwrap();
    let Outcome::Unavailable { reason, .. } = fcm.send(&message(Platform::Android)).await else {
        panic!("it trusts a stranger");
    };
    assert!(reason.contains("is push_ca right?"), "{reason}");

    std::fs::write(&ca, "no certificate").unwrap();
    let error = sender(&emulator, trusting).err().unwrap().to_string();
    assert!(error.contains("ca.pem"), "{error}");
}
