//! Where lines go: standard output, one at a time, each flushed.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
};

use indicatif::ProgressBar;

use crate::{
    args::Global,
    line::Line,
    paint::{Painter, Part},
    printable::harmless_json,
    progress::Progress,
};

/// Standard output, for people or for programs.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    coloured: bool,
    notes_coloured: bool,
    /// Lines and the bar are on one screen.
    bar_is_below: bool,
    /// Hidden unless something long goes on.
    bar: ProgressBar,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let on_terminal = io::stdout().is_terminal();
        Self {
            json: global.json,
            coloured: global.color.is_on(on_terminal),
            notes_coloured: global.color.is_on(io::stderr().is_terminal()),
            bar_is_below: on_terminal,
            bar: ProgressBar::hidden(),
        }
    }

    /// Shows a person that something long moves, until the value is dropped.
    /// Programs are not shown it.
    pub(crate) fn progress(&self, unit: &'static str) -> Option<Progress> {
        (!self.json).then(|| Progress::new(&self.bar, unit))
    }

    /// The same of bytes, of which there are so many.
    pub(crate) fn progress_of_bytes(&self, size: u64) -> Option<Progress> {
        (!self.json).then(|| Progress::of_bytes(&self.bar, size))
    }

    /// Whether a program reads it.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one line; once this returns, it has left this process.
    ///
    /// # Errors
    ///
    /// What standard output says; a broken pipe means that nobody reads on.
    pub(crate) fn line(&self, line: &Line) -> io::Result<()> {
        let mut text = if self.json {
            harmless_json(&serde_json::to_string(line)?)
        } else {
            line.for_people(self.coloured).map_err(io::Error::other)?
        };
        text.push('\n');
        let print = || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes())?;
            stdout.flush()
        };
        if self.bar_is_below {
            self.bar.suspend(print)
        } else {
            print()
        }
    }

    /// Says something to a person, beside the lines. Nobody may be there.
    pub(crate) fn note(&self, sentence: &str) {
        self.beside(Part::Waits, sentence);
    }

    /// Says why a command could not be done, beside the lines.
    pub(crate) fn failure(&self, sentence: &str) {
        self.beside(Part::Wrong, sentence);
    }

    fn beside(&self, part: Part<'_>, sentence: &str) {
        let mut painter = Painter::new(self.notes_coloured);
        let painted = painter.paint(part, "magpie:");
        if painted
            .and_then(|()| write!(painter, " {sentence}"))
            .is_ok()
        {
            let line = painter.finish();
            self.bar.suspend(|| drop(writeln!(io::stderr(), "{line}")));
        }
    }
}
