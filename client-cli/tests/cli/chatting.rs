//! Two people, and a group.

use crate::world::{World, number, of_type, text, texts};

#[test]
fn the_first_message_has_seq_1_and_arrives_once() {
    let world = World::with_alice_and_bob();
    let sent = world.magpie("alice", ["send", "@bob", "hello"]).done();
    assert_eq!(sent.len(), 1);
    assert_eq!(text(&sent[0], "type"), "accepted");
    assert_eq!(number(&sent[0], "seq"), 1);

    let heard = world.magpie("bob", ["listen", "--until-idle", "1"]).done();
    let message = of_type(&heard, "message")[0];
    assert_eq!(text(message, "text"), "hello");
    assert_eq!(text(message, "sender"), "alice");
    assert_eq!(message["message_id"], sent[0]["message_id"]);
    assert_eq!(message["sent_at"], sent[0]["sent_at"]);
    assert_eq!(of_type(&heard, "caught_up").len(), 1);

    // D3.
    let again = world.magpie("bob", ["listen", "--until-idle", "0"]).done();
    assert_eq!(texts(&again), Vec::<&str>::new());
}

#[test]
fn a_listener_hears_both_sides_as_they_speak() {
    let world = World::with_alice_and_bob();
    let listener = world.start("bob", ["listen"]);
    listener.until("caught_up");
    world.magpie("alice", ["send", "@bob", "ping"]).done();
    assert_eq!(text(&listener.line(), "text"), "ping");
    world.magpie("bob", ["send", "@alice", "pong"]).done();
    let own = listener.line();
    assert_eq!((text(&own, "text"), number(&own, "seq")), ("pong", 2));
    listener.terminate();
    listener.finish().done();
}

/// D6.
#[test]
fn lines_of_standard_input_are_sent_in_order() {
    let world = World::with_alice_and_bob();
    let input: String = (1..=500).map(|line| format!("line {line}\n\n")).collect();
    let sent = world
        .magpie_with_input("alice", ["send", "@bob"], &input)
        .done();
    let seqs: Vec<u64> = sent.iter().map(|line| number(line, "seq")).collect();
    assert_eq!(seqs, (1..=500).collect::<Vec<u64>>());

    let heard = world.magpie("bob", ["listen", "--until-idle", "1"]).done();
    let expected: Vec<String> = (1..=500).map(|line| format!("line {line}")).collect();
    assert_eq!(texts(&heard), expected);
}

#[test]
fn a_refused_line_stands_in_its_place_and_the_rest_goes_on() {
    let world = World::with_alice_and_bob();
    let input = format!("one\n{}\nthree\n", "x".repeat(16_385));
    let sent = world
        .magpie_with_input("alice", ["send", "@bob"], &input)
        .with_code(1);
    let kinds: Vec<&str> = sent.iter().map(|line| text(line, "type")).collect();
    assert_eq!(kinds, ["accepted", "error", "accepted"]);
    assert_eq!(text(&sent[1], "code"), "invalid_argument");
}

#[test]
fn a_group_is_made_and_its_changes_are_events() {
    let world = World::with_alice_and_bob();
    world.register("carol");
    let made = world
        .magpie("alice", ["group", "create", "Club", "@bob"])
        .done();
    let group = text(&made[0], "conversation_id");
    assert_eq!(number(&made[0], "seq"), 1);
    world
        .magpie("alice", ["group", "add", group, "@carol"])
        .done();
    world.magpie("carol", ["sync"]).done();
    world.magpie("carol", ["send", group, "hi all"]).done();
    world.magpie("carol", ["group", "leave", group]).done();
    world
        .magpie("alice", ["group", "remove", group, "@bob"])
        .done();

    let heard = world.magpie("bob", ["listen", "--until-idle", "1"]).done();
    let kinds: Vec<&str> = of_type(&heard, "event")
        .into_iter()
        .map(|line| text(line, "kind"))
        .collect();
    assert_eq!(
        kinds,
        [
            "group_created",
            "members_added",
            "member_left",
            "member_removed"
        ]
    );
    assert_eq!(texts(&heard), ["hi all"]);

    let refused = world
        .magpie("bob", ["send", group, "still here?"])
        .with_code(1);
    assert_eq!(text(&refused[0], "type"), "error");
    assert_eq!(text(&refused[0], "action"), "never");
}

