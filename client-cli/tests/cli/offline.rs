//! What somebody does while there is no server: all of it is done later, once; and what
//! can not be done later is refused at once, with a sentence.

use std::{collections::BTreeSet, fs, path::Path, thread};

use serde_json::{Value, json};

use crate::world::{World, text};

/// What is typed, which kind of request it becomes, and a line that each of these homes
/// has of it then.
struct Row {
    typed: Vec<String>,
    kind: &'static str,
    homes: &'static [&'static str],
    line: Value,
}

fn row(typed: &[&str], kind: &'static str, homes: &'static [&'static str], line: Value) -> Row {
    let typed = typed.iter().map(|word| (*word).to_owned()).collect();
    Row {
        typed,
        kind,
        homes,
        line,
    }
}

/// Another device of alice, who does it all.
const OWN: &[&str] = &["tablet"];
const BOTH: &[&str] = &["tablet", "bob"];

/// What is there before: groups, and an invite to one of bob's.
struct Place {
    club: String,
    other: String,
    link: String,
}

fn done(world: &World, home: &str, typed: &[&str]) -> Vec<Value> {
    world.magpie(home, typed).done()
}

fn group(world: &World, of: &str, title: &str, others: &[&str]) -> String {
    let typed = [&["group", "create", title], others].concat();
    let created = done(world, of, &typed);
    text(&created[0], "conversation_id").to_owned()
}

/// Alice, her friends, and those whom she asked and who asked her.
fn town() -> (World, Place) {
    let world = World::with_alice_and_bob();
    for name in ["carol", "dora", "eve", "finn"] {
        world.register(name);
    }
    for words in ["one", "two", "three", "four", "five"] {
        done(&world, "alice", &["send", "@bob", words]);
    }
    done(&world, "bob", &["send", "@alice", "six"]);
    for name in ["@carol", "@dora"] {
        done(&world, "alice", &["friends", "request", name]);
    }
    done(&world, "dora", &["friends", "accept", "@alice"]);
    for name in ["eve", "finn"] {
        done(&world, name, &["friends", "request", "@alice"]);
    }
    done(&world, "alice", &["sync"]);
    done(&world, "alice", &["react", "@bob", "6", "!", "--queue"]);
    done(&world, "alice", &["pin", "@bob", "4", "--queue"]);
    done(&world, "alice", &["block", "@finn"]);
    let others = ["@bob", "@carol", "@dora"];
    let club = group(&world, "alice", "Club", &others);
    done(&world, "alice", &["group", "ban", &club, "@eve"]);
    done(&world, "alice", &["invite", "create", &club]);
    let other = group(&world, "alice", "Other", &["@bob"]);
    let third = group(&world, "bob", "Third", &["@carol"]);
    let link = done(&world, "bob", &["invite", "create", &third]);
    let link = text(&link[0], "link").to_owned();
    world.log_in("tablet", "alice");
    done(&world, "alice", &["sync"]);
    (world, Place { club, other, link })
}

fn said() -> Vec<Row> {
    let message = |text: &str| json!({"type": "message", "text": text});
    let key = ["send", "@bob", "key", "--body", "key.bin", "--content-type"];
    let key = [key.as_slice(), &["application/x-key"]].concat();
    vec![
        row(&["send", "@bob", "hello"], "send", BOTH, message("hello")),
        row(
            &["send", "@bob", "look @bob"],
            "send",
            BOTH,
            json!({"text": "look @bob", "mentions": ["@bob"]}),
        ),
        row(
            &key,
            "send",
            BOTH,
            json!({"text": "key", "content_type": "application/x-key", "body": "0102"}),
        ),
        row(
            &["reply", "@bob", "6", "seven"],
            "send",
            BOTH,
            json!({"text": "seven", "reply_to_seq": 6}),
        ),
        row(
            &["forward", "@bob", "6", "@carol"],
            "send",
            &["tablet", "carol"],
            json!({"text": "six", "forwarded_from": "bob"}),
        ),
        row(
            &["file", "@bob", "notes.txt", "--caption", "notes"],
            "send",
            BOTH,
            message("notes"),
        ),
    ]
}

fn changed() -> Vec<Row> {
    let event = |kind: &str, at: u64| json!({"type": "event", "kind": kind, "target_seq": at});
    let reacted = |emoji, removed| json!({"kind": "reacted", "target_seq": 6, "emoji": emoji, "removed": removed});
    let pinned =
        |at: u64, removed: bool| json!({"kind": "pinned", "target_seq": at, "removed": removed});
    vec![
        row(
            &["edit", "@bob", "1", "uno"],
            "edit",
            BOTH,
            event("message_edited", 1),
        ),
        row(
            &["delete", "@bob", "2"],
            "delete",
            BOTH,
            event("message_deleted", 2),
        ),
        row(
            &["react", "@bob", "6", "?"],
            "react",
            BOTH,
            reacted("?", false),
        ),
        row(
            &["react", "@bob", "6", "!", "--remove"],
            "react",
            BOTH,
            reacted("!", true),
        ),
        row(&["pin", "@bob", "3"], "pin", BOTH, pinned(3, false)),
        row(&["unpin", "@bob", "4"], "unpin", BOTH, pinned(4, true)),
        row(
            &["read", "@bob"],
            "mark_read",
            OWN,
            json!({"type": "conversation", "title": "bob", "unread": 0}),
        ),
    ]
}

fn in_groups(Place { club, other, .. }: &Place) -> Vec<Row> {
    let event = |kind: &str, member: &str| json!({"type": "event", "kind": kind, "members": [member], "conversation_id": club});
    let created = json!({"kind": "group_created", "title": "New"});
    let role = json!({"kind": "role_changed", "members": ["bob"], "role": "admin"});
    vec![
        row(
            &["group", "create", "New", "@bob"],
            "create_group",
            BOTH,
            created,
        ),
        row(
            &["group", "add", club, "@finn"],
            "add_members",
            BOTH,
            event("members_added", "finn"),
        ),
        row(
            &["group", "remove", club, "@dora"],
            "remove_member",
            BOTH,
            event("member_removed", "dora"),
        ),
        row(
            &["group", "ban", club, "@carol"],
            "ban",
            BOTH,
            event("member_banned", "carol"),
        ),
        row(
            &["group", "unban", club, "@eve"],
            "unban",
            BOTH,
            event("member_unbanned", "eve"),
        ),
        row(
            &["group", "role", club, "@bob", "admin"],
            "set_role",
            BOTH,
            role,
        ),
        row(
            &["group", "update", club, "--announcement-only", "on"],
            "update_group",
            BOTH,
            json!({"kind": "group_updated", "announcement_only": true}),
        ),
        row(
            &["group", "update", club, "--history", "on"],
            "update_group",
            BOTH,
            json!({"kind": "group_updated", "history_for_newcomers": true}),
        ),
        row(
            &["group", "leave", other],
            "leave",
            BOTH,
            json!({"kind": "member_left", "heir": "bob"}),
        ),
    ]
}

fn by_invite(Place { club, link, .. }: &Place) -> Vec<Row> {
    vec![
        row(
            &["invite", "create", club, "--uses", "3"],
            "create_invite",
            BOTH,
            json!({"kind": "invite_created", "uses_max": 3}),
        ),
        row(
            &["invite", "revoke", club, "3"],
            "revoke_invite",
            BOTH,
            json!({"kind": "invite_revoked", "target_seq": 3}),
        ),
        row(
            &["join", link],
            "join",
            BOTH,
            json!({"kind": "member_joined", "sender": "alice"}),
        ),
    ]
}

fn settings() -> Vec<Row> {
    let set = |setting: &str| json!({"kind": "account_changed", "setting": setting});
    let with = |setting: &str, field: &str, value: Value| {
        let mut line = set(setting);
        line[field] = value;
        line
    };
    let own = |typed: &[&str], kind, line| row(typed, kind, OWN, line);
    vec![
        own(
            &["mute", "@bob", "--for", "8h"],
            "notify",
            with("notify", "level", json!("none")),
        ),
        own(
            &["notify", "mentions", "--all"],
            "notify",
            with("notify", "level", json!("mentions")),
        ),
        own(
            &["unmute", "@carol"],
            "notify",
            with("notify", "level", json!("all")),
        ),
        own(&["hide", "@bob", "5"], "hide", set("hide")),
        own(
            &["contact", "@bob", "--favourite", "--nickname", "Bo"],
            "contact",
            with("contact", "nickname", json!("Bo")),
        ),
        own(
            &["block", "@carol"],
            "block",
            with("block", "blocked", json!(true)),
        ),
        own(
            &["unblock", "@finn"],
            "unblock",
            with("block", "blocked", json!(false)),
        ),
        own(
            &["privacy", "--messages", "friends"],
            "privacy",
            set("privacy"),
        ),
        own(&["receipts", "hide"], "receipts", set("receipts")),
        own(&["presence", "--hide"], "presence", set("presence")),
        own(
            &["profile", "--name", "Ann", "--status", "at sea"],
            "profile",
            with("profile", "display_name", json!("Ann")),
        ),
        own(
            &["profile", "--discoverable", "yes"],
            "discoverable",
            set("discoverable"),
        ),
        own(&["link", "--new"], "link", set("link")),
    ]
}

fn between() -> Vec<Row> {
    let friends = |friends: bool| json!({"kind": "friendship_changed", "friends": friends});
    let changed =
        |what, whom, homes, line| row(&["friends", what, whom], "change_friendship", homes, line);
    let declined = json!({"kind": "account_changed", "setting": "declined_request"});
    vec![
        changed(
            "request",
            "@bob",
            &["bob"],
            json!({"kind": "friend_requested"}),
        ),
        changed("accept", "@eve", &["eve"], friends(true)),
        changed("cancel", "@carol", &["carol"], friends(false)),
        changed("remove", "@dora", &["dora"], friends(false)),
        row(
            &["friends", "decline", "@finn"],
            "declined_request",
            OWN,
            declined,
        ),
    ]
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let (path, to) = (file.path(), to.join(file.file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(path, to).unwrap()),
        }
    }
}

