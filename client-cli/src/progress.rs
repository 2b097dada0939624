//! That something long moves: for a person at a terminal, and nobody else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar moves when nothing else does.
const TICK: Duration = Duration::from_millis(100);

/// A line below all others that counts, while this value lives. Nothing of it
/// is left then.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Shows `bar` on standard error, if that is a terminal; it counts what
    /// `unit` says, such as "sent".
    pub(crate) fn new(bar: &ProgressBar, unit: &'static str) -> Self {
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg}, {per_sec:0}") {
            bar.set_style(style);
        }
        bar.set_message(unit);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(TICK);
        Self(bar.clone())
    }

    /// Shows bytes, of which there are so many.
    pub(crate) fn of_bytes(bar: &ProgressBar, size: u64) -> Self {
        let style = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.reset();
        bar.set_length(size);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.enable_steady_tick(TICK);
        Self(bar.clone())
    }

    /// So many by now.
    pub(crate) fn set(&self, count: u64) {
        self.0.set_position(count);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        self.0.set_draw_target(ProgressDrawTarget::hidden());
    }
}
