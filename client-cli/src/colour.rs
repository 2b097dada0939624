//! Whether what a person reads is coloured.

use std::{env, ffi::OsString};

use clap::ValueEnum;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum ColourChoice {
    /// On a terminal, unless the environment says otherwise
    #[default]
    Auto,
    /// Also into a pipe
    Always,
    /// Not at all
    Never,
}

impl ColourChoice {
    /// What was typed, before it is known whether the rest of it is right: help
    /// and wrong usage have colours too. The last one counts.
    pub(crate) fn typed(line: impl Iterator<Item = OsString>) -> Self {
        let mut typed = Self::Auto;
        let mut is_value = false;
        for word in line.map(|word| word.to_string_lossy().into_owned()) {
            let value = word.strip_prefix("--color=");
            let value = value.or(is_value.then_some(word.as_str()));
            if let Some(choice) = value.and_then(|value| Self::from_str(value, false).ok()) {
                typed = choice;
            }
            is_value = word == "--color";
        }
        typed
    }

    /// Whether to colour a stream of this process.
    pub(crate) fn is_on(self, is_terminal: bool) -> bool {
        self.decide(is_terminal, |name| env::var_os(name))
    }

    /// The flag, else `NO_COLOR`, else `CLICOLOR_FORCE`, else whether it is a
    /// terminal that knows colours. A variable that is empty is not set.
    fn decide(self, is_terminal: bool, get: impl Fn(&str) -> Option<OsString>) -> bool {
        let get = |name| get(name).filter(|value| !value.is_empty());
        let is_zero = |value: &OsString| value == "0";
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if get("NO_COLOR").is_some() => false,
            Self::Auto if get("CLICOLOR_FORCE").is_some_and(|it| !is_zero(&it)) => true,
            Self::Auto => {
                is_terminal
                    && !get("CLICOLOR").is_some_and(|it| is_zero(&it))
                    && get("TERM").is_some_and(|it| it != "dumb")
            }
        }
    }
}

impl From<ColourChoice> for clap::ColorChoice {
    fn from(choice: ColourChoice) -> Self {
        match choice {
            ColourChoice::Auto => Self::Auto,
            ColourChoice::Always => Self::Always,
            ColourChoice::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_found_wherever_it_was_typed() {
        for (line, choice) in [
            ("magpie --help", ColourChoice::Auto),
            ("magpie --color never --help", ColourChoice::Never),
            ("magpie send --color=always --wrong", ColourChoice::Always),
            ("magpie --color purple", ColourChoice::Auto),
            ("magpie send always", ColourChoice::Auto),
        ] {
            let words = line.split(' ').map(OsString::from);
            assert_eq!(ColourChoice::typed(words), choice, "{line}");
        }
    }

    #[test]
    fn the_flag_is_stronger_than_the_environment_and_that_than_the_terminal() {
        use ColourChoice::{Always, Auto, Never};
        let decide = |choice: ColourChoice, is_terminal, set: &[(&str, &str)]| {
            choice.decide(is_terminal, |name| {
                let mut found = set.iter().filter(|(key, _)| *key == name);
                found.next().map(|(_, value)| OsString::from(value))
            })
        };
        let xterm = ("TERM", "xterm-256color");
        let no = ("NO_COLOR", "1");
        let force = ("CLICOLOR_FORCE", "1");
        for (choice, is_terminal, set, expected) in [
            (Auto, true, &[xterm][..], true),
            (Auto, false, &[xterm], false),
            (Auto, true, &[("TERM", "dumb")], false),
            (Auto, true, &[], false),
            (Auto, true, &[xterm, no], false),
            (Auto, true, &[xterm, ("NO_COLOR", "")], true),
            (Auto, true, &[xterm, ("CLICOLOR", "0")], false),
            (Auto, false, &[force], true),
            (Auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (Auto, false, &[force, no], false),
            (Always, false, &[no], true),
            (Never, true, &[xterm, force], false),
        ] {
            assert_eq!(
                decide(choice, is_terminal, set),
                expected,
                "{choice:?} {is_terminal} {set:?}"
            );
        }
    }
}
