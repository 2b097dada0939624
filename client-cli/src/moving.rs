//! How far bytes are that take long: a bar for people, lines for programs.

use std::{io, time::Duration};

use tokio::time::Instant;

use crate::{line::Line, output::Output, progress::Progress};

/// How often a program is told.
const INTERVAL: Duration = Duration::from_millis(250);

/// Bytes on their way. The bar is gone with this value.
pub(crate) struct Moving<'output> {
    output: &'output Output,
    bar: Option<Progress>,
    shown_at: Option<Instant>,
}

impl<'output> Moving<'output> {
    pub(crate) const fn new(output: &'output Output) -> Self {
        Self {
            output,
            bar: None,
            shown_at: None,
        }
    }

    /// So many bytes of all are there. `line` says it to a program, which is told now and
    /// then, and in the end.
    ///
    /// # Errors
    ///
    /// What standard output says.
    pub(crate) fn show(
        &mut self,
        (done, size): (u64, u64),
        line: impl FnOnce() -> Line,
    ) -> io::Result<()> {
        if !self.output.is_json() {
            if self.bar.is_none() {
                self.bar = self.output.progress_of_bytes(size);
            }
            self.bar.iter().for_each(|bar| bar.set(done));
            return Ok(());
        }
        let is_soon = |at: Instant| at.elapsed() < INTERVAL;
        if done < size && self.shown_at.is_some_and(is_soon) {
            return Ok(());
        }
        self.shown_at = Some(Instant::now());
        self.output.line(&line())
    }
}
