//! Merges what is given: defaults, then the file, then the environment, then flags.

use std::{collections::BTreeMap, path::Path};

use super::{
    bucket::Access,
    settings,
    table::{Setting, expected},
    value::Value,
};

/// Variables of the environment that other programs of Magpie read.
const OF_OTHERS: [&str; 6] = [
    "MAGPIE_CONFIG",
    "MAGPIE_SERVER",
    "MAGPIE_CA",
    "MAGPIE_HOME",
    "MAGPIE_PASSWORD",
    "MAGPIE_INVITATION",
];

/// The beginnings of those that tests read.
const OF_TESTS: [&str; 3] = ["MAGPIE_TEST_", "MAGPIE_FAULT_", "MAGPIE_SLEEP"];

/// A value as it was written somewhere.
#[derive(Clone, Debug)]
struct Given {
    /// The setting's name there: `--listen`, `MAGPIE_LISTEN`, `listen in magpie.toml`.
    name: String,
    text: String,
}

/// A setting as it is in force.
#[derive(Clone, Debug)]
pub(super) struct Effective {
    pub(super) key: &'static str,
    /// With a secret masked.
    pub(super) shown: String,
    /// Who says so.
    pub(super) from: String,
}

/// Everything that was given, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Sources {
    table: Vec<Setting>,
    /// By key, the weakest first.
    given: BTreeMap<String, Vec<Given>>,
    pub(super) effective: Vec<Effective>,
    pub(super) problems: Vec<String>,
}

impl Sources {
    pub(super) fn new() -> Self {
        Self {
            table: settings::table(),
            given: BTreeMap::new(),
            effective: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The setting with this key, if there is one.
    fn find(&self, key: &str) -> Option<Setting> {
        self.table.iter().find(|it| it.key == key).cloned()
    }

    fn give(&mut self, key: &str, name: String, text: String) {
        let given = self.given.entry(key.to_owned()).or_default();
        given.push(Given { name, text });
    }

    /// Adds a TOML file.
    pub(super) fn add_file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let problem = format!("the settings' file {}: {error}", path.display());
                return self.problems.push(problem);
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.add_table(table, path),
            // Its display shows the line, which may hold a secret.
            Err(error) => {
                let line = error
                    .span()
                    .and_then(|span| text.get(..span.start))
                    .map_or(1, |before| before.matches('\n').count() + 1);
                let problem = format!("{}, line {line}: {}", path.display(), error.message());
                self.problems.push(problem);
            }
        }
    }

    fn add_table(&mut self, table: toml::Table, path: &Path) {
        for (key, value) in table {
            let name = format!("{key} in {}", path.display());
            if self.find(&key).is_none() {
                self.problems
                    .push(format!("{name}: there is no such setting"));
                continue;
            }
            match written(&value) {
                Some(text) => self.give(&key, name, text),
                None => {
                    let problem = format!("{name}: expected text, a number, a boolean or a list");
                    self.problems.push(problem);
                }
            }
        }
    }

    /// Adds the environment: the variables that begin with `MAGPIE_`.
    pub(super) fn add_environment(&mut self, variables: &BTreeMap<String, String>) {
        for setting in self.table.clone() {
            let name = setting.variable();
            let (plain, file) = (variables.get(&name), variables.get(&format!("{name}_FILE")));
            match (plain, file.filter(|_| setting.is_secret)) {
                (Some(_), Some(_)) => {
                    let problem = format!("{name} and {name}_FILE are both set: give one of them");
                    self.problems.push(problem);
                }
                (Some(text), None) => self.give(setting.key, name, text.clone()),
                (None, Some(path)) => self.add_secret(&setting, path),
                (None, None) => {}
            }
        }
        for name in variables.keys() {
            if !self.is_known(name) && !Access::knows(name) {
                self.problems
                    .push(format!("{name}: there is no such setting"));
            }
        }
    }

    fn is_known(&self, name: &str) -> bool {
        OF_OTHERS.contains(&name)
            || OF_TESTS.iter().any(|it| name.starts_with(it))
            || self.table.iter().any(|setting| {
                let variable = setting.variable();
                name == variable || (setting.is_secret && name == format!("{variable}_FILE"))
            })
    }

    fn add_secret(&mut self, setting: &Setting, path: &str) {
        let name = format!("{}_FILE", setting.variable());
        match std::fs::read_to_string(path) {
            Ok(text) => self.give(setting.key, name, text.trim_end().to_owned()),
            Err(error) => self.problems.push(format!("{name} is {path:?}: {error}")),
        }
    }

    /// Adds a flag.
    pub(super) fn add_flag(&mut self, setting: &Setting, text: String) {
        self.give(setting.key, format!("--{}", setting.flag()), text);
    }

    /// The strongest of what was given for `key`. Whatever was given is checked.
    pub(super) fn value<T: Value>(
        &mut self,
        key: &'static str,
        default: T,
        range: Option<&(T, T)>,
    ) -> T {
        let (mut value, mut from) = (default, "default".to_owned());
        let is_allowed = |it: &T| range.is_none_or(|(low, high)| it.is_within(low, high));
        for given in self.given.remove(key).unwrap_or_default() {
            if let Some(it) = T::parse(&given.text).filter(is_allowed) {
                (value, from) = (it, given.name);
            } else {
                let shown = if T::IS_SECRET {
                    "\"***\""
                } else {
                    &format!("{:?}", given.text)
                };
                let expected = expected(range);
                self.problems
                    .push(format!("{} is {shown}, expected {expected}", given.name));
            }
        }
        let shown = value.show();
        self.effective.push(Effective { key, shown, from });
        value
    }
}

/// A value of the file as it would be written in the environment.
fn written(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(it) => Some(it.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(written).collect();
            items.map(|it| it.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
