//! Any server against the client's side of a session: whatever comes, in whatever
//! order, the session's promises hold.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use magpie_fuzz::{Answered, client_frame, server_frame};
use magpie_protocol::{
    frame::{Frame as _, FrameLimits, Split, split},
    limits::{HEARTBEAT_BURST, HEARTBEAT_INTERVAL_MIN, WINDOW_COUNT, WINDOW_SIZE},
    moment::Moment,
    seq::FrameNumber,
    session::{ClientSession, Incoming},
    wire::v1,
};

#[derive(Arbitrary, Debug)]
enum Event<'a> {
    /// Bytes that may be no frame at all.
    Raw(&'a [u8]),
    /// A well-formed frame: number and ack relative to what would be right.
    Frame { number: i8, ack: i8, critical: bool, content: Answered },
    /// The oldest (or another) frame that arrived is stored.
    Handled(u8),
    Request(magpie_fuzz::Content),
    Checkpoint,
    Ping,
    Time(u16),
    Goodbye,
}

/// The session, and what the fuzzer knows about it by itself.
struct Known {
    session: ClientSession,
    now: Moment,
    out: BytesMut,
    received: u64,
    unhandled: Vec<u64>,
    in_flight: Vec<usize>,
    sent: u64,
    acked: u64,
    /// The checkpoint that came last, with the frame that it stands behind.
    checkpoints: Vec<(Bytes, u64)>,
    pings: Vec<Moment>,
    over: bool,
}

impl Known {
    /// Whether the connection is still of use.
    fn handle(&mut self, bytes: Bytes) -> bool {
        let parsed = v1::ServerFrame::parse(bytes.clone(), FrameLimits::SERVER.elements_max);
        let open = self.session.is_open();
        let Ok(incoming) = self.session.handle_frame(bytes, self.now) else {
            return false;
        };
        let frame = parsed.expect("what is taken can be parsed");
        if self.over {
            assert!(matches!(incoming, Incoming::Nothing | Incoming::Unsupported));
            return true;
        }
        assert!(frame.ack <= self.sent, "an ack of what was never sent is taken");
        while self.acked < frame.ack {
            self.acked += 1;
            self.in_flight.remove(0);
        }
        if frame.number != 0 {
            assert!(open, "a sequenced frame is taken before welcome");
            self.received += 1;
            assert_eq!(frame.number, self.received, "taken out of order");
        }
        match incoming {
            Incoming::Page { number, .. } | Incoming::Answer { number, .. } => {
                assert_eq!(number.get(), self.received);
                self.unhandled.push(number.get());
            }
            Incoming::Goodbye(_) => self.over = true,
            Incoming::Unsupported => return false,
            Incoming::Welcome(_) => assert!(!open && self.session.is_open()),
            Incoming::SignedIn(_) | Incoming::Refused(_) => assert!(!open),
            Incoming::Hint(_) => assert!(open),
            Incoming::Nothing => {
                if let Some(v1::server_frame::Body::Pong(pong)) = frame.body
                    && let Some(it) = pong.checkpoint
                {
                    assert!(it.after_frame <= self.received);
                    self.checkpoints.push((it.cursor, it.after_frame));
                }
            }
        }
        true
    }

    fn handled(&mut self, which: u8) {
        if !self.unhandled.is_empty() {
            let index = usize::from(which) % self.unhandled.len();
            let number = self.unhandled.remove(index);
            self.session.handled(FrameNumber::new(number), self.now);
        }
    }

    fn handled_up_to(&self) -> u64 {
        let oldest = self.unhandled.iter().min().copied();
        oldest.map_or(self.received, |oldest| oldest - 1)
    }

    /// D2: a checkpoint never overtakes an event.
    fn take_checkpoint(&mut self) {
        if let Some(cursor) = self.session.take_checkpoint() {
            let handled = self.handled_up_to();
            assert!(
                self.checkpoints.iter().any(|(it, after)| *it == cursor && *after <= handled),
                "a checkpoint is given out before its frames are handled"
            );
        }
    }

    fn check_written(&mut self) {
        let out = self.out.split().freeze();
        let mut rest = out.as_ref();
        while !rest.is_empty() {
            let Ok(Split::Frame(bytes, behind)) = split(rest, FrameLimits::CLIENT.size_max) else {
                panic!("half a frame, or too large a one, is written");
            };
            rest = behind;
            let frame = v1::ClientFrame::parse(bytes, usize::MAX).expect("a frame is written");
            let handled = self.handled_up_to();
            assert!(frame.ack <= handled, "ack {} beyond handled {handled}", frame.ack);
            if frame.number == 0 {
                // One with a number was a request, made up here.
                if let Some(v1::client_frame::Body::Ping(_)) = frame.body {
                    self.count_ping();
                }
                continue;
            }
            assert!(self.in_flight.len() < WINDOW_COUNT, "too many frames");
            assert!(self.in_flight.iter().sum::<usize>() < WINDOW_SIZE, "too many bytes");
            self.sent += 1;
            assert_eq!(frame.number, self.sent);
            self.in_flight.push(bytes.len());
        }
    }

    /// A client never pings so often that the server must call it a flood.
    fn count_ping(&mut self) {
        self.pings.push(self.now);
        let burst = HEARTBEAT_BURST as usize;
        if let Some(earlier) = self.pings.len().checked_sub(burst + 1) {
            let passed = self.now.since(self.pings[earlier]);
            assert!(passed >= HEARTBEAT_INTERVAL_MIN, "{} pings in {passed:?}", burst + 1);
        }
    }
}

fuzz_target!(|events: Vec<Event>| {
    let now = Moment::START;
    let mut known = Known {
        session: ClientSession::new(Bytes::new(), now),
        now,
        out: BytesMut::new(),
        received: 0,
        unhandled: Vec::new(),
        in_flight: Vec::new(),
        sent: 0,
        acked: 0,
        checkpoints: Vec::new(),
        pings: Vec::new(),
        over: false,
    };
    for event in events {
        match event {
            Event::Raw(bytes) => {
                if !known.handle(Bytes::copy_from_slice(bytes)) {
                    return;
                }
            }
            Event::Frame { number, ack, critical, content } => {
                let number = match number {
                    0 => known.received + 1,
                    -1 => 0,
                    other => known.received.wrapping_add_signed(other.into()),
                };
                let ack = known.sent.saturating_add_signed(ack.min(1).into());
                let mut bytes = BytesMut::new();
                server_frame(number, ack, critical, &content, known.received).write(&mut bytes);
                if !known.handle(bytes.split_off(4).freeze()) {
                    return;
                }
            }
            Event::Handled(which) => known.handled(which),
            Event::Request(content) if known.session.can_send() && known.session.is_open() => {
                if let Some(body) = client_frame(1, 0, true, &content).body {
                    let number = known.session.request(body, known.now, &mut known.out);
                    assert_eq!(number.get(), known.sent + 1);
                }
            }
            Event::Request(_) => {}
            Event::Checkpoint => known.take_checkpoint(),
            Event::Ping => known.session.ping(known.now, &mut known.out),
            Event::Time(ms) => {
                known.now = known.now + Duration::from_millis(u64::from(ms) * 4);
                if known.session.handle_timeout(known.now, &mut known.out).is_err() {
                    return;
                }
                // What was due is done: the next deadline lies ahead.
                assert!(known.session.poll_timeout().is_none_or(|at| at > known.now));
            }
            Event::Goodbye => {
                known.session.goodbye(&mut known.out);
                known.over = true;
            }
        }
        known.check_written();
    }
});
