//! One process holds a home's connection; others work beside it.

use crate::world::{World, number, text};

#[test]
fn beside_a_listener_what_is_done_goes_through_it() {
    let world = World::with_alice_and_bob();
    let listener = world.start("alice", ["listen"]);
    listener.until("caught_up");
    let sent = world
        .magpie_with_input("alice", ["send", "@bob"], "one\ntwo\n")
        .done();
    let seqs: Vec<u64> = sent.iter().map(|line| number(line, "seq")).collect();
    assert_eq!(seqs, [1, 2]);
    assert_eq!(text(&listener.line(), "text"), "one");
    let read = world.magpie("alice", ["read", "@bob"]).done();
    assert_eq!(text(&read[0], "type"), "read");
    let create = ["group", "create", "Club", "@bob"];
    let created = world.magpie("alice", create).done();
    assert_eq!(text(&created[0], "type"), "accepted");
}

#[test]
fn beside_a_listener_other_connecting_commands_say_so() {
    let world = World::with_alice_and_bob();
    let listener = world.start("alice", ["listen"]);
    listener.until("caught_up");
    let commands: [&[&str]; 5] = [
        &["listen"],
        &["sync"],
        &["audit"],
        &["devices"],
        &["chat", "@bob"],
    ];
    for arguments in commands {
        let ended = world.magpie("alice", arguments);
        assert!(ended.stderr.contains("another process"), "{arguments:?}");
        ended.with_code(5);
    }
    assert_eq!(world.magpie("alice", ["outbox"]).done().len(), 0);
    for arguments in [&["whoami"][..], &["conversations"], &["outbox"]] {
        world.magpie("alice", arguments).done();
    }
}

#[test]
fn a_send_takes_over_when_the_holder_is_killed() {
    let mut world = World::with_alice_and_bob();
    let listener = world.start("alice", ["listen"]);
    listener.until("caught_up");
    world.kill_server();
    let sender = world.start("alice", ["send", "@bob", "mine"]);
    let deadline = std::time::Instant::now() + crate::world::PATIENCE;
    while world.magpie("alice", ["outbox"]).done().is_empty() {
        assert!(std::time::Instant::now() < deadline, "nothing was queued");
    }
    listener.kill();
    world.start_server();
    let lines = sender.finish().done();
    assert_eq!(text(&lines[0], "type"), "accepted");
}
