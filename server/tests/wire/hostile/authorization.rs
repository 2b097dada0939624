//! D10, one row for each kind of request: what is not theirs is like what is not
//! there, in the bytes of the answer and in what the store is asked.
//!
//! The schema is the list: a kind of request without a row does not compile, and a
//! row that the schema does not name fails.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use magpie_server::config::Limits;
use prost::Message as _;

use super::{
    bodies::{
        add_members, ban, ban_of, conversations_behind, count_readers, create_invite, delete, edit,
        fetch_bans, fetch_invites, join_by_invite, look_up_invite, pin, profile, react,
        remove_member, report, revoke_invite, say_something, set_role, update_group, watch,
    },
    *,
};
use crate::{
    counted::Counted,
    peer::Device,
    reconnects::{counted_with, until},
};

/// What a request can name that belongs to somebody.
pub(super) enum Names {
    /// It makes, ends or measures the connection itself.
    Connection,
    /// It is about the device that asks, and can name no other.
    Itself,
    /// A user by name, of whom everybody may know that they exist (D10).
    User,
    /// A conversation.
    Conversation(fn(Bytes) -> client_frame::Body),
    /// A user by id.
    Person(fn(Bytes) -> client_frame::Body),
    /// A device.
    Device(fn(Bytes) -> client_frame::Body),
}

pub(super) const ROWS: [&str; 45] = [
    "hello",
    "register",
    "sign_in",
    "ping",
    "goodbye",
    "typing",
    "send_message",
    "edit_message",
    "delete_message",
    "react",
    "pin",
    "ban",
    "fetch_bans",
    "create_invite",
    "revoke_invite",
    "join_by_invite",
    "look_up_invite",
    "fetch_invites",
    "create_group",
    "add_members",
    "remove_member",
    "leave_group",
    "set_role",
    "update_group",
    "mark_read",
    "fetch_history",
    "fetch_conversations",
    "fetch_members",
    "count_readers",
    "fetch_devices",
    "revoke_device",
    "sign_out",
    "set_push",
    "clear_push",
    "detach",
    "change_password",
    "delete_account",
    "report",
    "change_account",
    "change_friendship",
    "fetch_profiles",
    "find_users",
    "fetch_media_token",
    "fetch_media_urls",
    "watch_presence",
];

/// A kind of request by its name in the schema.
pub(super) fn kind(name: &str) -> client_frame::Body {
    use client_frame::Body;
    match name {
        "hello" => Body::Hello(Default::default()),
        "register" => Body::Register(Default::default()),
        "sign_in" => Body::SignIn(Default::default()),
        "ping" => Body::Ping(Default::default()),
        "goodbye" => Body::Goodbye(Default::default()),
        "send_message" => Body::SendMessage(Default::default()),
        "edit_message" => Body::EditMessage(Default::default()),
        "delete_message" => Body::DeleteMessage(Default::default()),
        "react" => Body::React(Default::default()),
        "pin" => Body::Pin(Default::default()),
        "ban" => Body::Ban(Default::default()),
        "fetch_bans" => Body::FetchBans(Default::default()),
        "create_invite" => Body::CreateInvite(Default::default()),
        "revoke_invite" => Body::RevokeInvite(Default::default()),
        "join_by_invite" => Body::JoinByInvite(Default::default()),
        "look_up_invite" => Body::LookUpInvite(Default::default()),
        "fetch_invites" => Body::FetchInvites(Default::default()),
        "create_group" => Body::CreateGroup(Default::default()),
        "add_members" => Body::AddMembers(Default::default()),
        "remove_member" => Body::RemoveMember(Default::default()),
        "leave_group" => Body::LeaveGroup(Default::default()),
        "set_role" => Body::SetRole(Default::default()),
        "update_group" => Body::UpdateGroup(Default::default()),
        "mark_read" => Body::MarkRead(Default::default()),
        "fetch_history" => Body::FetchHistory(Default::default()),
        "fetch_conversations" => Body::FetchConversations(Default::default()),
        "fetch_members" => Body::FetchMembers(Default::default()),
        "count_readers" => Body::CountReaders(Default::default()),
        "fetch_devices" => Body::FetchDevices(Default::default()),
        "revoke_device" => Body::RevokeDevice(Default::default()),
        "sign_out" => Body::SignOut(Default::default()),
        "set_push" => Body::SetPush(Default::default()),
        "clear_push" => Body::ClearPush(Default::default()),
        "detach" => Body::Detach(Default::default()),
        "change_password" => Body::ChangePassword(Default::default()),
        "delete_account" => Body::DeleteAccount(Default::default()),
        "report" => Body::Report(Default::default()),
        "change_friendship" => Body::ChangeFriendship(Default::default()),
        "change_account" => Body::ChangeAccount(Default::default()),
        "typing" => Body::Typing(Default::default()),
        "fetch_profiles" => Body::FetchProfiles(Default::default()),
        "find_users" => Body::FindUsers(Default::default()),
        "fetch_media_token" => Body::FetchMediaToken(Default::default()),
        "fetch_media_urls" => Body::FetchMediaUrls(Default::default()),
        "watch_presence" => Body::WatchPresence(Default::default()),
        _ => panic!("the schema has {name}, which has no row here"),
    }
}

