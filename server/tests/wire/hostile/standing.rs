//! D10, one row for each kind of request: what a member may who is not the owner, what
//! somebody is answered who is blocked, and who is nobody.

use magpie_protocol::id::UserId;
use magpie_server::store::AccountChange;

use super::{
    authorization::{Names, ROWS, kind, room, row},
    *,
};
use crate::peer::Device;

/// The lowest role of who may do this in a group; `None` of what is not about one. No
/// wildcard: a new kind must be thought about.
fn least_role(name: &str) -> Option<v1::Role> {
    use client_frame::Body;
    match kind(name) {
        Body::Hello(_)
        | Body::Register(_)
        | Body::SignIn(_)
        | Body::Ping(_)
        | Body::Goodbye(_)
        | Body::Typing(_)
        | Body::FetchDevices(_)
        | Body::RevokeDevice(_)
        | Body::SignOut(_)
        | Body::Detach(_)
        | Body::SetPush(_)
        | Body::ClearPush(_)
        | Body::ChangePassword(_)
        | Body::DeleteAccount(_)
        | Body::ChangeAccount(_)
        | Body::ChangeFriendship(_)
        | Body::CreateGroup(_)
        | Body::FindUsers(_)
        | Body::FetchProfiles(_)
        | Body::WatchPresence(_)
        | Body::FetchMediaToken(_)
        | Body::FetchMediaUrls(_)
        // Who is a member already joins in vain, and who is to leave is not asked.
        | Body::JoinByInvite(_)
        | Body::LeaveGroup(_) => None,
        Body::SendMessage(_)
        | Body::React(_)
        | Body::AddMembers(_)
        | Body::MarkRead(_)
        | Body::FetchHistory(_)
        | Body::FetchConversations(_)
        | Body::FetchMembers(_)
        | Body::CountReaders(_)
        | Body::LookUpInvite(_)
        | Body::Report(_) => Some(v1::Role::Member),
        // Of a message of the owner, too.
        Body::DeleteMessage(_)
        | Body::Pin(_)
        | Body::Ban(_)
        | Body::FetchBans(_)
        | Body::CreateInvite(_)
        | Body::RevokeInvite(_)
        | Body::FetchInvites(_)
        | Body::UpdateGroup(_) => Some(v1::Role::Admin),
        // Of the owner's own message, and of the owner: their own.
        Body::EditMessage(_) | Body::RemoveMember(_) | Body::SetRole(_) => Some(v1::Role::Owner),
    }
}

/// What is asked of the group; the roles are the owner's to give.
fn asked(name: &str, group: &Bytes) -> client_frame::Body {
    match (kind(name), row(name)) {
        (client_frame::Body::SetRole(_), _) => role_of("alice", group),
        (_, Names::Conversation(make)) => make(group.clone()),
        _ => panic!("{name} is not about a group"),
    }
}

fn role_of(name: &str, group: &Bytes) -> client_frame::Body {
    client_frame::Body::SetRole(v1::SetRole {
        message_id: fresh_id(),
        conversation_id: group.clone(),
        user_name: name.to_owned(),
        role: v1::Role::Admin.into(),
    })
}

/// D12. Those who may not are told so, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_what_its_row_says() {
    let room = room().await;
    let (mut owner, _) = room.world.connect(&room.alice, Bytes::new()).await;
    let (mut bob, _) = room.world.connect(&room.bob, Bytes::new()).await;
    for role in [v1::Role::Member, v1::Role::Admin] {
        if role == v1::Role::Admin {
            let number = owner.request(role_of("bob", &room.group)).await;
            let answer = owner.answer(number).await;
            assert!(
                matches!(answer, server_frame::Body::Accepted(_)),
                "{answer:?}"
            );
        }
        for name in ROWS {
            let Some(least) = least_role(name) else {
                continue;
            };
            let number = bob.request(asked(name, &room.group)).await;
            let code = match bob.answer(number).await {
                server_frame::Body::Error(it) => Some(it.code()),
                _ => None,
            };
            let is_refused = code == Some(ErrorCode::NotAllowed);
            assert_eq!(is_refused, role < least, "{name} by {role:?}: {code:?}");
        }
    }
}

