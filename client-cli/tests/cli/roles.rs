//! Who is what in a group.

use serde_json::Value;

use crate::world::{World, number, of_type, text};

/// Who is in the group, as this home has it, and what each is.
fn roles(world: &World, home: &str, group: &str) -> Vec<(String, String)> {
    let listed = world.magpie(home, ["members", group]).done();
    let members = of_type(&listed, "member").into_iter();
    let roles = members.map(|line| (text(line, "user").to_owned(), text(line, "role").to_owned()));
    roles.collect()
}

fn are(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let roles = expected.iter();
    let roles = roles.map(|(user, role)| ((*user).to_owned(), (*role).to_owned()));
    roles.collect()
}

/// Alice, who makes a group of herself, Bob and Carol.
fn group() -> (World, String) {
    let world = World::with_alice_and_bob();
    world.register("carol");
    let made = world
        .magpie("alice", ["group", "create", "Club", "@bob", "@carol"])
        .done();
    let group = text(&made[0], "conversation_id").to_owned();
    (world, group)
}

#[test]
fn roles_are_given_handed_over_and_known_to_all_devices() {
    let (world, group) = group();
    let role = |by: &str, whom: &str, role: &str| {
        let given = world.magpie(by, ["group", "role", &group, whom, role]);
        given.done()
    };
    world.magpie("bob", ["sync"]).done();
    role("alice", "@bob", "admin");
    let given = role("alice", "@carol", "owner");
    assert_eq!(text(&given[0], "type"), "accepted");
    // One that follows the events, one that has done it, one that comes later.
    world.magpie("bob", ["sync"]).done();
    world.log_in("tablet", "carol");
    world.magpie("tablet", ["sync"]).done();
    let expected = are(&[("alice", "admin"), ("bob", "admin"), ("carol", "owner")]);
    for home in ["bob", "alice", "tablet"] {
        assert_eq!(roles(&world, home, &group), expected, "{home}");
        world.magpie(home, ["audit"]).done();
    }
    let history = world.magpie("bob", ["history", &group]).done();
    let changed: Vec<_> = history
        .iter()
        .filter(|line| line["kind"] == "role_changed")
        .map(|line| (line["members"][0].clone(), text(line, "role")))
        .collect();
    let expected = [
        (Value::from("bob"), "admin"),
        (Value::from("carol"), "owner"),
    ];
    assert_eq!(changed, expected);

    // Whoever leaves leaves it to somebody, also by deleting themself.
    world.magpie("tablet", ["group", "leave", &group]).done();
    world.magpie("bob", ["sync"]).done();
    let expected = are(&[("alice", "owner"), ("bob", "admin")]);
    assert_eq!(roles(&world, "bob", &group), expected);
    let history = world.magpie("bob", ["history", &group]).done();
    assert_eq!(text(history.last().unwrap(), "heir"), "alice");
}

/// D12.
#[test]
fn who_may_not_is_told_so_and_an_admin_may_more() {
    let (world, group) = group();
    world.magpie("carol", ["sync"]).done();
    let sent = world.magpie("carol", ["send", &group, "rude"]).done();
    let seq = number(&sent[0], "seq").to_string();
    world.magpie("bob", ["sync"]).done();
    for arguments in [
        ["group", "remove", &group, "@carol"].as_slice(),
        &["group", "role", &group, "@carol", "admin"],
        &["delete", &group, &seq],
    ] {
        let refused = world.magpie("bob", arguments).with_code(1);
        assert_eq!(text(&refused[0], "code"), "not_allowed", "{arguments:?}");
    }
    // Words, if a member says them.
    let shout = ["send", &group, "@everybody look"];
    world.magpie("bob", shout).done();
    world
        .magpie("alice", ["group", "role", &group, "@bob", "admin"])
        .done();
    world.magpie("bob", ["sync"]).done();
    world.magpie("bob", shout).done();
    world.magpie("bob", ["delete", &group, &seq]).done();
    world
        .magpie("bob", ["group", "remove", &group, "@carol"])
        .done();
    world.magpie("alice", ["sync"]).done();
    let history = world.magpie("alice", ["history", &group]).done();
    let shouts: Vec<_> = of_type(&history, "message")
        .into_iter()
        .map(|line| (line["deleted"] == true, line["mentions_everybody"] == true))
        .collect();
    assert_eq!(shouts, [(true, false), (false, false), (false, true)]);
    assert_eq!(
        roles(&world, "alice", &group),
        are(&[("alice", "owner"), ("bob", "admin")])
    );
}
