//! The worked example of docs/protocol.md, written by the code.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{Frame as _, Split, split},
    limits::{CLIENT_FRAME_SIZE_MAX, FRAME_SIZE_FIRST_MAX, SERVER_FRAME_SIZE_MAX},
    moment::Moment,
    session::{Answer, ClientSession, Incoming, Input, Reply, ServerSession},
    wire::{EncodedPage, v1},
};
use prost::Message as _;
use v1::client_frame::Body;

/// As long as the server's cursors are, so that the lengths in the document fit.
const CURSOR_SIZE: u8 = 34;
const NOW: Moment = Moment::START;
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");

/// Bytes that are easy to find: a first one, and counting up from there.
fn bytes(first: u8, size: u8) -> Bytes {
    (0..size)
        .map(|it| first.wrapping_add(it))
        .collect::<Vec<_>>()
        .into()
}

fn user(first: u8, name: &str) -> v1::User {
    v1::User {
        user_id: bytes(first, 16),
        name: name.to_owned(),
    }
}

struct Example {
    client: ClientSession,
    server: ServerSession,
    out: BytesMut,
    text: String,
}

impl Example {
    fn note(&mut self, arrow: char, what: &str) -> BytesMut {
        let frame = self.out.split();
        writeln!(self.text, "{arrow} {what}").unwrap();
        for line in frame.chunks(24) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(self.text, "  {}", hex.join(" ")).unwrap();
        }
        frame
    }

    fn up(&mut self, what: &str) -> Input {
        let frame = self.note('>', what);
        let max = CLIENT_FRAME_SIZE_MAX.max(FRAME_SIZE_FIRST_MAX);
        let Ok(Split::Frame(frame, [])) = split(&frame, max) else {
            panic!("not one frame");
        };
        self.server.handle_frame(frame, NOW).unwrap()
    }

    fn down(&mut self, what: &str) -> Incoming {
        let frame = self.note('<', what);
        let Ok(Split::Frame(frame, [])) = split(&frame, SERVER_FRAME_SIZE_MAX) else {
            panic!("not one frame");
        };
        self.client
            .handle_frame(Bytes::copy_from_slice(frame), NOW)
            .unwrap()
    }

    fn register(&mut self) {
        let register = v1::Register {
            device_id: bytes(0x10, 16),
            name: "alice".to_owned(),
            password: "correct horse".to_owned(),
            device_name: "phone".to_owned(),
            invitation: String::new(),
        };
        self.client
            .introduce(Body::Register(register), &mut self.out);
        let Input::Register(_) = self.up("Register") else {
            panic!()
        };
        let signed_in = v1::SignedIn {
            user: Some(user(0xa0, "alice")),
            device_id: bytes(0x10, 16),
            device_token: bytes(0x40, 32),
        };
        self.server.signed_in(&signed_in, &mut self.out);
        let Incoming::SignedIn(_) = self.down("SignedIn") else {
            panic!()
        };
    }

    fn hello(&mut self) {
        let hello = v1::Hello {
            protocol_version: 1,
            client_name: "example".to_owned(),
            client_version: "1.0".to_owned(),
            device_id: bytes(0x10, 16),
            device_token: bytes(0x40, 32),
            epoch: 0,
            base: 0,
            cursor: Bytes::new(),
            background: false,
        };
        self.client.introduce(Body::Hello(hello), &mut self.out);
        let Input::Hello(_) = self.up("Hello, with an empty cursor") else {
            panic!()
        };
        let welcome = v1::Welcome {
            protocol_version: 1,
            server_version: "0.1.0".to_owned(),
            epoch: 1,
            base: 0,
            starts_anew: true,
            limits: Some(v1::Limits {
                client_frame_size_max: 65_536,
                server_frame_size_max: 262_144,
                window_count: 256,
                window_size: 1_048_576,
                heartbeat_interval_max_ms: 50_000,
                heartbeat_interval_min_ms: 1_000,
                idle_timeout_ms: 120_000,
                text_size_max: 16_384,
                group_members_max: 1_000,
            }),
            server_time_ms: 1_795_430_645_678,
            user: Some(user(0xa0, "alice")),
        };
        self.server.welcome(&welcome, NOW, &mut self.out);
        let Incoming::Welcome(_) = self.down("Welcome") else {
            panic!()
        };
    }

    /// A new device's snapshot of nothing, and the end of the catch-up.
    fn begin(&mut self) {
        let page = EncodedPage {
            cursor: bytes(0xd0, CURSOR_SIZE),
            ..EncodedPage::default()
        };
        self.page(&page, "1: Page, a snapshot of nothing, with its cursor");
        let page = EncodedPage {
            caught_up: true,
            ..page
        };
        self.page(&page, "2: Page that says caught_up");
    }

    fn send(&mut self) {
        let message = v1::SendMessage {
            message_id: bytes(0x70, 16),
            to: Some(v1::send_message::To::UserName("bob".to_owned())),
            message: Some("hi".into()),
        };
        self.client
            .request(Body::SendMessage(message), NOW, &mut self.out);
        let Input::Request { number, .. } =
            self.up("1: SendMessage to bob, critical; acknowledges 2")
        else {
            panic!()
        };
        let accepted = v1::Accepted {
            in_reply_to: 0,
            message_id: bytes(0x70, 16),
            conversation_id: bytes(0xc0, 16),
            seq: 1,
            committed_at_ms: 1_795_430_645_700,
        };
        self.server
            .reply(number, Reply::Accepted(accepted), NOW, &mut self.out);
        let what = "3: Accepted, in reply to 1, seq 1; acknowledges 1";
        let Incoming::Answer {
            number,
            answer: Answer::Accepted(it),
            ..
        } = self.down(what)
        else {
            panic!()
        };
        assert_eq!((it.in_reply_to, it.seq), (1, 1));
        self.client.handled(number, NOW);
    }

    /// The first event of a conversation comes behind its description, also to
    /// the device that sent it.
    fn first_event(&mut self) {
        let member = |user| v1::Member {
            user: Some(user),
            ..Default::default()
        };
        let conversation = v1::Conversation {
            conversation_id: bytes(0xc0, 16),
            kind: v1::ConversationKind::Direct.into(),
            title: String::new(),
            members: vec![member(user(0xa0, "alice")), member(user(0xb0, "bob"))],
            first_seq: 1,
            last_seq: 0,
            head_seq: 1,
            counts: Some(v1::Counts::default()),
            read_counts: Some(v1::Counts::default()),
            common_seq: None,
            member_count: 2,
            ..Default::default()
        };
        let event = message(1, user(0xa0, "alice"), 0x70, 1_795_430_645_700, "hi");
        let page = EncodedPage {
            conversations: vec![conversation],
            events: vec![event.encode_to_vec().into()],
            cursor: bytes(0xe0, CURSOR_SIZE),
            ..EncodedPage::default()
        };
        let taken = self.page(
            &page,
            "4: Page with the description, seq 1 once more, and a cursor",
        );
        assert_eq!(taken.conversations, page.conversations);
        assert_eq!(taken.events, [event]);
    }

    fn answer(&mut self) {
        let event = message(2, user(0xb0, "bob"), 0x80, 1_795_430_646_000, "hello!");
        let page = EncodedPage {
            events: vec![event.encode_to_vec().into()],
            cursor: bytes(0xf0, CURSOR_SIZE),
            ..EncodedPage::default()
        };
        let taken = self.page(&page, "5: Page with seq 2 and a cursor");
        assert_eq!(taken.events, [event]);
        let due_at = self.client.poll_timeout().unwrap();
        self.client.handle_timeout(due_at, &mut self.out).unwrap();
        let Input::Nothing = self.up("an acknowledgement alone, of 5: all are stored") else {
            panic!()
        };
        assert!(self.server.is_all_acked());
    }

    fn page(&mut self, page: &EncodedPage, what: &str) -> v1::Page {
        self.server.page(page, &mut self.out);
        let Incoming::Page { number, page } = self.down(what) else {
            panic!()
        };
        self.client.handled(number, NOW);
        page
    }
}

