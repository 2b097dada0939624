//! Who blocks whom, and what each of them sees of it.

use serde_json::{Value, json};

use crate::world::{World, number, text, texts};

fn history(world: &World, home: &str, of: &str) -> Vec<Value> {
    world.magpie(home, ["sync"]).done();
    world.magpie(home, ["history", of]).done()
}

/// Offline first, on all devices, and for ever. The other sees nothing of it.
#[test]
fn what_somebody_blocked_writes_is_hidden_from_the_one_who_blocks() {
    let mut world = World::with_alice_and_bob();
    world.magpie("bob", ["send", "@alice", "before"]).done();
    world.magpie("alice", ["sync"]).done();
    let made = world.magpie("alice", ["group", "create", "Tea", "@bob"]);
    let tea = text(&made.done()[0], "conversation_id").to_owned();
    world.kill_server();
    let queued = world.magpie("alice", ["block", "@bob", "--queue"]).done();
    assert_eq!(text(&queued[0], "type"), "queued");
    let contacts = world.magpie("alice", ["contacts"]).done();
    assert_eq!(contacts[0]["blocked"], true);
    world.start_server();
    world.magpie("alice", ["sync"]).done();

    for words in ["spam", "more spam"] {
        let sent = world.magpie("bob", ["send", "@alice", words]).done();
        assert_eq!(text(&sent[0], "type"), "accepted", "as always");
    }
    let sent = world.magpie("bob", ["send", &tea, "to the group"]).done();
    let seq = number(&sent[0], "seq").to_string();
    world.magpie("bob", ["edit", &tea, &seq, "to all"]).done();
    let shown = history(&world, "alice", "@bob");
    assert_eq!(texts(&shown), ["before"]);
    assert_eq!(shown[0]["blocked"], true);
    let in_group = history(&world, "alice", &tea);
    let [.., said, edited] = in_group.as_slice() else {
        panic!("{in_group:?}")
    };
    for (line, kind) in [(said, "message"), (edited, "event")] {
        assert_eq!(text(line, "type"), kind);
        assert_eq!(
            (text(line, "text"), &line["blocked"]),
            ("to all", &json!(true))
        );
    }
    world.magpie("alice", ["read", "@bob"]).done();
    let of_bob = ["before", "spam", "more spam"];
    assert_eq!(texts(&history(&world, "bob", "@alice")), of_bob);
    world.log_in("laptop", "bob");
    assert_eq!(texts(&history(&world, "laptop", "@alice")), of_bob);
    for home in ["bob", "laptop"] {
        let members = world.magpie(home, ["members", "@alice"]).done();
        let alice = members.iter().find(|it| text(it, "user") == "alice");
        assert_eq!(number(alice.unwrap(), "read_seq"), 0, "nothing since");
    }

    world.magpie("alice", ["unblock", "@bob"]).done();
    world.magpie("bob", ["send", "@alice", "after"]).done();
    world.log_in("tablet", "alice");
    for home in ["alice", "tablet"] {
        let shown = history(&world, home, "@bob");
        assert_eq!(texts(&shown), ["before", "after"], "{home}");
        assert_eq!(shown[0]["blocked"], Value::Null);
    }
    for home in ["alice", "tablet", "bob", "laptop"] {
        assert_eq!(world.magpie(home, ["audit"]).done().len(), 1, "{home}");
    }
}
