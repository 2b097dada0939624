//! Who is there.

use serde_json::{Value, json};

use crate::world::{World, text};

/// Alice and bob have written to each other.
fn acquainted() -> World {
    let world = World::with_alice_and_bob();
    world.magpie("alice", ["send", "@bob", "hi"]).done();
    world.magpie("bob", ["send", "@alice", "hello"]).done();
    world.magpie("alice", ["sync"]).done();
    world
}

fn seen(world: &World, home: &str, of: &str) -> String {
    let lines = world.magpie(home, ["presence", of]).done();
    assert_eq!(lines.len(), 1);
    let line = lines.first().unwrap();
    assert_eq!(format!("@{}", text(line, "user")), of);
    text(line, "state").to_owned()
}

#[test]
fn it_is_shown_who_is_there() {
    let world = acquainted();
    let listening = world.start("bob", ["listen"]);
    listening.until("caught_up");
    assert_eq!(seen(&world, "alice", "@bob"), "online");
    let shown = world.for_people("alice", ["presence", "@bob"]).output();
    assert_eq!(shown.unwrap().stdout, b"@bob  online\n");
    let watching = world.start("alice", ["presence", "@bob", "--follow"]);
    let line = watching.line();
    assert_eq!(
        (text(&line, "type"), text(&line, "state")),
        ("presence", "online")
    );
    assert_eq!(line["last_seen_at"], Value::Null);
    world.log_in("tablet", "bob");
    world.magpie("tablet", ["presence", "--hide"]).done();
    assert_eq!(text(&watching.line(), "state"), "hidden");
    world.magpie("tablet", ["presence", "--show"]).done();
    assert_eq!(text(&watching.line(), "state"), "online");
    watching.terminate();
    assert_eq!(watching.finish().done(), [Value::Null; 0]);
    world.magpie("alice", ["presence", "@nobody"]).with_code(1);
    world
        .magpie("alice", ["presence", "@bob", "--hide"])
        .with_code(2);
}

#[test]
fn a_chat_shows_whether_the_other_one_is_there() {
    let world = acquainted();
    let listening = world.start("bob", ["listen"]);
    listening.until("caught_up");
    let mut chat = world.start("alice", ["chat", "@bob"]);
    let shown = chat.until("presence");
    let line = shown.last().unwrap();
    assert_eq!((text(line, "user"), text(line, "state")), ("bob", "online"));
    chat.write("/quit\n");
    chat.finish().done();
}

/// Said offline, and on all devices. Whoever hides it sees nobody.
#[test]
fn presence_that_was_hidden_offline_is_hidden_when_that_arrives() {
    let mut world = acquainted();
    world.kill_server();
    let queued = world
        .magpie("alice", ["presence", "--hide", "--queue"])
        .done();
    assert_eq!(text(&queued[0], "type"), "queued");
    let hides = |world: &World, home: &str| {
        let lines = world.magpie(home, ["presence"]).done();
        assert_eq!(text(&lines[0], "type"), "own_presence");
        lines[0]["hidden"].clone()
    };
    assert_eq!(hides(&world, "alice"), json!(true), "at once");
    let waiting = world.magpie("alice", ["outbox"]).done();
    assert_eq!(text(&waiting[0], "kind"), "presence");
    world.start_server();
    world.magpie("alice", ["sync"]).done();
    let history = world.magpie("alice", ["outbox"]).done();
    assert_eq!(history, [Value::Null; 0], "once");
    assert_eq!(seen(&world, "bob", "@alice"), "hidden");
    assert_eq!(seen(&world, "alice", "@bob"), "hidden");
    world.log_in("tablet", "alice");
    world.magpie("tablet", ["sync"]).done();
    assert_eq!(hides(&world, "tablet"), json!(true));
    world.magpie("tablet", ["presence", "--show"]).done();
    world.magpie("alice", ["sync"]).done();
    assert_eq!(hides(&world, "alice"), json!(false));
    assert_eq!(seen(&world, "bob", "@alice"), "online", "a moment ago");
}
