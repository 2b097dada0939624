//! Every kind of frame, cut at each byte and with each bit turned: taken for what it
//! is now, or refused in a few words; never a panic, and never half a frame.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "spoilt/requests.rs"]
mod requests;

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{Split, split},
    limits::{CLIENT_FRAME_SIZE_MAX, SERVER_FRAME_SIZE_MAX},
    moment::Moment,
    session::{ClientSession, ServerSession},
    wire::v1::{self, client_frame, server_frame},
};
use prost::Message as _;

use self::requests::{accounts, invites};

const NOW: Moment = Moment::START;

/// A violation is told in at most so many bytes: codes and numbers, nothing that a
/// library or a stranger said.
const TOLD_SIZE_MAX: usize = 120;

fn id(first: u8) -> Bytes {
    vec![first; 16].into()
}

fn names() -> Vec<String> {
    ["bob", "carol"].map(str::to_owned).to_vec()
}

/// One of each kind that a signed-in client sends.
fn requests() -> Vec<client_frame::Body> {
    use client_frame::Body;
    let conversation_id = id(2);
    vec![
        Body::Ping(v1::Ping {
            id: 7,
            cursor: id(9),
        }),
        Body::Goodbye(v1::Goodbye {
            message: "later".to_owned(),
            ..Default::default()
        }),
        Body::SendMessage(v1::SendMessage {
            message_id: id(1),
            to: Some(v1::send_message::To::UserName("bob".to_owned())),
            message: Some(message()),
        }),
        Body::MarkRead(v1::MarkRead {
            conversation_id: conversation_id.clone(),
            seq: 300,
        }),
        Body::FetchHistory(v1::FetchHistory {
            conversation_id: conversation_id.clone(),
            from: Some(v1::fetch_history::From::BeforeSeq(300)),
            limit: 20,
        }),
        Body::FetchConversations(v1::FetchConversations {
            after_conversation_id: conversation_id.clone(),
            limit: 10,
        }),
        Body::FetchMembers(v1::FetchMembers {
            conversation_id,
            after_user_id: id(4),
            limit: 300,
        }),
        Body::CountReaders(v1::CountReaders {
            conversation_id: id(2),
            seqs: vec![3, 300],
        }),
        Body::FetchMediaToken(v1::FetchMediaToken {}),
        Body::FetchMediaUrls(v1::FetchMediaUrls {
            media_ids: vec![id(5), id(6)],
        }),
        Body::FetchDevices(v1::FetchDevices {}),
        Body::RevokeDevice(v1::RevokeDevice { device_id: id(3) }),
        Body::SignOut(v1::SignOut {}),
        Body::SetPush(v1::SetPush {
            platform: v1::Platform::Android.into(),
            app_id: "chat".to_owned(),
            token: "token:1".to_owned(),
        }),
        Body::ClearPush(v1::ClearPush {}),
        Body::Detach(v1::Detach {}),
    ]
}

/// One of each kind that changes a group.
fn groups() -> Vec<client_frame::Body> {
    use client_frame::Body;
    let (message_id, conversation_id) = (id(1), id(2));
    vec![
        Body::CreateGroup(v1::CreateGroup {
            message_id: message_id.clone(),
            title: "trip".to_owned(),
            user_names: names(),
        }),
        Body::AddMembers(v1::AddMembers {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
            user_names: names(),
        }),
        Body::RemoveMember(v1::RemoveMember {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
            user_name: "bob".to_owned(),
        }),
        Body::LeaveGroup(v1::LeaveGroup {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
        }),
        Body::SetRole(v1::SetRole {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
            user_name: "bob".to_owned(),
            role: v1::Role::Admin.into(),
        }),
        Body::Ban(v1::Ban {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
            user_name: "bob".to_owned(),
            banned: true,
        }),
        Body::UpdateGroup(v1::UpdateGroup {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
            title: Some("trip".to_owned()),
            description: Some("where to".to_owned()),
            announcement_only: Some(true),
            photo: Some(id(3)),
            history_for_newcomers: Some(true),
        }),
        Body::Pin(v1::Pin {
            message_id,
            conversation_id,
            seq: 300,
            pinned: true,
        }),
    ]
}

/// One of each kind that changes a message.
fn changes() -> Vec<client_frame::Body> {
    use client_frame::Body;
    let (message_id, conversation_id) = (id(1), id(2));
    vec![
        Body::EditMessage(v1::EditMessage {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
            seq: 300,
            message: Some("안녕!".into()),
        }),
        Body::DeleteMessage(v1::DeleteMessage {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
            seq: 300,
        }),
        Body::React(v1::React {
            message_id: message_id.clone(),
            conversation_id: conversation_id.clone(),
            seq: 300,
            emoji: "👍".to_owned(),
            removed: true,
        }),
    ]
}

