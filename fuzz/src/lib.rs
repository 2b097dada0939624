//! Frames out of arbitrary bytes: mostly what a real peer sends, sometimes not.

use arbitrary::Arbitrary;
use magpie_protocol::wire::v1;

/// What a client's frame holds.
#[derive(Arbitrary, Debug)]
pub enum Content {
    Empty,
    Hello { version: u32, token_size: u8, cursor_size: u16 },
    Register { name: u8 },
    SignIn { name: u8 },
    Ping(u64),
    Goodbye,
    Send { id_size: u8, text_size: u16 },
    Edit { seq: u64, body_size: u16, mentions: u8 },
    Delete(u64),
    React { seq: u64, emoji_size: u8, removed: bool },
    Create { names: u8 },
    Add { names: u16 },
    Remove,
    Leave,
    MarkRead(u64),
    History { limit: u16 },
    Conversations { limit: u8 },
    Members { id_size: u8, limit: u16 },
    CountReaders { seqs: Vec<u64> },
    Devices,
    Revoke { id_size: u8 },
    SignOut,
}

/// Sixteen bytes, or sometimes another number of them.
fn id(size: u8) -> bytes::Bytes {
    let size = if size < 200 { 16 } else { usize::from(size) - 200 };
    vec![7; size].into()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|it| format!("user{it}")).collect()
}

/// A client's frame.
pub fn client_frame(number: u64, ack: u64, critical: bool, content: &Content) -> v1::ClientFrame {
    use v1::client_frame::Body;
    let message_id = id(0);
    let conversation_id = id(0);
    let body = match *content {
        Content::Empty => None,
        Content::Hello { version, token_size, cursor_size } => Some(Body::Hello(v1::Hello {
            protocol_version: version,
            client_name: "fuzz".to_owned(),
            client_version: "1".to_owned(),
            device_id: id(0),
            device_token: vec![1; if token_size < 250 { 32 } else { 5 }].into(),
            cursor: vec![2; usize::from(cursor_size) % 300].into(),
            ..Default::default()
        })),
        Content::Register { name } => Some(Body::Register(v1::Register {
            device_id: id(name),
            name: "n".repeat(usize::from(name) % 40),
            password: "long enough".to_owned(),
            device_name: String::new(),
            invitation: String::new(),
        })),
        Content::SignIn { name } => Some(Body::SignIn(v1::SignIn {
            device_id: id(name),
            name: "n".repeat(usize::from(name) % 40),
            password: "long enough".to_owned(),
            device_name: String::new(),
        })),
        Content::Ping(id) => Some(Body::Ping(v1::Ping { id, ..Default::default() })),
        Content::Goodbye => Some(Body::Goodbye(v1::Goodbye::default())),
        Content::Send { id_size, text_size } => Some(Body::SendMessage(v1::SendMessage {
            message_id: id(id_size),
            to: Some(v1::send_message::To::ConversationId(conversation_id)),
            message: Some("x".repeat(usize::from(text_size) % 17_000).into()),
        })),
        Content::Edit { seq, body_size, mentions } => Some(Body::EditMessage(v1::EditMessage {
            message_id,
            conversation_id,
            seq,
            message: Some(v1::Message {
                text: "x".repeat(80),
                mentions: (0..u32::from(mentions))
                    .map(|start| v1::Mention { user_id: id(0), start, length: 1 })
                    .collect(),
                content_type: "a/b".to_owned(),
                body: vec![0; usize::from(body_size) % 40_000].into(),
                ..Default::default()
            }),
        })),
        Content::Delete(seq) => {
            Some(Body::DeleteMessage(v1::DeleteMessage { message_id, conversation_id, seq }))
        }
        Content::React { seq, emoji_size, removed } => Some(Body::React(v1::React {
            message_id,
            conversation_id,
            seq,
            emoji: "+".repeat(emoji_size.into()),
            removed,
        })),
        Content::Create { names: count } => Some(Body::CreateGroup(v1::CreateGroup {
            message_id,
            title: "title".to_owned(),
            user_names: names(count.into()),
        })),
        Content::Add { names: count } => Some(Body::AddMembers(v1::AddMembers {
            message_id,
            conversation_id,
            user_names: names(usize::from(count) % 600),
        })),
        Content::Remove => Some(Body::RemoveMember(v1::RemoveMember {
            message_id,
            conversation_id,
            user_name: "alice".to_owned(),
        })),
        Content::Leave => Some(Body::LeaveGroup(v1::LeaveGroup { message_id, conversation_id })),
        Content::MarkRead(seq) => Some(Body::MarkRead(v1::MarkRead { conversation_id, seq })),
        Content::History { limit } => Some(Body::FetchHistory(v1::FetchHistory {
            conversation_id,
            from: Some(v1::fetch_history::From::AfterSeq(1)),
            limit: limit.into(),
        })),
        Content::Conversations { limit } => {
            Some(Body::FetchConversations(v1::FetchConversations {
                limit: limit.into(),
                ..Default::default()
            }))
        }
        Content::Members { id_size, limit } => Some(Body::FetchMembers(v1::FetchMembers {
            conversation_id,
            after_user_id: id(id_size),
            limit: limit.into(),
        })),
        Content::CountReaders { ref seqs } => {
            Some(Body::CountReaders(v1::CountReaders { conversation_id, seqs: seqs.clone() }))
        }
        Content::Devices => Some(Body::FetchDevices(v1::FetchDevices {})),
        Content::Revoke { id_size } => {
            Some(Body::RevokeDevice(v1::RevokeDevice { device_id: id(id_size) }))
        }
        Content::SignOut => Some(Body::SignOut(v1::SignOut {})),
    };
    v1::ClientFrame { number, ack, critical, body }
}

