//! The settings, written out: for the operator's file, and for the documentation.

use super::{settings, source::Effective, table::Setting};

/// A file that changes nothing and explains everything.
pub(super) fn default_file() -> String {
    let mut out = "# The settings of magpied: every one, with its default.\n".to_owned();
    for (group, settings) in groups() {
        out += &format!("\n## {group}\n");
        for setting in settings {
            out.push('\n');
            for line in wrap(&setting.meaning, 96) {
                out += &format!("# {line}\n");
            }
            out += &format!("# Expected: {}.\n", setting.expected);
            out += &format!("#{} = {}\n", setting.key, toml(&setting.default));
        }
    }
    out
}

/// The settings in force as such a file, with who says so.
pub(super) fn effective_file(effective: &[Effective]) -> String {
    let mut out = String::new();
    for Effective { key, shown, from } in effective {
        out += &format!("{key} = {} # {from}\n", toml(shown));
    }
    out
}

/// docs/configuration.md.
pub(super) fn page() -> String {
    let mut out = INTRODUCTION.to_owned();
    for (group, settings) in groups() {
        out += &format!(
            "\n## {group}\n\n| setting | default | allowed | meaning |\n| --- | --- | --- | --- |\n"
        );
        for setting in settings {
            let default = match setting.default.as_str() {
                "" => "nothing".to_owned(),
                default => format!("`{default}`"),
            };
            let secret = if setting.is_secret { " Secret." } else { "" };
            let expected = setting.expected.replace('|', "\\|");
            let (key, meaning) = (setting.key, setting.meaning.replace('|', "\\|"));
            out += &format!("| `{key}` | {default} | {expected} | {meaning}{secret} |\n");
        }
    }
    out
}

const INTRODUCTION: &str = "# Settings

This page is written by `magpied config --markdown`; a test compares the two.

A setting has one name in four places. From the weakest to the strongest:

1. its default;
2. a TOML file, named by `--config FILE` or `MAGPIE_CONFIG`: `connections_max = 20000`;
3. the environment: `MAGPIE_CONNECTIONS_MAX=20000`. A secret may be read from a file instead:
   `MAGPIE_DATABASE_URL_FILE=/run/secrets/url`;
4. a flag: `--connections-max 20000`.

Names that do not exist are refused, and so is every value that is not allowed: the server does not
start, and says everything that is wrong at once (exit status 64).

    magpied config                      # the settings in force, and who set them; secrets are masked
    magpied config --default            # a file with every setting, its meaning and its default

What a frame, a text or a group may hold belongs to the version of the protocol and is no setting:
[protocol.md](protocol.md), section 9.

A rate such as `100 then 4/h` is a bucket: 100 at once, and 4 come back every hour. It lives in the
memory of one server and begins full when that starts. Who is refused is told when to come back, and
`magpie_limited_total` counts it under the name of the setting.
";

/// The settings, section by section.
fn groups() -> Vec<(&'static str, Vec<Setting>)> {
    let mut groups: Vec<(&str, Vec<Setting>)> = Vec::new();
    for setting in settings::table() {
        match groups.last_mut() {
            Some((group, settings)) if *group == setting.group => settings.push(setting),
            _ => groups.push((setting.group, vec![setting])),
        }
    }
    groups
}

/// A value as TOML has it.
fn toml(shown: &str) -> String {
    if shown.parse::<i64>().is_ok() || shown.parse::<bool>().is_ok() {
        return shown.to_owned();
    }
    toml::Value::String(shown.to_owned()).to_string()
}

/// Lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => word.clone_into(line),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
