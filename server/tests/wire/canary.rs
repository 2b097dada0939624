//! Secrets that flow through everything a server does, at the most talkative level,
//! with errors forced, and appear nowhere that an operator looks.

use std::{fmt::Write as _, fs, path::Path, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use magpie_fcm_emulator::{Emulator, Fault, FaultKind, Reach, Standing};
use magpie_protocol::{
    frame::Frame as _,
    wire::v1::{self, client_frame},
};
use magpie_sim::postgres::{self, Cluster};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{
    peer::{Device, Peer, fresh_id, hello, text_to},
    process::{Server, magpied},
    seen::get,
};

const PASSWORD: &str = "canary-password-1f60";
const WRONG_PASSWORD: &str = "canary-wrong-password-2a71";
const TEXT: &str = "canary-text-3b82";
const TITLE: &str = "canary-title-4c93";
const NAME: &str = "canary_name_5da4";
const DEVICE_NAME: &str = "canary-device-name-6eb5";
const INVITATION: &str = "canary-invitation-7fc6-00000000";
const DATABASE_PASSWORD: &str = "canary-database-8ad7";
const PUSH_TOKEN: &str = "canary-push-token-9be8:APA91b";
const APP: &str = "chat.magpie.test";

/// A secret, in every form in which it may leak.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut hex = String::new();
    let mut list = Vec::new();
    for byte in secret {
        write!(hex, "{byte:02x}").unwrap();
        list.push(byte.to_string());
    }
    // A value of Rust printed by its derived `Debug`, and by that of `bytes`.
    let debug = format!("{:?}", Bytes::copy_from_slice(secret));
    let debug = debug.trim_start_matches("b\"").trim_end_matches('"');
    [
        secret.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        list.join(", ").into_bytes(),
        list.join(",").into_bytes(),
        BASE64.encode(secret).into_bytes(),
        BASE64URL_NOPAD.encode(secret).into_bytes(),
        debug.as_bytes().to_vec(),
        debug.replace('\\', "\\\\").into_bytes(),
    ]
    .into()
}

