//! Somebody who reads, however often their client is killed.

use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::{process::Process, town::Home};

/// `magpie listen`, again and again.
pub(crate) struct Listener {
    pub(crate) home: Home,
    /// What each run printed.
    runs: Vec<Vec<Value>>,
    process: Option<Process>,
}

impl Listener {
    pub(crate) fn new(home: &Home) -> Self {
        Self {
            home: home.clone(),
            runs: Vec::new(),
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
            self.runs.push(process.kill());
        }
    }

    /// Reads what is left until nothing comes any more; returns the messages of
    /// all runs in the order in which they were printed.
    ///
    /// A client that dies between a line and its mark prints that line again:
    /// the first of a run may be the last one of the run before. No other
    /// repeat is forgiven. What was said to be dropped is no message any more.
    pub(crate) fn finish(mut self) -> Vec<Value> {
        self.kill();
        self.runs
            .push(self.home.done(&["listen", "--until-idle", "1"]));
        let mut messages: Vec<Value> = Vec::new();
        for run in self.runs {
            let mut is_first = true;
            for line in run {
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
