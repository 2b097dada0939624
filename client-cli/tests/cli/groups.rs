//! What groups have besides messages.

use serde_json::{Value, json};

use crate::world::{World, number, of_type, text, texts};

/// Alice, who makes a group of herself and Bob; and Carol.
fn group() -> (World, String) {
    let world = World::with_alice_and_bob();
    world.register("carol");
    let made = world
        .magpie("alice", ["group", "create", "Club", "@bob"])
        .done();
    let group = text(&made[0], "conversation_id").to_owned();
    (world, group)
}

fn pins(world: &World, home: &str, of: &str) -> Vec<Value> {
    world.magpie(home, ["pins", of]).done()
}

/// Offline first; once, and on a device that signs in later.
#[test]
fn what_is_pinned_is_pinned_on_all_devices() {
    let (mut world, group) = group();
    for words in ["one", "two", "three"] {
        world.magpie("alice", ["send", &group, words]).done();
    }
    world.magpie("bob", ["sync"]).done();
    let refused = world.magpie("bob", ["pin", &group, "3"]).with_code(1);
    assert_eq!(text(&refused[0], "code"), "not_allowed");
    world.kill_server();
    for arguments in [
        ["pin", &group, "2", "--queue"],
        ["pin", &group, "4", "--queue"],
        ["unpin", &group, "2", "--queue"],
    ] {
        let queued = world.magpie("alice", arguments).done();
        assert_eq!(text(&queued[0], "type"), "queued");
    }
    let queued = world.magpie("alice", ["outbox"]).done();
    let kinds: Vec<_> = queued.iter().map(|line| text(line, "kind")).collect();
    assert_eq!(kinds, ["pin", "pin", "unpin"]);

    world.start_server();
    for _ in 0..2 {
        world.magpie("alice", ["sync"]).done();
    }
    world.magpie("bob", ["sync"]).done();
    world.log_in("tablet", "bob");
    world.magpie("tablet", ["sync"]).done();
    for home in ["alice", "bob", "tablet"] {
        assert_eq!(texts(&pins(&world, home, &group)), ["three"], "{home}");
        world.magpie(home, ["audit"]).done();
    }
    let history = world.magpie("bob", ["history", &group]).done();
    let pinned: Vec<_> = history
        .iter()
        .filter(|line| line["kind"] == "pinned")
        .map(|line| (number(line, "target_seq"), line["removed"].clone()))
        .collect();
    let expected = [(2, false), (4, false), (2, true)].map(|(seq, off)| (seq, json!(off)));
    assert_eq!(pinned, expected);
    // As it is asked already is done.
    let again = world.magpie("alice", ["pin", &group, "4"]).done();
    assert_eq!(text(&again[0], "type"), "nothing_to_do");
    world.magpie("alice", ["delete", &group, "4"]).done();
    world.magpie("bob", ["sync"]).done();
    assert_eq!(pins(&world, "bob", &group), [Value::Null; 0]);
}

#[test]
fn who_joins_reads_what_the_group_lets_them() {
    let (world, group) = group();
    world.register("dave");
    world.magpie("alice", ["send", &group, "before"]).done();
    world
        .magpie("alice", ["group", "add", &group, "@carol"])
        .done();
    let update = ["group", "update", &group, "--history", "on"];
    world.magpie("alice", update).done();
    world
        .magpie("alice", ["group", "add", &group, "@dave"])
        .done();
    world.magpie("alice", ["send", &group, "behind"]).done();
    for (home, expected) in [
        ("carol", ["behind"].as_slice()),
        ("dave", &["before", "behind"]),
    ] {
        world.magpie(home, ["sync"]).done();
        let known = world.magpie(home, ["conversations"]).done();
        assert_eq!(known[0]["history_for_newcomers"], true);
        assert_eq!(number(&known[0], "unread"), 1);
        let history = world.magpie(home, ["history", &group]).done();
        assert_eq!(texts(&history), expected, "{home}");
        assert_eq!(of_type(&history, "gap").len(), 0);
        let known = world.magpie(home, ["conversations"]).done();
        assert_eq!(number(&known[0], "unread"), 1);
        world.magpie(home, ["audit"]).done();
    }
    world.magpie("dave", ["react", &group, "2", "👍"]).done();
}

