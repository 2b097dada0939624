//! Rules of the code that no compiler checks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The layers of the server, from the top. A module uses only those below it.
const LAYERS: [&[&str]; 13] = [
    &["node"],
    &["listener", "admin"],
    &["connection"],
    &["dispatch"],
    &["handler"],
    &["delivery"],
    &["log", "media"],
    &["hub", "push", "tokens"],
    &["store", "limits"],
    &["operate"],
    &["logs", "status"],
    &["config", "metrics", "shutdown"],
    &["clock", "random", "systemd", "tls"],
];

/// Lines of a source file.
const LINES_MAX: usize = 500;

/// Lines of ARCHITECTURE.md.
const ARCHITECTURE_LINES_MAX: usize = 200;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = [
    "utils", "common", "helpers", "types", "manager", "service", "misc",
];

/// Where a `select!` may be, each with its reason.
const SELECTS: [&str; 5] = [
    "server/src/connection.rs", // the one loop of a connection
    "server/src/listener.rs",   // accepts until shutdown
    "server/src/admin.rs",      // serves until shutdown
    "server/src/main.rs",       // waits for a signal
    "server/src/shutdown.rs",   // waits for one of two signals
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files that belong to the repository, by path from its root.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .ok()
        .filter(|it| it.status.success() && !it.stdout.is_empty());
    let Some(listed) = listed else {
        // Not a clone: what lies there.
        let mut found = Vec::new();
        walk(&root(), "", &mut found);
        return found;
    };
    String::from_utf8(listed.stdout)
        .unwrap()
        .split_terminator('\0')
        .filter(|it| root().join(it).is_file())
        .map(str::to_owned)
        .collect()
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_file() {
            found.push(path);
        } else if !["target", ".git", "corpus", "magpie-data"].contains(&name.as_str()) {
            walk(&entry.path(), &format!("{path}/"), found);
        }
    }
}

/// Our sources, with their text.
fn sources() -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|it| it.ends_with(".rs"))
        .map(|path| {
            let text = fs::read_to_string(root().join(&path)).unwrap();
            (path, text)
        })
        .collect()
}

/// The server's sources outside tests: the part above `mod tests`, no comments.
fn server_code() -> Vec<(String, String)> {
    sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("server/src/") && !is_test(path))
        .map(|(path, text)| {
            let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            let (code, _) = text.split_at(end);
            let code = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            (path, code)
        })
        .collect()
}

fn is_test(path: &str) -> bool {
    path.split('/')
        .any(|it| matches!(it, "tests" | "tests.rs" | "conformance" | "conformance.rs"))
}

/// The module at the top of the crate that a file belongs to.
fn module(path: &str) -> &str {
    let inside = path.strip_prefix("server/src/").unwrap();
    inside.split(['/', '.']).next().unwrap()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// The modules of its own crate that some code names.
fn used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            used.extend(names_of_group(group));
        } else {
            used.extend(first_name(rest));
        }
    }
    used
}

