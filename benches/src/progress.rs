//! That something long moves: for a person at a terminal, and nobody else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the line moves when nothing else does.
const TICK: Duration = Duration::from_millis(100);

/// A line on standard error, if that is a terminal, while this value lives.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        let line = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
            line.set_style(style);
        }
        line.enable_steady_tick(TICK);
        Self(line)
    }

    /// What is going on now.
    pub(crate) fn tell(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
