//! A small server in this process, in memory, for testing the load generator
//! itself: it keeps no promise but order.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::{Buf as _, Bytes, BytesMut};
use magpie_protocol::{
    frame::{Split, split},
    limits::LENGTH_SIZE,
    seq::FrameNumber,
    session::{Input, Reply, ServerSession},
    wire::{Authenticate, EncodedPage, Request, SendMessage, Target, v1},
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use crate::{args, clock};

#[derive(Default)]
struct World {
    /// The user's name by device.
    devices: HashMap<[u8; 16], String>,
    conversations: HashMap<[u8; 16], Conversation>,
    online: HashMap<String, mpsc::UnboundedSender<Bytes>>,
}

struct Conversation {
    members: Vec<String>,
    seq: u64,
}

/// A running model; its files live as long as it does.
pub(crate) struct Model {
    pub(crate) server: args::Server,
    _dir: tempfile::TempDir,
}

impl Model {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![magpie_protocol::limits::ALPN.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, world.clone()));
            }
        });
        let server = args::Server {
            server: address.to_string(),
            ca,
            pid: Some(std::process::id()),
            database_pid: None,
            credentials: Some(dir.path().join("credentials.json")),
        };
        Self { server, _dir: dir }
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, world: Arc<Mutex<World>>) {
    stream.set_nodelay(true).unwrap();
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let (ring, mut events) = mpsc::unbounded_channel();
    let mut peer = Peer {
        session: ServerSession::new(clock::now()),
        world,
        ring,
        name: String::new(),
        replies: VecDeque::new(),
        out: BytesMut::new(),
    };
    let mut inbound = BytesMut::new();
    while !peer.session.is_closing() {
        tokio::select! {
            read = stream.read_buf(&mut inbound) => {
                if !matches!(read, Ok(1..)) {
                    return;
                }
                while let Split::Frame(frame, _) = split(&inbound, 64 * 1024).unwrap() {
                    let (frame, size) = (Bytes::copy_from_slice(frame), frame.len());
                    inbound.advance(LENGTH_SIZE + size);
                    peer.take(&frame);
                }
            }
            Some(event) = events.recv(), if peer.replies.is_empty() && peer.session.can_send() => {
                let page = EncodedPage { events: vec![event], ..Default::default() };
                peer.session.page(&page, &mut peer.out);
            }
        }
        while peer.session.can_send()
            && let Some((number, reply)) = peer.replies.pop_front()
        {
            peer.session
                .reply(number, reply, clock::now(), &mut peer.out);
        }
        if stream.write_all(&peer.out).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        peer.out.clear();
    }
}

struct Peer {
    session: ServerSession,
    world: Arc<Mutex<World>>,
    ring: mpsc::UnboundedSender<Bytes>,
    name: String,
    /// What waits for room in the window.
    replies: VecDeque<(FrameNumber, Reply)>,
    out: BytesMut,
}

impl Peer {
    fn take(&mut self, frame: &[u8]) {
        let now = clock::now();
        match self.session.handle_frame(frame, now).unwrap() {
            Input::Register(it) | Input::SignIn(it) => self.sign_in(&it),
            Input::Hello(hello) => {
                let mut world = self.world.lock().unwrap();
                let Some(name) = world.devices.get(&hello.device.bytes()).cloned() else {
                    let goodbye = v1::Goodbye {
                        code: v1::ErrorCode::Unauthenticated.into(),
                        action: v1::Action::SignIn.into(),
                        ..Default::default()
                    };
                    self.session.goodbye(&goodbye, now, &mut self.out);
                    return;
                };
                world.online.insert(name.clone(), self.ring.clone());
                self.name = name;
                let welcome = v1::Welcome::default();
                self.session.welcome(&welcome, now, &mut self.out);
                let page = EncodedPage {
                    cursor: Bytes::from_static(b"cursor"),
                    caught_up: true,
                    ..Default::default()
                };
                self.session.page(&page, &mut self.out);
            }
            Input::Request { number, request } => self.request(number, request),
            Input::Ping { id, .. } => {
                let checkpoint = v1::Checkpoint {
                    cursor: Bytes::from_static(b"here"),
                    after_frame: 0,
                };
                self.session.pong(id, Some(checkpoint), &mut self.out);
            }
            Input::Goodbye => {
                let goodbye = v1::Goodbye::default();
                self.session.goodbye(&goodbye, now, &mut self.out);
            }
            Input::Typing { .. } | Input::Nothing => {}
            Input::InvalidAuthenticate(reason) | Input::InvalidRequest { reason, .. } => {
                panic!("{reason}")
            }
            Input::Unsupported { .. } => panic!("a request of a newer version"),
        }
    }

