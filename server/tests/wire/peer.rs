//! A server of its own for each test, and peers that say exactly what they are
//! told to.

mod world;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{Frame as _, FrameLimits, Split, split},
    limits::PROTOCOL_VERSION,
    wire::v1::{self, client_frame, server_frame},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

pub(crate) use self::world::World;

/// Longer than anything should take; reached only by a failing test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const PASSWORD: &str = "correct horse battery";

/// What a device keeps.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) id: Bytes,
    pub(crate) token: Bytes,
    pub(crate) user_id: Bytes,
}

pub(crate) fn fresh_id() -> Bytes {
    uuid::Uuid::now_v7().as_bytes().to_vec().into()
}

pub(crate) fn register(name: &str, invitation: &str) -> client_frame::Body {
    client_frame::Body::Register(v1::Register {
        device_id: fresh_id(),
        name: name.to_owned(),
        password: PASSWORD.to_owned(),
        device_name: "test".to_owned(),
        invitation: invitation.to_owned(),
    })
}

pub(crate) fn sign_in(name: &str, password: &str) -> v1::SignIn {
    v1::SignIn {
        device_id: fresh_id(),
        name: name.to_owned(),
        password: password.to_owned(),
        device_name: String::new(),
    }
}

pub(crate) fn hello(device: &Device, cursor: Bytes) -> client_frame::Body {
    client_frame::Body::Hello(v1::Hello {
        protocol_version: PROTOCOL_VERSION,
        client_name: "test".to_owned(),
        client_version: "1".to_owned(),
        device_id: device.id.clone(),
        device_token: device.token.clone(),
        epoch: 0,
        base: 0,
        cursor,
        background: false,
    })
}

/// A hello of a device that holds events of the history with this epoch.
pub(crate) fn hello_of(device: &Device, epoch: u64, cursor: Bytes) -> client_frame::Body {
    match hello(device, cursor) {
        client_frame::Body::Hello(hello) => client_frame::Body::Hello(v1::Hello { epoch, ..hello }),
        other => other,
    }
}

pub(crate) fn text_to(name: &str, text: &str) -> v1::SendMessage {
    v1::SendMessage {
        message_id: fresh_id(),
        to: Some(v1::send_message::To::UserName(name.to_owned())),
        message: Some(text.into()),
    }
}

/// The text of an event.
pub(crate) fn text_of(event: &v1::Event) -> &str {
    match event
        .content
        .as_ref()
        .and_then(|content| content.kind.as_ref())
    {
        Some(v1::event_content::Kind::Message(message)) => &message.text,
        _ => panic!("not a message: {event:?}"),
    }
}

/// The texts of events.
pub(crate) fn texts(events: &[v1::Event]) -> Vec<&str> {
    events.iter().map(text_of).collect()
}

/// The events of pages.
pub(crate) fn all_events(pages: &[v1::Page]) -> Vec<v1::Event> {
    pages.iter().flat_map(|page| page.events.clone()).collect()
}

/// One end of a connection, without any state machine.
pub(crate) struct Peer {
    stream: TlsStream<TcpStream>,
    inbound: BytesMut,
    pub(crate) number: u64,
    pub(crate) received: u64,
}

