//! Any client against the server's side of a session: whatever comes, in whatever
//! order, the session's promises hold.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use magpie_fuzz::{Content, client_frame};
use magpie_protocol::{
    frame::{Frame as _, Split, split},
    limits::{SERVER_FRAME_SIZE_MAX, WINDOW_COUNT, WINDOW_SIZE},
    moment::Moment,
    seq::FrameNumber,
    session::{Input, Reply, ServerSession},
    wire::{EncodedHistory, EncodedPage, v1},
};
use prost::Message as _;

#[derive(Arbitrary, Debug)]
enum Event<'a> {
    /// Bytes that may be no frame at all.
    Raw(&'a [u8]),
    /// A well-formed frame: number and ack relative to what would be right.
    Frame { number: i8, ack: i8, critical: bool, content: Content },
    /// The oldest (or another) unanswered request is answered.
    Reply { which: u8, kind: u8 },
    Page(u16),
    Pong(u8),
    Time(u16),
    Goodbye,
}

/// The session, and what the fuzzer knows about it by itself.
struct Known {
    session: ServerSession,
    now: Moment,
    out: BytesMut,
    /// The last sequenced frame that was taken from the client.
    received: u64,
    /// Requests that are not answered yet.
    unanswered: Vec<u64>,
    /// Sizes of frames sent and not acknowledged.
    in_flight: Vec<usize>,
    sent: u64,
    acked: u64,
    /// Goodbye was said: nothing is taken any more.
    over: bool,
}

impl Known {
    fn handle(&mut self, bytes: &[u8]) {
        let parsed = v1::ClientFrame::parse(bytes, self.session.frame_limits().elements_max);
        let open = self.session.is_open();
        let owes = self.session.is_authenticating();
        match self.session.handle_frame(bytes, self.now) {
            Ok(input) => {
                let frame = parsed.expect("what is taken can be parsed");
                if self.over {
                    assert!(matches!(input, Input::Nothing), "taken after goodbye");
                    return;
                }
                assert!(!owes, "taken while a credential is being checked");
                if open {
                    assert!(frame.ack <= self.sent, "an ack of what was never sent is taken");
                    while self.acked < frame.ack {
                        self.acked += 1;
                        self.in_flight.remove(0);
                    }
                } else {
                    assert_eq!(frame.number, 0, "a request is taken before hello");
                }
                if frame.number != 0 {
                    self.received += 1;
                    assert_eq!(frame.number, self.received, "taken out of order");
                }
                self.act(input);
            }
            Err(_) => return self.goodbye(),
        }
        assert_eq!(self.session.acked(), FrameNumber::new(self.acked));
        assert!(self.session.unanswered() <= WINDOW_COUNT);
    }

    fn act(&mut self, input: Input) {
        match input {
            Input::Hello(_) => {
                self.session.welcome(&v1::Welcome::default(), self.now, &mut self.out);
            }
            Input::Register(_) | Input::SignIn(_) => {
                self.session.signed_in(&v1::SignedIn::default(), &mut self.out);
            }
            Input::InvalidAuthenticate(_) => {
                self.session.refuse(&v1::Error::default(), &mut self.out);
            }
            Input::Request { number, .. }
            | Input::InvalidRequest { number, .. }
            | Input::Unsupported { number } => {
                assert_eq!(number.get(), self.received);
                self.unanswered.push(number.get());
            }
            Input::Ping { id, .. } => self.session.pong(id, None, &mut self.out),
            Input::Goodbye => self.goodbye(),
            Input::Typing { .. } | Input::Nothing => {}
        }
    }

    fn goodbye(&mut self) {
        self.session.goodbye(&v1::Goodbye::default(), self.now, &mut self.out);
        self.over = true;
    }

    fn reply(&mut self, which: u8, kind: u8) {
        if self.unanswered.is_empty() || !self.session.can_send() {
            return;
        }
        let number = self.unanswered.remove(usize::from(which) % self.unanswered.len());
        let reply = match kind % 4 {
            0 => Reply::Accepted(v1::Accepted::default()),
            1 => Reply::Done,
            2 => Reply::Error(v1::Error::default()),
            _ => Reply::History(EncodedHistory {
                events: vec![Bytes::new()],
                complete: true,
                ..Default::default()
            }),
        };
        self.session.reply(FrameNumber::new(number), reply, self.now, &mut self.out);
    }

    fn page(&mut self, size: u16) {
        if !self.session.can_send() {
            return;
        }
        let page = EncodedPage {
            conversations: Vec::new(),
            events: vec![
                v1::Event { message_id: vec![0; size.into()].into(), ..Default::default() }
                    .encode_to_vec()
                    .into(),
            ],
            marks: Vec::new(),
            cursor: Bytes::new(),
            caught_up: false,
        };
        self.session.page(&page, &mut self.out);
    }

    /// What was written: numbers rise by one, acks never exceed what is handled,
    /// the window is kept.
    fn check_written(&mut self) {
        let out = self.out.split().freeze();
        let mut rest = out.as_ref();
        while !rest.is_empty() {
            let Ok(Split::Frame(bytes, behind)) = split(rest, SERVER_FRAME_SIZE_MAX) else {
                panic!("half a frame, or too large a one, is written");
            };
            rest = behind;
            let frame = v1::ServerFrame::parse(bytes, usize::MAX).expect("a frame is written");
            let oldest = self.unanswered.iter().min().copied();
            let handled = oldest.map_or(self.received, |oldest| oldest - 1);
            assert!(frame.ack <= handled, "ack {} beyond handled {handled}", frame.ack);
            if frame.number == 0 {
                continue;
            }
            assert!(self.in_flight.len() < WINDOW_COUNT, "too many frames");
            assert!(self.in_flight.iter().sum::<usize>() < WINDOW_SIZE, "too many bytes");
            self.sent += 1;
            assert_eq!(frame.number, self.sent);
            self.in_flight.push(bytes.len());
        }
    }
}

fuzz_target!(|events: Vec<Event>| {
    let now = Moment::START;
    let mut known = Known {
        session: ServerSession::new(now),
        now,
        out: BytesMut::new(),
        received: 0,
        unanswered: Vec::new(),
        in_flight: Vec::new(),
        sent: 0,
        acked: 0,
        over: false,
    };
    for event in events {
        match event {
            Event::Raw(bytes) => known.handle(bytes),
            Event::Frame { number, ack, critical, content } => {
                let number = match number {
                    0 => known.received + 1,
                    -1 => 0,
                    other => known.received.wrapping_add_signed(other.into()),
                };
                let ack = known.sent.saturating_add_signed(ack.min(1).into());
                let frame = client_frame(number, ack, critical, &content);
                let mut bytes = BytesMut::new();
                frame.write(&mut bytes);
                known.handle(&bytes[4..]);
            }
            Event::Reply { which, kind } => known.reply(which, kind),
            Event::Page(size) => known.page(size),
            Event::Pong(id) if known.session.is_open() => {
                known.session.pong(id.into(), None, &mut known.out);
            }
            Event::Pong(_) => {}
            Event::Time(ms) => {
                known.now = known.now + Duration::from_millis(u64::from(ms) * 4);
                if known.session.handle_timeout(known.now, &mut known.out).is_err() {
                    return;
                }
                // What was due is done: the next deadline lies ahead.
                assert!(known.session.poll_timeout() > known.now);
            }
            Event::Goodbye => known.goodbye(),
        }
        known.check_written();
    }
});
