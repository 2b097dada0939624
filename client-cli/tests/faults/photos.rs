//! Photos and files after an older backup was restored: those that the server lost are
//! uploaded again, from what is left of them on their sender's devices.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::Value;

use crate::{
    process::Process,
    restore::in_each_store,
    town::{Home, Town},
};

/// A picture of its own for each number, large enough for both smaller ones.
fn picture(home: &Home, number: u32) -> String {
    let picture = RgbImage::from_fn(1_000, 700, |x, y| {
        let mixed = (x * 31 + y * 17 + number * 7_919).wrapping_mul(2_654_435_761);
        let [red, green, blue, _] = mixed.to_be_bytes();
        image::Rgb([red, green, blue])
    });
    let mut bytes = Cursor::new(Vec::new());
    let picture = DynamicImage::ImageRgb8(picture);
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    file(home, &format!("{number}.png"), &bytes.into_inner())
}

/// A file beside the home.
fn file(home: &Home, name: &str, bytes: &[u8]) -> String {
    let path = home.dir.with_file_name(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The messages with media that a home has of a chat, in their order.
fn with_media(home: &Home, chat: &str) -> Vec<Value> {
    home.done(&["sync"]);
    let lines = home.done(&["history", chat]).into_iter();
    lines.filter(|line| line["media"].is_array()).collect()
}

fn id(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap().to_owned()
}

/// What is saved of a message, as it came from the server or lay in the home.
fn saved(home: &Home, message: &str) -> Vec<u8> {
    let into = home.dir.with_extension("saved-media");
    let lines = home.done(&["save", message, into.to_str().unwrap()]);
    let saved = lines.iter().find(|line| line["type"] == "saved");
    fs::read(PathBuf::from(id(saved.unwrap(), "path"))).unwrap()
}

/// The only line of a command that sends something.
fn sent(home: &Home, args: &[&str]) -> String {
    let lines = home.done(args);
    let accepted = lines.iter().find(|line| line["type"] == "accepted");
    id(accepted.unwrap(), "message_id")
}

/// Two users; the first has two devices.
fn people(town: &Town) -> [Home; 3] {
    let alice = town.register("alice");
    let tablet = town.sign_in("alice", "tablet");
    let bob = town.register("bob");
    [alice, tablet, bob]
}

fn forget_cache(home: &Home) {
    // There may be none yet.
    drop(fs::remove_dir_all(home.dir.join("media/cache")));
}

/// D11, D3. Also if both devices of their sender do it at the same time, and are killed
/// meanwhile.
#[test]
fn what_a_restored_server_lost_of_photos_is_uploaded_again() {
    in_each_store("photos-restored", |_, mut place| {
        let [alice, tablet, bob] = people(&place.town);
        let kept = sent(&alice, &["photo", "@bob", &picture(&alice, 1)]);
        bob.done(&["sync"]);
        let backup = place.back_up();

        sent(&alice, &["send", "@bob", "before"]);
        let photo = sent(
            &alice,
            &["photo", "@bob", &picture(&alice, 2), "--caption", "both"],
        );
        let report = file(&alice, "report.bin", &[7; 300_000]);
        let report = sent(&alice, &["file", "@bob", &report]);
        sent(&alice, &["send", "@bob", "after"]);
        alice.done(&["profile", "--photo", &picture(&alice, 3)]);
        // What was set comes back as an event.
        alice.done(&["sync"]);
        tablet.done(&["sync"]);
        let whole = saved(&tablet, &photo);
        saved(&tablet, &report);
        bob.done(&["sync"]);
        place.restore(&backup);

        for pause in [30, 90, 200] {
            let both = [&alice, &tablet].map(|home| Process::start(&mut home.command(&["sync"])));
            std::thread::sleep(std::time::Duration::from_millis(pause));
            both.into_iter().for_each(|process| drop(process.kill()));
        }
        let both = [&alice, &tablet].map(|home| Process::start(&mut home.command(&["sync"])));
        // The tablet alone would fail: it never had the photo of the profile.
        let [of_alice, _] = both.map(|process| process.wait("all is sent again"));
        assert!(of_alice.0.success(), "{:?}", of_alice.1);
        for home in [&alice, &tablet] {
            home.done(&["sync"]);
            assert_eq!(home.done(&["outbox"]), Vec::<Value>::new());
        }
        let messages = with_media(&bob, "@alice");
        let mut ids: Vec<_> = messages.iter().map(|line| id(line, "message_id")).collect();
        assert_eq!(ids.remove(0), kept);
        ids.sort_unstable();
        let mut expected = [photo.clone(), report.clone()];
        expected.sort_unstable();
        assert_eq!(ids, expected);
        for home in [&bob, &alice, &tablet] {
            forget_cache(home);
            assert_eq!(saved(home, &photo), whole);
            assert_eq!(saved(home, &report), [7; 300_000]);
        }
        let profile = bob.done(&["profile", "@alice"]).remove(0);
        saved(&bob, &id(&profile, "photo_id"));
    });
}

/// D11. The device that sent a photo may never come back: another one that has it sends it
/// again, without the smaller pictures if it does not have them.
#[test]
fn another_device_uploads_what_it_has_of_a_photo() {
    in_each_store("photos-of-a-tablet", |_, mut place| {
        let [alice, tablet, bob] = people(&place.town);
        sent(&alice, &["send", "@bob", "hello"]);
        let backup = place.back_up();
        let photo = sent(&alice, &["photo", "@bob", &picture(&alice, 1)]);
        tablet.done(&["sync"]);
        let whole = saved(&tablet, &photo);
        place.restore(&backup);

        tablet.done(&["sync"]);
        assert_eq!(tablet.done(&["outbox"]), Vec::<Value>::new());
        let messages = with_media(&bob, "@alice");
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert_eq!(saved(&bob, &photo), whole);
        assert!(
            messages[0]["media"][0]["thumbnail_ids"]
                .as_array()
                .is_none_or(Vec::is_empty)
        );
    });
}

/// D11, D12.
#[test]
fn what_no_device_has_any_more_fails_and_says_so() {
    in_each_store("photos-lost", |_, mut place| {
        let [alice, _, bob] = people(&place.town);
        sent(&alice, &["send", "@bob", "hello"]);
        let backup = place.back_up();
        let photo = sent(&alice, &["photo", "@bob", &picture(&alice, 1)]);
        sent(&alice, &["send", "@bob", "goes on"]);
        place.restore(&backup);

        forget_cache(&alice);
        let (code, _) = alice.ended(&["sync"]);
        assert_eq!(code, Some(1));
        let outbox = alice.done(&["outbox"]);
        assert_eq!(outbox.len(), 1, "{outbox:?}");
        assert_eq!(id(&outbox[0], "message_id"), photo);
        assert_eq!(id(&outbox[0], "code"), "media_not_found");
        let sentence = id(&outbox[0], "message");
        assert!(
            sentence.contains("this device does not have it either"),
            "{sentence}"
        );
        alice.done(&["outbox", "discard", &photo]);
        bob.done(&["sync"]);
        let lines = bob.done(&["history", "@alice"]);
        let texts: Vec<_> = lines
            .iter()
            .filter_map(|line| line["text"].as_str())
            .collect();
        assert_eq!(texts, ["hello", "goes on"]);
        let left = fs::read_dir(Path::new(&alice.dir).join("media/outgoing"));
        assert_eq!(left.map_or(0, Iterator::count), 0);
    });
}
