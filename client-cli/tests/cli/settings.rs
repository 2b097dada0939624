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

/// How far this user has read the direct conversation with `peer`, as `home` was told.
fn read_by(world: &World, home: &str, peer: &str, user: &str) -> u64 {
    let to = format!("@{peer}");
    let members = world.magpie(home, ["members", to.as_str()]).done();
    let found = members.iter().find(|line| text(line, "user") == user);
    number(found.unwrap(), "read_seq")
}

/// Hidden offline, and what was read before that with it: the marks leave behind the
/// setting.
#[test]
fn receipts_that_were_hidden_offline_are_hidden_when_the_marks_arrive() {
    let mut world = World::with_alice_and_bob();
    for words in ["one", "two", "three"] {
        world.magpie("bob", ["send", "@alice", words]).done();
    }
    world.magpie("alice", ["sync"]).done();
    world.magpie("alice", ["read", "@bob"]).done();
    world.magpie("bob", ["send", "@alice", "four"]).done();
    world.magpie("alice", ["sync"]).done();
    world.magpie("bob", ["sync"]).done();
    world.kill_server();
    world
        .magpie("alice", ["receipts", "hide", "--queue"])
        .done();
    world
        .magpie("alice", ["--timeout", "1", "read", "@bob"])
        .with_code(4);
    let said = world.magpie("alice", ["receipts"]).done();
    assert_eq!(said[0]["hidden"], json!(true));
    let queued = world.magpie("alice", ["outbox"]).done();
    assert_eq!(text(&queued[0], "kind"), "receipts");
    assert_eq!(text(&queued[1], "kind"), "mark_read");

    world.start_server();
    world.magpie("alice", ["sync"]).done();
    world.log_in("tablet", "alice");
    world.magpie("tablet", ["sync"]).done();
    assert_eq!(read_by(&world, "tablet", "bob", "alice"), 4);
    let said = world.magpie("tablet", ["receipts"]).done();
    assert_eq!(said[0]["hidden"], json!(true));
    world.magpie("bob", ["sync"]).done();
    assert!(read_by(&world, "bob", "alice", "alice") < 4);
    world.log_in("other", "bob");
    world.magpie("other", ["sync"]).done();
    assert_eq!(read_by(&world, "other", "alice", "alice"), 0);

    // Shown again on one device: the next one to look sees how far it is by now.
    world.magpie("tablet", ["receipts", "show"]).done();
    world.log_in("third", "bob");
    world.magpie("third", ["sync"]).done();
    assert_eq!(read_by(&world, "third", "alice", "alice"), 4);
    world.magpie("alice", ["sync"]).done();
    let said = world.magpie("alice", ["receipts"]).done();
    assert_eq!(said[0]["hidden"], json!(false));
    world.magpie("bob", ["receipts", "perhaps"]).with_code(2);
}

fn names<'line>(line: &'line Value, field: &str) -> Vec<&'line str> {
    let names = line[field].as_array().unwrap();
    names.iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn it_is_shown_who_has_read_a_message() {
    let mut world = World::with_alice_and_bob();
    world.register("carol");
    let made = world
        .magpie("alice", ["group", "create", "Tea", "@bob", "@carol"])
        .done();
    let tea = text(&made[0], "conversation_id").to_owned();
    world.magpie("alice", ["send", &tea, "at four?"]).done();
    let readers = |world: &World, seq: &str| {
        let lines = world.magpie("alice", ["readers", &tea, seq]).done();
        lines.into_iter().next().unwrap()
    };
    let line = readers(&world, "2");
    assert_eq!(
        (names(&line, "read"), number(&line, "read_count")),
        (vec![], 0)
    );
    for home in ["bob", "carol"] {
        world.magpie(home, ["sync"]).done();
    }
    world.magpie("bob", ["read", &tea]).done();
    // It moved while this device was away, and is there.
    assert_eq!(names(&readers(&world, "2"), "read"), ["bob"]);
    world.register("dora");
    world
        .magpie("alice", ["group", "add", &tea, "@dora"])
        .done();
    world.magpie("alice", ["send", &tea, "or at five?"]).done();
    for home in ["carol", "dora"] {
        world.magpie(home, ["sync"]).done();
        world.magpie(home, ["read", &tea]).done();
    }
    assert_eq!(names(&readers(&world, "2"), "read"), ["bob", "carol"]);
    assert_eq!(names(&readers(&world, "4"), "read"), ["carol", "dora"]);
    world.magpie("alice", ["receipts", "hide"]).done();
    let line = readers(&world, "2");
    assert_eq!(
        (&line["hidden"], &line["read"]),
        (&json!(true), &Value::Null)
    );
    world.magpie("alice", ["receipts", "show"]).done();
    world.kill_server();
    let line = world
        .magpie("alice", ["--timeout", "1", "readers", &tea, "2"])
        .done();
    assert_eq!(names(&line[0], "read"), ["bob", "carol"]);
    world.magpie("alice", ["readers", &tea, "9"]).with_code(1);
}
