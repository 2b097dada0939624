//! `magpie torture`, as somebody runs it who has a server: on each store, and on
//! a server that forgets.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use magpie_sim::postgres;
use serde_json::Value;

use crate::{
    database::Database,
    process::{Process, magpie, magpied},
};

/// All but `half-open`, of which a client may need a minute to find out.
const FAULTS: &str = "cut,mid-frame,drop-acks,delay,stall,storm,kill-client,away,kill-server,\
                      stop-server,restart-server";

fn torture(magpied: &Path, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = Command::new(magpie());
    command
        .args(["--json", "torture", "--magpied"])
        .arg(magpied)
        .args(["--devices", "8", "--rate", "60", "--seed", "1"])
        .args(more)
        .stdin(Stdio::null());
    let (status, lines) = Process::start(&mut command).wait("the torture ends");
    (status.code(), lines)
}

/// D1, D2, D3, D4, D5, D6, D7.
fn assert_kept(more: &[&str]) {
    let faults = ["--seconds", "6", "--fault-every", "0.5", "--faults", FAULTS];
    let (code, lines) = torture(&magpied(), &[&faults, more].concat());
    let last = lines.last().unwrap();
    assert_eq!(code, Some(0), "{lines:#?}");
    assert_eq!(last["type"], "torture", "{last}");
    assert_eq!(last["violations"], 0, "{last}");
    for (field, least) in [("accepted", 100), ("shown", 400), ("faults", 5)] {
        assert!(last[field].as_u64().unwrap() >= least, "{field}: {last}");
    }
    let struck = lines.iter().filter(|line| line["type"] == "fault").count();
    assert_eq!(last["faults"], struck, "{lines:#?}");
}

#[test]
fn a_short_torture_of_the_embedded_store_breaks_no_promise() {
    assert_kept(&[]);
}

#[test]
fn a_short_torture_of_postgresql_breaks_no_promise() {
    if postgres::is_skipped() {
        return;
    }
    let database = Database::shared();
    assert_kept(&["--", "--database-url", &database.url()]);
}

/// Every start but the first two goes back to what the second one found, and says
/// that all is well. `$4` is where the server keeps its data.
const FORGETFUL: &str = r#"#!/bin/sh
if [ -d "$4.old" ]; then
    rm -rf "$4" && cp -a "$4.old" "$4" && "MAGPIED" epoch new --data-dir "$4" >/dev/null || exit 1
elif [ -d "$4" ]; then
    cp -a "$4" "$4.old"
fi
exec "MAGPIED" "$@"
"#;

/// D1, seen from the other side: the verdict can be a bad one.
#[test]
fn a_torture_finds_a_server_that_forgets() {
    let directory = tempfile::tempdir().unwrap();
    let forgetful = directory.path().join("forgetful");
    let magpied = magpied();
    fs::write(
        &forgetful,
        FORGETFUL.replace("MAGPIED", magpied.to_str().unwrap()),
    )
    .unwrap();
    fs::set_permissions(&forgetful, fs::Permissions::from_mode(0o700)).unwrap();
    let kept = directory.path().join("run");
    let kills = [
        "--faults",
        "kill-server",
        "--fault-every",
        "1",
        "--seconds",
        "4",
    ];
    let rest = ["--patience", "3", "--directory", kept.to_str().unwrap()];
    let (code, lines) = torture(&forgetful, &[&kills[..], &rest].concat());
    assert_eq!(code, Some(1), "{lines:#?}");
    assert!(lines.last().unwrap()["violations"].as_u64() > Some(0));
    let said = |line: &Value| {
        line["message"]
            .as_str()
            .is_some_and(|it| it.starts_with("lost"))
    };
    assert!(lines.iter().any(said), "{lines:#?}");
}