/// The secrets that are found, by name.
fn found(secrets: &[(&'static str, Vec<u8>)], heard: &[u8]) -> Vec<&'static str> {
    let is_there = |secret: &[u8]| {
        forms(secret)
            .iter()
            .any(|form| heard.windows(form.len()).any(|it| it == form.as_slice()))
    };
    secrets
        .iter()
        .filter(|(_, secret)| is_there(secret))
        .map(|(name, _)| *name)
        .collect()
}

fn register() -> v1::Register {
    v1::Register {
        device_id: fresh_id(),
        name: NAME.to_owned(),
        password: PASSWORD.to_owned(),
        device_name: DEVICE_NAME.to_owned(),
        invitation: INVITATION.to_owned(),
    }
}

fn sign_in(password: &str) -> client_frame::Body {
    client_frame::Body::SignIn(v1::SignIn {
        device_id: fresh_id(),
        name: NAME.to_owned(),
        password: password.to_owned(),
        device_name: DEVICE_NAME.to_owned(),
    })
}

async fn stranger(server: &Server) -> Peer {
    server.peer(&server.ca).await.unwrap()
}

/// Good requests, and some that are refused.
async fn talk(server: &Server) -> Device {
    let mut peer = stranger(server).await;
    let wrong = v1::Register {
        invitation: format!("{INVITATION}-wrong"),
        ..register()
    };
    for request in [wrong, register()] {
        peer.control(client_frame::Body::Register(request)).await;
        let body = peer.body().await;
        drop(body);
    }
    let mut peer = stranger(server).await;
    peer.control(sign_in(WRONG_PASSWORD)).await;
    peer.body().await;
    let mut peer = stranger(server).await;
    peer.control(sign_in(PASSWORD)).await;
    let device = peer.signed_in().await;
    let (mut peer, _) = server.connect(&device).await;
    let message = text_to(NAME, TEXT);
    peer.send(message.clone()).await;
    let conflict = v1::SendMessage {
        message: Some(format!("{TEXT} again").into()),
        ..message
    };
    let nowhere = v1::SendMessage {
        to: Some(v1::send_message::To::ConversationId(fresh_id())),
        ..text_to(NAME, TEXT)
    };
    let nobody = text_to(&format!("{NAME}x"), TEXT);
    let nul = text_to(NAME, &format!("{TEXT}\0"));
    for message in [conflict, nowhere, nobody, nul] {
        let number = peer.request(client_frame::Body::SendMessage(message)).await;
        peer.answer(number).await;
    }
    let group = v1::CreateGroup {
        message_id: fresh_id(),
        title: TITLE.to_owned(),
        user_names: Vec::new(),
    };
    let push = v1::SetPush {
        platform: v1::Platform::Android.into(),
        app_id: APP.to_owned(),
        token: PUSH_TOKEN.to_owned(),
    };
    for body in [
        client_frame::Body::CreateGroup(group),
        client_frame::Body::SetPush(push),
        client_frame::Body::FetchConversations(v1::FetchConversations {
            limit: 10,
            ..Default::default()
        }),
        client_frame::Body::FetchDevices(v1::FetchDevices {}),
    ] {
        let number = peer.request(body).await;
        peer.answer(number).await;
    }
    device
}

/// Frames with secrets in them that break the protocol.
async fn break_rules(server: &Server, device: &Device) {
    let frame = |number: u64, body: client_frame::Body| {
        let mut out = BytesMut::new();
        v1::ClientFrame {
            number,
            body: Some(body),
            ..Default::default()
        }
        .write(&mut out);
        out
    };
    let message = frame(9, client_frame::Body::SendMessage(text_to(NAME, TEXT)));
    let mut spoilt = message.clone();
    // The text's last byte is no UTF-8 any more.
    *spoilt.last_mut().unwrap() = 0xff;
    let greeting = frame(3, hello(device, Bytes::new()));
    for bytes in [message, spoilt, greeting, frame(5, sign_in(PASSWORD))] {
        let (mut signed, _) = server.connect(device).await;
        let mut unsigned = stranger(server).await;
        for peer in [&mut signed, &mut unsigned] {
            peer.write(&bytes).await;
            peer.goodbye().await;
        }
    }
    let mut forged = device.clone();
    forged.id = fresh_id();
    let mut peer = stranger(server).await;
    peer.control(hello(&forged, Bytes::new())).await;
    peer.goodbye().await;
}

/// A wake is pushed, while FCM is broken and while it is not.
async fn push(server: &Server, emulator: &Emulator) {
    let world = emulator.world();
    world.set_device(PUSH_TOKEN, Standing::Registered, Reach::Online);
    world.set_fault(Fault::next(FaultKind::Unavailable, 1));
    let mut peer = stranger(server).await;
    let friend = v1::Register {
        name: format!("{NAME}_2"),
        ..register()
    };
    peer.control(client_frame::Body::Register(friend)).await;
    let friend = peer.signed_in().await;
    let (mut peer, _) = server.connect(&friend).await;
    peer.send(text_to(NAME, TEXT)).await;
    let pushed = async {
        while world.counts().taken == 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), pushed).await.unwrap();
}

/// Sends while the database is gone.
async fn lose_the_database(server: &Server, device: &Device, cluster: &Cluster) {
    let (mut peer, _) = server.connect(device).await;
    cluster.kill().unwrap();
    let message = client_frame::Body::SendMessage(text_to(NAME, TEXT));
    peer.request(message).await;
    let goodbye = peer.goodbye().await;
    assert_eq!(goodbye.code(), v1::ErrorCode::Unavailable, "{goodbye:?}");
    let mut peer = stranger(server).await;
    peer.control(sign_in(PASSWORD)).await;
    peer.body().await;
    cluster.restart().unwrap();
}

/// The parts of a key's file that are secret: its lines of base64.
fn lines_of_key(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).unwrap();
    let text = text.replace("\\n", "\n");
    text.lines()
        .filter(|line| line.len() > 40 && !line.contains(['-', ':', '"']))
        .map(|line| line.as_bytes().to_vec())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_reaches_the_log_or_the_metrics() {
    if postgres::is_skipped() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let cluster = Arc::new(Cluster::start().unwrap());
    let url = cluster.create_database().await.unwrap();
    let url = url.replace("postgres@", &format!("postgres:{DATABASE_PASSWORD}@"));
    let emulator = Emulator::start("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let log = dir.path().join("log");
    let account = dir.path().join("account.json");
    emulator.write_account(&account).unwrap();
    let mut server = Server::spawn(
        magpied(&dir.path().join("data"))
            .env("MAGPIE_ADMIN_LISTEN", "127.0.0.1:0")
            .env("MAGPIE_LOG", "trace")
            .env("MAGPIE_DATABASE_URL", &url)
            .env("MAGPIE_REGISTRATION", "invitation")
            .env("MAGPIE_INVITATIONS", INVITATION)
            .env("MAGPIE_PUSH_ACCOUNT", &account)
            .env("MAGPIE_PUSH_URL", emulator.url())
            .arg("--json")
            .stderr(fs::File::create(&log).unwrap()),
    )
    .await;
    let device = talk(&server).await;
    break_rules(&server, &device).await;
    push(&server, &emulator).await;
    lose_the_database(&server, &device, &cluster).await;
    let (_, metrics) = get(server.admin.unwrap(), "/metrics").await;
    server.signal(Signal::TERM);
    server.ended().await;
    let mut heard = fs::read(&log).unwrap();
    // The log is there, and what was forced is in it.
    let text = String::from_utf8_lossy(&heard).into_owned();
    for part in ["DEBUG", "a peer broke the protocol", "\"a request\""] {
        assert!(text.contains(part), "{part} is not in the log");
    }
    // Where the absence was met first is chance.
    let met = ["was not committed", "no shard was found for requests"];
    assert!(met.iter().any(|it| text.contains(it)), "{text}");
    heard.extend(metrics.as_bytes());

    let mut secrets = vec![
        ("the password", PASSWORD.into()),
        ("a wrong password", WRONG_PASSWORD.into()),
        ("a text", TEXT.into()),
        ("a title", TITLE.into()),
        ("a name", NAME.into()),
        ("a device's name", DEVICE_NAME.into()),
        ("an invitation", INVITATION.into()),
        ("the database's password", DATABASE_PASSWORD.into()),
        ("a push token", PUSH_TOKEN.into()),
        ("a device token", device.token.to_vec()),
    ];
    let keys = [account, dir.path().join("data/development-key.pem")];
    for line in keys.iter().flat_map(|it| lines_of_key(it)) {
        secrets.push(("a key", line));
    }
    assert!(secrets.len() > 12, "the keys were read");
    assert_eq!(found(&secrets, &heard), Vec::<&str>::new());

    // The search finds what is there.
    let leak = format!("token={:?}", device.token);
    assert_eq!(found(&secrets, leak.as_bytes()), ["a device token"]);
}