fn message(seq: u64, sender: v1::User, id: u8, committed_at_ms: i64, text: &str) -> v1::Event {
    let text = text.to_owned();
    v1::Event {
        conversation_id: bytes(0xc0, 16),
        seq,
        sender: Some(sender),
        message_id: bytes(id, 16),
        committed_at_ms,
        content: Some(v1::EventContent {
            kind: Some(v1::event_content::Kind::Message(text.into())),
        }),
    }
}

fn example() -> String {
    let mut example = Example {
        client: ClientSession::new(Bytes::new(), NOW),
        server: ServerSession::new(NOW),
        out: BytesMut::new(),
        text: String::new(),
    };
    example.register();
    example.hello();
    example.begin();
    example.send();
    example.first_event();
    example.answer();
    example.text
}

#[test]
fn the_document_shows_the_bytes_that_the_code_writes() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (_, rest) = document.split_once("```hex\n").expect("a block of hex");
    let (shown, _) = rest.split_once("```").expect("its end");
    let written = example();
    assert!(shown == written, "docs/protocol.md should show:\n{written}");
}

#[test]
fn the_bytes_in_the_document_decode() {
    let text = example();
    let frames: Vec<&str> = text.split(['>', '<']).skip(1).collect();
    assert_eq!(frames.len(), 11);
    let first: Vec<u8> = frames[0]
        .lines()
        .skip(1)
        .flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let frame = v1::ClientFrame::parse(&first[4..], 64).unwrap();
    assert!(matches!(frame.body, Some(Body::Register(_))));
}
