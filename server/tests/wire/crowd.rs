//! Groups of thousands, end to end.

use std::collections::BTreeSet;

use bytes::Bytes;
use magpie_protocol::{
    id::{DeviceId, UserId},
    limits::{MEMBERS_COUNT_MAX, NAMES_MAX},
    text::{DeviceName, UserName},
    wire::v1::{self, client_frame, server_frame},
};
use magpie_server::{
    config::Limits,
    store::{Account, NewDevice, Standing, User},
};
use prost::Message as _;

use crate::peer::{Peer, World, fresh_id, hello, text_to};

/// Members who never connect.
const AWAY: usize = 2_000;

/// Users made without the price of a password.
async fn make_users(world: &World, count: usize) -> Vec<String> {
    let mut names = Vec::with_capacity(count);
    for number in 0..count {
        let name = format!("away{number}");
        let fresh = || <[u8; 16]>::try_from(fresh_id().as_ref()).unwrap();
        let account = Account {
            user: User {
                id: UserId::new(fresh()),
                name: UserName::parse(&name).unwrap(),
            },
            password_hash: "$argon2id$".to_owned(),
            standing: Standing::Active,
        };
        let device = NewDevice {
            id: DeviceId::new(fresh()),
            name: DeviceName::try_from(String::new()).unwrap(),
            token_hash: [0; 32],
        };
        world
            .store
            .create_user(&account, Some(&device), 0)
            .await
            .unwrap();
        names.push(name);
    }
    names
}

fn post(group: &Bytes, text: &str) -> v1::SendMessage {
    v1::SendMessage {
        to: Some(v1::send_message::To::ConversationId(group.clone())),
        ..text_to("nobody", text)
    }
}

/// Makes a group of many, in as many requests as that takes.
async fn make_group(peer: &mut Peer, names: &[String]) -> Bytes {
    let group = fresh_id();
    for (index, names) in names.chunks(NAMES_MAX).enumerate() {
        let (message_id, user_names) = (fresh_id(), names.to_vec());
        let body = match index {
            0 => client_frame::Body::CreateGroup(v1::CreateGroup {
                message_id: group.clone(),
                title: "crowd".to_owned(),
                user_names,
            }),
            _ => client_frame::Body::AddMembers(v1::AddMembers {
                message_id,
                conversation_id: group.clone(),
                user_names,
            }),
        };
        let number = peer.request(body).await;
        let answer = peer.answer(number).await;
        assert!(
            matches!(answer, server_frame::Body::Accepted(_)),
            "{answer:?}"
        );
    }
    group
}

/// All members, page by page, and the seq that the last page is of.
async fn list(peer: &mut Peer, group: &Bytes) -> (Vec<v1::Member>, u64) {
    let mut members: Vec<v1::Member> = Vec::new();
    loop {
        let last = members.last().and_then(|it| it.user.clone());
        let fetch = v1::FetchMembers {
            conversation_id: group.clone(),
            after_user_id: last.map(|it| it.user_id).unwrap_or_default(),
            limit: MEMBERS_COUNT_MAX,
        };
        let number = peer.request(client_frame::Body::FetchMembers(fetch)).await;
        let server_frame::Body::Members(page) = peer.answer(number).await else {
            panic!("members")
        };
        assert!(page.members.len() <= MEMBERS_COUNT_MAX as usize);
        members.extend(page.members);
        if page.complete {
            return (members, page.at_seq);
        }
    }
}

/// What comes until the text does: the descriptions before it, and the texts.
async fn until_text(peer: &mut Peer, last: &str) -> (Vec<v1::Conversation>, Vec<String>) {
    let (mut described, mut texts) = (Vec::new(), Vec::new());
    while texts.last().map(String::as_str) != Some(last) {
        let server_frame::Body::Page(page) = peer.body().await else {
            continue;
        };
        described.extend(page.conversations);
        for event in page.events {
            let kind = event.content.and_then(|it| it.kind);
            if let Some(v1::event_content::Kind::Message(message)) = kind {
                texts.push(message.text);
            }
        }
    }
    (described, texts)
}

/// D4, D10.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_thousands_is_described_shortly_listed_in_pages_and_reached_in_order() {
    let world = World::with(Limits {
        lookup_rate_per_user: None,
        ..Limits::default()
    })
    .await;
    let (alice, bob) = (world.register("alice").await, world.register("bob").await);
    let carol = world.register("carol").await;
    let mut names = make_users(&world, AWAY).await;
    // One comes with the group, one with the last who are added.
    names.insert(0, "bob".to_owned());
    names.push("carol".to_owned());
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let (mut c, _) = world.connect(&carol, Bytes::new()).await;
    let group = make_group(&mut a, &names).await;

    // To many and to one, in turns: nobody gets the later one first.
    let mut texts = Vec::new();
    for number in 0..20 {
        texts.extend([format!("to all {number}"), format!("to bob {number}")]);
        a.send(post(&group, &format!("to all {number}"))).await;
        a.send(text_to("bob", &format!("to bob {number}"))).await;
    }
    a.send(post(&group, "last")).await;
    texts.push("last".to_owned());
    let (described, came) = until_text(&mut b, "last").await;
    assert_eq!(came, texts);
    let of_group = |it: &&v1::Conversation| it.conversation_id == group;
    let described = described.iter().find(of_group).unwrap();
    let named: Vec<_> = described.members.iter().flat_map(|it| &it.user).collect();
    assert_eq!(named.len(), 1);
    assert_eq!(named[0].name, "bob");
    assert!(described.member_count >= NAMES_MAX as u64);
    let (described, came) = until_text(&mut c, "last").await;
    assert_eq!(came.len(), 21);
    let described = described.iter().find(of_group).unwrap();
    assert_eq!(described.member_count, AWAY as u64 + 3);
    assert!(described.encoded_len() < 256);

    let (members, at_seq) = list(&mut c, &group).await;
    assert_eq!(at_seq, 5 + 21);
    let listed = members.iter().filter_map(|it| it.user.as_ref());
    let listed: BTreeSet<String> = listed.map(|it| it.name.clone()).collect();
    names.push("alice".to_owned());
    assert_eq!(listed, names.into_iter().collect());
    assert_eq!(members.len(), listed.len(), "each once");
}

/// D12.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_takes_as_many_as_the_server_is_set_to() {
    let world = World::with(Limits {
        group_members_max: 3,
        ..Limits::default()
    })
    .await;
    let alice = world.register("alice").await;
    let names = make_users(&world, 3).await;
    let mut a = world.peer().await;
    a.control(hello(&alice, Bytes::new())).await;
    let server_frame::Body::Welcome(welcome) = a.body().await else {
        panic!("welcome")
    };
    assert_eq!(welcome.limits.unwrap().group_members_max, 3);
    a.caught_up().await;
    let group = make_group(&mut a, &names[..2]).await;
    let add = v1::AddMembers {
        message_id: fresh_id(),
        conversation_id: group,
        user_names: names[2..].to_vec(),
    };
    let number = a.request(client_frame::Body::AddMembers(add)).await;
    let server_frame::Body::Error(error) = a.answer(number).await else {
        panic!("refused")
    };
    assert_eq!(error.code(), v1::ErrorCode::LimitReached);
    assert_eq!(error.action(), v1::Action::Never);
}
