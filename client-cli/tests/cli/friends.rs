//! Who is whose friend, on all devices of both.

use serde_json::{Value, json};

use crate::world::{World, text};

/// What a home lists: whom, and how they stand.
fn listed(world: &World, home: &str) -> Vec<(String, String)> {
    let lines = world.magpie(home, ["friends"]).done();
    let line = |line: &Value| {
        let (user, friendship) = (text(line, "user"), text(line, "friendship"));
        (user.to_owned(), friendship.to_owned())
    };
    lines.iter().map(line).collect()
}

fn synced(world: &World, home: &str) -> Vec<(String, String)> {
    world.magpie(home, ["sync"]).done();
    listed(world, home)
}

fn one(user: &str, friendship: &str) -> Vec<(String, String)> {
    vec![(user.to_owned(), friendship.to_owned())]
}

fn audited(world: &World, homes: &[&str]) {
    for home in homes {
        world.magpie(home, ["sync"]).done();
        assert_eq!(world.magpie(home, ["audit"]).done().len(), 1, "{home}");
    }
}

/// Offline first, once, and on a device that signs in later.
#[test]
fn what_is_asked_offline_is_asked_once() {
    let mut world = World::with_alice_and_bob();
    world.kill_server();
    let request = ["friends", "request", "@bob", "--queue"];
    let queued = world.magpie("alice", request).done();
    assert_eq!(text(&queued[0], "type"), "queued");
    let waits = world.magpie("alice", ["outbox"]).done();
    let (kind, what) = (text(&waits[0], "kind"), text(&waits[0], "text"));
    assert_eq!((kind, what), ("change_friendship", "request"));
    assert_eq!(waits[0]["users"], json!(["bob"]));
    world.start_server();
    // Who that is comes with the conversation.
    world.magpie("alice", ["sync"]).done();
    assert_eq!(synced(&world, "alice"), one("bob", "asked"));
    assert_eq!(synced(&world, "bob"), one("alice", "was_asked"));

    world.kill_server();
    world
        .magpie("bob", ["friends", "accept", "alice", "--queue"])
        .done();
    assert_eq!(listed(&world, "bob"), one("alice", "friends"), "at once");
    world.start_server();
    assert_eq!(synced(&world, "bob"), one("alice", "friends"));
    world.log_in("laptop", "alice");
    for home in ["alice", "laptop"] {
        assert_eq!(synced(&world, home), one("bob", "friends"), "{home}");
        let history = world.magpie(home, ["history", "@bob"]).done();
        let kinds: Vec<_> = history.iter().map(|it| text(it, "kind")).collect();
        assert_eq!(kinds, ["friend_requested", "friendship_changed"]);
        assert_eq!(history[1]["friends"], true);
    }
    // Another device was first.
    let again = world.magpie("laptop", ["friends", "request", "@bob"]);
    let again = again.done();
    assert_eq!(text(&again[0], "type"), "nothing_to_do");
    assert_eq!(world.magpie("laptop", ["outbox"]).done().len(), 0);

    world.magpie("laptop", ["friends", "remove", "@bob"]).done();
    for home in ["alice", "bob"] {
        assert_eq!(synced(&world, home), []);
    }
    audited(&world, &["alice", "laptop", "bob"]);
}

