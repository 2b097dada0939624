//! What becomes of an account, and what operators do with it.

use std::{fs, process::Command};

use serde_json::Value;

use crate::world::{PASSWORD, World, magpied, number, of_type, text};

const NEW: &str = "a longer battery staple";

#[test]
fn a_changed_password_signs_other_devices_out_on_request() {
    let world = World::with_alice_and_bob();
    world.log_in("bob2", "bob");
    let change = ["password", "--sign-out-others", "--password-stdin"];
    let wrong = format!("not my password\n{NEW}\n");
    let refused = world.magpie_with_input("bob", change, &wrong).with_code(1);
    assert_eq!(text(&refused[0], "code"), "wrong_credentials");
    let guessable = format!("{PASSWORD}\npassword1\n");
    let refused = world.magpie_with_input("bob", change, &guessable);
    assert_eq!(text(&refused.with_code(1)[0], "code"), "invalid_argument");

    let right = format!("{PASSWORD}\n{NEW}\n");
    let changed = world.magpie_with_input("bob", change, &right).done();
    assert_eq!(changed[0]["type"], "password_changed");
    assert_eq!(changed[0]["others_signed_out"], true);
    world.magpie("bob2", ["sync"]).with_code(3);
    world.magpie("bob", ["sync"]).done();
    world.magpie("bob2", ["login", "bob"]).with_code(1);
    let login = ["login", "bob", "--password-stdin"];
    let input = format!("{NEW}\n");
    world.magpie_with_input("bob2", login, &input).done();
}

#[test]
fn a_deleted_account_is_gone_and_what_it_wrote_stays() {
    let world = World::with_alice_and_bob();
    world
        .magpie("bob", ["send", "@alice", "remember me"])
        .done();
    world.magpie("bob", ["delete-account"]).with_code(2);
    let deleted = world.magpie("bob", ["delete-account", "--yes"]).done();
    assert_eq!(deleted[0]["type"], "account_deleted");
    world.magpie("bob", ["whoami"]).with_code(3);
    world.magpie("bob", ["login", "bob"]).with_code(1);
    let taken = world.magpie("bob", ["register", "bob"]).with_code(1);
    assert_eq!(text(&taken[0], "code"), "name_taken");
    // She had not heard of the conversation before: so she never knew the name.
    world.magpie("alice", ["sync"]).done();
    let conversations = world.magpie("alice", ["conversations"]).done();
    let id = text(&conversations[0], "conversation_id");
    let history = world.magpie("alice", ["history", id]).done();
    assert_eq!(text(&history[0], "text"), "remember me");
    assert_eq!(text(&history[0], "sender"), "");
}

#[test]
fn an_export_holds_everything_and_goes_on_where_it_stopped() {
    let world = World::with_alice_and_bob();
    let input: String = (1..=250).map(|line| format!("{line}\n")).collect();
    world
        .magpie_with_input("alice", ["send", "@bob"], &input)
        .done();
    let export = || world.magpie("bob", ["export", "data"]).done();
    let exported = export();
    let last = exported.last().unwrap();
    assert_eq!(
        (number(last, "conversations"), number(last, "events")),
        (1, 250)
    );
    let directory = world.data_dir().parent().unwrap().join("data");
    let file = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|it| it == "jsonl"))
        .unwrap();
    let whole = fs::read_to_string(&file).unwrap();
    let texts: Vec<String> = whole
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| text(&line, "text").to_owned())
        .collect();
    let expected: Vec<String> = (1..=250).map(|line| line.to_string()).collect();
    assert_eq!(texts, expected);

    let cut: String = whole.chars().take(whole.len() / 2).collect();
    fs::write(&file, cut).unwrap();
    export();
    assert_eq!(fs::read_to_string(&file).unwrap(), whole);
    assert_eq!(number(export().last().unwrap(), "events"), 0);
    for name in ["account", "devices", "conversations", "outbox", "export"] {
        assert!(directory.join(format!("{name}.json")).exists(), "{name}");
    }
}

/// What `magpied admin` says, as JSON, and whether it did it.
fn admin(world: &World, arguments: &[&str]) -> (Option<Value>, String, bool) {
    let output = Command::new(magpied())
        .arg("admin")
        .arg("--data-dir")
        .arg(world.data_dir())
        .arg("--json")
        .args(arguments)
        .output()
        .unwrap();
    let said = serde_json::from_slice(&output.stdout).ok();
    let reason = String::from_utf8(output.stderr).unwrap();
    (said, reason, output.status.success())
}

#[test]
fn what_users_report_operators_read_and_act_upon() {
    let world = World::with_alice_and_bob();
    world.magpie("bob", ["send", "@alice", "buy this"]).done();
    world.magpie("alice", ["sync"]).done();
    let report = ["report", "@bob", "--seq", "1", "--reason", "spam", "look"];
    let reported = world.magpie("alice", report).done();
    assert_eq!(of_type(&reported, "reported").len(), 1);

    let (told, reason, is_done) = admin(&world, &["reports", "list"]);
    assert!(is_done, "{reason}");
    let told = told.unwrap();
    let report = &told["reports"][0];
    assert_eq!(
        (text(report, "reporter"), text(report, "user")),
        ("alice", "bob")
    );
    assert_eq!(text(&report["message"], "text"), "buy this");
    let (_, reason, is_done) = admin(&world, &["users", "suspend", "bob"]);
    assert!(is_done, "{reason}");
    world.magpie("bob", ["sync"]).with_code(3);
    let refused = world.magpie("bob", ["login", "bob"]).with_code(1);
    assert_eq!(text(&refused[0], "code"), "suspended");
    let id = number(report, "id").to_string();
    let (_, reason, is_done) = admin(&world, &["reports", "close", &id]);
    assert!(is_done, "{reason}");
    let (told, ..) = admin(&world, &["log"]);
    let acts: Vec<String> = told.unwrap()["acts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| text(act, "action").to_owned())
        .collect();
    let expected = ["log", "reports close", "users suspend", "reports list"];
    assert_eq!(acts, expected);
    let (_, reason, is_done) = admin(&world, &["users", "show", "nobody.here"]);
    assert!(
        !is_done && reason.contains("there is no user nobody.here"),
        "{reason}"
    );
}
