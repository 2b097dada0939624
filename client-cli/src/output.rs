//! Where lines go: standard output, one at a time, each flushed.

use std::io::{self, Write};

use crate::line::Line;

/// Standard output, for people or for programs.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
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
        let mut bytes = if self.json {
            serde_json::to_vec(line)?
        } else {
            line.to_string().into_bytes()
        };
        bytes.push(b'\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()
    }

    /// Says something to a person, beside the lines. Nobody may be there.
    #[expect(
        clippy::unused_self,
        reason = "notes belong to the output they stand beside"
    )]
    pub(crate) fn note(&self, sentence: &str) {
        drop(writeln!(io::stderr(), "magpie: {sentence}"));
    }
}
