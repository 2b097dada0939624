//! Somebody who writes numbered messages, however often their client is killed.

use std::{
    io::Write as _,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::Duration,
};

use magpie_audit::check::{Outcome, Place};
use magpie_protocol::{id::MessageId, seq::Seq};
use serde_json::Value;

use crate::{plan::asked, process::Process, town::Home};

/// Between two lines, in milliseconds.
const PAUSE: u64 = 20;

/// One line that was handed to the client.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// What the client said of it, if it lived to say it.
    pub(crate) told: Option<(MessageId, Outcome)>,
}

/// `magpie send` with lines on its standard input, again and again.
pub(crate) struct Writer {
    pub(crate) home: Home,
    pub(crate) target: String,
    /// All lines handed in, in their order, over all runs.
    pub(crate) lines: Vec<Line>,
    /// Messages that a kill left in the outbox: they must arrive yet.
    pub(crate) owed: Vec<(MessageId, String)>,
    run: Option<Run>,
}

struct Run {
    process: Process,
    printed: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    /// Gives the texts that it handed in.
    feeding: JoinHandle<Vec<String>>,
}

impl Writer {
    pub(crate) fn new(home: &Home, target: &str) -> Self {
        Self {
            home: home.clone(),
            target: target.to_owned(),
            lines: Vec::new(),
            owed: Vec::new(),
            run: None,
        }
    }

    /// Starts a client and hands it one line after the other.
    pub(crate) fn start(&mut self) {
        let mut command = self.home.command(&["--timeout", "0", "send", &self.target]);
        let mut process = Process::start(command.stdin(Stdio::piped()));
        let mut stdin = process.stdin();
        let ends = Arc::new(AtomicBool::new(false));
        let pause = asked("MAGPIE_FAULT_PAUSE").unwrap_or(PAUSE);
        let (device, first, ended) = (self.home.device.clone(), self.lines.len(), ends.clone());
        let feeding = std::thread::spawn(move || {
            let mut texts = Vec::new();
            while !ended.load(Ordering::SeqCst) {
                let text = format!("{device} {:06}", first + texts.len());
                texts.push(text);
                // A killed client reads no more; the line may have got through.
                if writeln!(stdin, "{}", texts[texts.len() - 1]).is_err() {
                    break;
                }
                sleep(Duration::from_millis(pause));
            }
            texts
        });
        self.run = Some(Run {
            printed: process.count(),
            process,
            ends,
            feeding,
        });
    }

    /// Hands in one line, and waits for its answer.
    pub(crate) fn say(&mut self, what: &str) {
        let text = format!("{} {:06} {what}", self.home.device, self.lines.len());
        let answers = self.home.done(&["send", &self.target, &text]);
        self.note(vec![text], &answers);
    }

    /// Hands in so many lines at once, and waits for their answers.
    pub(crate) fn say_many(&mut self, count: usize, what: &str) {
        let first = self.lines.len();
        let texts: Vec<String> = (first..first + count)
            .map(|number| format!("{} {number:06} {what}", self.home.device))
            .collect();
        let mut command = self.home.command(&["send", &self.target]);
        let mut process = Process::start(command.stdin(Stdio::piped()));
        let mut stdin = process.stdin();
        for text in &texts {
            writeln!(stdin, "{text}").unwrap();
        }
        drop(stdin);
        let (status, answers) = process.wait("all is sent");
        assert!(status.success(), "{answers:?}");
        self.note(texts, &answers);
    }

    /// Hands in one line while there is no server: it waits in the outbox.
    pub(crate) fn leave_waiting(&mut self, what: &str) {
        let text = format!("{} {:06} {what}", self.home.device, self.lines.len());
        let args = ["--timeout", "1", "send", &self.target, &text];
        let (code, lines) = self.home.ended(&args);
        assert_eq!((code, &lines[0]["type"]), (Some(4), &"pending".into()));
        let id = lines[0]["message_id"].as_str().unwrap().parse().unwrap();
        self.owed.push((id, text.clone()));
        self.note(vec![text], &[]);
    }

    /// The server forgets what it has accepted from the line `from` on: those
    /// messages are owed, at whatever place.
    pub(crate) fn loses(&mut self, from: usize) {
        for line in self.lines.iter_mut().skip(from) {
            if let Some((id, _)) = line.told.take() {
                self.owed.push((id, line.text.clone()));
            }
        }
    }

    /// How many lines of this run are answered.
    pub(crate) fn answered(&self) -> usize {
        let run = self.run.as_ref();
        run.map_or(0, |run| run.printed.load(Ordering::SeqCst))
    }

    /// `kill -9`, and a look at what the client left in its outbox.
    pub(crate) fn kill(&mut self) {
        let Some(run) = self.run.take() else {
            return;
        };
        run.ends.store(true, Ordering::SeqCst);
        let answers = run.process.kill();
        let texts = run.feeding.join().unwrap();
        self.note(texts, &answers);
        self.look_into_outbox();
    }

    /// How much it was found to owe so far.
    pub(crate) const fn owes(&self) -> usize {
        self.owed.len()
    }

    /// Its database is again as it was when it was saved: it owes what was in its
    /// outbox then, besides the first `owed`, and not what it has forgotten.
    pub(crate) fn forget(&mut self, owed: usize) {
        self.owed.truncate(owed);
        self.look_into_outbox();
    }

    fn look_into_outbox(&mut self) {
        for entry in self.home.done(&["outbox"]) {
            if let (Some(id), Some(text)) = (entry["message_id"].as_str(), entry["text"].as_str()) {
                self.owed.push((id.parse().unwrap(), text.to_owned()));
            }
        }
    }

    /// Hands in no more, and waits until the client has answered every line.
    pub(crate) fn finish(&mut self) {
        let run = self.run.take().unwrap();
        run.ends.store(true, Ordering::SeqCst);
        let texts = run.feeding.join().unwrap();
        let what = format!("{} has an answer to every line", self.home.device);
        let (status, answers) = run.process.wait(&what);
        assert!(status.success(), "{what}: {status}");
        assert_eq!(answers.len(), texts.len(), "{what}: one each");
        self.note(texts, &answers);
    }

    /// The answers of one run come in the order of its lines.
    fn note(&mut self, texts: Vec<String>, answers: &[Value]) {
        assert!(answers.len() <= texts.len(), "more answers than lines");
        let mut answers = answers.iter();
        for text in texts {
            let told = answers.next().map(told);
            self.lines.push(Line { text, told });
        }
    }
}

/// What a line of `magpie send` says.
fn told(answer: &Value) -> (MessageId, Outcome) {
    let id = answer["message_id"].as_str();
    let id = id.unwrap_or_else(|| panic!("no message_id: {answer}"));
    let outcome = match answer["type"].as_str() {
        Some("accepted") => Outcome::Accepted(place(answer)),
        // Nothing that these writers do may be refused.
        _ => panic!("not accepted: {answer}"),
    };
    (id.parse().unwrap(), outcome)
}

/// Where an accepted message or an event is.
pub(crate) fn place(line: &Value) -> Place {
    let conversation = line["conversation_id"].as_str().unwrap();
    Place {
        conversation: conversation.parse().unwrap(),
        seq: Seq::new(line["seq"].as_u64().unwrap()),
    }
}
