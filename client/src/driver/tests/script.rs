//! A scripted server, over streams in memory.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use magpie_protocol::{
    frame::{Split, split},
    id::{ConversationId, DeviceId, MessageId, UserId},
    limits::LENGTH_SIZE,
    moment::Moment,
    seq::FrameNumber,
    session::{Input, Reply, ServerSession},
    wire::{EncodedPage, Hello, Request, v1},
};
use prost::Message as _;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
    },
    sync::mpsc,
    time::timeout,
};

use super::super::{Dial, connect::Dialling};
use crate::{
    client::{Client, Event, Options},
    error::ConnectError,
    home::Home,
    model::Account,
    request::{NewRequest, Recipient},
};

pub(super) const ALICE: UserId = UserId::new([0xa; 16]);
pub(super) const CHAT: ConversationId = ConversationId::new([0xc; 16]);

/// Nothing here takes long, unless it hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Dials the scripted server.
pub(super) struct MemoryDial {
    pub(super) dialled: mpsc::UnboundedSender<DuplexStream>,
    /// See [`Late`].
    pub(super) is_late: Arc<AtomicBool>,
}

/// A connection that was reset: that there is something to read is not known before a
/// write has failed.
struct Late {
    stream: DuplexStream,
    is_late: Arc<AtomicBool>,
}

impl AsyncRead for Late {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_late.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Late {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_late.swap(false, Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Dial for MemoryDial {
    fn dial(&self) -> Dialling {
        let (near, far) = duplex(64 * 1024);
        let near = Late {
            stream: near,
            is_late: Arc::clone(&self.is_late),
        };
        let arrived = self
            .dialled
            .send(far)
            .map_err(|_| ConnectError::Unreachable {
                address: "memory".to_owned(),
                reason: "the script is over".to_owned(),
            });
        Box::pin(async move { arrived.map(|()| Box::new(near) as _) })
    }
}

/// A signed-in home, its running client, and the connections that it makes.
pub(super) struct Story {
    _directory: tempfile::TempDir,
    pub(super) home: Home,
    pub(super) client: Client,
    connections: mpsc::UnboundedReceiver<DuplexStream>,
    /// See [`Late`].
    pub(super) is_late: Arc<AtomicBool>,
}

pub(super) fn signed_in_home() -> (tempfile::TempDir, Home) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(directory.path()).unwrap();
    let account = Account {
        user_id: ALICE,
        name: "alice".to_owned(),
        device_id: DeviceId::new([1; 16]),
        device_name: String::new(),
        server: "memory:1".to_owned(),
        signed_in: true,
    };
    let database = home.database();
    database.lock().signed_in(&account, &[7; 32]).unwrap();
    (directory, home)
}

pub(super) fn begin() -> Story {
    let (directory, home) = signed_in_home();
    let (dialled, connections) = mpsc::unbounded_channel();
    let lock = home.try_lock_connection().unwrap().unwrap();
    let is_late = Arc::default();
    let dial: Box<dyn Dial> = Box::new(MemoryDial {
        dialled,
        is_late: Arc::clone(&is_late),
    });
    let options = Options {
        watch_interval: Some(Duration::from_millis(5)),
        ..Options::default()
    };
    Story {
        client: Client::start_with(home.clone(), lock, Ok(dial), options),
        _directory: directory,
        home,
        connections,
        is_late,
    }
}

impl Story {
    pub(super) fn send(&self, text: &str) -> MessageId {
        let to = Recipient::Conversation(CHAT);
        let message = text.try_into().unwrap();
        self.home.queue(NewRequest::Send { to, message }).unwrap()
    }

    /// The next connection, with its hello.
    pub(super) async fn connection(&mut self) -> (Peer, Hello) {
        let stream = timeout(DEADLINE, self.connections.recv()).await;
        let mut peer = Peer::new(stream.unwrap().unwrap());
        let Input::Hello(hello) = peer.input().await else {
            panic!("no hello");
        };
        (peer, hello)
    }