/// One of each kind that a client begins with.
fn credentials() -> Vec<client_frame::Body> {
    use client_frame::Body;
    vec![
        Body::Hello(hello()),
        Body::Register(v1::Register {
            device_id: id(1),
            name: "alice".to_owned(),
            password: "correct horse".to_owned(),
            device_name: "phone".to_owned(),
            invitation: "sixteen bytes or more".to_owned(),
        }),
        Body::SignIn(v1::SignIn {
            device_id: id(1),
            name: "alice".to_owned(),
            password: "correct horse".to_owned(),
            device_name: "phone".to_owned(),
        }),
    ]
}

fn hello() -> v1::Hello {
    v1::Hello {
        protocol_version: 1,
        client_name: "test".to_owned(),
        client_version: "1".to_owned(),
        device_id: id(1),
        device_token: vec![2; 32].into(),
        epoch: 1,
        base: 200,
        cursor: id(9),
        background: true,
    }
}

fn user() -> Option<v1::User> {
    Some(v1::User {
        user_id: id(4),
        name: "bob".to_owned(),
    })
}

/// With all that a message can have.
fn message() -> v1::Message {
    v1::Message {
        text: "안녕".to_owned(),
        reply_to_seq: 7,
        forwarded: Some(v1::Forwarded {
            author: user(),
            sent_at_ms: 1_700_000_000_000,
        }),
        mentions: vec![v1::Mention {
            user_id: id(4),
            start: 0,
            length: 3,
        }],
        mentions_everybody: true,
        content_type: "text/plain".to_owned(),
        body: id(5),
        media: vec![v1::Media::default()],
    }
}

fn event() -> v1::Event {
    let message = message();
    v1::Event {
        conversation_id: id(2),
        seq: 1,
        sender: user(),
        message_id: id(1),
        committed_at_ms: 1_700_000_000_000,
        content: Some(v1::EventContent {
            kind: Some(v1::event_content::Kind::Message(message)),
        }),
    }
}

fn conversation() -> v1::Conversation {
    v1::Conversation {
        conversation_id: id(2),
        kind: v1::ConversationKind::Direct.into(),
        members: vec![v1::Member {
            user: user(),
            delivered_seq: 1,
            read_seq: 1,
            role: 0,
        }],
        first_seq: 1,
        head_seq: 1,
        member_count: 1,
        friendship: v1::Friendship::WasAsked.into(),
        friendship_seq: 1,
        answered: true,
        ..Default::default()
    }
}

fn history() -> v1::History {
    v1::History {
        in_reply_to: 1,
        events: vec![event()],
        complete: true,
        states: vec![v1::MessageState {
            seq: 1,
            edited_seq: 2,
            edited_at_ms: 1_700_000_000_000,
            message: Some(message()),
            reactions: vec![v1::Reaction {
                emoji: "👍".to_owned(),
                count: 3,
                own: true,
            }],
        }],
        states_seq: 3,
    }
}

/// One of each kind that a server sends behind its welcome.
fn answers() -> Vec<server_frame::Body> {
    use server_frame::Body;
    let error = v1::Error {
        in_reply_to: 1,
        code: v1::ErrorCode::NotFound.into(),
        action: v1::Action::Never.into(),
        message: "nothing there".to_owned(),
        ..Default::default()
    };
    vec![
        Body::Pong(v1::Pong {
            id: 7,
            checkpoint: Some(v1::Checkpoint {
                cursor: id(9),
                after_frame: 0,
            }),
        }),
        Body::Goodbye(v1::Goodbye {
            message: "later".to_owned(),
            ..Default::default()
        }),
        Body::Page(v1::Page {
            conversations: vec![conversation()],
            events: vec![event()],
            cursor: id(9),
            caught_up: true,
            ..Default::default()
        }),
        Body::Accepted(v1::Accepted {
            in_reply_to: 1,
            message_id: id(1),
            conversation_id: id(2),
            seq: 1,
            committed_at_ms: 1_700_000_000_000,
        }),
        Body::Done(v1::Done { in_reply_to: 1 }),
        Body::Error(error),
        Body::History(history()),
        Body::Conversations(v1::Conversations {
            in_reply_to: 1,
            conversations: vec![conversation()],
            complete: true,
        }),
        Body::Members(v1::Members {
            in_reply_to: 1,
            members: conversation().members,
            complete: true,
            at_seq: 1,
        }),
        Body::MediaToken(v1::MediaToken::default()),
        Body::MediaUrls(v1::MediaUrls {
            in_reply_to: 1,
            urls: vec![v1::MediaUrl::default()],
        }),
        Body::Devices(v1::Devices {
            in_reply_to: 1,
            devices: vec![v1::Device {
                device_id: id(3),
                name: "phone".to_owned(),
                ..Default::default()
            }],
        }),
    ]
}

