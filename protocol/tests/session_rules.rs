//! Rules of the session that a small story shows best.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{Frame as _, Split, split},
    limits::{CLIENT_FRAME_SIZE_MAX, HEARTBEAT_INTERVAL_MIN},
    moment::Moment,
    session::{ClientSession, Incoming, Input, ServerSession, Violation},
    wire::v1::{self, client_frame, server_frame},
};

const NOW: Moment = Moment::START;

fn from_server(number: u64, body: server_frame::Body) -> Bytes {
    let mut out = BytesMut::new();
    let body = Some(body);
    v1::ServerFrame {
        number,
        body,
        ..Default::default()
    }
    .write(&mut out);
    out.split_off(4).freeze()
}

fn from_client(frame: &v1::ClientFrame) -> Bytes {
    let mut out = BytesMut::new();
    frame.write(&mut out);
    out.split_off(4).freeze()
}

fn page(cursor: &'static [u8]) -> server_frame::Body {
    let cursor = Bytes::from_static(cursor);
    server_frame::Body::Page(v1::Page {
        cursor,
        ..Default::default()
    })
}

fn pong(cursor: &'static [u8], after_frame: u64) -> server_frame::Body {
    let cursor = Bytes::from_static(cursor);
    let checkpoint = Some(v1::Checkpoint {
        cursor,
        after_frame,
    });
    server_frame::Body::Pong(v1::Pong { id: 1, checkpoint })
}

fn open_client() -> ClientSession {
    let mut client = ClientSession::new(Bytes::new(), NOW);
    let welcome = server_frame::Body::Welcome(v1::Welcome::default());
    let taken = client.handle_frame(from_server(0, welcome), NOW).unwrap();
    assert!(matches!(taken, Incoming::Welcome(_)));
    client
}

fn hello() -> v1::ClientFrame {
    let hello = v1::Hello {
        protocol_version: 1,
        client_name: "test".to_owned(),
        client_version: "1".to_owned(),
        device_id: vec![1; 16].into(),
        device_token: vec![2; 32].into(),
        ..Default::default()
    };
    v1::ClientFrame {
        body: Some(client_frame::Body::Hello(hello)),
        ..Default::default()
    }
}

fn open_server() -> ServerSession {
    let mut server = ServerSession::new(NOW);
    let input = server.handle_frame(&from_client(&hello()), NOW);
    assert!(matches!(input, Ok(Input::Hello(_))));
    server.welcome(&v1::Welcome::default(), NOW, &mut BytesMut::new());
    server
}

fn pings(out: &mut BytesMut) -> usize {
    let mut pings = 0;
    while let Ok(Split::Frame(frame, _)) = split(out, CLIENT_FRAME_SIZE_MAX) {
        let size = frame.len();
        let frame = v1::ClientFrame::parse(frame, usize::MAX).unwrap();
        pings += usize::from(matches!(frame.body, Some(client_frame::Body::Ping(_))));
        drop(out.split_to(4 + size));
    }
    pings
}

/// D2.
#[test]
fn a_checkpoint_waits_for_the_frame_that_it_stands_behind() {
    let mut client = open_client();
    client.handle_frame(from_server(1, page(b"")), NOW).unwrap();
    client
        .handle_frame(from_server(0, pong(b"behind 1", 1)), NOW)
        .unwrap();
    assert_eq!(client.take_checkpoint(), None);
    client.handled(1.into_number(), NOW);
    assert_eq!(
        client.take_checkpoint(),
        Some(Bytes::from_static(b"behind 1"))
    );
    assert_eq!(client.take_checkpoint(), None);
}

#[test]
fn a_checkpoint_never_takes_the_device_back_behind_a_later_page() {
    let mut client = open_client();
    client
        .handle_frame(from_server(1, page(b"first")), NOW)
        .unwrap();
    client
        .handle_frame(from_server(0, pong(b"between", 1)), NOW)
        .unwrap();
    client
        .handle_frame(from_server(2, page(b"second")), NOW)
        .unwrap();
    for number in 1..=2 {
        client.handled(number.into_number(), NOW);
    }
    assert_eq!(client.take_checkpoint(), None);
}

