//! Stories of who is watched, over all connections.

use magpie_protocol::{
    id::UserId,
    seq::FrameNumber,
    session::{Hint, Reply},
    wire::{Request, v1},
};

use super::script::{Peer, Story, begin};
use crate::{
    client::Event,
    model::{Presence, PresenceState},
};

const BOB: UserId = UserId::new([0xb; 16]);
const CAROL: UserId = UserId::new([0xd; 16]);

fn said(user: UserId, state: v1::PresenceState) -> v1::Presence {
    v1::Presence {
        user_id: user.to_wire(),
        state: state.into(),
        ..Default::default()
    }
}

async fn asked(peer: &mut Peer) -> (FrameNumber, Vec<UserId>) {
    let (number, request) = peer.request().await;
    let Request::WatchPresence(users) = request else {
        panic!("{request:?}");
    };
    (number, users)
}

async fn answer(peer: &mut Peer, number: FrameNumber, presences: Vec<v1::Presence>) {
    let presences = v1::Presences {
        presences,
        ..Default::default()
    };
    peer.reply(number, Reply::Presences(presences)).await;
}

async fn told(story: &mut Story) -> Presence {
    let is_presence = |event: &Event| matches!(event, Event::Presence { .. });
    let Event::Presence { presence } = story.event(is_presence).await else {
        panic!("a presence")
    };
    presence
}

const fn is(user: UserId, state: PresenceState) -> Presence {
    Presence { user, state }
}

#[tokio::test]
async fn who_is_watched_is_asked_for_on_every_connection() {
    use v1::PresenceState::{Hidden, Offline, Online};
    let mut story = begin();
    // Before there is any.
    story.client.watch_presence(&[BOB, CAROL]);
    let (mut first, _) = story.connection().await;
    first.welcome(true).await;
    first.page(&[], "", true).await;
    let (number, users) = asked(&mut first).await;
    assert_eq!(users, [BOB, CAROL]);
    answer(
        &mut first,
        number,
        vec![said(BOB, Online), said(CAROL, Hidden)],
    )
    .await;
    let bob = is(BOB, PresenceState::Online);
    assert_eq!(told(&mut story).await, bob);
    let carol = is(CAROL, PresenceState::Hidden);
    assert_eq!(told(&mut story).await, carol);
    assert_eq!(story.client.presences(), [bob.clone(), carol]);

    // A hint that says nothing new, and of one whom nobody watches, is passed over.
    let seen = v1::Presence {
        last_seen_at_ms: 60_000,
        ..said(BOB, Offline)
    };
    let stranger = said(UserId::new([9; 16]), Online);
    for it in [said(BOB, Online), stranger, seen] {
        first.session.hint(&Hint::Presence(it), &mut first.out);
    }
    first.flush().await;
    let last_seen_at_ms = Some(60_000);
    let away = is(BOB, PresenceState::Offline { last_seen_at_ms });
    assert_eq!(told(&mut story).await, away);

    drop(first);
    let is_lost = |event: &Event| matches!(event, Event::Disconnected { .. });
    story.event(is_lost).await;
    assert_eq!(story.client.presences(), [], "nothing is known");
    let (mut second, _) = story.connection().await;
    second.welcome(false).await;
    let (number, users) = asked(&mut second).await;
    assert_eq!(users, [BOB, CAROL]);
    // Others are looked at before it is answered.
    story.client.watch_presence(&[BOB]);
    answer(
        &mut second,
        number,
        vec![said(BOB, Hidden), said(CAROL, Online)],
    )
    .await;
    let (number, users) = asked(&mut second).await;
    assert_eq!(users, [BOB]);
    answer(&mut second, number, vec![said(BOB, Online)]).await;
    assert_eq!(told(&mut story).await, bob);
    story.client.watch_presence(&[]);
    assert_eq!(asked(&mut second).await.1, []);
    assert_eq!(story.client.presences(), []);
}
