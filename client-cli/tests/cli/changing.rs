//! What is done to messages that are there.

use serde_json::{Value, json};

use crate::world::{World, number, of_type, text, texts};

/// The message at a seq, as the home shows it.
fn shown(world: &World, home: &str, of: &str, seq: u64) -> Value {
    let history = world.magpie(home, ["history", of]).done();
    let mut lines = history.into_iter();
    let found = lines.find(|line| number(line, "seq") == seq);
    found.unwrap_or_default()
}

/// Offline first: each is queued while there is no server, shown at once, and arrives
/// later, once.
#[test]
fn what_is_done_to_messages_offline_arrives_once_and_in_order() {
    let mut world = World::with_alice_and_bob();
    for words in ["helo", "a secret", "lunch?"] {
        world.magpie("alice", ["send", "@bob", words]).done();
    }
    world.magpie("bob", ["sync"]).done();
    world.kill_server();
    for arguments in [
        ["edit", "--queue", "@bob", "1", "hello @bob"].as_slice(),
        &["delete", "--queue", "@bob", "2"],
        &["react", "--queue", "@bob", "3", "👍"],
        &["reply", "--queue", "@bob", "3", "at noon"],
        &["forward", "--queue", "@bob", "3", "@alice"],
    ] {
        let queued = world.magpie("alice", arguments).done();
        assert_eq!(text(&queued[0], "type"), "queued");
    }
    let edited = shown(&world, "alice", "@bob", 1);
    assert_eq!(text(&edited, "text"), "hello @bob");
    assert_eq!(edited["pending"], json!(true));
    assert_eq!(shown(&world, "alice", "@bob", 2)["deleted"], json!(true));
    let reactions = json!([{"emoji": "👍", "count": 1, "own": true}]);
    assert_eq!(shown(&world, "alice", "@bob", 3)["reactions"], reactions);
    let kinds: Vec<String> = world
        .magpie("alice", ["outbox"])
        .done()
        .iter()
        .map(|line| text(line, "kind").to_owned())
        .collect();
    assert_eq!(kinds, ["edit", "delete", "react", "send", "send"]);

    world.start_server();
    for _ in 0..2 {
        world.magpie("alice", ["sync"]).done();
    }
    assert_eq!(world.magpie("alice", ["outbox"]).done(), [Value::Null; 0]);
    world.magpie("bob", ["sync"]).done();
    let history = world.magpie("bob", ["history", "@alice"]).done();
    let seqs: Vec<u64> = history.iter().map(|line| number(line, "seq")).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(text(&history[0], "text"), "hello @bob");
    assert_eq!(history[0]["mentions"], json!(["@bob"]));
    assert_eq!(history[0].get("pending"), None);
    assert_eq!(history[1]["deleted"], json!(true));
    let reactions = json!([{"emoji": "👍", "count": 1, "own": false}]);
    assert_eq!(history[2]["reactions"], reactions);
    let events: Vec<&str> = of_type(&history, "event")
        .iter()
        .map(|line| text(line, "kind"))
        .collect();
    assert_eq!(events, ["message_edited", "message_deleted", "reacted"]);
    assert_eq!(number(&history[6], "reply_to_seq"), 3);
    // The history of the first one.
    let edits = world.magpie("bob", ["edits", "@alice", "1"]).done();
    assert_eq!(text(&edits[0], "text"), "helo");
    assert_eq!(text(&edits[1], "text"), "hello @bob");
    // Each has what the server has.
    for home in ["alice", "bob"] {
        world.magpie(home, ["audit"]).done();
    }
    let notes = world.magpie("alice", ["history", "@alice"]).done();
    assert_eq!(texts(&notes), ["lunch?"]);
    assert_eq!(text(&notes[0], "forwarded_from"), "alice");
}

#[test]
fn what_may_not_be_done_to_a_message_says_why() {
    let world = World::with_alice_and_bob();
    world.magpie("alice", ["send", "@bob", "mine"]).done();
    world.magpie("bob", ["sync"]).done();
    for (arguments, code) in [
        (["edit", "@alice", "1", "yours"].as_slice(), "not_allowed"),
        (&["delete", "@alice", "1"], "not_allowed"),
        (&["delete", "@alice", "9"], "not_found"),
        (&["forward", "@alice", "9", "@bob"], "not_found"),
    ] {
        let refused = world.magpie("bob", arguments).with_code(1);
        assert_eq!(text(&refused[0], "code"), code, "{arguments:?}");
    }
}

/// D12. Two devices of a user do the same while neither knows of the other.
#[test]
fn what_another_device_did_first_is_done_already() {
    let world = World::with_alice_and_bob();
    world.log_in("tablet", "alice");
    for words in ["one", "two"] {
        world.magpie("alice", ["send", "@bob", words]).done();
    }
    world.magpie("tablet", ["sync"]).done();
    let changes = [
        ["delete", "@bob", "1"].as_slice(),
        &["react", "@bob", "2", "👍"],
    ];
    for arguments in changes {
        let queued = [arguments, &["--queue"]].concat();
        world.magpie("tablet", queued).done();
        world.magpie("alice", arguments).done();
    }
    let synced = world.magpie("tablet", ["sync"]).done();
    assert_eq!(number(synced.last().unwrap(), "failed"), 0);
    assert_eq!(world.magpie("tablet", ["outbox"]).done(), [Value::Null; 0]);
    assert_eq!(shown(&world, "tablet", "@bob", 1)["deleted"], json!(true));
    let reactions = json!([{"emoji": "👍", "count": 1, "own": true}]);
    assert_eq!(shown(&world, "tablet", "@bob", 2)["reactions"], reactions);
    let again = world.magpie("tablet", ["delete", "@bob", "1"]).done();
    assert_eq!(text(&again[0], "type"), "nothing_to_do");
    assert_eq!(number(&again[0], "seq"), 1);
}

/// An app's own format, or one encrypted from end to end.
#[test]
fn a_body_arrives_byte_for_byte() {
    let world = World::with_alice_and_bob();
    let file = world.home("alice").with_extension("bin");
    std::fs::write(&file, [0, 1, 0xfe, 0xff]).unwrap();
    let path = file.to_str().unwrap();
    let send = ["send", "@bob", "--body", path, "--content-type", "a/b"];
    world.magpie("alice", send).done();
    world.magpie("bob", ["sync"]).done();
    let arrived = shown(&world, "bob", "@alice", 1);
    assert_eq!(text(&arrived, "content_type"), "a/b");
    assert_eq!(text(&arrived, "body"), "0001feff");
    assert_eq!(text(&arrived, "text"), "");
}

/// A device that comes later fetches what became of what it did not see.
#[test]
fn a_new_device_is_told_what_became_of_old_messages() {
    let world = World::with_alice_and_bob();
    world.magpie("alice", ["send", "@bob", "helo"]).done();
    world.magpie("alice", ["edit", "@bob", "1", "hello"]).done();
    world.magpie("alice", ["react", "@bob", "1", "👍"]).done();
    let lines: String = (0..60).map(|number| format!("{number}\n")).collect();
    world
        .magpie_with_input("alice", ["send", "@bob"], &lines)
        .done();
    world.log_in("phone", "bob");
    world.magpie("phone", ["sync"]).done();
    let history = world
        .magpie("phone", ["history", "@alice", "--limit", "100"])
        .done();
    assert_eq!(history.len(), 63);
    assert_eq!(text(&history[0], "text"), "hello");
    let reactions = json!([{"emoji": "👍", "count": 1, "own": false}]);
    assert_eq!(history[0]["reactions"], reactions);
}
