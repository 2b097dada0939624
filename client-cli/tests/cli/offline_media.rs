//! Photos and files of all kinds, sent while there is no server by programs that are killed:
//! each arrives later, and once.

use std::{fs, path::Path, thread, time::Duration};

use image::ImageFormat;
use magpie_proxy::{Direction, Proxy};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    media::{file, noise},
    queueing::wait_for_outbox,
    world::{World, of_type, text},
};

/// Alice, Bob, and a group of both.
fn with_a_club() -> (World, String) {
    let world = World::with_alice_and_bob();
    let made = world.magpie("alice", ["group", "create", "Club", "@bob"]);
    let group = text(&made.done()[0], "conversation_id").to_owned();
    world.magpie("alice", ["send", "@bob", "hello"]).done();
    (world, group)
}

/// The messages with photos and files in a chat.
fn with_media(world: &World, home: &str, chat: &str) -> Vec<Value> {
    let history = world.magpie(home, ["history", chat]).done();
    let messages = of_type(&history, "message").into_iter();
    let messages = messages.filter(|line| line["media"].is_array());
    messages.cloned().collect()
}

/// What is saved under an id.
fn saved(world: &World, home: &str, id: &str) -> Vec<u8> {
    let into = world.home("into");
    let typed = ["save", id, into.to_str().unwrap()];
    let lines = world.magpie(home, typed).done();
    fs::read(text(of_type(&lines, "saved")[0], "path")).unwrap()
}

fn is_picture(bytes: &[u8]) -> bool {
    image::load_from_memory(bytes).is_ok()
}

fn count(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

/// Bob has each of them, and once.
fn arrived(world: &World, group: &str) {
    world.magpie("bob", ["sync"]).done();
    for (chat, is_right) in [
        ("@alice", is_picture as fn(&[u8]) -> bool),
        (group, |bytes| bytes == [7; 400_000]),
    ] {
        let messages = with_media(world, "bob", chat);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(is_right(&saved(
            world,
            "bob",
            text(&messages[0], "message_id")
        )));
    }
    let profile = world.magpie("bob", ["profile", "@alice"]).done();
    assert!(is_picture(&saved(
        world,
        "bob",
        text(&profile[0], "photo_id")
    )));
    let known = world.magpie("bob", ["conversations"]).done();
    let club = known.iter().find(|line| line["kind"] == "group").unwrap();
    assert!(is_picture(&saved(world, "bob", text(club, "photo"))));
    let history = world.magpie("bob", ["history", group]).done();
    let mut updates = of_type(&history, "event");
    updates.retain(|line| line["kind"] == "group_updated");
    assert_eq!(updates.len(), 1, "{history:?}");
}

/// D3, D5. A photo, a file, a photo of oneself and one of a group; with `kill -9` of what
/// queues them, of what uploads them, and of the server.
#[test]
fn what_is_sent_of_photos_and_files_offline_arrives_later_and_once() {
    let (mut world, group) = with_a_club();
    world.kill_server();
    let photos: Vec<_> = (0..3)
        .map(|number| {
            let bytes = noise(500 + number, 400, ImageFormat::Png);
            file(&world, &format!("{number}.png"), &bytes)
        })
        .collect();
    let report = file(&world, "report.bin", &[7; 400_000]);
    let [beach, me, club] = [0, 1, 2].map(|number| photos[number].to_str().unwrap());
    let typed: [&[&str]; 4] = [
        &["photo", "@bob", beach],
        &["file", &group, report.to_str().unwrap()],
        &["profile", "--photo", me],
        &["group", "update", &group, "--photo", club],
    ];
    for (waiting, typed) in (1..).zip(typed) {
        let sending = world.start("alice", typed);
        wait_for_outbox(&world, waiting);
        sending.kill();
    }
    photos
        .iter()
        .for_each(|path| fs::remove_file(path).unwrap());
    fs::remove_file(&report).unwrap();

    world.start_server();
    let server = world.address.clone();
    let runtime = Runtime::new().unwrap();
    let proxy = Proxy::start(server.parse().unwrap(), 1);
    let proxy = runtime.block_on(proxy).unwrap();
    proxy.pace(Direction::Up, 1_000_000);
    // Killed where it may hurt: what uploads, and the server.
    for pause in [100, 300, 700] {
        world.address = proxy.address().to_string();
        let syncing = world.start("alice", ["sync"]);
        thread::sleep(Duration::from_millis(pause));
        syncing.kill();
        proxy.cut_all();
        world.address.clone_from(&server);
        world.kill_server();
        world.start_server();
    }
    for _ in 0..2 {
        world.magpie("alice", ["sync"]).done();
    }
    assert!(world.magpie("alice", ["outbox"]).done().is_empty());
    assert_eq!(count(&world.home("alice").join("media/outgoing")), 0);

    arrived(&world, &group);
}
