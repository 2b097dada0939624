//! Exit codes, and one clear sentence for each.

use crate::world::{World, text};

#[test]
fn a_name_that_is_taken_and_a_wrong_password_are_refused() {
    let world = World::with_alice_and_bob();
    let taken = world.magpie("other", ["register", "alice"]).with_code(1);
    assert_eq!(text(&taken[0], "code"), "name_taken");

    let mut login = world.command("other", ["login", "alice"]);
    let output = login
        .env("MAGPIE_PASSWORD", "wrong horse")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(text(&line, "code"), "wrong_credentials");
}

#[test]
fn a_home_that_holds_somebody_is_refused_naming_them() {
    let world = World::with_alice_and_bob();
    for command in ["register", "login"] {
        let refused = world.magpie("alice", [command, "bobby"]);
        assert!(refused.stderr.contains("alice"), "{}", refused.stderr);
        let lines = refused.with_code(1);
        assert_eq!(text(&lines[0], "code"), "home_held");
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let world = World::without_server();
    let wrong: [&[&str]; 7] = [
        &[],
        &["fly"],
        &["send"],
        &["send", "bob", "hi"],
        &["register", "a b"],
        &["--server", "nowhere", "whoami"],
        &["history", "@bob", "--limit", "0"],
    ];
    for arguments in wrong {
        world.magpie("nobody", arguments).with_code(2);
    }
}

#[test]
fn without_an_account_every_command_says_so() {
    let world = World::without_server();
    let commands: [&[&str]; 10] = [
        &["whoami"],
        &["send", "@bob", "hi"],
        &["send", "--queue", "@bob", "hi"],
        &["listen"],
        &["sync"],
        &["audit"],
        &["devices"],
        &["conversations"],
        &["outbox"],
        &["logout"],
    ];
    for arguments in commands {
        let ended = world.magpie("nobody", arguments);
        assert!(ended.stderr.contains("magpie register"), "{arguments:?}");
        ended.with_code(3);
    }
}

#[test]
fn a_server_that_is_not_there_is_not_reached() {
    let world = World::without_server();
    world.magpie("nobody", ["register", "alice"]);
    let mut world = World::with_alice_and_bob();
    world.kill_server();
    world
        .magpie("alice", ["--timeout", "1", "sync"])
        .with_code(4);
    // What is here can be read without it.
    for command in ["whoami", "conversations", "outbox"] {
        world.magpie("alice", [command]).done();
    }
}

#[test]
fn a_listener_that_is_to_end_does_not_wait_for_a_server_for_ever() {
    let mut world = World::with_alice_and_bob();
    world.kill_server();
    let listen = ["--timeout", "1", "listen", "--until-idle", "1"];
    let lines = world.magpie("alice", listen).with_code(4);
    assert_eq!(text(&lines[0], "code"), "timed_out");
}

#[test]
fn a_certificate_that_is_not_trusted_ends_at_once() {
    let mut world = World::with_alice_and_bob();
    let other = World::new();
    world.ca.clone_from(&other.ca);
    let ended = world.magpie("alice", ["--timeout", "0", "send", "@bob", "hi"]);
    assert!(ended.stderr.contains("not trusted"), "{}", ended.stderr);
    let lines = ended.with_code(4);
    assert_eq!(text(&lines[0], "type"), "pending");
}

#[test]
fn a_local_database_of_a_newer_version_is_a_local_error() {
    let world = World::with_alice_and_bob();
    let path = world.home("alice").join("magpie.db");
    let database = rusqlite::Connection::open(path).unwrap();
    database.pragma_update(None, "user_version", 9_999).unwrap();
    drop(database);
    let ended = world.magpie("alice", ["whoami"]);
    assert!(ended.stderr.contains("newer"), "{}", ended.stderr);
    ended.with_code(5);
}

#[test]
fn a_home_that_is_a_file_is_a_local_error() {
    let world = World::without_server();
    std::fs::create_dir_all(world.home("x").parent().unwrap()).unwrap();
    std::fs::write(world.home("x"), "not a directory").unwrap();
    world.magpie("x", ["whoami"]).with_code(5);
}

#[test]
fn a_password_comes_from_standard_input_when_asked() {
    let world = World::new();
    let mut command = world.command("alice", ["register", "alice", "--password-stdin"]);
    command.env_remove("MAGPIE_PASSWORD");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "an empty one is too short");
    world
        .magpie_with_input(
            "alice",
            ["register", "alice", "--password-stdin"],
            "from standard input\n",
        )
        .done();
}

#[test]
fn a_recipient_that_does_not_exist_is_refused_and_kept_as_failed() {
    let world = World::with_alice_and_bob();
    let refused = world
        .magpie("alice", ["send", "@nobody", "hi"])
        .with_code(1);
    assert_eq!(text(&refused[0], "type"), "error");
    assert_eq!(text(&refused[0], "code"), "not_found");
    let outbox = world.magpie("alice", ["outbox"]).done();
    assert_eq!(text(&outbox[0], "state"), "failed");
    world.magpie("alice", ["send", "@bob", "hi"]).done();
}
