//! The outbox: what is typed is kept until it is answered.

use crate::world::{World, number, text, texts};

#[test]
fn what_was_queued_offline_goes_first_and_in_order() {
    let mut world = World::with_alice_and_bob();
    world.kill_server();
    for words in ["one", "two"] {
        let queued = world
            .magpie("alice", ["send", "--queue", "@bob", words])
            .done();
        assert_eq!(text(&queued[0], "type"), "queued");
    }
    assert_eq!(world.magpie("alice", ["outbox"]).done().len(), 2);

    world.start_server();
    let sent = world.magpie("alice", ["send", "@bob", "three"]).done();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(number(&sent[0], "seq"), 3);
    assert_eq!(world.magpie("alice", ["outbox"]).done().len(), 0);
    world.magpie("bob", ["sync"]).done();
    let history = world.magpie("bob", ["history", "@alice"]).done();
    assert_eq!(texts(&history), ["one", "two", "three"]);
}

#[test]
fn queued_lines_are_sent_by_sync() {
    let world = World::with_alice_and_bob();
    let queued = world
        .magpie_with_input("alice", ["send", "--queue", "@bob"], "a\nb\nc\n")
        .done();
    assert_eq!(queued.len(), 3);
    let synced = world.magpie("alice", ["sync"]).done();
    assert_eq!(text(&synced[0], "type"), "synced");
    assert_eq!(number(&synced[0], "sent"), 3);
    assert_eq!(number(&synced[0], "failed"), 0);
}

#[test]
fn what_is_not_answered_in_time_is_pending_and_delivered_later() {
    let mut world = World::with_alice_and_bob();
    world.kill_server();
    let lines = world
        .magpie_with_input("alice", ["--timeout", "1", "send", "@bob"], "a\nb\n")
        .with_code(4);
    let kinds: Vec<&str> = lines.iter().map(|line| text(line, "type")).collect();
    assert_eq!(kinds, ["pending", "pending"]);

    world.start_server();
    world.magpie("alice", ["sync"]).done();
    world.magpie("bob", ["sync"]).done();
    let history = world.magpie("bob", ["history", "@alice"]).done();
    assert_eq!(texts(&history), ["a", "b"]);
    assert_eq!(history[0]["message_id"], lines[0]["message_id"]);
}

/// D3.
#[test]
fn a_sender_that_is_killed_before_the_answer_sends_once() {
    let mut world = World::with_alice_and_bob();
    world.kill_server();
    let sender = world.start("alice", ["send", "@bob", "once"]);
    wait_for_outbox(&world, 1);
    sender.kill();

    world.start_server();
    world.magpie("alice", ["sync"]).done();
    world.magpie("alice", ["sync"]).done();
    world.magpie("bob", ["sync"]).done();
    let history = world.magpie("bob", ["history", "@alice"]).done();
    assert_eq!(texts(&history), ["once"]);
}

/// D1.
#[test]
fn what_was_accepted_survives_the_server() {
    let mut world = World::with_alice_and_bob();
    world.magpie("alice", ["send", "@bob", "kept"]).done();
    world.kill_server();
    world.start_server();
    world.magpie("bob", ["sync"]).done();
    let history = world.magpie("bob", ["history", "@alice"]).done();
    assert_eq!(texts(&history), ["kept"]);
}

#[test]
fn a_sender_waits_for_a_server_that_comes_back() {
    let mut world = World::with_alice_and_bob();
    world.kill_server();
    let sender = world.start("alice", ["send", "@bob", "patient"]);
    wait_for_outbox(&world, 1);
    world.start_server();
    let lines = sender.finish().done();
    assert_eq!(text(&lines[0], "type"), "accepted");
}

#[test]
fn logging_out_is_refused_while_the_outbox_holds_something() {
    let world = World::with_alice_and_bob();
    world
        .magpie("alice", ["send", "--queue", "@bob", "one"])
        .done();
    let refused = world.magpie("alice", ["logout"]).with_code(1);
    assert_eq!(text(&refused[0], "code"), "outbox_not_empty");
    world.magpie("alice", ["whoami"]).done();
    world.magpie("alice", ["logout", "--force"]).done();
    world.magpie("alice", ["whoami"]).with_code(3);
    world.log_in("alice", "alice");
}

/// D12.
#[test]
fn what_was_refused_stays_until_it_is_discarded_and_what_waits_cannot_be() {
    let world = World::with_alice_and_bob();
    for words in ["one", "two", "three"] {
        let sent = world.magpie("alice", ["send", "@nobody", words]);
        sent.with_code(1);
    }
    let waits = ["send", "--queue", "@bob", "waits"];
    let queued = world.magpie("alice", waits).done();
    let waiting = text(&queued[0], "message_id");
    let outbox = world.magpie("alice", ["outbox"]).done();
    let first = text(&outbox[0], "message_id");

    let discarded = world
        .magpie("alice", ["outbox", "discard", waiting, first])
        .with_code(1);
    assert_eq!(text(&discarded[0], "type"), "error");
    assert_eq!(text(&discarded[0], "code"), "not_found");
    assert_eq!(text(&discarded[0], "message_id"), waiting);
    assert_eq!(text(&discarded[1], "type"), "discarded");
    assert_eq!(text(&discarded[1], "message_id"), first);

    let rest = world.magpie("alice", ["outbox", "discard", "--all"]).done();
    assert_eq!(rest.len(), 2);
    let outbox = world.magpie("alice", ["outbox"]).done();
    assert_eq!(outbox.len(), 1);
    assert_eq!(text(&outbox[0], "message_id"), waiting);
    for wrong in [&["outbox", "discard"][..], &["outbox", "discard", "x"]] {
        world.magpie("alice", wrong).with_code(2);
    }
}

#[test]
fn a_change_of_a_group_that_was_refused_says_whom_it_was_about() {
    let world = World::with_alice_and_bob();
    let create = ["group", "create", "Club", "@bob", "@nobody"];
    world.magpie("alice", create).with_code(1);
    let outbox = world.magpie("alice", ["outbox"]).done();
    assert_eq!(outbox[0]["users"], serde_json::json!(["bob", "nobody"]));
    assert_eq!(text(&outbox[0], "text"), "Club");
}

pub(crate) fn wait_for_outbox(world: &World, count: usize) {
    let deadline = std::time::Instant::now() + crate::world::PATIENCE;
    while world.magpie("alice", ["outbox"]).done().len() < count {
        assert!(std::time::Instant::now() < deadline, "nothing was queued");
    }
}
