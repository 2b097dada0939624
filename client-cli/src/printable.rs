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

fn is_harmless(character: char) -> bool {
    let reorders = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let breaks = matches!(character, '\u{2028}' | '\u{2029}');
    !character.is_control() && !reorders && !breaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        let text = "a\u{1b}[2Jb\nc\u{9b}d\u{202e}e";
        assert_eq!(
            Printable(text).to_string(),
            "a\\u{1b}[2Jb\\nc\\u{9b}d\\u{202e}e"
        );
        assert_eq!(Printable("Grüße, 世界 🐦").to_string(), "Grüße, 世界 🐦");
    }
}