#[test]
fn a_checkpoint_behind_a_frame_that_never_came_is_a_violation() {
    let mut client = open_client();
    let violation = client.handle_frame(from_server(0, pong(b"ahead", 1)), NOW);
    assert!(matches!(violation, Err(Violation::WronglyNumbered { .. })));
}

#[test]
fn pings_keep_their_distance_however_often_they_are_asked_for() {
    let mut client = open_client();
    let mut out = BytesMut::new();
    for id in 1..=20 {
        client.ping(NOW, &mut out);
        let pong = v1::Pong {
            id,
            checkpoint: None,
        };
        client
            .handle_frame(from_server(0, server_frame::Body::Pong(pong)), NOW)
            .unwrap();
    }
    assert_eq!(pings(&mut out), 1);
    let due_at = client.poll_timeout().unwrap();
    assert_eq!(due_at, NOW + HEARTBEAT_INTERVAL_MIN);
    client.handle_timeout(due_at, &mut out).unwrap();
    assert_eq!(pings(&mut out), 1);
}

#[test]
fn a_repeated_or_lost_frame_is_a_violation_on_either_side() {
    for second in [1, 3] {
        let mut client = open_client();
        client.handle_frame(from_server(1, page(b"")), NOW).unwrap();
        let violation = client.handle_frame(from_server(second, page(b"")), NOW);
        assert!(matches!(violation, Err(Violation::Link(_))), "{second}");

        let mut server = open_server();
        let frame = |number| {
            let body = Some(client_frame::Body::FetchDevices(v1::FetchDevices {}));
            from_client(&v1::ClientFrame {
                number,
                body,
                ..Default::default()
            })
        };
        assert!(server.handle_frame(&frame(1), NOW).is_ok());
        let violation = server.handle_frame(&frame(second), NOW);
        assert!(matches!(violation, Err(Violation::Link(_))), "{second}");
    }
}

#[test]
fn an_unknown_critical_frame_is_not_passed_over_in_silence() {
    let unknown = |number, critical| {
        from_client(&v1::ClientFrame {
            number,
            critical,
            ..Default::default()
        })
    };
    let mut server = open_server();
    assert!(matches!(
        server.handle_frame(&unknown(0, false), NOW),
        Ok(Input::Nothing)
    ));
    assert!(matches!(
        server.handle_frame(&unknown(1, false), NOW),
        Ok(Input::Nothing)
    ));
    let critical = server.handle_frame(&unknown(2, true), NOW);
    assert!(matches!(critical, Ok(Input::Unsupported { .. })));
    let control = server.handle_frame(&unknown(0, true), NOW);
    assert!(matches!(control, Err(Violation::OutOfPlace { .. })));
}

#[test]
fn nothing_is_taken_after_goodbye() {
    let mut server = open_server();
    let mut out = BytesMut::new();
    server.goodbye(&v1::Goodbye::default(), NOW, &mut out);
    let body = Some(client_frame::Body::FetchDevices(v1::FetchDevices {}));
    let frame = from_client(&v1::ClientFrame {
        number: 1,
        body,
        ..Default::default()
    });
    assert!(matches!(
        server.handle_frame(&frame, NOW),
        Ok(Input::Nothing)
    ));
    assert!(!server.can_send());
    let late = NOW + Duration::from_secs(60);
    assert!(server.handle_timeout(late, &mut out).is_err());
}

trait IntoNumber {
    fn into_number(self) -> magpie_protocol::seq::FrameNumber;
}

impl IntoNumber for u64 {
    fn into_number(self) -> magpie_protocol::seq::FrameNumber {
        magpie_protocol::seq::FrameNumber::new(self)
    }
}