/// The kinds of requests that the reference names.
fn kinds() -> BTreeSet<String> {
    let page = include_str!("../../../docs/cli.md");
    let (_, rest) = page.split_once("| `outbox` | ").unwrap();
    let (_, rest) = rest.split_once("`kind` (").unwrap();
    let (kinds, _) = rest.split_once(')').unwrap();
    let kinds = kinds.split(", ").map(|kind| kind.trim_matches('`'));
    kinds.map(str::to_owned).collect()
}

/// All events that there are for a home.
fn exported(world: &World, home: &str) -> Vec<Value> {
    done(world, home, &["sync"]);
    done(world, home, &["export", "data"]);
    let mut lines = Vec::new();
    for file in fs::read_dir(world.path("data")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "jsonl") {
            let text = fs::read_to_string(path).unwrap();
            lines.extend(text.lines().map(|line| serde_json::from_str(line).unwrap()));
        }
    }
    lines
}

/// Whether a line says all of this.
fn says(line: &Value, expected: &Value) -> bool {
    let mut fields = expected.as_object().unwrap().iter();
    fields.all(|(field, value)| match field.as_str() {
        // The parts of the text.
        "mentions" => line[field].as_array().is_some_and(|it| it.len() == 1),
        _ => line[field] == *value,
    })
}

