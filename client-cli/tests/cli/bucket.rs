//! Files that go to the server's bucket and come from there, past the server.
//!
//! `MAGPIE_TEST_MOTO` names a Python that has moto, a stand-in for S3; `./test` makes one.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use magpie_proxy::Proxy;
use tokio::runtime::Runtime;

use crate::{
    media::{arguments, file, received, saved},
    world::{World, of_type},
};

/// A bucket service that shows the certificate of this server, and the world's server on
/// it. `None` if there is none, which is said.
fn bucket(world: &mut World, shown: &Path) -> Option<Child> {
    let Some(python) = std::env::var_os("MAGPIE_TEST_MOTO") else {
        eprintln!("!!! SKIPPED: MAGPIE_TEST_MOTO names no Python with moto");
        return None;
    };
    let certificate = |name| shown.join(format!("development-{name}.pem"));
    let mut moto = Command::new(python)
        .arg("-c")
        .arg(include_str!("../../../server/tests/wire/media/moto.py"))
        .args([certificate("cert"), certificate("key")])
        .arg("photos")
        // It ends when our end of it does.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    let mut said = BufReader::new(moto.stdout.take().unwrap());
    said.read_line(&mut port).unwrap();
    let port: u16 = port.trim().parse().expect("moto does not start");
    world.settings = ["--media-bucket", "s3://photos", "--media-presigned"]
        .map(str::to_owned)
        .into();
    world.environment = vec![
        ("AWS_ENDPOINT_URL", format!("https://127.0.0.1:{port}")),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("SSL_CERT_FILE", shown.join("ca.pem").display().to_string()),
    ];
    world.kill_server();
    world.start_server();
    Some(moto)
}

/// Has alice send a large file. What it is.
fn send_large(world: &World) -> Vec<u8> {
    let numbers = (0..1_250_000_u32).flat_map(u32::to_le_bytes);
    let bytes: Vec<u8> = numbers.collect();
    let path = file(world, "large.bin", &bytes);
    let sent = world.magpie("alice", arguments("file", "@bob", &path));
    assert_eq!(of_type(&sent.done(), "accepted").len(), 1);
    bytes
}

/// A proxy in front of the world's server, which counts.
fn proxy(world: &mut World, runtime: &Runtime) -> Proxy {
    let server = world.address.parse().unwrap();
    let proxy = runtime.block_on(Proxy::start(server, 1)).unwrap();
    world.address = proxy.address().to_string();
    proxy
}

fn end(mut moto: Child) {
    moto.kill().unwrap();
    moto.wait().unwrap();
}

/// D5. Most of its bytes never pass the server, either way.
#[test]
fn a_large_file_goes_to_the_bucket_and_comes_from_there() {
    let mut world = World::with_alice_and_bob();
    let shown = world.data_dir();
    let Some(moto) = bucket(&mut world, &shown) else {
        return;
    };
    let runtime = Runtime::new().unwrap();
    let proxy = proxy(&mut world, &runtime);
    let bytes = send_large(&world);
    let message = received(&world, "bob");
    let there = saved(&world, "bob", &message, "into");
    assert!(fs::read(&there[0]).unwrap() == bytes);
    let passed = proxy.counts().forwarded;
    assert!(passed < 500_000, "{passed} bytes passed the server");
    end(moto);
}

/// D5. Here the client does not trust the bucket's certificate, and the server does.
#[test]
fn a_file_that_the_bucket_does_not_get_goes_through_the_server() {
    let mut world = World::with_alice_and_bob();
    let other = World::new();
    let Some(moto) = bucket(&mut world, &other.data_dir()) else {
        return;
    };
    let runtime = Runtime::new().unwrap();
    let proxy = proxy(&mut world, &runtime);
    let bytes = send_large(&world);
    let passed = proxy.counts().forwarded;
    assert!(
        passed > bytes.len() as u64,
        "{passed} bytes passed the server"
    );
    end(moto);
}
