//! The statements of an engine, as its source has them: a test that is to hold for each
//! of them finds those that it forgets.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A statement, or the beginning of one that is put together of several texts.
struct Source {
    /// `file::NAME` of the constant, or the file alone.
    name: String,
    sql: String,
    is_part: bool,
}

/// Those of an engine (its folder), without what its tests ask.
fn statements(engine: &str) -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut files = Vec::new();
    find(&folder.join(engine), &mut files);
    files.sort();
    let mut found = Vec::new();
    for path in files {
        let file = path.file_stem().unwrap().to_str().unwrap();
        read(&fs::read_to_string(&path).unwrap(), file, &mut found);
    }
    assert!(found.len() > 100, "these are not all: {}", found.len());
    found
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|it| it == "tests") {
            continue;
        }
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}

/// The texts between quotes that begin like a statement. Comments have no quotes that
/// matter, and no statement has one.
fn read(source: &str, file: &str, found: &mut Vec<Source>) {
    let lines = source.lines().filter(|line| !line.trim().starts_with("//"));
    let source: String = lines.flat_map(|line| [line, "\n"]).collect();
    let mut before = String::new();
    for (number, text) in source.split('"').enumerate() {
        if number % 2 == 0 {
            before = text.to_owned();
            continue;
        }
        let verb = text.split_whitespace().next().unwrap_or_default();
        let is_part = before.trim_end().ends_with("= concat!(");
        // What a macro puts together is part of where it stands.
        let is_macro = !is_part && before.trim_end().ends_with("concat!(");
        let is_verb = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&verb);
        if !is_verb || is_macro || !is_part && verb == text {
            continue;
        }
        let constant = before.rsplit_once("const ").map(|(_, rest)| rest);
        let constant = constant.and_then(|rest| rest.split_once(':'));
        let name = match constant {
            Some((name, _)) => format!("{file}::{name}"),
            None => file.to_owned(),
        };
        found.push(Source {
            name,
            sql: filled(text),
            is_part,
        });
    }
}

/// With a number where a constant is to be written.
fn filled(text: &str) -> String {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |sql, part| match part.split_once('}') {
        Some((name, rest)) if !name.is_empty() => sql + "0" + rest,
        Some(_) | None => sql + "{" + part,
    })
}

/// Statements that are put together of several texts, by their names.
macro_rules! by_name {
    ($($file:ident::$name:ident),* $(,)?) => {
        std::collections::BTreeMap::from([
            $((concat!(stringify!($file), "::", stringify!($name)), $file::$name)),*
        ])
    };
}
pub(in crate::store) use by_name;

/// Each statement of an engine, with its name. Those that are put together are `named`, all
/// of them and no others.
pub(in crate::store) fn each(
    engine: &str,
    mut named: BTreeMap<&'static str, &'static str>,
) -> Vec<(String, String)> {
    let mut each = Vec::new();
    for source in statements(engine) {
        let sql = match source.is_part {
            false => source.sql,
            true => {
                let whole = named.remove(source.name.as_str());
                let whole = whole.unwrap_or_else(|| panic!("{} is not in the list", source.name));
                whole.to_owned()
            }
        };
        each.push((source.name, sql));
    }
    assert!(named.is_empty(), "there are no such statements: {named:?}");
    each
}
