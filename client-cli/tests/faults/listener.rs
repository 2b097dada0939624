//! Somebody who reads, however often their client is killed.

use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::{process::Process, town::Home};

/// What one run printed.
struct Run {
    lines: Vec<Value>,
    /// It began with a database that had gone back.
    is_rolled_back: bool,
}

/// `magpie listen`, again and again.
pub(crate) struct Listener {
    pub(crate) home: Home,
    /// What each run printed.
    runs: Vec<Run>,
    /// What comes next begins at an earlier place again.
    is_rolled_back: bool,
    process: Option<Process>,
}

impl Listener {
    pub(crate) fn new(home: &Home) -> Self {
        Self {
            home: home.clone(),
            runs: Vec::new(),
            is_rolled_back: false,
            process: None,
        }
    }

    pub(crate) fn start(&mut self) {
        self.process = Some(Process::start(&mut self.home.command(&["listen"])));
    }

    /// How many lines this run has printed.
    pub(crate) fn heard(&self) -> usize {
        let process = self.process.as_ref();
        process.map_or(0, |it| it.count().load(Ordering::SeqCst))
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            let lines = process.kill();
            self.note(lines);
        }
    }

    /// Its database is again as it was when it was saved.
    pub(crate) const fn forget(&mut self) {
        self.is_rolled_back = true;
    }

    fn note(&mut self, lines: Vec<Value>) {
        self.runs.push(Run {
            lines,
            is_rolled_back: std::mem::take(&mut self.is_rolled_back),
        });
    }

    /// Reads what is left until nothing comes any more; returns the messages of
    /// all runs in the order in which they were printed.
    ///
    /// A client that dies between a line and its mark prints that line again:
    /// the first of a run may be the last one of the run before. No other
    /// repeat is forgiven, but for a client whose database went back: it prints
    /// again, word for word, what it had forgotten. What was said to be dropped is
    /// no message any more.
    pub(crate) fn finish(mut self) -> Vec<Value> {
        self.kill();
        let rest = self.home.done(&["listen", "--until-idle", "1"]);
        self.note(rest);
        let mut messages: Vec<Value> = Vec::new();
        let mut is_behind = false;
        for run in self.runs {
            let mut lines = run.lines;
            is_behind |= run.is_rolled_back;
            if is_behind {
                let is_known = |line: &Value| line["type"] == "message" && messages.contains(line);
                lines.retain(|line| !is_known(line));
                // It may be killed before it is as far as it was.
                is_behind = !lines.iter().any(|line| line["type"] == "message");
            }
            let mut is_first = true;
            for line in lines {
                if line["type"] == "dropped" {
                    let above = line["above_seq"].as_u64();
                    messages.retain(|it| {
                        it["conversation_id"] != line["conversation_id"]
                            || it["seq"].as_u64() <= above
                    });
                }
                if line["type"] != "message" {
                    continue;
                }
                let is_repeat = std::mem::take(&mut is_first) && messages.last() == Some(&line);
                if !is_repeat {
                    messages.push(line);
                }
            }
        }
        messages
    }
}
