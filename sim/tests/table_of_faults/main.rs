//! The table of all faults: whatever is named in it exists, nothing is left out, and
//! `docs/reliability.md` says the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cells;
mod page;
mod rows;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use magpie_sim::{
    swarm,
    world::{Act, Mutant},
};

/// Where a fault strikes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Area {
    Processes,
    Database,
    Network,
    Time,
    Pushes,
    Nodes,
    Stored,
}

impl Area {
    const ALL: [Self; 7] = [
        Self::Processes,
        Self::Database,
        Self::Network,
        Self::Time,
        Self::Pushes,
        Self::Nodes,
        Self::Stored,
    ];
}

/// A fault, and where it is tried.
#[derive(Clone, Copy, Debug)]
struct Fault {
    area: Area,
    /// What goes wrong, in a few words.
    name: &'static str,
    /// What it is in the simulator and in the model.
    weights: &'static [Act],
    /// Mistakes that it finds.
    mutants: &'static [Mutant],
    /// On real processes, real stores or real halves of the protocol.
    tests: &'static [&'static str],
    /// What is left out, or why it cannot happen.
    remark: &'static str,
}

/// A moment at which a fault is easy to get wrong.
#[derive(Clone, Copy, Debug)]
struct Cell {
    /// The fault and its moment.
    moment: &'static str,
    /// What must be true.
    rule: &'static str,
    mutants: &'static [Mutant],
    tests: &'static [&'static str],
}

/// What no fault of the simulator's, but its plans' switches bring.
const SWITCHED: [Act; 3] = [Act::Join, Act::Leave, Act::Sleep];

/// What a stranger does to frames, which the simulator leaves to small worlds.
const IN_SMALL_WORLDS: [Act; 1] = [Act::Replay];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && name != ".git" {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(fs::read_to_string(&path).unwrap());
        }
    }
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("fn ")?;
    let end = rest.find(|it: char| !(it.is_ascii_alphanumeric() || it == '_'))?;
    rest.get(..end).filter(|it| !it.is_empty())
}

/// All tests of the workspace, those of the stores' common suite among them.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let mut found = BTreeSet::new();
    for file in &files {
        let mut is_test = false;
        for line in file.lines() {
            let line = line.trim();
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let Some(name) = function(line) else {
                continue;
            };
            if is_test || line.starts_with("pub(in crate::store) async fn ") {
                found.insert(name.to_owned());
            }
            is_test = false;
        }
    }
    found
}

#[test]
fn every_test_that_the_table_names_exists() {
    let tests = tests();
    assert!(tests.len() > 400, "only {} found", tests.len());
    let named = rows::all().flat_map(|it| it.tests);
    let named = named.chain(cells::CELLS.iter().flat_map(|it| it.tests));
    let absent: BTreeSet<_> = named.filter(|it| !tests.contains(**it)).collect();
    assert_eq!(absent, BTreeSet::new());
}

#[test]
fn every_fault_is_tried_or_says_why_not() {
    for it in rows::all() {
        let is_tried = !it.weights.is_empty() || !it.tests.is_empty();
        assert!(is_tried || !it.remark.is_empty(), "{}", it.name);
        let is_explained = !it.weights.is_empty() || !it.remark.is_empty();
        assert!(
            is_explained,
            "{}: not simulated, and nobody says why",
            it.name
        );
        for act in it.weights {
            let is_weight = swarm::FAULTS.contains(act)
                || SWITCHED.contains(act)
                || IN_SMALL_WORLDS.contains(act);
            assert!(is_weight, "{}: {act:?} is no weight", it.name);
        }
    }
    for cell in cells::CELLS {
        assert!(!cell.tests.is_empty(), "{}", cell.moment);
    }
}

#[test]
fn every_fault_of_the_simulator_is_in_the_table() {
    let named: BTreeSet<Act> = rows::all().flat_map(|it| it.weights).copied().collect();
    let all: BTreeSet<Act> = Act::FAULTS.into_iter().collect();
    let left_out: Vec<_> = all.difference(&named).collect();
    assert_eq!(left_out, [&Act::Repeat; 0]);
    let is_named = |mutant: &Mutant| {
        rows::all().any(|it| it.mutants.contains(mutant))
            || cells::CELLS.iter().any(|it| it.mutants.contains(mutant))
    };
    let left_out: Vec<_> = Mutant::ALL.iter().filter(|it| !is_named(it)).collect();
    assert_eq!(left_out, [&Mutant::None; 0]);
}

#[test]
fn no_fault_is_there_twice() {
    let mut seen = BTreeSet::new();
    let names = rows::all().map(|it| it.name);
    for name in names.chain(cells::CELLS.iter().map(|it| it.moment)) {
        assert!(seen.insert(name), "{name}");
    }
}

#[test]
fn the_page_says_what_the_table_says() {
    let path = root().join("docs/reliability.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(page::BEGIN).unwrap();
    let (found, after) = rest.split_once(page::END).unwrap();
    let page = page::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{before}{}{page}{}{after}", page::BEGIN, page::END);
        fs::write(&path, text).unwrap();
        return;
    }
    let hint = "UPDATE_DOCS=1 cargo test --workspace --test table_of_faults";
    assert!(found == page, "{hint}");
}
