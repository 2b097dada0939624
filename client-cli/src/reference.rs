//! `docs/cli.md`, made of `cli.template.md` and of what the code says.

use std::{collections::BTreeMap, env, fmt::Write, fs, path::Path};

use clap::{Arg, Command, CommandFactory};
use serde_json::Value;

use crate::{args::Arguments, line::samples};

/// The whole page.
fn page() -> String {
    let mut root = Arguments::command().disable_help_subcommand(true);
    root.build();
    let global = root.get_arguments().filter(|arg| arg.is_global_set());
    let mut commands = String::new();
    for command in root.get_subcommands() {
        describe(command, &mut commands);
    }
    include_str!("../cli.template.md")
        .replace("{{flags}}", table(global).trim_end())
        .replace("{{commands}}", commands.trim())
}

fn describe(command: &Command, to: &mut String) {
    let name = command.get_bin_name().unwrap();
    let about = command.get_long_about().or(command.get_about()).unwrap();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap();
    write!(to, "\n### `{name}`\n\n{}.\n", flowing(&about.to_string())).unwrap();
    write!(to, "\n```text\n{}\n```\n", unindented(usage)).unwrap();
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && arg.get_id() != "help")
        .collect();
    if !own.is_empty() {
        write!(to, "\n{}", table(own.into_iter())).unwrap();
    }
    let examples = command.get_after_help().unwrap().to_string();
    let (_, examples) = examples.split_once('\n').unwrap();
    write!(to, "\n```sh\n{}\n```\n", unindented(examples)).unwrap();
    for command in command.get_subcommands() {
        describe(command, to);
    }
}

fn table<'arg>(arguments: impl Iterator<Item = &'arg Arg>) -> String {
    let mut table = "| argument | meaning |\n| --- | --- |\n".to_owned();
    for arg in arguments {
        writeln!(table, "| {} | {} |", shape(arg), meaning(arg)).unwrap();
    }
    table
}

/// `--limit N`, or `TEXT`.
fn shape(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let value = arg.get_action().takes_values().then(|| names.join(" "));
    let parts = [arg.get_long().map(|long| format!("--{long}")), value];
    let shape = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    format!("`{}`", shape.replace('|', "\\|"))
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).unwrap();
    let mut meaning = flowing(&help.to_string())
        .replace("\n\n", " ")
        .replace('|', "\\|");
    let takes_values = arg.get_action().takes_values();
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|_| takes_values)
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        write!(meaning, ": {}", values.join(", ")).unwrap();
    }
    let defaults = arg.get_default_values().iter().filter_map(|it| it.to_str());
    for default in defaults.filter(|it| takes_values && !it.is_empty()) {
        write!(meaning, "; default `{default}`").unwrap();
    }
    if let Some(variable) = arg.get_env() {
        write!(meaning, "; also `{}`", variable.display()).unwrap();
    }
    meaning
}

/// Paragraphs with one line each; a sentence ends before the next paragraph.
fn flowing(text: &str) -> String {
    let paragraphs = text.trim().split("\n\n");
    let paragraphs = paragraphs.map(|it| it.replace('\n', " "));
    let paragraphs = paragraphs.map(|it| it.trim_end_matches('.').to_owned());
    paragraphs.collect::<Vec<_>>().join(".\n\n")
}

fn unindented(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_reference_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let page = page();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/cli.md is not what the code says; its first line says how to make it anew"
    );
}

/// The types and fields that the page's table of lines names.
fn documented() -> BTreeMap<String, String> {
    let page = page();
    let (_, lines) = page.split_once("## Lines").unwrap();
    let (lines, _) = lines.split_once("\n### ").unwrap();
    let mut documented = BTreeMap::new();
    for row in lines
        .lines()
        .filter(|line| line.starts_with("| `") && !line.starts_with("| `type`"))
    {
        let mut cells = row.trim_matches('|').splitn(2, '|');
        for kind in cells.next().unwrap().split(',') {
            let kind = kind.trim().trim_matches('`').to_owned();
            documented.insert(kind, cells.clone().next().unwrap().to_owned());
        }
    }
    documented
}

#[test]
fn every_line_and_field_is_documented_and_nothing_else() {
    let mut documented = documented();
    let lines = samples::all();
    let mut seen = Vec::new();
    for line in lines {
        let Value::Object(fields) = serde_json::to_value(&line).unwrap() else {
            panic!("{line:?} is no object");
        };
        let kind = fields["type"].as_str().unwrap().to_owned();
        let row = documented
            .get(&kind)
            .unwrap_or_else(|| panic!("{kind} is missing"));
        for field in fields.keys().filter(|field| *field != "type") {
            assert!(row.contains(&format!("`{field}`")), "{kind} has {field}");
        }
        seen.push(kind);
    }
    documented.retain(|kind, _| !seen.contains(kind));
    assert_eq!(documented, BTreeMap::new(), "these are never printed");
}