#[test]
fn history_is_paged_and_printed_oldest_first() {
    let world = World::with_alice_and_bob();
    let input: String = (1..=120).map(|line| format!("{line}\n")).collect();
    world
        .magpie_with_input("alice", ["send", "@bob"], &input)
        .done();
    world.magpie("bob", ["sync"]).done();
    let newest = world.magpie("bob", ["history", "@alice"]).done();
    assert_eq!(texts(&newest).len(), 50);
    assert_eq!(texts(&newest)[0], "71");
    let page = world
        .magpie(
            "bob",
            ["history", "@alice", "--before", "71", "--limit", "3"],
        )
        .done();
    assert_eq!(texts(&page), ["68", "69", "70"]);
}

#[test]
fn a_chat_sends_what_is_typed_and_shows_what_comes() {
    let world = World::with_alice_and_bob();
    world.magpie("bob", ["send", "@alice", "earlier"]).done();
    world.magpie("alice", ["sync"]).done();
    let mut chat = world.start("alice", ["chat", "@bob"]);
    assert_eq!(text(&chat.line(), "text"), "earlier");
    chat.until("caught_up");
    chat.write("hello\n");
    let accepted = chat.until("accepted");
    assert_eq!(number(&accepted[accepted.len() - 1], "seq"), 2);
    world.magpie("bob", ["send", "@alice", "hi"]).done();
    while text(chat.until("message").last().unwrap(), "text") != "hi" {}
    chat.write("/quit\n");
    chat.finish().done();
}

#[test]
fn read_marks_all_that_is_stored() {
    let world = World::with_alice_and_bob();
    world.magpie("alice", ["send", "@bob", "one"]).done();
    world.magpie("bob", ["sync"]).done();
    let before = world.magpie("bob", ["conversations"]).done();
    assert_eq!(number(&before[0], "unread"), 1);
    let read = world.magpie("bob", ["read", "@alice"]).done();
    assert_eq!(text(&read[0], "type"), "read");
    assert_eq!(number(&read[0], "seq"), 1);
    let after = world.magpie("bob", ["conversations"]).done();
    assert_eq!(number(&after[0], "unread"), 0);
}

#[test]
fn what_others_wrote_cannot_steer_a_terminal() {
    let world = World::with_alice_and_bob();
    world
        .magpie("alice", ["send", "@bob", "a\u{1b}[2Jb\u{202e}c"])
        .done();
    world.magpie("bob", ["sync"]).done();
    let output = std::process::Command::new(crate::world::MAGPIE)
        .arg("--home")
        .arg(world.home("bob"))
        .args(["history", "@alice"])
        .output()
        .unwrap();
    let people = String::from_utf8(output.stdout).unwrap();
    assert!(people.contains("a\\u{1b}[2Jb\\u{202e}c"), "{people:?}");
}

#[test]
fn who_listens_to_several_conversations_sees_which_is_which() {
    let world = World::with_alice_and_bob();
    world.magpie("alice", ["send", "@bob", "hello"]).done();
    world
        .magpie("alice", ["group", "create", "Club", "@bob"])
        .done();
    let output = world
        .for_people("bob", ["listen", "--until-idle", "1"])
        .output()
        .unwrap();
    let people = String::from_utf8(output.stdout).unwrap();
    let without_moments: Vec<&str> = people.lines().filter_map(|line| line.get(21..)).collect();
    assert_eq!(
        without_moments,
        [
            "@alice            1 alice:     hello",
            "Club              1 * alice made Club with bob",
        ]
    );
}

#[test]
fn the_members_of_a_group_are_listed_and_counted() {
    let world = World::with_alice_and_bob();
    let made = world
        .magpie("alice", ["group", "create", "Club", "@bob"])
        .done();
    let group = text(&made[0], "conversation_id");
    world.magpie("bob", ["sync"]).done();
    let known = world.magpie("bob", ["conversations"]).done();
    assert_eq!(number(&known[0], "member_count"), 2);
    // From here on nobody is asked.
    let listed = world.magpie("bob", ["members", group]).done();
    let names = of_type(&listed, "member").into_iter();
    let names: Vec<&str> = names.map(|line| text(line, "user")).collect();
    assert_eq!(names, ["alice", "bob"]);
    let totals = listed.last().unwrap();
    assert_eq!(text(totals, "type"), "members");
    let counts = (number(totals, "count"), number(totals, "listed"));
    assert_eq!(counts, (2, 2));
}