/// The row of a kind of request. No wildcard: a new kind must be thought about.
pub(super) fn row(name: &str) -> Names {
    use client_frame::Body;
    match kind(name) {
        Body::Hello(_) | Body::Register(_) | Body::SignIn(_) => Names::Connection,
        // To Typing nobody is answered: see people.rs.
        Body::Ping(_) | Body::Goodbye(_) | Body::Typing(_) => Names::Connection,
        Body::FetchDevices(_) | Body::SignOut(_) | Body::Detach(_) => Names::Itself,
        Body::SetPush(_) | Body::ClearPush(_) | Body::ChangePassword(_) => Names::Itself,
        // Photos and files of others are in no answer.
        Body::FetchMediaToken(_) | Body::FetchMediaUrls(_) => Names::Itself,
        Body::DeleteAccount(_) => Names::Itself,
        // Whatever it names is named in the user's own log, and looked up by nobody; but a
        // photo, which the user must have.
        Body::ChangeAccount(_) => Names::Itself,
        // Pages through one's own conversations; a foreign place is only a place.
        Body::FetchConversations(_) => Names::Conversation(conversations_behind),
        Body::CreateGroup(_) | Body::FindUsers(_) | Body::ChangeFriendship(_) => Names::User,
        Body::FetchProfiles(_) => Names::Person(profile),
        Body::WatchPresence(_) => Names::Person(watch),
        Body::SendMessage(_) => Names::Conversation(|id| {
            Body::SendMessage(v1::SendMessage {
                to: Some(v1::send_message::To::ConversationId(id)),
                ..text_to("eve", "hi")
            })
        }),
        Body::EditMessage(_) => Names::Conversation(edit),
        Body::DeleteMessage(_) => Names::Conversation(delete),
        Body::React(_) => Names::Conversation(react),
        Body::Pin(_) => Names::Conversation(pin),
        Body::Ban(_) => Names::Conversation(ban),
        Body::FetchBans(_) => Names::Conversation(fetch_bans),
        Body::CreateInvite(_) => Names::Conversation(create_invite),
        Body::RevokeInvite(_) => Names::Conversation(revoke_invite),
        Body::JoinByInvite(_) => Names::Conversation(join_by_invite),
        Body::LookUpInvite(_) => Names::Conversation(look_up_invite),
        Body::FetchInvites(_) => Names::Conversation(fetch_invites),
        Body::AddMembers(_) => Names::Conversation(add_members),
        Body::RemoveMember(_) => Names::Conversation(remove_member),
        Body::UpdateGroup(_) => Names::Conversation(update_group),
        Body::SetRole(_) => Names::Conversation(set_role),
        Body::LeaveGroup(_) => Names::Conversation(|conversation_id| {
            Body::LeaveGroup(v1::LeaveGroup {
                message_id: fresh_id(),
                conversation_id,
            })
        }),
        Body::MarkRead(_) => Names::Conversation(|conversation_id| {
            Body::MarkRead(v1::MarkRead {
                conversation_id,
                seq: 3,
            })
        }),
        Body::FetchHistory(_) => Names::Conversation(|conversation_id| {
            // Of what came after the ones who left were gone.
            Body::FetchHistory(v1::FetchHistory {
                conversation_id,
                limit: 10,
                from: Some(v1::fetch_history::From::AfterSeq(3)),
            })
        }),
        Body::FetchMembers(_) => Names::Conversation(|conversation_id| {
            Body::FetchMembers(v1::FetchMembers {
                conversation_id,
                limit: 10,
                ..Default::default()
            })
        }),
        Body::CountReaders(_) => Names::Conversation(count_readers),
        Body::Report(_) => Names::Conversation(report),
        Body::RevokeDevice(_) => {
            Names::Device(|device_id| Body::RevokeDevice(v1::RevokeDevice { device_id }))
        }
    }
}

