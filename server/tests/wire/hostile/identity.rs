//! Passwords, tokens, devices: who somebody is.

use std::collections::BTreeSet;

use magpie_server::config::Limits;

use super::*;
use crate::{
    peer::{PASSWORD, register},
    reconnects::counted_with,
};

/// The same questions to the store, whether the name exists or not: no stopwatch can
/// tell them apart, and neither can a load.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_asks_what_an_unknown_name_asks() {
    let (world, counted) = counted_with(Limits::default()).await;
    world.register("alice").await;
    let mut asked = BTreeSet::new();
    for name in ["alice", "nobody"] {
        let mut peer = world.peer().await;
        counted.take();
        peer.control(client_frame::Body::SignIn(sign_in(name, "wrong password")))
            .await;
        let server_frame::Body::Refused(error) = peer.body().await else {
            panic!("refused")
        };
        assert_eq!(error.code(), ErrorCode::WrongCredentials);
        asked.insert(counted.take_asked_for());
    }
    assert_eq!(asked.len(), 1, "{asked:?}");
}

/// All of a password counts, whatever it is written in.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_neither_shortened_nor_folded() {
    let world = World::start().await;
    let password = "안녕하세요 Пароль 🔑 ".repeat(3);
    let client_frame::Body::Register(request) = register("alice", "") else {
        unreachable!()
    };
    let mut peer = world.peer().await;
    let request = v1::Register {
        password: password.clone(),
        ..request
    };
    peer.control(client_frame::Body::Register(request)).await;
    peer.signed_in().await;
    let mut shorter = password.clone();
    shorter.pop();
    for wrong in [shorter, password.to_lowercase(), format!("{password} ")] {
        let mut peer = world.peer().await;
        peer.control(client_frame::Body::SignIn(sign_in("alice", &wrong)))
            .await;
        let said = peer.body().await;
        assert!(matches!(said, server_frame::Body::Refused(_)), "{wrong}");
    }
    let mut peer = world.peer().await;
    peer.control(client_frame::Body::SignIn(sign_in("alice", &password)))
        .await;
    peer.signed_in().await;
}

/// What anybody would try first is refused, by a sentence that says why; the name stays
/// free.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_anybody_would_guess_is_refused() {
    let world = World::start().await;
    for guessed in ["12345678", "Password1", "alice2024", "zzzzzzzzzzzz"] {
        let client_frame::Body::Register(request) = register("alice", "") else {
            unreachable!()
        };
        let password = guessed.to_owned();
        let request = v1::Register {
            password,
            ..request
        };
        let mut peer = world.peer().await;
        peer.control(client_frame::Body::Register(request)).await;
        let server_frame::Body::Refused(error) = peer.body().await else {
            panic!("{guessed} was accepted")
        };
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert!(error.message.contains("guess this password"), "{error:?}");
        assert!(!error.message.contains(guessed), "{error:?}");
    }
    world.register("alice").await;
}

/// A device that signs in again, twice at once, has one token that is of use.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_sign_ins_of_one_device_one_token_lives() {
    let world = World::start().await;
    world.register("alice").await;
    let request = sign_in("alice", PASSWORD);
    let one = async {
        let mut peer = world.peer().await;
        peer.control(client_frame::Body::SignIn(request.clone()))
            .await;
        peer.signed_in().await
    };
    let other = async {
        let mut peer = world.peer().await;
        peer.control(client_frame::Body::SignIn(request.clone()))
            .await;
        peer.signed_in().await
    };
    let (one, other) = tokio::join!(one, other);
    assert_eq!(one.id, other.id);
    let mut welcome = 0;
    for device in [one, other] {
        let mut peer = world.peer().await;
        peer.control(hello(&device, Bytes::new())).await;
        match peer.body().await {
            server_frame::Body::Welcome(_) => welcome += 1,
            server_frame::Body::Goodbye(goodbye) => {
                assert_eq!(goodbye.action(), Action::SignIn);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(welcome, 1);
}

/// Whoever reads the database can sign nobody in.
#[tokio::test(flavor = "multi_thread")]
async fn neither_tokens_nor_passwords_are_stored() {
    let world = World::start().await;
    let alice = world.register("alice").await;
    assert_eq!(alice.token.len(), 32);
    let dir = world.stop().await;
    let mut size = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_type().unwrap().is_file() {
            // The socket of operators holds nothing.
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap();
        size += bytes.len();
        for secret in [alice.token.as_ref(), PASSWORD.as_bytes()] {
            let is_there = bytes.windows(secret.len()).any(|it| it == secret);
            assert!(!is_there);
        }
    }
    assert!(size > 10_000, "the database is there");
}