/// The first name of each branch of a `use` group.
fn names_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            it if fresh && depth == 0 && !it.is_whitespace() => {
                names.extend(first_name(group.split_at(at).1));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn first_name(text: &str) -> Option<String> {
    let end = text
        .find(|it: char| !it.is_alphanumeric() && it != '_')
        .unwrap_or(text.len());
    let (name, _) = text.split_at(end);
    name.starts_with(|it: char| it.is_lowercase())
        .then(|| name.to_owned())
}

#[test]
fn a_use_group_gives_its_first_names() {
    let code = "use crate::{clock::Clock, store::{self, Store}, hub};\nuse crate::log::Tail;";
    let names: Vec<String> = used(code).into_iter().collect();
    assert_eq!(names, ["clock", "hub", "log", "store"]);
}

#[test]
fn each_layer_of_the_server_uses_only_those_below_it() {
    let mut wrong = Vec::new();
    for (path, code) in server_code() {
        let module = module(&path);
        if ["main", "lib"].contains(&module) {
            continue;
        }
        let Some(own) = layer(module) else {
            wrong.push(format!("{path} is in no layer"));
            continue;
        };
        for other in used(&code) {
            match layer(&other) {
                Some(layer) if other == module || layer > own => {}
                Some(_) => wrong.push(format!("{path} uses {other}, which is not below it")),
                None => wrong.push(format!("{path} uses {other}, which is in no layer")),
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path} has {lines} lines"))
        .collect();
    assert_eq!(long, [""; 0]);
}

#[test]
fn no_module_has_an_empty_name() {
    let mut empty: Vec<String> = files();
    empty.retain(|path| {
        let inside = path.ends_with(".rs") && path.contains("/src/");
        inside
            && path
                .split(['/', '.'])
                .any(|part| EMPTY_NAMES.contains(&part))
    });
    assert_eq!(empty, [""; 0]);
}

/// Where `needles` stand in the server's code, outside `allowed`.
fn outside(needles: &[&str], allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in server_code() {
        for needle in needles {
            if code.contains(needle) && !allowed(&path) {
                found.push(format!("{path}: {needle}"));
            }
        }
    }
    found
}

#[test]
fn sql_is_only_in_the_store() {
    let words = [
        "SELECT ",
        "INSERT INTO",
        "UPDATE ",
        "DELETE FROM",
        "CREATE TABLE",
        "rusqlite::",
    ];
    let found = outside(&words, |path| path.starts_with("server/src/store/"));
    assert_eq!(found, [""; 0]);
}

#[test]
fn only_the_clock_reads_a_clock() {
    let reads = [
        "Instant::now",
        "SystemTime::now",
        ".elapsed()",
        "UNIX_EPOCH",
    ];
    let found = outside(&reads, |path| path == "server/src/clock.rs");
    assert_eq!(found, [""; 0]);
}

#[test]
fn only_the_config_reads_the_environment() {
    let config = |path: &str| path.starts_with("server/src/config/");
    let mut found = outside(&["env::var"], config);
    // What was typed goes to the config as it is.
    found.extend(outside(&["env::args"], |path| {
        config(path) || path == "server/src/main.rs"
    }));
    assert_eq!(found, [""; 0]);
}

#[test]
fn select_has_few_places() {
    let found = outside(&["select!"], |path| SELECTS.contains(&path));
    assert_eq!(found, [""; 0]);
}

/// A metric is named in one place, where its meaning stands, and counts something.
#[test]
fn every_metric_is_in_the_table_and_in_use() {
    let literal = ["counter!(\"", "gauge!(\"", "histogram!(\""];
    assert_eq!(outside(&literal, |_| false), [""; 0]);
    let code = server_code();
    let (table, others): (Vec<_>, Vec<_>) = code
        .iter()
        .partition(|(path, _)| path == "server/src/metrics.rs");
    let (_, table) = table.first().unwrap();
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| {
            line.trim()
                .split_once(" =")?
                .0
                .split_whitespace()
                .next_back()
        })
        .filter(|name| {
            name.len() > 3 && name.bytes().all(|it| it.is_ascii_uppercase() || it == b'_')
        })
        .filter(|name| !["SECONDS", "DELAYS", "COUNTS", "ALL"].contains(name))
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        let is_used =
            table.matches(name).count() > 1 || others.iter().any(|(_, code)| code.contains(name));
        assert!(is_used, "{name} counts nothing");
    }
}

#[test]
fn no_text_knows_the_machine_that_it_was_written_on() {
    // Put together here, so that this file does not find itself.
    let marks = ["home", "root", "work", "Users"].map(|it| format!("/{it}/"));
    let design = ["shared", "design"].join("/");
    let mut found = Vec::new();
    for path in files() {
        if path.starts_with("fuzz/corpus/") {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(&path)) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let path_of_machine = marks.iter().any(|mark| {
                line.match_indices(mark.as_str())
                    .any(|(at, _)| is_absolute(line.split_at(at).0))
            });
            if path_of_machine || line.contains(&design) {
                found.push(format!("{path}:{}", number + 1));
            }
        }
    }
    assert_eq!(found, [""; 0]);
}

/// Whether a path that begins behind `before` begins there, and not earlier.
fn is_absolute(before: &str) -> bool {
    !before.ends_with(|it: char| it.is_alphanumeric() || "._-~$}/".contains(it))
}

#[test]
fn the_architecture_fits_on_a_few_pages() {
    if let Ok(text) = fs::read_to_string(root().join("ARCHITECTURE.md")) {
        let lines = text.lines().count();
        assert!(
            lines <= ARCHITECTURE_LINES_MAX,
            "ARCHITECTURE.md has {lines} lines"
        );
    }
}

#[test]
fn every_promise_is_named_by_a_test() {
    let mut named = BTreeSet::new();
    for (_, text) in sources() {
        let mut doc = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(comment) = line.strip_prefix("///") {
                doc.push_str(comment);
                doc.push(' ');
            } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                let words = doc.split(|it: char| !it.is_alphanumeric());
                named.extend(words.filter(|it| it.starts_with('D')).map(str::to_owned));
                doc.clear();
            } else if !line.starts_with("#[") {
                doc.clear();
            }
        }
    }
    let missing: Vec<String> = (1..=12)
        .map(|number| format!("D{number}"))
        .filter(|promise| !named.contains(promise))
        .collect();
    assert_eq!(
        missing, [""; 0],
        "no test says in its doc comment that it proves these"
    );
}
