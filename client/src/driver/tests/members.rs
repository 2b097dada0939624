//! Stories of a long list of members, asked for page by page.

use magpie_protocol::{
    id::UserId,
    limits::MEMBERS_COUNT_MAX,
    session::Reply,
    wire::{EncodedPage, FetchMembers, Request, v1},
};

use super::script::{ALICE, CHAT, Peer, Story, begin};
use crate::{
    client::Event,
    error::RequestError,
    model::{LocalMembers, MembersPlace},
};

fn member(number: u8) -> v1::Member {
    v1::Member {
        user: Some(v1::User {
            user_id: vec![number; 16].into(),
            name: format!("user{number}"),
        }),
        ..Default::default()
    }
}

/// A page that describes a group of this many.
async fn describe(peer: &mut Peer, member_count: u64) {
    let alice = v1::Member {
        user: Some(v1::User {
            user_id: ALICE.to_wire(),
            name: "alice".to_owned(),
        }),
        ..Default::default()
    };
    let page = EncodedPage {
        conversations: vec![v1::Conversation {
            conversation_id: CHAT.to_wire(),
            kind: v1::ConversationKind::Group.into(),
            title: "crowd".to_owned(),
            members: vec![alice],
            member_count,
            first_seq: 1,
            head_seq: 1,
            ..Default::default()
        }],
        caught_up: true,
        ..Default::default()
    };
    peer.session.page(&page, &mut peer.out);
    peer.flush().await;
}

async fn asked(peer: &mut Peer) -> (magpie_protocol::seq::FrameNumber, Option<UserId>) {
    let (number, request) = peer.request().await;
    let Request::FetchMembers(FetchMembers { after, limit, .. }) = request else {
        panic!("{request:?}");
    };
    assert_eq!(limit, MEMBERS_COUNT_MAX);
    (number, after)
}

async fn answer(peer: &mut Peer, (numbers, complete): (&[u8], bool)) -> Option<UserId> {
    let (number, after) = asked(peer).await;
    let members = v1::Members {
        members: numbers.iter().copied().map(member).collect(),
        complete,
        at_seq: 1,
        ..Default::default()
    };
    peer.reply(number, Reply::Members(members)).await;
    after
}

fn listed(story: &Story) -> LocalMembers {
    story.home.members(CHAT).unwrap()
}

fn rest(story: &Story) -> MembersPlace {
    listed(story).rest.unwrap()
}

#[tokio::test]
async fn a_long_list_is_loaded_on_demand_and_gone_on_with_after_a_lost_connection() {
    let mut story = begin();
    let (mut first, _) = story.connection().await;
    first.welcome(true).await;
    describe(&mut first, 6).await;
    story.event(|event| matches!(event, Event::CaughtUp)).await;
    let members = listed(&story);
    assert_eq!((members.members.len(), members.count), (1, 6));

    let (loaded, after) = tokio::join!(
        story.client.load_members(rest(&story)),
        answer(&mut first, (&[1, 2, 3], false)),
    );
    assert_eq!((loaded, after), (Ok(false), None));
    // Cut while the next page is on its way.
    let place = rest(&story);
    let lost = async {
        asked(&mut first).await;
        drop(first);
    };
    let (loaded, ()) = tokio::join!(story.client.load_members(place), lost);
    assert_eq!(loaded, Err(RequestError::NotConnected));

    let (mut second, _) = story.connection().await;
    second.welcome(false).await;
    describe(&mut second, 6).await;
    story.event(|event| matches!(event, Event::CaughtUp)).await;
    let (loaded, after) = tokio::join!(
        story.client.load_members(rest(&story)),
        answer(&mut second, (&[4, 5], true)),
    );
    assert_eq!((loaded, after), (Ok(true), place.after));
    let members = listed(&story);
    assert_eq!((members.members.len(), members.rest), (6, None));
    story.client.shutdown().await;
}

/// D12.
#[tokio::test]
async fn who_is_no_member_is_refused_the_list() {
    let mut story = begin();
    let (mut peer, _) = story.connection().await;
    peer.welcome(true).await;
    describe(&mut peer, 6).await;
    story.event(|event| matches!(event, Event::CaughtUp)).await;
    let refuse = async {
        let (number, _) = asked(&mut peer).await;
        let not_found = v1::Error {
            code: v1::ErrorCode::NotFound.into(),
            action: v1::Action::Never.into(),
            ..Default::default()
        };
        peer.reply(number, Reply::Error(not_found)).await;
    };
    let (loaded, ()) = tokio::join!(story.client.load_members(rest(&story)), refuse);
    assert!(
        matches!(loaded, Err(RequestError::Refused(_))),
        "{loaded:?}"
    );
    // Nor does an answer that leads nowhere go on for ever.
    let (loaded, _) = tokio::join!(
        story.client.load_members(rest(&story)),
        answer(&mut peer, (&[], false)),
    );
    assert_eq!(loaded, Err(RequestError::WrongAnswer));
    story.client.shutdown().await;
}
