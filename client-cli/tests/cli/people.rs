//! What people say of themselves, and how they are found.

use serde_json::{Value, json};

use crate::world::{World, text};

fn with_bob_known() -> World {
    let world = World::with_alice_and_bob();
    world.magpie("alice", ["send", "@bob", "hi"]).done();
    world.magpie("bob", ["sync"]).done();
    world
}

/// Said offline, it holds at once, comes to one's other devices, and once to others.
#[test]
fn what_somebody_says_of_themself_while_others_are_away_reaches_them() {
    let mut world = with_bob_known();
    world.kill_server();
    let say = [
        "profile", "--name", "Ann Lee", "--status", "at sea", "--queue",
    ];
    assert_eq!(
        text(&world.magpie("alice", say).done()[0], "type"),
        "queued"
    );
    let own = world.magpie("alice", ["profile"]).done();
    assert_eq!(text(&own[0], "display_name"), "Ann Lee");
    assert_eq!(own[0]["discoverable"], json!(false));
    let stale = world.magpie("bob", ["profile", "@alice"]).done();
    assert_eq!(text(&stale[0], "display_name"), "");

    world.start_server();
    world.magpie("alice", ["sync"]).done();
    world.magpie("bob", ["sync"]).done();
    let told = world.magpie("bob", ["profile", "@alice"]).done();
    assert_eq!(text(&told[0], "display_name"), "Ann Lee");
    assert_eq!(text(&told[0], "status"), "at sea");
    let listed = world.magpie("bob", ["conversations"]).done();
    assert_eq!(text(&listed[0], "title"), "alice");
    assert_eq!(text(&listed[0], "display_name"), "Ann Lee");
    let members = world.magpie("bob", ["members", "@alice"]).done();
    let alice = members.iter().find(|it| it["user"] == json!("alice"));
    assert_eq!(text(alice.unwrap(), "display_name"), "Ann Lee");
    world.log_in("tablet", "alice");
    world.magpie("tablet", ["sync"]).done();
    let own = world.magpie("tablet", ["profile"]).done();
    assert_eq!(text(&own[0], "display_name"), "Ann Lee");

    // One of two is changed, and the other stays.
    world.magpie("tablet", ["profile", "--status", ""]).done();
    world.magpie("bob", ["sync"]).done();
    let told = world.magpie("bob", ["profile", "@alice"]).done();
    assert_eq!(text(&told[0], "display_name"), "Ann Lee");
    assert_eq!(text(&told[0], "status"), "");
}

#[test]
fn a_name_that_cannot_be_seen_is_wrong_usage() {
    let world = World::with_alice_and_bob();
    for name in ["\u{202e}nnA", "An\u{200b}n", " "] {
        world
            .magpie("alice", ["profile", "--name", name])
            .with_code(2);
    }
}

#[test]
fn people_are_found_by_name_link_and_beginning() {
    let world = World::with_alice_and_bob();
    world
        .magpie("alice", ["profile", "--name", "Ann Lee"])
        .done();
    let find = |what: &[&str]| world.magpie("bob", what).done();
    let found = find(&["find", "@alice"]);
    assert_eq!(text(&found[0], "user"), "alice");
    assert_eq!(text(&found[0], "display_name"), "", "not to strangers");
    assert_eq!(find(&["find", "@nobody"]), [Value::Null; 0]);
    assert_eq!(find(&["find", "ali", "--prefix"]), [Value::Null; 0]);

    let none = world.magpie("alice", ["link"]).done();
    assert_eq!(none[0]["link"], Value::Null);
    let made = world.magpie("alice", ["link", "--new"]).done();
    let link = text(&made[1], "link").to_owned();
    assert!(link.starts_with("magpie:user/alice/"), "{link}");
    let found = find(&["find", &link]);
    assert_eq!(text(&found[0], "display_name"), "Ann Lee");
    world.log_in("tablet", "alice");
    world.magpie("tablet", ["sync"]).done();
    let same = world.magpie("tablet", ["link"]).done();
    assert_eq!(text(&same[0], "link"), link);
    world.magpie("tablet", ["link", "--new"]).done();
    assert_eq!(find(&["find", &link]), [Value::Null; 0]);

    world
        .magpie("alice", ["profile", "--discoverable", "yes"])
        .done();
    let found = find(&["find", "ali", "--prefix"]);
    assert_eq!(text(&found[0], "display_name"), "Ann Lee");
    let short = world.magpie("bob", ["find", "al", "--prefix"]);
    short.with_code(1);
}

/// What somebody calls themself does not stand alone: anybody may choose any name.
#[test]
fn messages_show_how_their_senders_are_called() {
    let world = with_bob_known();
    world.magpie("alice", ["send", "@bob", "one"]).done();
    let shown = |home: &str| {
        world.magpie(home, ["sync"]).done();
        let lines = world.magpie(home, ["history", "@bob"]).done();
        let last = lines.last().unwrap();
        let shown = world.for_people(home, ["history", "@bob"]).output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        let shown = shown.lines().last().unwrap().to_owned();
        (last["sender_name"].clone(), shown)
    };
    let (name, line) = shown("alice");
    assert_eq!(name, Value::Null);
    assert!(line.contains(" alice: "), "{line}");

    world.magpie("bob", ["send", "@alice", "two"]).done();
    world.magpie("bob", ["profile", "--name", "Bob B."]).done();
    let (name, line) = shown("alice");
    assert_eq!(name, json!("Bob B."));
    assert!(line.contains(" Bob B. (@bob): two"), "{line}");
    world
        .magpie("alice", ["contact", "@bob", "--nickname", "Bobby"])
        .done();
    let (name, line) = shown("alice");
    assert_eq!(name, json!("Bobby"));
    assert!(
        line.contains(" Bobby: ") && line.ends_with(" two"),
        "{line}"
    );
    // One's own name, too; and as it comes.
    world
        .magpie("alice", ["profile", "--name", "Ann Lee"])
        .done();
    world.magpie("alice", ["send", "@bob", "three"]).done();
    let (name, line) = shown("alice");
    assert_eq!(name, json!("Ann Lee"));
    assert!(line.contains(" Ann Lee (@alice): three"), "{line}");
    let heard = world
        .magpie("alice", ["listen", "--until-idle", "0"])
        .done();
    let two = heard.iter().find(|it| it["text"] == json!("two")).unwrap();
    assert_eq!(
        (text(two, "sender"), text(two, "sender_name")),
        ("bob", "Bobby")
    );
}

#[test]
fn who_types_is_seen_by_who_listens_for_it_and_forgotten() {
    let world = with_bob_known();
    let listening = world.start("bob", ["listen", "--ephemeral"]);
    listening.until("caught_up");
    world.magpie("alice", ["typing", "@bob"]).done();
    let seen = listening.until("typing");
    let begun = seen.last().unwrap();
    assert_eq!(
        (text(begun, "user"), &begun["typing"]),
        ("alice", &json!(true))
    );
    // Nobody says that she does not any more.
    let seen = listening.until("typing");
    assert_eq!(seen.last().unwrap()["typing"], json!(false));
}
