//! A line for people, as it is made: whatever is written to it is only shown by
//! a terminal, never obeyed, and colours come from here alone.

use std::fmt::{self, Display, Write};

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use crate::printable::Printable;

/// A line for people that is being written.
#[derive(Debug)]
pub(crate) struct Painter {
    line: String,
    coloured: bool,
}

/// What a part of a line is, which decides its colour.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'name> {
    /// Ids, moments and numbers: there when looked for.
    Aside,
    /// A user; each has a colour.
    User(&'name str),
    /// A conversation.
    Place,
    /// Something is done.
    Done,
    /// Something waits, or should be looked at.
    Waits,
    /// Something was refused or went wrong.
    Wrong,
}

/// Of users: every colour that reads well on dark and light, and is not a warning.
const USER_COLOURS: [AnsiColor; 5] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
];

impl Part<'_> {
    fn style(self) -> Style {
        match self {
            Self::Aside => Style::new().dimmed(),
            Self::User(name) => {
                let sum: usize = name.bytes().map(usize::from).sum();
                let colour = USER_COLOURS.get(sum % USER_COLOURS.len()).copied();
                Style::new().fg_color(colour.map(Into::into))
            }
            Self::Place => Style::new().bold(),
            Self::Done => AnsiColor::Green.on_default(),
            Self::Waits => AnsiColor::Yellow.on_default(),
            Self::Wrong => AnsiColor::Red.on_default().bold(),
        }
    }
}

impl Painter {
    pub(crate) const fn new(coloured: bool) -> Self {
        Self {
            line: String::new(),
            coloured,
        }
    }

    /// Writes a part in its colour.
    pub(crate) fn paint(&mut self, part: Part<'_>, text: impl Display) -> fmt::Result {
        if !self.coloured {
            return write!(self, "{text}");
        }
        let style = part.style();
        self.line.push_str(&style.render().to_string());
        write!(self, "{text}")?;
        self.line.push_str(&style.render_reset().to_string());
        Ok(())
    }

    /// Writes a part that takes at least `width` columns.
    pub(crate) fn column(
        &mut self,
        part: Part<'_>,
        text: impl Display,
        width: usize,
    ) -> fmt::Result {
        let text = text.to_string();
        self.paint(part, &text)?;
        let taken = Printable(&text).to_string().width();
        let blanks = width.saturating_sub(taken);
        write!(self, "{:blanks$}", "")
    }

    /// The line.
    pub(crate) fn finish(self) -> String {
        self.line
    }
}

impl Write for Painter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write!(self.line, "{}", Printable(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(coloured: bool, text: &str) -> String {
        let mut painter = Painter::new(coloured);
        painter.paint(Part::Wrong, text).unwrap();
        painter.write_str("!").unwrap();
        painter.finish()
    }

    #[test]
    fn colours_stand_around_a_part_and_none_come_from_its_text() {
        assert_eq!(painted(false, "a\u{1b}[32m"), "a\\u{1b}[32m!");
        let coloured = painted(true, "a\u{1b}[32m");
        assert!(coloured.starts_with('\u{1b}'), "{coloured:?}");
        assert!(coloured.contains("a\\u{1b}[32m\u{1b}[0m!"), "{coloured:?}");
    }

    #[test]
    fn a_column_is_as_wide_as_it_is_shown() {
        for (text, expected) in [
            ("ab", "ab  |"),
            ("世界", "世界|"),
            ("é", "é   |"),
            ("\n", "\\n  |"),
            ("abcdef", "abcdef|"),
        ] {
            let mut painter = Painter::new(false);
            painter.column(Part::Place, text, 4).unwrap();
            painter.write_str("|").unwrap();
            assert_eq!(painter.finish(), expected);
        }
    }
}