impl Peer {
    /// Nothing was said yet.
    pub(crate) fn on(stream: TlsStream<TcpStream>) -> Self {
        Self {
            stream,
            inbound: BytesMut::new(),
            number: 0,
            received: 0,
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // The server may have closed already: what it said is read after this.
        drop(self.stream.write_all(bytes).await);
        drop(self.stream.flush().await);
    }

    pub(crate) async fn frame(&mut self, frame: v1::ClientFrame) {
        let mut out = BytesMut::new();
        frame.write(&mut out);
        self.write(&out).await;
    }

    pub(crate) async fn control(&mut self, body: client_frame::Body) {
        self.frame(v1::ClientFrame {
            body: Some(body),
            ..Default::default()
        })
        .await;
    }

    /// Sends a request, acknowledging all that came; returns its number.
    pub(crate) async fn request(&mut self, body: client_frame::Body) -> u64 {
        self.number += 1;
        let (number, ack) = (self.number, self.received);
        self.frame(v1::ClientFrame {
            number,
            ack,
            critical: true,
            body: Some(body),
        })
        .await;
        number
    }

    pub(crate) async fn ack(&mut self) {
        self.frame(v1::ClientFrame {
            ack: self.received,
            ..Default::default()
        })
        .await;
    }

    /// The next frame; `None` once the server has closed.
    pub(crate) async fn next(&mut self) -> Option<v1::ServerFrame> {
        timeout(PATIENCE, self.read())
            .await
            .expect("the server says nothing")
    }

    async fn read(&mut self) -> Option<v1::ServerFrame> {
        loop {
            let limits = FrameLimits::SERVER;
            if let Split::Frame(frame, rest) = split(&self.inbound, limits.size_max).unwrap() {
                let frame = v1::ServerFrame::parse(frame, limits.elements_max).unwrap();
                let rest = rest.len();
                let taken = self.inbound.len() - rest;
                drop(self.inbound.split_to(taken));
                if frame.number > 0 {
                    assert_eq!(frame.number, self.received + 1, "numbers rise by one");
                    self.received = frame.number;
                }
                return Some(frame);
            }
            match self.stream.read_buf(&mut self.inbound).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next frame that has a body.
    pub(crate) async fn body(&mut self) -> server_frame::Body {
        loop {
            let frame = self.next().await.expect("the server closed");
            if let Some(body) = frame.body {
                return body;
            }
        }
    }

    /// What the server says when it ends the connection, and that it then does.
    pub(crate) async fn goodbye(&mut self) -> v1::Goodbye {
        loop {
            if let server_frame::Body::Goodbye(goodbye) = self.body().await {
                assert_eq!(self.next().await, None, "closed after the goodbye");
                return goodbye;
            }
        }
    }

    /// Reads the credential.
    pub(crate) async fn signed_in(&mut self) -> Device {
        match self.body().await {
            server_frame::Body::SignedIn(it) => Device {
                id: it.device_id,
                token: it.device_token,
                user_id: it.user.unwrap().user_id,
            },
            other => panic!("not signed in: {other:?}"),
        }
    }

    /// Reads the welcome and all pages up to the one that says caught up.
    pub(crate) async fn caught_up(&mut self) -> Vec<v1::Page> {
        let mut pages = Vec::new();
        loop {
            match self.body().await {
                server_frame::Body::Welcome(_) => {}
                server_frame::Body::Page(page) => {
                    let is_caught_up = page.caught_up;
                    pages.push(page);
                    if is_caught_up {
                        self.ack().await;
                        return pages;
                    }
                }
                other => panic!("not a page: {other:?}"),
            }
        }
    }

    /// The next page that has events.
    pub(crate) async fn page_with_events(&mut self) -> v1::Page {
        loop {
            if let server_frame::Body::Page(page) = self.body().await {
                self.ack().await;
                if !page.events.is_empty() {
                    return page;
                }
            }
        }
    }

    /// Reads pages until `count` events came.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<v1::Event> {
        let mut events = Vec::new();
        while events.len() < count {
            if let server_frame::Body::Page(page) = self.body().await {
                events.extend(page.events);
                self.ack().await;
            }
        }
        events
    }

    /// Reads until a mark comes that is wanted.
    pub(crate) async fn mark(&mut self, wanted: impl Fn(&v1::Mark) -> bool) -> v1::Mark {
        loop {
            if let server_frame::Body::Page(page) = self.body().await {
                self.ack().await;
                if let Some(mark) = page.marks.into_iter().find(&wanted) {
                    return mark;
                }
            }
        }
    }

    /// Sends a message and waits for its answer.
    pub(crate) async fn send(&mut self, message: v1::SendMessage) -> v1::Accepted {
        let number = self.request(client_frame::Body::SendMessage(message)).await;
        match self.answer(number).await {
            server_frame::Body::Accepted(accepted) => accepted,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// The answer to a request; pages that come meanwhile are passed over.
    pub(crate) async fn answer(&mut self, number: u64) -> server_frame::Body {
        loop {
            let body = self.body().await;
            let in_reply_to = match &body {
                server_frame::Body::Accepted(it) => it.in_reply_to,
                server_frame::Body::Done(it) => it.in_reply_to,
                server_frame::Body::Error(it) => it.in_reply_to,
                server_frame::Body::History(it) => it.in_reply_to,
                server_frame::Body::Conversations(it) => it.in_reply_to,
                server_frame::Body::Members(it) => it.in_reply_to,
                server_frame::Body::Bans(it) => it.in_reply_to,
                server_frame::Body::Invites(it) => it.in_reply_to,
                server_frame::Body::InvitePreview(it) => it.in_reply_to,
                server_frame::Body::ReaderCounts(it) => it.in_reply_to,
                server_frame::Body::Devices(it) => it.in_reply_to,
                server_frame::Body::MediaToken(it) => it.in_reply_to,
                server_frame::Body::MediaUrls(it) => it.in_reply_to,
                server_frame::Body::Profiles(it) => it.in_reply_to,
                server_frame::Body::Presences(it) => it.in_reply_to,
                server_frame::Body::Page(_) | server_frame::Body::ProfileChanged(_) => continue,
                other => panic!("not an answer: {other:?}"),
            };
            assert_eq!(in_reply_to, number);
            return body;
        }
    }
}
