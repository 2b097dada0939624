//! Several devices of one user, and the audit.

use crate::world::{World, number, of_type, text, texts};

#[test]
fn a_second_device_shows_what_was_said_before() {
    let world = World::with_alice_and_bob();
    let input: String = (1..=300).map(|line| format!("{line}\n")).collect();
    world
        .magpie_with_input("alice", ["send", "@bob"], &input)
        .done();
    world.log_in("bob2", "bob");
    world.magpie("bob2", ["sync"]).done();
    let newest = world.magpie("bob2", ["history", "@alice"]).done();
    assert_eq!(texts(&newest).len(), 50);
    assert_eq!(texts(&newest)[49], "300");
    let oldest = world
        .magpie("bob2", ["history", "@alice", "--before", "3"])
        .done();
    assert_eq!(texts(&oldest), ["1", "2"]);
    let audit = world.magpie("bob2", ["audit"]).done();
    assert_eq!(number(&audit[0], "missing"), 0);
}

/// Of sixty messages the new device holds fifty, and none of those that are read.
#[test]
fn all_devices_show_the_same_number_of_unread_messages() {
    let world = World::with_alice_and_bob();
    let unread = |home: &str| {
        world.magpie(home, ["sync"]).done();
        let lines = world.magpie(home, ["conversations"]).done();
        ["unread", "unread_mentions"].map(|field| number(&lines[0], field))
    };
    let say = |seqs: std::ops::Range<u32>| {
        let input: String = seqs.map(|line| format!("{line}\n")).collect();
        world
            .magpie_with_input("alice", ["send", "@bob"], &input)
            .done();
    };
    say(1..5);
    assert_eq!(unread("bob"), [4, 0]);
    world.magpie("bob", ["read", "@alice"]).done();
    say(5..60);
    world.magpie("alice", ["send", "@bob", "look, @bob"]).done();
    world.log_in("bob2", "bob");
    world.magpie("bob", ["send", "@alice", "mine"]).done();
    for home in ["bob", "bob2"] {
        assert_eq!(unread(home), [56, 1]);
        let audit = world.magpie(home, ["audit"]).done();
        assert_eq!(number(&audit[0], "miscounted"), 0);
    }
    world.magpie("bob2", ["read", "@alice"]).done();
    assert_eq!([unread("bob2"), unread("bob")], [[0, 0], [0, 0]]);
    assert_eq!(unread("alice"), [1, 0]);
}

#[test]
fn an_audit_finds_a_number_that_drifted() {
    let world = World::with_alice_and_bob();
    world
        .magpie_with_input("alice", ["send", "@bob"], "one\ntwo\n")
        .done();
    world.log_in("bob2", "bob");
    world.magpie("bob2", ["sync"]).done();
    let database = rusqlite::Connection::open(world.home("bob2").join("magpie.db")).unwrap();
    let drift = "UPDATE conversations SET messages = messages + 1";
    assert_eq!(database.execute(drift, []).unwrap(), 1);
    drop(database);
    let audit = world.magpie("bob2", ["audit"]).with_code(1);
    let difference = of_type(&audit, "difference")[0];
    assert_eq!(text(difference, "kind"), "miscounted");
    assert_eq!(number(&audit[audit.len() - 1], "miscounted"), 1);
}

#[test]
fn a_revoked_device_is_told_to_sign_in() {
    let world = World::with_alice_and_bob();
    world.log_in("bob2", "bob");
    world.magpie("bob2", ["sync"]).done();
    let devices = world.magpie("bob", ["devices"]).done();
    assert_eq!(devices.len(), 2);
    let other = devices
        .iter()
        .find(|line| line["current"] == false)
        .unwrap();
    world
        .magpie("bob", ["devices", "revoke", text(other, "device_id")])
        .done();

    let ended = world.magpie("bob2", ["sync"]);
    assert!(
        ended.stderr.contains("magpie login bob"),
        "{}",
        ended.stderr
    );
    ended.with_code(3);
    world.magpie("bob2", ["send", "@alice", "hi"]).with_code(3);
    world.log_in("bob2", "bob");
    world.magpie("bob2", ["send", "@alice", "hi"]).done();
}

#[test]
fn a_listener_that_is_revoked_ends() {
    let world = World::with_alice_and_bob();
    world.log_in("bob2", "bob");
    let listener = world.start("bob2", ["listen"]);
    listener.until("caught_up");
    let devices = world.magpie("bob", ["devices"]).done();
    let other = devices
        .iter()
        .find(|line| line["current"] == false)
        .unwrap();
    world
        .magpie("bob", ["devices", "revoke", text(other, "device_id")])
        .done();
    listener.finish().with_code(3);
}

#[test]
fn an_audit_of_an_honest_copy_finds_nothing() {
    let world = World::with_alice_and_bob();
    world
        .magpie_with_input("alice", ["send", "@bob"], "one\ntwo\n")
        .done();
    let audit = world.magpie("bob", ["audit"]).done();
    assert_eq!(audit.len(), 1);
    let expected = serde_json::json!({
        "type": "audit", "conversations": 1, "events": 2,
        "missing": 0, "extra": 0, "different": 0, "miscounted": 0, "unfetched": 0,
    });
    assert_eq!(audit[0], expected);
}

#[test]
fn an_audit_finds_an_event_that_vanished_from_the_copy() {
    let world = World::with_alice_and_bob();
    world
        .magpie_with_input("alice", ["send", "@bob"], "one\ntwo\nthree\n")
        .done();
    world.magpie("bob", ["sync"]).done();
    let database = rusqlite::Connection::open(world.home("bob").join("magpie.db")).unwrap();
    database
        .execute("DELETE FROM events WHERE seq = 2", [])
        .unwrap();
    drop(database);
    let audit = world.magpie("bob", ["audit"]).with_code(1);
    let difference = of_type(&audit, "difference")[0];
    assert_eq!(text(difference, "kind"), "missing");
    assert_eq!(number(difference, "seq"), 2);
    assert_eq!(number(&audit[audit.len() - 1], "missing"), 1);
}
