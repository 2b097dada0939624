//! The sender of pushes against the FCM emulator, with each of its faults.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use magpie_fcm_emulator::{Delivered, Emulator, Fault, FaultKind, Reach, Standing};
use magpie_protocol::push::{Platform, PushToken};
use magpie_server::{
    clock::Clock,
    push::{Endpoints, Fcm, Form, Outcome, PushMessage, ServiceAccount, Urgency, WakeId},
};

const TOKEN: &str = "a-device:APA91b";

/// An emulator with one device, and a sender to it.
struct Scene {
    emulator: Emulator,
    fcm: Fcm,
}

impl Scene {
    async fn new() -> Self {
        let emulator = Emulator::start("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        emulator
            .world()
            .set_device(TOKEN, Standing::Registered, Reach::Online);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("account.json");
        emulator.write_account(&file).unwrap();
        let endpoints = Endpoints {
            base_url: Some(emulator.url()),
            token_uri: None,
        };
        let account = ServiceAccount::read(&file).unwrap();
        let fcm = Fcm::new(account, &endpoints, Clock::start()).unwrap();
        Self { emulator, fcm }
    }

    async fn send(&self, platform: Platform, urgency: Urgency) -> Outcome {
        self.fcm.send(&message(platform, urgency)).await
    }

    async fn wake(&self) -> Outcome {
        self.send(Platform::Android, Urgency::Notify).await
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

fn message(platform: Platform, urgency: Urgency) -> PushMessage {
    PushMessage {
        platform,
        token: PushToken::parse(TOKEN).unwrap(),
        wake: WakeId(7),
        epoch: 1,
        urgency,
        form: Form::Data,
        life: Duration::from_secs(30),
        now_ms: Clock::start().wall_ms(),
    }
}

#[tokio::test]
async fn every_kind_of_message_is_one_that_fcm_takes() {
    let scene = Scene::new().await;
    for platform in [Platform::Android, Platform::Ios, Platform::Web] {
        for urgency in [Urgency::Notify, Urgency::Silent] {
            assert_eq!(scene.send(platform, urgency).await, Outcome::Sent);
        }
    }
    let alert = PushMessage {
        form: Form::Alert,
        ..message(Platform::Android, Urgency::Notify)
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
        ..message(Platform::Android, Urgency::Notify)
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
    let scene = Scene::new().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("account.json");
    // Another emulator's key: the signature does not fit.
    let other = Emulator::start("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    other.write_account(&file).unwrap();
    let endpoints = Endpoints {
        base_url: Some(scene.emulator.url()),
        token_uri: Some(format!("{}/token", scene.emulator.url())),
    };
    let account = ServiceAccount::read(&file).unwrap();
    let fcm = Fcm::new(account, &endpoints, Clock::start()).unwrap();
    let Outcome::Misconfigured { code } = fcm.validate(TOKEN).await else {
        panic!("it was accepted");
    };
    assert!(code.contains("invalid_grant"), "{code}");
}

fn check(scene: &Scene, account: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_magpied"))
        .args(["push", "check", "--push-url", &scene.emulator.url()])
        .arg("--push-account")
        .arg(account)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_what_is_wrong() {
    let scene = Scene::new().await;
    let dir = tempfile::tempdir().unwrap();
    let account = dir.path().join("account.json");
    let (is_good, said) = check(&scene, &account);
    assert!(!is_good && said.contains("cannot be read"), "{said}");
    scene.emulator.write_account(&account).unwrap();
    let (is_good, said) = check(&scene, &account);
    assert!(is_good && said.contains("FCM takes pushes"), "{said}");
    for (kind, expected) in [
        (FaultKind::SenderIdMismatch, "SENDER_ID_MISMATCH"),
        (FaultKind::Unavailable, "cannot be reached"),
        (FaultKind::QuotaExceeded, "come back"),
    ] {
        scene.emulator.world().set_fault(Fault::next(kind, 1));
        let (is_good, said) = check(&scene, &account);
        assert!(!is_good && said.contains(expected), "{kind:?}: {said}");
    }
    assert_eq!(scene.pushes(), []);
}