/// What a server's frame holds.
#[derive(Arbitrary, Debug)]
pub enum Answered {
    Empty,
    Welcome,
    SignedIn,
    Refused,
    Pong { id: u8, checkpoint: Option<(u8, i8)> },
    Goodbye,
    Page { events: u8, cursor: Option<u8> },
    Accepted(u64),
    Done(u64),
    Error(u64),
    History(u8),
    Conversations(u8),
    Members(u8),
    ReaderCounts(u8),
    Devices(u8),
}

/// A server's frame; checkpoints stand behind a frame near `received`.
pub fn server_frame(
    number: u64,
    ack: u64,
    critical: bool,
    content: &Answered,
    received: u64,
) -> v1::ServerFrame {
    use v1::server_frame::Body;
    let body = match *content {
        Answered::Empty => None,
        Answered::Welcome => Some(Body::Welcome(v1::Welcome::default())),
        Answered::SignedIn => Some(Body::SignedIn(v1::SignedIn::default())),
        Answered::Refused => Some(Body::Refused(v1::Error::default())),
        Answered::Pong { id, checkpoint } => Some(Body::Pong(v1::Pong {
            id: id.into(),
            checkpoint: checkpoint.map(|(cursor, after)| v1::Checkpoint {
                cursor: vec![cursor; 8].into(),
                after_frame: received.saturating_add_signed(after.into()),
            }),
        })),
        Answered::Goodbye => Some(Body::Goodbye(v1::Goodbye::default())),
        Answered::Page { events, cursor } => Some(Body::Page(v1::Page {
            events: vec![v1::Event::default(); events.into()],
            cursor: cursor.map_or_else(Default::default, |byte| vec![byte; 8].into()),
            ..Default::default()
        })),
        Answered::Accepted(in_reply_to) => {
            Some(Body::Accepted(v1::Accepted { in_reply_to, ..Default::default() }))
        }
        Answered::Done(in_reply_to) => Some(Body::Done(v1::Done { in_reply_to })),
        Answered::Error(in_reply_to) => {
            Some(Body::Error(v1::Error { in_reply_to, ..Default::default() }))
        }
        Answered::History(events) => Some(Body::History(v1::History {
            events: vec![v1::Event::default(); events.into()],
            ..Default::default()
        })),
        Answered::Conversations(count) => Some(Body::Conversations(v1::Conversations {
            conversations: vec![v1::Conversation::default(); count.into()],
            ..Default::default()
        })),
        Answered::Members(count) => Some(Body::Members(v1::Members {
            members: vec![v1::Member::default(); count.into()],
            ..Default::default()
        })),
        Answered::ReaderCounts(count) => Some(Body::ReaderCounts(v1::ReaderCounts {
            counts: vec![v1::ReaderCount::default(); count.into()],
            ..Default::default()
        })),
        Answered::Devices(count) => Some(Body::Devices(v1::Devices {
            devices: vec![v1::Device::default(); count.into()],
            ..Default::default()
        })),
    };
    v1::ServerFrame { number, ack, critical, body }
}