/// Offline first, and once.
#[test]
fn who_is_banned_stays_out_until_that_ends() {
    let (mut world, group) = group();
    world.magpie("bob", ["sync"]).done();
    world.kill_server();
    let ban = ["--timeout", "1", "group", "ban", &group, "@bob"];
    let pending = world.magpie("alice", ban).with_code(4);
    assert_eq!(text(&pending[0], "type"), "pending");
    let queued = world.magpie("alice", ["outbox"]).done();
    assert_eq!(text(&queued[0], "kind"), "ban");

    world.start_server();
    for home in ["alice", "alice", "bob"] {
        world.magpie(home, ["sync"]).done();
    }
    for home in ["alice", "bob"] {
        let history = world.magpie(home, ["history", &group]).done();
        let last = history.last().cloned().unwrap_or_default();
        assert_eq!(text(&last, "kind"), "member_banned");
        assert_eq!(last["removed"], true);
        world.magpie(home, ["audit"]).done();
    }
    let known = world.magpie("bob", ["conversations"]).done();
    assert_eq!(number(&known[0], "last_seq"), 2);
    let add = ["group", "add", &group, "@bob"];
    let refused = world.magpie("alice", add).with_code(1);
    assert_eq!(text(&refused[0], "code"), "not_allowed");
    let bans = world.magpie("alice", ["group", "bans", &group]).done();
    assert_eq!((bans.len(), text(&bans[0], "user")), (1, "bob"));
    world.magpie("bob", ["group", "bans", &group]).with_code(1);
    world
        .magpie("alice", ["group", "unban", &group, "@bob"])
        .done();
    world.magpie("alice", add).done();
    world.magpie("bob", ["sync"]).done();
    let known = world.magpie("bob", ["conversations"]).done();
    assert_eq!(known[0]["last_seq"], Value::Null);
    world.magpie("bob", ["audit"]).done();
}

/// The link of a new invite.
fn link(lines: &[Value]) -> String {
    text(&lines[0], "link").to_owned()
}

/// Offline first on both sides, and once.
#[test]
fn who_has_a_link_joins() {
    let (mut world, group) = group();
    world.register("dave");
    world.kill_server();
    let create = ["invite", "create", &group, "--uses", "1", "--queue"];
    let link = link(&world.magpie("alice", create).done());
    assert!(link.starts_with("magpie:join/"));
    let queued = world.magpie("carol", ["join", &link, "--queue"]).done();
    assert_eq!(text(&queued[0], "type"), "queued");

    world.start_server();
    for home in ["alice", "carol", "carol", "alice", "bob"] {
        world.magpie(home, ["sync"]).done();
    }
    for home in ["alice", "bob"] {
        let members = world.magpie(home, ["members", &group]).done();
        let members = of_type(&members, "member");
        let names: Vec<_> = members.iter().map(|line| text(line, "user")).collect();
        assert_eq!(names, ["alice", "bob", "carol"], "{home}");
    }
    let sent = world.magpie("carol", ["send", &group, "hello"]).done();
    assert_eq!(number(&sent[0], "seq"), 4);
    let known = world.magpie("carol", ["conversations"]).done();
    assert_eq!((known.len(), number(&known[0], "first_seq")), (1, 3));
    let invites = world.magpie("alice", ["invite", "list", &group]).done();
    assert_eq!(number(&invites[0], "uses"), 1);
    // It is used up: as if it was not there.
    let wrong = format!("magpie:join/{}", "0".repeat(64));
    for link in [&link, &wrong] {
        let refused = world.magpie("dave", ["join", link]).with_code(1);
        assert_eq!(text(&refused[0], "code"), "not_found");
        let refused = world.magpie("dave", ["invite", "show", link]).with_code(1);
        assert_eq!(text(&refused[0], "code"), "not_found");
    }
    let history = world.magpie("bob", ["history", &group]).done();
    let kinds: Vec<_> = of_type(&history, "event")
        .into_iter()
        .map(|line| text(line, "kind"))
        .collect();
    assert_eq!(kinds, ["group_created", "invite_created", "member_joined"]);
    for home in ["alice", "bob", "carol"] {
        world.magpie(home, ["sync"]).done();
        world.magpie(home, ["audit"]).done();
    }
}

#[test]
fn a_link_is_shown_and_revoked() {
    let (world, group) = group();
    let create = ["invite", "create", &group, "--for", "1h"];
    let created = world.magpie("alice", create).done();
    let link = link(&created);
    let seq = number(&created[1], "seq").to_string();
    let shown = world.magpie("carol", ["invite", "show", &link]).done();
    let shown = (text(&shown[0], "title"), number(&shown[0], "member_count"));
    assert_eq!(shown, ("Club", 2));
    world.magpie("bob", ["sync"]).done();
    for refused in [
        ["invite", "list", &group].as_slice(),
        &["invite", "create", &group],
    ] {
        world.magpie("bob", refused).with_code(1);
    }
    let revoke = ["invite", "revoke", &group, &seq];
    world.magpie("alice", revoke).done();
    let none = world.magpie("alice", ["invite", "list", &group]).done();
    assert_eq!(none, [Value::Null; 0]);
    world.magpie("carol", ["join", &link]).with_code(1);
    world
        .magpie("carol", ["join", "magpie:join/7"])
        .with_code(2);
}