/// The kinds of requests that the schema has.
fn schema() -> BTreeSet<String> {
    let path = "../protocol/proto/magpie/v1/frame.proto";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(path).unwrap();
    let (_, frame) = text.split_once("message ClientFrame {").unwrap();
    let (_, bodies) = frame.split_once("oneof body {").unwrap();
    let (bodies, _) = bodies.split_once('}').unwrap();
    bodies
        .lines()
        .map(str::trim)
        .filter(|line| line.ends_with(';') && !line.starts_with("//"))
        .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .collect()
}

#[test]
fn every_kind_of_request_has_a_row() {
    assert_eq!(schema(), ROWS.iter().map(|it| (*it).to_owned()).collect());
}

/// The bytes of an answer, without what names the request, and what was asked of the
/// store for it.
async fn told(peer: &mut Peer, counted: &Counted, body: client_frame::Body) -> (Vec<u8>, Asked) {
    counted.take();
    let number = peer.request(body).await;
    let mut answer = peer.answer(number).await;
    match &mut answer {
        server_frame::Body::Error(it) => {
            it.in_reply_to = 0;
            it.message_id = Bytes::new();
        }
        server_frame::Body::Done(it) => it.in_reply_to = 0,
        server_frame::Body::Conversations(it) => it.in_reply_to = 0,
        server_frame::Body::Profiles(it) => it.in_reply_to = 0,
        server_frame::Body::Presences(it) => {
            it.in_reply_to = 0;
            // It says again of whom it was asked.
            it.presences.iter_mut().for_each(|it| it.user_id.clear());
        }
        other => panic!("{other:?}"),
    }
    let frame = v1::ServerFrame {
        body: Some(answer),
        ..Default::default()
    };
    (frame.encode_to_vec(), counted.take_asked_for())
}

type Asked = Vec<&'static str>;