/// A request before the hello, or after the device was signed out, is none.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_asks_without_being_signed_in() {
    let room = room().await;
    let revoked = room.world.sign_in("alice").await;
    let (mut a, _) = room.world.connect(&room.alice, Bytes::new()).await;
    let revoke = v1::RevokeDevice {
        device_id: revoked.id.clone(),
    };
    let number = a.request(client_frame::Body::RevokeDevice(revoke)).await;
    a.answer(number).await;
    let (suspended, deleted) = (
        room.world.register("sue").await,
        room.world.register("del").await,
    );
    for (device, change) in [
        (&suspended, AccountChange::Suspend),
        (&deleted, AccountChange::Delete),
    ] {
        let user = UserId::try_from(device.user_id.as_ref()).unwrap();
        let store = &room.world.store;
        let changed = store.change_account(user, None, &change).await;
        assert_eq!(changed.unwrap().map(|devices| devices.len()), Some(1));
    }
    for name in ROWS {
        let body = match row(name) {
            Names::Conversation(make) => make(room.group.clone()),
            Names::Device(make) => make(room.alice.id.clone()),
            Names::Person(make) => make(room.person.clone()),
            Names::Itself | Names::User => kind(name),
            Names::Connection => continue,
        };
        let mut stranger = room.world.peer().await;
        stranger.request(body.clone()).await;
        is_refused(&mut stranger).await;
        for device in [&revoked, &suspended, &deleted] {
            let mut former = room.world.peer().await;
            former.control(hello(device, Bytes::new())).await;
            former.request(body.clone()).await;
            let goodbye = former.goodbye().await;
            assert_eq!(goodbye.action(), Action::SignIn, "{name}");
        }
    }
}

/// What an answer says, without what names the conversation and the request.
fn gist(answer: server_frame::Body) -> String {
    use server_frame::Body;
    match answer {
        Body::Accepted(it) => format!("accepted at {}", it.seq),
        Body::Error(it) => format!("{:?}, {:?}: {}", it.code(), it.action(), it.message),
        Body::ReaderCounts(it) => format!("{:?}", it.counts),
        Body::History(it) => {
            let seqs: Vec<u64> = it.events.iter().map(|event| event.seq).collect();
            format!("{seqs:?} {}", it.complete)
        }
        Body::Members(it) => {
            let read: Vec<u64> = it.members.iter().map(|it| it.read_seq).collect();
            format!("{read:?}")
        }
        other => {
            let said = format!("{other:?}");
            said.split('(').next().unwrap().to_owned()
        }
    }
}

async fn ask(peer: &mut Peer, body: client_frame::Body) -> String {
    let number = peer.request(body).await;
    gist(peer.answer(number).await)
}

/// A direct conversation of alice with somebody who has read what she wrote, and one who
/// has written.
async fn talk(alice: &mut Peer, other: &mut Peer, name: &str) -> Bytes {
    let mut direct = Bytes::new();
    for text in ["one", "two", "three", "four"] {
        direct = alice.send(text_to(name, text)).await.conversation_id;
    }
    for text in ["five", "six"] {
        other.send(text_to("alice", text)).await;
    }
    mark(other, &direct, 6).await;
    direct
}

async fn mark(peer: &mut Peer, conversation: &Bytes, seq: u64) {
    let mark = v1::MarkRead {
        conversation_id: conversation.clone(),
        seq,
    };
    ask(peer, client_frame::Body::MarkRead(mark)).await;
}

async fn count_of_last(peer: &mut Peer, conversation: &Bytes) -> String {
    let count = v1::CountReaders {
        conversation_id: conversation.clone(),
        seqs: vec![7],
    };
    ask(peer, client_frame::Body::CountReaders(count)).await
}

/// Who is blocked can not find out, whatever they ask.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_blocked_is_answered_as_if_they_were_not() {
    let world = World::with(super::authorization::unbounded()).await;
    let [alice, bob, carol]: [Device; 3] = [
        world.register("alice").await,
        world.register("bob").await,
        world.register("carol").await,
    ];
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    let (mut b, _) = world.connect(&bob, Bytes::new()).await;
    let (mut c, _) = world.connect(&carol, Bytes::new()).await;
    let with_bob = talk(&mut a, &mut b, "bob").await;
    let with_carol = talk(&mut a, &mut c, "carol").await;
    let block = v1::Block {
        user_id: alice.user_id.clone(),
        blocked: true,
    };
    b.set(v1::account_change::Kind::Block(block)).await;
    for name in ["bob", "carol"] {
        a.send(text_to(name, "seven")).await;
    }
    // Bob reads it when he is not blocking any more, or not; carol does not read it.
    mark(&mut b, &with_bob, 7).await;
    let one = count_of_last(&mut a, &with_bob).await;
    assert_eq!(one, count_of_last(&mut a, &with_carol).await);
    for name in ROWS {
        let Names::Conversation(make) = row(name) else {
            continue;
        };
        let one = ask(&mut a, make(with_bob.clone())).await;
        let other = ask(&mut a, make(with_carol.clone())).await;
        assert_eq!(one, other, "{name}");
    }
    for action in [v1::FriendAction::Request, v1::FriendAction::Cancel] {
        let befriend = |name: &str| {
            client_frame::Body::ChangeFriendship(v1::ChangeFriendship {
                message_id: fresh_id(),
                user_name: name.to_owned(),
                action: action.into(),
            })
        };
        let one = ask(&mut a, befriend("bob")).await;
        assert_eq!(one, ask(&mut a, befriend("carol")).await, "{action:?}");
    }
}