/// Every way to cut a frame's body, and to turn one of its bits.
fn spoilt(whole: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..whole.len()).map(|at| whole[..at].to_vec());
    let turned = (0..whole.len() * 8).map(|bit| {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    cut.chain(turned)
}

fn written(frame: &impl magpie_protocol::frame::Frame) -> Bytes {
    let mut out = BytesMut::new();
    frame.write(&mut out);
    out.freeze()
}

/// A server that waits for a hello, or has welcomed it.
fn server(is_open: bool) -> ServerSession {
    let mut server = ServerSession::new(NOW);
    if is_open {
        let frame = v1::ClientFrame {
            body: Some(client_frame::Body::Hello(hello())),
            ..Default::default()
        };
        server.handle_frame(&written(&frame)[4..], NOW).unwrap();
        server.welcome(&v1::Welcome::default(), NOW, &mut BytesMut::new());
    }
    server
}

fn client() -> ClientSession {
    let mut client = ClientSession::new(Bytes::new(), NOW);
    let frame = v1::ServerFrame {
        body: Some(server_frame::Body::Welcome(v1::Welcome::default())),
        ..Default::default()
    };
    client
        .handle_frame(written(&frame).slice(4..), NOW)
        .unwrap();
    client
}

/// A frame of which bytes are missing is not handed on.
fn assert_waits_for_all_of_it(framed: &[u8], size_max: usize) {
    for cut in 0..framed.len() {
        let split = split(&framed[..cut], size_max);
        assert!(matches!(split, Ok(Split::Incomplete(_))), "cut at {cut}");
    }
    assert!(matches!(split(framed, size_max), Ok(Split::Frame(_, []))));
}

#[test]
fn a_clients_frame_is_whole_or_none_and_spoilt_it_hurts_nobody() {
    let (mut taken, mut refused) = (0, 0);
    let openings = credentials().into_iter().map(|body| (body, 0, false));
    let control = |body: &client_frame::Body| {
        use client_frame::Body;
        matches!(body, Body::Ping(_) | Body::Typing(_) | Body::Goodbye(_))
    };
    let requests = requests()
        .into_iter()
        .chain(groups())
        .chain(accounts())
        .chain(invites())
        .chain(changes())
        .map(|body| {
            let number = u64::from(!control(&body));
            (body, number, true)
        });
    for (body, number, is_open) in openings.chain(requests) {
        let frame = v1::ClientFrame {
            number,
            critical: true,
            body: Some(body),
            ..Default::default()
        };
        let framed = written(&frame);
        assert_waits_for_all_of_it(&framed, CLIENT_FRAME_SIZE_MAX);
        let whole = &framed[4..];
        assert!(
            server(is_open).handle_frame(whole, NOW).is_ok(),
            "{frame:?}"
        );
        for bytes in spoilt(whole) {
            match server(is_open).handle_frame(&bytes, NOW) {
                Ok(_) => {
                    // What is taken says something, and says it again.
                    let read = v1::ClientFrame::decode(bytes.as_slice()).unwrap();
                    let again = v1::ClientFrame::decode(read.encode_to_vec().as_slice());
                    assert_eq!(again.unwrap(), read);
                    taken += 1;
                }
                Err(violation) => {
                    assert!(violation.to_string().len() <= TOLD_SIZE_MAX, "{violation}");
                    refused += 1;
                }
            }
        }
    }
    assert!(taken > 1_000 && refused > 1_000, "{taken} {refused}");
}

#[test]
fn a_servers_frame_is_whole_or_none_and_spoilt_it_hurts_nobody() {
    let (mut taken, mut refused) = (0, 0);
    for body in answers() {
        use server_frame::Body;
        let is_control = matches!(body, Body::Pong(_) | Body::Goodbye(_));
        let frame = v1::ServerFrame {
            number: u64::from(!is_control),
            body: Some(body),
            ..Default::default()
        };
        let framed = written(&frame);
        assert_waits_for_all_of_it(&framed, SERVER_FRAME_SIZE_MAX);
        for bytes in spoilt(&framed[4..]) {
            match client().handle_frame(bytes.into(), NOW) {
                Ok(_) => taken += 1,
                Err(violation) => {
                    assert!(violation.to_string().len() <= TOLD_SIZE_MAX, "{violation}");
                    refused += 1;
                }
            }
        }
    }
    assert!(taken > 1_000 && refused > 1_000, "{taken} {refused}");
}