/// A group of alice and bob that has gone on, and everybody who has no business in
/// it.
pub(super) struct Room {
    pub(super) world: World,
    counted: Arc<Counted>,
    pub(super) alice: Device,
    /// A member without another role.
    pub(super) bob: Device,
    /// Alice's id: she says something of herself.
    pub(super) person: Bytes,
    pub(super) group: Bytes,
    strangers: Vec<(&'static str, Device)>,
}

/// For who asks for everything at once.
pub(super) fn unbounded() -> Limits {
    Limits {
        request_rate_per_device: None,
        lookup_rate_per_user: None,
        report_rate_per_user: None,
        ..Limits::default()
    }
}

pub(super) async fn room() -> Room {
    let (world, counted) = counted_with(unbounded()).await;
    let alice = world.register("alice").await;
    let mut strangers = Vec::new();
    for (kind, name) in [
        ("never a member", "eve"),
        ("was removed", "rem"),
        ("has left", "leo"),
        ("a friend in another conversation", "fay"),
        ("is banned", "ben"),
    ] {
        strangers.push((kind, world.register(name).await));
    }
    let bob = world.register("bob").await;
    let (mut a, _) = world.connect(&alice, Bytes::new()).await;
    a.send(text_to("fay", "hello")).await;
    let create = v1::CreateGroup {
        message_id: fresh_id(),
        title: "room".to_owned(),
        user_names: ["bob", "rem", "leo"].map(str::to_owned).to_vec(),
    };
    let number = a.request(client_frame::Body::CreateGroup(create)).await;
    let server_frame::Body::Accepted(accepted) = a.answer(number).await else {
        panic!("accepted")
    };
    let group = accepted.conversation_id;
    let removal = v1::RemoveMember {
        message_id: fresh_id(),
        conversation_id: group.clone(),
        user_name: "rem".to_owned(),
    };
    let number = a.request(client_frame::Body::RemoveMember(removal)).await;
    a.answer(number).await;
    let (mut leaver, _) = world
        .connect(&strangers.get(2).unwrap().1, Bytes::new())
        .await;
    let leave = v1::LeaveGroup {
        message_id: fresh_id(),
        conversation_id: group.clone(),
    };
    let number = leaver.request(client_frame::Body::LeaveGroup(leave)).await;
    leaver.answer(number).await;
    // What is still to be written down of a connection that is gone is looked at when
    // its device comes back: not among what is compared.
    drop(leaver);
    until("it is written down that they closed", || async {
        counted.take().contains(&"detach")
    })
    .await;
    for text in ["after", "they", "left"] {
        a.send(v1::SendMessage {
            to: Some(v1::send_message::To::ConversationId(group.clone())),
            ..text_to("alice", text)
        })
        .await;
    }
    let number = a.request(ban_of("ben", group.clone())).await;
    a.answer(number).await;
    say_something(&mut a).await;
    Room {
        world,
        counted,
        person: alice.user_id.clone(),
        alice,
        bob,
        group,
        strangers,
    }
}

/// D10.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_theirs_is_like_what_is_not_there() {
    let room = room().await;
    for (kind, device) in &room.strangers {
        let (mut peer, _) = room.world.connect(device, Bytes::new()).await;
        for name in ROWS {
            let (make, theirs) = match row(name) {
                Names::Connection | Names::Itself | Names::User => continue,
                Names::Conversation(make) => (make, &room.group),
                Names::Device(make) => (make, &room.alice.id),
                Names::Person(make) => (make, &room.person),
            };
            // Who was a member may read what was written then, and mark it read.
            let was_member = ["was removed", "has left"].contains(kind);
            if was_member && ["mark_read", "fetch_history"].contains(&name) {
                continue;
            }
            // Of a friend, that is what they are for.
            if name == "fetch_profiles" && kind.starts_with("a friend") {
                continue;
            }
            // A place in the list of one's own is a place, whoever else is there.
            if name == "fetch_conversations" && *kind != "never a member" {
                continue;
            }
            let nothing = told(&mut peer, &room.counted, make(fresh_id())).await;
            let foreign = told(&mut peer, &room.counted, make(theirs.clone())).await;
            assert_eq!(nothing, foreign, "{name} of somebody who {kind}");
        }
    }
    // Nothing of it had an effect.
    let reports = room.world.store.reports(0, 100).await.unwrap();
    assert_eq!(reports, []);
    let (mut a, pages) = room.world.connect(&room.alice, Bytes::new()).await;
    let events: usize = pages.iter().map(|page| page.events.len()).sum();
    assert_eq!(
        events, 9,
        "hello, the group, two who went, three texts, a ban, a profile"
    );
    a.send(text_to("alice", "still signed in")).await;
}

/// D10. What came behind their end is not there for who was a member.
#[tokio::test(flavor = "multi_thread")]
async fn former_members_read_up_to_their_end() {
    let room = room().await;
    for ((_, device), last) in room.strangers.iter().skip(1).zip([2, 3]) {
        let (mut peer, _) = room.world.connect(device, Bytes::new()).await;
        let all = v1::FetchHistory {
            conversation_id: room.group.clone(),
            limit: 100,
            from: Some(v1::fetch_history::From::AfterSeq(0)),
        };
        let number = peer.request(client_frame::Body::FetchHistory(all)).await;
        let server_frame::Body::History(history) = peer.answer(number).await else {
            panic!("history")
        };
        let seqs: Vec<u64> = history.events.iter().map(|it| it.seq).collect();
        assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
        assert!(history.complete);
    }
}

/// The row of those who may: an authorised member is not refused, or the rows above
/// prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn members_may() {
    let room = room().await;
    let (mut a, _) = room.world.connect(&room.alice, Bytes::new()).await;
    for name in ROWS {
        let body = match row(name) {
            // Alice would be gone, is there already, or has no such invite to end.
            Names::Conversation(_)
                if [
                    "remove_member",
                    "leave_group",
                    "join_by_invite",
                    "revoke_invite",
                ]
                .contains(&name) =>
            {
                continue;
            }
            Names::Conversation(make) => make(room.group.clone()),
            Names::Person(make) => make(room.person.clone()),
            Names::Device(_) | Names::Connection | Names::Itself | Names::User => continue,
        };
        let number = a.request(body).await;
        let answer = a.answer(number).await;
        assert!(
            !matches!(answer, server_frame::Body::Error(_)),
            "{name}: {answer:?}"
        );
    }
}