/// D2, D3. Also where the answers were lost: what was sent is sent again then, as by a home
/// that knows of no answer.
#[test]
fn each_thing_done_offline_is_done_later_and_once() {
    let (mut world, place) = town();
    fs::write(world.path("key.bin"), [1, 2]).unwrap();
    fs::write(world.path("notes.txt"), "as promised").unwrap();
    let before = exported(&world, "tablet");
    world.kill_server();
    let mut rows = said();
    rows.extend(changed());
    rows.extend(in_groups(&place));
    rows.extend(by_invite(&place));
    rows.extend(between());
    rows.extend(settings());
    for row in &rows {
        let typed = row.typed.iter().map(String::as_str).chain(["--queue"]);
        let lines = done(&world, "alice", &typed.collect::<Vec<_>>());
        let queued = lines.iter().filter(|line| line["type"] == "queued");
        assert_eq!(queued.count(), 1, "{:?}: {lines:?}", row.typed);
    }
    let outbox = done(&world, "alice", &["outbox"]);
    // Read marks have a place of their own.
    let mut waiting: Vec<&str> = outbox.iter().map(|line| text(line, "kind")).collect();
    let mut expected: Vec<&str> = rows.iter().map(|row| row.kind).collect();
    waiting.sort_unstable();
    expected.sort_unstable();
    assert_eq!(waiting, expected);
    let covered: BTreeSet<String> = waiting.iter().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(covered, kinds(), "each kind of request has a row");

    // A mark is no request of its own.
    let requests = rows.iter().filter(|row| row.kind != "mark_read").count();

    copy(&world.home("alice"), &world.home("alice again"));
    world.start_server();
    for home in ["alice", "alice again"] {
        let synced = done(&world, home, &["sync"]);
        let last = synced.last().unwrap();
        let counts = (last["sent"].as_u64(), last["failed"].as_u64());
        assert_eq!(counts, (Some(requests as u64), Some(0)), "{synced:?}");
        assert_eq!(done(&world, home, &["outbox"]).len(), 0);
    }
    for home in ["tablet", "bob", "carol", "dora", "eve"] {
        let mut lines = match home {
            // What somebody sets for themself is shown there alone.
            "tablet" => exported(&world, home),
            home => done(&world, home, &["listen", "--until-idle", "1"]),
        };
        lines.retain(|line| {
            before
                .iter()
                .all(|it| it["message_id"] != line["message_id"])
        });
        lines.extend(done(&world, home, &["conversations"]));
        for row in rows.iter().filter(|row| row.homes.contains(&home)) {
            let found = lines.iter().filter(|line| says(line, &row.line));
            assert_eq!(found.count(), 1, "{:?} at {home}: {lines:#?}", row.typed);
        }
    }
    done(&world, "tablet", &["audit"]);
}