/// Nobody is told that they were declined, or blocked.
#[test]
fn who_was_declined_or_blocked_sees_that_they_have_asked() {
    let mut world = World::with_alice_and_bob();
    let asked = world.magpie("alice", ["friends", "request", "@bob"]).done();
    assert_eq!(text(&asked[0], "type"), "accepted");
    world.log_in("tablet", "bob");
    assert_eq!(synced(&world, "tablet"), one("alice", "was_asked"));
    assert_eq!(synced(&world, "bob"), one("alice", "was_asked"));
    world.kill_server();
    world
        .magpie("bob", ["friends", "decline", "@alice", "--queue"])
        .done();
    assert_eq!(listed(&world, "bob"), []);
    world.start_server();
    for home in ["bob", "tablet"] {
        assert_eq!(synced(&world, home), [], "{home}");
    }
    assert_eq!(synced(&world, "alice"), one("bob", "asked"));
    let history = world.magpie("alice", ["history", "@bob"]).done();
    assert_eq!(history.len(), 1, "{history:?}");
    let nobody = world.magpie("alice", ["friends", "decline", "@bob"]);
    let refused = nobody.with_code(1);
    assert_eq!(
        text(&refused[0], "message"),
        "@bob has not asked you to be friends, or not any more"
    );

    // Asked again, it is there again; and somebody blocked asks in vain.
    world.magpie("alice", ["friends", "cancel", "@bob"]).done();
    world.magpie("alice", ["friends", "request", "@bob"]).done();
    assert_eq!(synced(&world, "tablet"), one("alice", "was_asked"));
    world.magpie("bob", ["block", "@alice"]).done();
    world.magpie("alice", ["friends", "cancel", "@bob"]).done();
    world.magpie("alice", ["friends", "request", "@bob"]).done();
    assert_eq!(synced(&world, "alice"), one("bob", "asked"));
    for home in ["bob", "tablet"] {
        assert_eq!(synced(&world, home), [], "{home}");
    }
    let fourth = world.magpie("alice", ["friends", "cancel", "@bob"]).done();
    assert_eq!(text(&fourth[0], "type"), "accepted");
    let fourth = world.magpie("alice", ["friends", "request", "@bob"]);
    let refused = fourth.with_code(1);
    assert_eq!(text(&refused[0], "code"), "limit_reached");
    audited(&world, &["alice", "bob", "tablet"]);
}

/// Whether the conversation with this person is a request to them.
fn asks_to_write(world: &World, home: &str, title: &str) -> Value {
    world.magpie(home, ["sync"]).done();
    let lines = world.magpie(home, ["conversations"]).done();
    let line = lines.iter().find(|it| text(it, "title") == title).unwrap();
    line["request"].clone()
}

/// Offline first, and on all devices; until it is answered.
#[test]
fn what_strangers_write_is_a_request_to_who_wants_it_so() {
    let mut world = World::with_alice_and_bob();
    world.kill_server();
    let set = ["privacy", "--messages", "friends", "--queue"];
    world.magpie("alice", set).done();
    let is = world.magpie("alice", ["privacy"]).done();
    assert_eq!(text(&is[0], "messages"), "friends", "at once");
    let kinds = world.magpie("alice", ["outbox"]).done();
    assert_eq!(text(&kinds[0], "kind"), "privacy");
    world.start_server();
    world.magpie("alice", ["sync"]).done();
    let sent = world.magpie("bob", ["send", "@alice", "hello"]).done();
    assert_eq!(text(&sent[0], "type"), "accepted", "as always");
    world.log_in("laptop", "alice");
    for home in ["alice", "laptop"] {
        assert_eq!(asks_to_write(&world, home, "bob"), true, "{home}");
        let history = world.magpie(home, ["history", "@bob"]).done();
        assert_eq!(text(&history[0], "text"), "hello");
    }
    assert_eq!(asks_to_write(&world, "bob", "alice"), false);
    // Nor do others add her to groups: like somebody who is not there.
    let refused = |name: &str| {
        let group = world.magpie("bob", ["group", "create", "Tea", name]);
        let lines = group.with_code(1);
        (
            text(&lines[0], "code").to_owned(),
            text(&lines[0], "message").to_owned(),
        )
    };
    assert_eq!(refused("@alice"), refused("@nobody"));

    world.magpie("laptop", ["send", "@bob", "hi"]).done();
    for home in ["alice", "laptop"] {
        assert_eq!(asks_to_write(&world, home, "bob"), false, "{home}");
    }
    world.log_in("tablet", "alice");
    assert_eq!(asks_to_write(&world, "tablet", "bob"), false);
    world
        .magpie("tablet", ["friends", "request", "@bob"])
        .done();
    world.magpie("bob", ["friends", "accept", "@alice"]).done();
    let made = world.magpie("bob", ["group", "create", "Tea", "@alice"]);
    assert_eq!(text(&made.done()[0], "type"), "accepted");
    audited(&world, &["alice", "laptop", "tablet", "bob"]);
}
