//! A server with limits: what its refusals mean to people and scripts.

use crate::world::{World, number, text, texts};

/// D6, D12: what is too fast is not lost and not reordered, only late.
#[test]
fn who_sends_too_fast_waits_and_everything_arrives_in_order() {
    let world = World::with_settings(&["--send-rate-per-device", "5 then 3/s"]);
    world.register("alice");
    world.register("bob");
    let words: Vec<String> = (1..=12).map(|it| it.to_string()).collect();
    let sent = world
        .magpie_with_input("alice", ["send", "@bob"], &words.join("\n"))
        .done();
    let seqs: Vec<u64> = sent.iter().map(|line| number(line, "seq")).collect();
    assert_eq!(seqs, (1..=12).collect::<Vec<u64>>());
    world.magpie("bob", ["sync"]).done();
    let history = world.magpie("bob", ["history", "@alice"]).done();
    assert_eq!(texts(&history), words);
}

#[test]
fn an_invitation_lets_register_where_nobody_else_may() {
    let world = World::with_settings(&[
        "--registration",
        "invitation",
        "--invitations",
        "a-token-of-our-own",
    ]);
    let refused = world.magpie("alice", ["register", "alice"]).with_code(1);
    assert_eq!(text(&refused[0], "code"), "registration_closed");
    let invited = ["register", "alice", "--invitation", "a-token-of-our-own"];
    world.magpie("alice", invited).done();
    assert_eq!(world.magpie("alice", ["whoami"]).done().len(), 1);
}