    fn sign_in(&mut self, it: &Authenticate) {
        let name = it.name.as_str().to_owned();
        let mut world = self.world.lock().unwrap();
        world.devices.insert(it.device.bytes(), name);
        let signed_in = v1::SignedIn {
            device_token: vec![7; 32].into(),
            ..Default::default()
        };
        self.session.signed_in(&signed_in, &mut self.out);
    }

    fn request(&mut self, number: FrameNumber, request: Request) {
        let mut world = self.world.lock().unwrap();
        let id = request.message_id().unwrap();
        let (conversation, content) = match request {
            Request::SendMessage(SendMessage { to, message, .. }) => {
                let conversation = match to {
                    Target::Conversation(id) => id.bytes(),
                    Target::User(name) => {
                        let members = vec![self.name.clone(), name.as_str().to_owned()];
                        world.make(id.bytes(), members)
                    }
                };
                let message = v1::event_content::Kind::Message(message.into_wire());
                (conversation, Some(message))
            }
            Request::CreateGroup(it) => {
                let names = it.names.iter().map(|name| name.as_str().to_owned());
                let members = names.chain([self.name.clone()]).collect();
                (world.make(id.bytes(), members), None)
            }
            Request::EditMessage(_)
            | Request::DeleteMessage(_)
            | Request::React(_)
            | Request::ChangeAccount(_)
            | Request::ChangeFriendship(_)
            | Request::AddMembers(_)
            | Request::RemoveMember { .. }
            | Request::LeaveGroup { .. }
            | Request::SetRole(_)
            | Request::UpdateGroup(_)
            | Request::Pin(_)
            | Request::Ban(_)
            | Request::FetchBans(_)
            | Request::CreateInvite(_)
            | Request::RevokeInvite(_)
            | Request::JoinByInvite(_)
            | Request::LookUpInvite { .. }
            | Request::FetchInvites(_)
            | Request::MarkRead { .. }
            | Request::FetchHistory(_)
            | Request::FetchConversations { .. }
            | Request::FetchMembers(_)
            | Request::FetchProfiles(_)
            | Request::WatchPresence(_)
            | Request::FindUsers(_)
            | Request::CountReaders(_)
            | Request::FetchMediaToken
            | Request::FetchMediaUrls(_)
            | Request::SetPush(_)
            | Request::ClearPush
            | Request::Detach
            | Request::ChangePassword(_)
            | Request::DeleteAccount(_)
            | Request::Report(_)
            | Request::FetchDevices
            | Request::RevokeDevice(_)
            | Request::SignOut => panic!("a request that the load generator does not make"),
        };
        let accepted = world.append(conversation, content);
        let reply = Reply::Accepted(accepted);
        self.replies.push_back((number, reply));
    }
}

impl World {
    /// Tells it to the members who are there.
    fn append(
        &mut self,
        conversation: [u8; 16],
        content: Option<v1::event_content::Kind>,
    ) -> v1::Accepted {
        let members = self.conversations.get_mut(&conversation).unwrap();
        members.seq += 1;
        let event = v1::Event {
            conversation_id: Bytes::copy_from_slice(&conversation),
            seq: members.seq,
            content: Some(v1::EventContent { kind: content }),
            ..Default::default()
        };
        let accepted = v1::Accepted {
            conversation_id: event.conversation_id.clone(),
            seq: event.seq,
            ..Default::default()
        };
        let members = members.members.clone();
        let event = Bytes::from(event.encode_to_vec());
        for member in members {
            if let Some(online) = self.online.get(&member) {
                drop(online.send(event.clone()));
            }
        }
        accepted
    }

    fn make(&mut self, id: [u8; 16], members: Vec<String>) -> [u8; 16] {
        self.conversations
            .insert(id, Conversation { members, seq: 0 });
        id
    }
}
