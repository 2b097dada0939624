//! Photos and files on their way to a disk: how far they are, over networks that break and
//! past processes that are killed, and all that one has sent, in an export.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use image::ImageFormat;
use magpie_proxy::{Direction, Proxy};
use tokio::runtime::Runtime;

use crate::{
    media::{arguments, file, noise, received, saved},
    world::{World, number, of_type, text},
};

const SIZE: usize = 6_000_000;

/// A file that nothing makes smaller, in a message of alice.
fn with_a_file() -> (World, PathBuf, serde_json::Value) {
    let world = World::with_alice_and_bob();
    let mut bytes = noise(1_500, 1_500, ImageFormat::Png);
    bytes.truncate(SIZE);
    assert_eq!(bytes.len(), SIZE);
    let path = file(&world, "film.bin", &bytes);
    world
        .magpie("alice", arguments("file", "@bob", &path))
        .done();
    let message = received(&world, "bob");
    (world, path, message)
}

/// D5. Cut after each megabyte, and killed in the middle: it goes on each time where it was,
/// and is what was sent.
#[test]
fn what_is_fetched_goes_on_where_it_was_cut() {
    let (mut world, path, message) = with_a_file();
    let runtime = Runtime::new().unwrap();
    let server = world.address.parse().unwrap();
    let proxy = runtime.block_on(Proxy::start(server, 1)).unwrap();
    world.address = proxy.address().to_string();
    proxy.cut_each_after(1_000_000..=1_000_000);
    proxy.pace(Direction::Down, 6_000_000);
    let id = text(&message, "message_id");
    let saving = world.start("bob", ["save", id, "into"]);
    loop {
        let lines = saving.until("fetching");
        if number(lines.last().unwrap(), "received") > 2_000_000 {
            break;
        }
    }
    saving.kill();
    let lines = world.magpie("bob", ["save", id, "into"]).done();
    let fetching = of_type(&lines, "fetching");
    assert!(number(fetching[0], "received") > 2_000_000, "{fetching:?}");
    let last = fetching.last().unwrap();
    assert_eq!(number(last, "received"), number(last, "size"));
    let saved = of_type(&lines, "saved")[0];
    let into = world.home("x").with_file_name("").join("..");
    let saved = into.join(text(saved, "path"));
    assert!(fs::read(saved).unwrap() == fs::read(path).unwrap());
    let sent = proxy.counts().forwarded;
    assert!(sent * 100 < SIZE as u64 * 125, "{sent} bytes were sent");
}

/// D1. What a run before has left of it may have suffered since, as when the power failed:
/// then it is fetched from its beginning.
#[test]
fn what_is_damaged_on_this_disk_is_fetched_anew() {
    let (world, path, message) = with_a_file();
    let media = text(&message["media"][0], "media_id");
    let cache = world.home("bob").join("media/cache");
    fs::create_dir_all(&cache).unwrap();
    for left in [1_000_000, SIZE] {
        fs::write(cache.join(format!("{media}.part")), vec![0; left]).unwrap();
        let saved = saved(&world, "bob", &message, "into");
        assert!(fs::read(&saved[0]).unwrap() == fs::read(&path).unwrap());
        fs::remove_file(cache.join(media)).unwrap();
    }
}

/// Each file of a directory, by its name.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let read = entries.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    read.collect()
}

#[test]
fn an_export_has_what_one_has_sent_and_nothing_of_others() {
    let world = World::with_alice_and_bob();
    let photo = file(&world, "beach.png", &noise(900, 600, ImageFormat::Png));
    let report = file(&world, "..report.exe", b"MZ and so on");
    world
        .magpie("alice", arguments("photo", "@bob", &photo))
        .done();
    world
        .magpie("alice", arguments("file", "@bob", &report))
        .done();
    let me = photo.to_str().unwrap();
    world.magpie("alice", ["profile", "--photo", me]).done();
    world
        .magpie("bob", arguments("photo", "@alice", &photo))
        .done();
    world.magpie("alice", ["sync"]).done();
    let history = world.magpie("alice", ["history", "@bob"]).done();
    let of_message = |number: usize| text(&history[number]["media"][0], "media_id").to_owned();
    let profile = world.magpie("alice", ["profile", "@alice"]).done();
    let mut names = vec![
        format!("{}.jpg", of_message(0)),
        of_message(1),
        format!("{}.jpg", text(&profile[0], "photo_id")),
    ];
    names.sort_unstable();

    let directory = world.data_dir().with_file_name("data");
    let typed = ["export", directory.to_str().unwrap(), "--media"];
    let without = world.magpie("alice", &typed[..2]).done();
    assert!(without.last().unwrap()["media"].is_null());
    assert!(!directory.join("media").exists());
    // What is not here is fetched.
    fs::remove_dir_all(world.home("alice").join("media")).unwrap();
    let lines = world.magpie("alice", typed).done();
    assert_eq!(number(lines.last().unwrap(), "media"), 3);
    assert!(!of_type(&lines, "fetching").is_empty());
    let into = directory.join("media");
    let found = files(&into);
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), names);
    assert_eq!(found[&of_message(1)], b"MZ and so on");
    for name in &names {
        let mode = fs::metadata(into.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // Again, it fetches what is new or not whole, and goes past what is gone.
    for name in [format!("{}.jpg", of_message(0)), of_message(1)] {
        fs::remove_file(into.join(name)).unwrap();
    }
    fs::write(into.join(format!("{}.part", of_message(1))), "M").unwrap();
    let seq = number(&history[0], "seq").to_string();
    world.magpie("alice", ["delete", "@bob", &seq]).done();
    let lines = world.magpie("alice", typed).done();
    assert_eq!(number(lines.last().unwrap(), "media"), 1);
    assert_eq!(files(&into)[&of_message(1)], b"MZ and so on");
    assert_eq!(files(&into).len(), 2);
}
