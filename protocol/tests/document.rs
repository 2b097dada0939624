//! docs/protocol.md against the schema and the limits.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap()
}

/// The documents name a limit in a table row: its constant, its value.
fn shown(document: &str, constant: &str) -> Option<String> {
    let row = format!("| `{constant}` | ");
    let line = document.lines().find(|line| line.starts_with(&row))?;
    let value = line.strip_prefix(&row)?.split(" |").next()?;
    Some(value.to_owned())
}

/// The value of a constant in the source, as the document writes it.
fn value(expression: &str) -> Option<String> {
    if let Some(rest) = expression.strip_prefix("Duration::from_millis(") {
        return Some(format!("{} ms", rest.strip_suffix(')')?));
    }
    if let Some(rest) = expression.strip_prefix("Duration::from_secs(") {
        return Some(format!("{} s", rest.strip_suffix(')')?));
    }
    let factors = expression
        .split('*')
        .map(|it| it.trim().replace('_', "").parse::<u64>().ok());
    let product: Option<u64> = factors.product();
    product.map(|it| it.to_string())
}

#[test]
fn every_limit_is_in_the_table_with_its_value() {
    let (source, document) = (read("src/limits.rs"), read("../docs/protocol.md"));
    let mut checked = 0;
    for line in source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "))
    {
        let (name, rest) = line.split_once(':').unwrap();
        let (_, expression) = rest.split_once(" = ").unwrap();
        let Some(value) = value(expression.trim_end_matches(';')) else {
            assert_eq!(name, "ALPN", "a limit that this test cannot read");
            continue;
        };
        if name == "PROTOCOL_VERSION_MIN" {
            continue;
        }
        assert_eq!(shown(&document, name), Some(value), "{name}");
        checked += 1;
    }
    assert!(checked >= 34, "only {checked} limits found");
}

#[test]
fn every_message_and_every_code_is_mentioned() {
    let document = read("../docs/protocol.md");
    let mut missing = Vec::new();
    for file in ["frame", "session", "request", "log"] {
        let schema = read(&format!("proto/magpie/v1/{file}.proto"));
        for line in schema.lines().map(str::trim) {
            let name = if let Some(rest) = line.strip_prefix("message ") {
                rest.split([' ', '{']).next()
            } else if line.starts_with("ERROR_CODE_") || line.starts_with("ACTION_") {
                line.split(' ').next()
            } else if let Some(rest) = line.strip_prefix("enum ") {
                rest.split(' ').next()
            } else {
                None
            };
            if let Some(name) = name
                && !document.contains(&format!("`{name}`"))
            {
                missing.push(name.to_owned());
            }
        }
    }
    assert_eq!(missing, [""; 0]);
}
