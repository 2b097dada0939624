//! What a user sets for themself, on all their devices.

use serde_json::{Value, json};

use crate::world::{World, number, text, texts};

/// The conversation with this person, as a home lists it.
fn listed(world: &World, home: &str, peer: &str) -> Value {
    let lines = world.magpie(home, ["conversations"]).done();
    let mut lines = lines.into_iter();
    let found = lines.find(|line| text(line, "title") == peer);
    found.unwrap_or_default()
}

/// Offline first, and on a device that signs in later.
#[test]
fn what_a_user_sets_holds_on_all_their_devices() {
    let mut world = World::with_alice_and_bob();
    for words in ["one", "two", "three"] {
        world.magpie("bob", ["send", "@alice", words]).done();
    }
    world.magpie("alice", ["sync"]).done();
    world.kill_server();
    for arguments in [
        ["mute", "@bob", "--for", "8h", "--queue"].as_slice(),
        &["notify", "mentions", "--all", "--queue"],
        &["hide", "@bob", "2", "--queue"],
        &[
            "contact",
            "@bob",
            "--favourite",
            "--nickname",
            "Bobby",
            "--queue",
        ],
    ] {
        let queued = world.magpie("alice", arguments).done();
        assert_eq!(text(&queued[0], "type"), "queued");
    }
    let check = |home: &str| {
        let line = listed(&world, home, "bob");
        assert_eq!(text(&line, "notify"), "none");
        assert!(line["notify_until"].is_string(), "{line}");
        assert_eq!(line["favourite"], json!(true));
        assert_eq!(text(&line, "nickname"), "Bobby");
        assert_eq!(number(&line, "unread"), 3, "until it is read");
        let history = world.magpie(home, ["history", "@bob"]).done();
        assert_eq!(texts(&history), ["one", "three"]);
        let contacts = world.magpie(home, ["contacts"]).done();
        assert_eq!(text(&contacts[0], "user"), "bob");
    };
    check("alice");
    let kinds = world.magpie("alice", ["outbox"]).done();
    let kinds: Vec<_> = kinds.iter().map(|line| text(line, "kind")).collect();
    assert_eq!(kinds, ["notify", "notify", "hide", "contact"]);

    world.start_server();
    world.magpie("alice", ["sync"]).done();
    world.log_in("tablet", "alice");
    world.magpie("tablet", ["sync"]).done();
    let check = |home: &str| {
        let line = listed(&world, home, "bob");
        assert_eq!(
            (text(&line, "notify"), text(&line, "nickname")),
            ("none", "Bobby")
        );
        let history = world.magpie(home, ["history", "@bob"]).done();
        assert_eq!(texts(&history), ["one", "three"]);
    };
    check("alice");
    check("tablet");
    for home in ["alice", "tablet"] {
        assert_eq!(world.magpie(home, ["audit"]).done().len(), 1);
    }
    world.magpie("tablet", ["unmute", "@bob"]).done();
    world.magpie("tablet", ["contact", "@bob"]).done();
    world.magpie("alice", ["sync"]).done();
    assert_eq!(text(&listed(&world, "alice", "bob"), "notify"), "all");
    assert_eq!(world.magpie("alice", ["contacts"]).done(), [Value::Null; 0]);
    // Nobody else learns of any of it.
    world.magpie("bob", ["sync"]).done();
    let history = world.magpie("bob", ["history", "@alice"]).done();
    assert_eq!(texts(&history), ["one", "two", "three"]);
}