    pub(super) async fn event(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = timeout(DEADLINE, self.client.next_event()).await;
            let event = event.unwrap().expect("the driver has ended");
            if wanted(&event) {
                return event;
            }
        }
    }
}

/// The server's end of a connection.
pub(super) struct Peer {
    stream: DuplexStream,
    pub(super) session: ServerSession,
    started: Instant,
    inbound: BytesMut,
    pub(super) out: BytesMut,
}

impl Peer {
    pub(super) fn new(stream: DuplexStream) -> Self {
        Self {
            stream,
            session: ServerSession::new(Moment::START),
            started: Instant::now(),
            inbound: BytesMut::new(),
            out: BytesMut::new(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::new(self.started.elapsed())
    }

    /// The next frame that says something; `None` at the end of the stream.
    pub(super) async fn try_input(&mut self) -> Option<Input> {
        loop {
            let limit = self.session.frame_limits().size_max;
            if let Split::Frame(frame, _) = split(&self.inbound, limit).unwrap() {
                let size = frame.len();
                let frame = self.inbound.split_to(LENGTH_SIZE + size);
                let now = self.now();
                let frame = &frame[LENGTH_SIZE..];
                let input = self.session.handle_frame(frame, now).unwrap();
                if input == Input::Nothing {
                    continue;
                }
                return Some(input);
            }
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.inbound)).await;
            if read.unwrap().unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub(super) async fn input(&mut self) -> Input {
        self.try_input().await.expect("the client has closed")
    }

    pub(super) async fn request(&mut self) -> (FrameNumber, Request) {
        loop {
            let Input::Request { number, request } = self.input().await else {
                panic!("no request");
            };
            // What others say of themselves is another story.
            if !matches!(request, Request::FetchProfiles(_)) {
                return (number, request);
            }
        }
    }

    /// The next message: its frame, id and text.
    pub(super) async fn message(&mut self) -> (FrameNumber, MessageId, String) {
        match self.request().await {
            (number, Request::SendMessage(send)) => {
                (number, send.id, send.message.text().to_owned())
            }
            _ => panic!("no message"),
        }
    }

    pub(super) async fn flush(&mut self) {
        self.stream.write_all_buf(&mut self.out).await.unwrap();
    }

    pub(super) async fn welcome(&mut self, starts_anew: bool) {
        self.welcome_to(1, starts_anew).await;
    }

    pub(super) async fn welcome_to(&mut self, epoch: u64, starts_anew: bool) {
        let welcome = v1::Welcome {
            protocol_version: 1,
            epoch,
            base: 1,
            starts_anew,
            user: Some(v1::User {
                user_id: ALICE.to_wire(),
                name: "alice".to_owned(),
            }),
            ..Default::default()
        };
        let now = self.now();
        self.session.welcome(&welcome, now, &mut self.out);
        self.flush().await;
    }

    pub(super) async fn accept(&mut self, number: FrameNumber, id: MessageId, seq: u64) {
        let accepted = v1::Accepted {
            message_id: id.to_wire(),
            conversation_id: CHAT.to_wire(),
            seq,
            committed_at_ms: 1,
            ..Default::default()
        };
        self.reply(number, Reply::Accepted(accepted)).await;
    }

    pub(super) async fn reply(&mut self, number: FrameNumber, reply: Reply) {
        let now = self.now();
        self.session.reply(number, reply, now, &mut self.out);
        self.flush().await;
    }

    pub(super) async fn page(
        &mut self,
        seqs: &[u64],
        cursor: &'static str,
        caught_up: bool,
    ) -> FrameNumber {
        let events = seqs.iter().copied().map(event).collect();
        self.page_of(events, cursor, caught_up).await
    }

    pub(super) async fn page_of(
        &mut self,
        events: Vec<Bytes>,
        cursor: &'static str,
        caught_up: bool,
    ) -> FrameNumber {
        let page = EncodedPage {
            events,
            cursor: Bytes::from_static(cursor.as_bytes()),
            caught_up,
            ..Default::default()
        };
        let number = self.session.page(&page, &mut self.out);
        self.flush().await;
        number
    }

    pub(super) async fn goodbye(&mut self, code: v1::ErrorCode, action: v1::Action, after_ms: u32) {
        let goodbye = v1::Goodbye {
            code: code.into(),
            action: action.into(),
            after_ms,
            ..Default::default()
        };
        let now = self.now();
        self.session.goodbye(&goodbye, now, &mut self.out);
        self.flush().await;
    }
}

pub(super) fn event(seq: u64) -> Bytes {
    let text = format!("number {seq}");
    let content = v1::event_content::Kind::Message(text.into());
    let event = v1::Event {
        conversation_id: CHAT.to_wire(),
        seq,
        sender: Some(v1::User {
            user_id: vec![0xb; 16].into(),
            name: "bob".to_owned(),
        }),
        message_id: vec![u8::try_from(seq).unwrap(); 16].into(),
        committed_at_ms: 1,
        content: Some(v1::EventContent {
            kind: Some(content),
        }),
    };
    event.encode_to_vec().into()
}