/// D12.
#[test]
fn what_needs_the_server_says_so_without_one() {
    let (mut world, Place { club, link, .. }) = town();
    world.kill_server();
    let device = "0190163d-8694-739b-aea5-966c26f8ad91";
    let commands: [&[&str]; 20] = [
        &["sync"],
        &["audit"],
        &["export", "data"],
        &["logout"],
        &["devices"],
        &["devices", "revoke", device],
        &["password", "--password-stdin"],
        &["delete-account", "--yes"],
        &["report", "@bob", "--reason", "spam"],
        &["find", "@bob"],
        &["find", "bob", "--prefix"],
        &["block", "@stranger"],
        &["group", "bans", &club],
        &["invite", "list", &club],
        &["invite", "show", &link],
        &["presence", "@bob"],
        &["typing", "@bob"],
        &["save", device],
        &["push", "set", "token"],
        &["push", "clear"],
    ];
    // Each with a home of its own: a home has one connection.
    thread::scope(|scope| {
        let all = commands.iter().zip(0..).map(|(typed, number)| {
            let world = &world;
            scope.spawn(move || {
                let home = format!("alice {number}");
                copy(&world.home("alice"), &world.home(&home));
                let typed = [&["--timeout", "1"], *typed].concat();
                let passwords = "correct horse\nanother horse\n";
                let ended = world.magpie_with_input(&home, typed.iter().copied(), passwords);
                assert!(!ended.stderr.is_empty(), "{typed:?} says nothing");
                let lines = ended.with_code(4);
                let code = text(&lines[0], "code");
                assert!(
                    ["not_reached", "timed_out"].contains(&code),
                    "{typed:?}: {lines:?}"
                );
                assert_eq!(done(world, &home, &["outbox"]).len(), 0, "{typed:?}");
            })
        });
        let all: Vec<_> = all.collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
}
