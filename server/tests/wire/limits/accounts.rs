//! Registration and sign-in.

use super::*;

/// D12: wrong passwords use the account's bucket up, known account or not; then the
/// right one is of no use to a stranger, and still good on a device of the account.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_a_password_ends_soon_and_locks_no_known_device_out() {
    let world = limited(|it| it.sign_in_rate_per_account = only(3)).await;
    let alice = world.register("alice").await;
    let try_in = |name: &'static str, password: &'static str| {
        refused(&world, client_frame::Body::SignIn(sign_in(name, password)))
    };
    let mut answers = Vec::new();
    for name in ["alice", "nobody"] {
        let mut of_one = Vec::new();
        for _ in 0..3 {
            let error = try_in(name, "wrong password").await;
            of_one.push((error.code(), error.action()));
        }
        let error = try_in(name, PASSWORD).await;
        assert!(error.after_ms > 1_000_000, "{error:?}");
        of_one.push((error.code(), error.action()));
        answers.push(of_one);
    }
    assert_eq!(answers[0], answers[1]);
    let wrong = (ErrorCode::WrongCredentials, Action::Never);
    let limited = (ErrorCode::RateLimited, Action::RetryAfter);
    assert_eq!(answers[0], [wrong, wrong, wrong, limited]);

    let mut peer = world.peer().await;
    let known = v1::SignIn {
        device_id: alice.id.clone(),
        ..sign_in("alice", PASSWORD)
    };
    peer.control(client_frame::Body::SignIn(known)).await;
    let again = peer.signed_in().await;
    assert_eq!(again.id, alice.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_does_not_use_the_bucket_up() {
    let world = limited(|it| {
        it.sign_in_rate_per_account = only(1);
        it.sign_in_rate_per_address = only(1);
        it.trusted_networks = Networks::default();
    })
    .await;
    world.register("alice").await;
    for _ in 0..3 {
        world.sign_in("alice").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_tries_so_often_whatever_the_account() {
    let world = limited(|it| {
        it.sign_in_rate_per_address = only(2);
        it.registration_rate_per_address = only(1);
        it.trusted_networks = Networks::default();
    })
    .await;
    world.register("alice").await;
    let registered = refused(&world, register("bob", "")).await;
    assert_eq!(registered.code(), ErrorCode::RateLimited);
    let mut codes = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let body = client_frame::Body::SignIn(sign_in(name, "wrong password"));
        codes.push(refused(&world, body).await.code());
    }
    let wrong = ErrorCode::WrongCredentials;
    assert_eq!(codes, [wrong, wrong, ErrorCode::RateLimited]);
}

/// Many accounts, few tries each, from anywhere: the bucket of all runs out, and
/// known devices do not notice.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_of_everybody_together_are_limited() {
    let world = limited(|it| it.sign_in_rate = only(2)).await;
    let alice = world.register("alice").await;
    world.sign_in("alice").await;
    let mut codes = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let body = client_frame::Body::SignIn(sign_in(name, "wrong password"));
        codes.push(refused(&world, body).await.code());
    }
    let wrong = ErrorCode::WrongCredentials;
    assert_eq!(codes, [wrong, wrong, ErrorCode::RateLimited]);
    let mut peer = world.peer().await;
    let known = v1::SignIn {
        device_id: alice.id,
        ..sign_in("alice", PASSWORD)
    };
    peer.control(client_frame::Body::SignIn(known)).await;
    peer.signed_in().await;
}

/// The bucket of one address is nobody else's; that of all is everybody's.
#[tokio::test(flavor = "multi_thread")]
async fn registrations_of_everybody_are_limited_also_from_trusted_networks() {
    let world = limited(|it| it.registration_rate = only(1)).await;
    world.register("alice").await;
    let error = refused(&world, register("bob", "")).await;
    assert_eq!(error.code(), ErrorCode::RateLimited);
    assert_eq!(error.action(), Action::RetryAfter);
    world.sign_in("alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_register_is_a_setting() {
    use magpie_server::config::{Invitations, Registration};
    let closed = (ErrorCode::RegistrationClosed, Action::Never);
    let world = limited(|it| it.registration = Registration::Off).await;
    let error = refused(&world, register("alice", "a-token-of-our-own")).await;
    assert_eq!((error.code(), error.action()), closed);

    let world = limited(|it| {
        it.registration = Registration::Invitation;
        it.invitations = Invitations::from_tokens(["a-token-of-our-own"]);
    })
    .await;
    for invitation in ["", "a-token-of-theirs!", "a-token-of-our-ow"] {
        let error = refused(&world, register("alice", invitation)).await;
        assert_eq!((error.code(), error.action()), closed, "{invitation}");
    }
    let mut peer = world.peer().await;
    peer.control(register("alice", "a-token-of-our-own")).await;
    peer.signed_in().await;
    world.sign_in("alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_devices_and_a_known_one_may_always_sign_in_again() {
    let world = limited(|it| it.devices_per_user_max = 2).await;
    let alice = world.register("alice").await;
    let second = world.sign_in("alice").await;
    let body = client_frame::Body::SignIn(sign_in("alice", PASSWORD));
    let error = refused(&world, body.clone()).await;
    let said = (error.code(), error.action());
    assert_eq!(said, (ErrorCode::LimitReached, Action::Never));

    let mut peer = world.peer().await;
    let again = v1::SignIn {
        device_id: alice.id.clone(),
        ..sign_in("alice", PASSWORD)
    };
    peer.control(client_frame::Body::SignIn(again)).await;
    let alice = peer.signed_in().await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let revoke = v1::RevokeDevice {
        device_id: second.id,
    };
    let number = a.request(client_frame::Body::RevokeDevice(revoke)).await;
    a.answer(number).await;
    world.sign_in("alice").await;
}
