//! What others wrote, made safe for a terminal.

use std::fmt::{self, Write};

/// Text of others as one line that a terminal only shows: control characters,
/// and those that reorder or break lines, are written as escapes.
pub(crate) struct Printable<'text>(pub(crate) &'text str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if is_harmless(character) {
                formatter.write_char(character)?;
            } else {
                write!(formatter, "{}", character.escape_default())?;
            }
        }
        Ok(())
    }
}

/// JSON that says the same and is as harmless, for a terminal that a program's
/// output is shown on. What is not harmless can only be inside a string.
pub(crate) fn harmless_json(json: &str) -> String {
    let mut harmless = String::with_capacity(json.len());
    for character in json.chars() {
        if is_harmless(character) {
            harmless.push(character);
        } else {
            // None of them is above U+FFFF.
            harmless.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
    }
    harmless
}

/// Whether a terminal only shows it.
pub(crate) fn is_harmless(character: char) -> bool {
    let reorders = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
    );
    let breaks = matches!(character, '\u{2028}' | '\u{2029}');
    !character.is_control() && !reorders && !breaks
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2Jb\nc\u{9b}d\u{202e}e\u{7f}";

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(
            Printable(HOSTILE).to_string(),
            "a\\u{1b}[2Jb\\nc\\u{9b}d\\u{202e}e\\u{7f}"
        );
        assert_eq!(Printable("Grüße, 世界 🐦").to_string(), "Grüße, 世界 🐦");
    }

    #[test]
    fn json_is_harmless_and_says_the_same() {
        let json = harmless_json(&serde_json::to_string(HOSTILE).unwrap());
        assert!(json.chars().all(is_harmless), "{json:?}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), HOSTILE);
    }
}
