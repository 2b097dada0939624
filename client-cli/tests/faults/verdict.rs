//! What the clients said and stored, and whether it keeps the promises.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

use magpie_audit::{
    Digest,
    check::{Kind, Outcome, Reader, Sending, Shown, Violation, check},
};
use magpie_protocol::{
    id::{ConversationId, MessageId},
    seq::Seq,
};
use serde_json::Value;

use crate::{
    listener::Listener,
    plan::Plan,
    town::{Home, Town},
    writer::{Writer, place},
};

/// The evidence of one test.
#[derive(Clone)]
pub(crate) struct Verdict {
    plan: String,
    sendings: Vec<Sending>,
    readers: Vec<Reader>,
    /// Messages that a client had in its durable outbox: they must have arrived.
    owed: Vec<(MessageId, String)>,
    /// What is not in order already.
    found: Vec<String>,
    kept_at: String,
}

/// What can be done to a good history, to see that it is noticed.
pub(crate) type Mutation = (&'static str, fn(&mut Verdict));

pub(crate) const MUTATIONS: &[Mutation] = &[
    ("a lost last message", |it| {
        it.readers[0].shown.pop();
    }),
    ("a lost message in the middle", |it| {
        it.readers[0].shown.remove(5);
    }),
    ("a message shown twice", |it| {
        let again = it.readers[0].shown[5];
        it.readers[0].shown.insert(6, again);
    }),
    ("two messages in the wrong order", |it| {
        it.readers[0].shown.swap(5, 6);
    }),
    ("another order on one device", |it| {
        let (one, two) = (it.readers[0].shown[5], it.readers[0].shown[6]);
        (it.readers[0].shown[5], it.readers[0].shown[6]) = (
            Shown {
                place: one.place,
                ..two
            },
            Shown {
                place: two.place,
                ..one
            },
        );
    }),
    ("a sender's messages in another order", |it| {
        it.sendings.swap(5, 6);
    }),
    ("another text", |it| {
        it.readers[0].shown[5].digest = Digest::of(b"forged");
    }),
    ("a message that nobody sent", |it| {
        drop(it.sendings.remove(5))
    }),
    ("an owed message that never arrived", |it| {
        it.owed.push((MessageId::new([1; 16]), "lost".to_owned()));
    }),
];

impl Verdict {
    /// Heals the world, lets every device catch up, and takes the evidence.
    pub(crate) fn reach(
        plan: &Plan,
        mut town: Town,
        writers: Vec<Writer>,
        listeners: Vec<Listener>,
    ) -> Self {
        let mut it = Self {
            plan: format!("{}: MAGPIE_FAULT_SEED={}", plan.name(), plan.seed()),
            sendings: Vec::new(),
            readers: Vec::new(),
            owed: Vec::new(),
            found: Vec::new(),
            kept_at: String::new(),
        };
        let mut homes: BTreeMap<String, Home> = BTreeMap::new();
        for home in writers.iter().map(|writer| &writer.home) {
            homes.insert(home.device.clone(), home.clone());
        }
        for listener in &listeners {
            homes.insert(listener.home.device.clone(), listener.home.clone());
        }
        let mut printed: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for listener in listeners {
            printed.insert(listener.home.device.clone(), listener.finish());
        }
        // Twice: what one device sent during the first round, the others have
        // after the second.
        for home in homes.values().chain(homes.values()) {
            home.done(&["sync"]);
        }
        for home in homes.values() {
            it.audit(home);
            // Who never listened prints all of it now, and who did the rest.
            let rest = home.done(&["listen", "--until-idle", "1"]);
            let all = printed.entry(home.device.clone()).or_default();
            all.extend(rest.into_iter().filter(|line| line["type"] == "message"));
        }
        // From here on it is what the devices have stored, and nothing else.
        town.server.kill();
        let conversations = Self::conversations(&writers);
        let mut stored: HashMap<String, BTreeSet<MessageId>> = HashMap::new();
        for home in homes.values() {
            let printed = printed.remove(&home.device).unwrap_or_default();
            it.read(
                &format!("{}'s output", home.device),
                &printed,
                &conversations,
            );
            let history = conversations.keys().flat_map(|id| history(home, *id));
            let history: Vec<Value> = history.collect();
            for line in &history {
                let text = line["text"].as_str().unwrap_or_default().to_owned();
                let id = line["message_id"].as_str().unwrap().parse().unwrap();
                stored.entry(text).or_default().insert(id);
            }
            it.read(
                &format!("{}'s database", home.device),
                &history,
                &conversations,
            );
        }
        for writer in writers {
            it.sent(writer, &stored);
        }
        if !it.violations().is_empty() {
            it.kept_at = town.keep().display().to_string();
        }
        it
    }

    /// The device's own check, and its outbox.
    fn audit(&mut self, home: &Home) {
        // A difference, which it tells by its exit code, is told below.
        let (_, audited) = home.ended(&["audit"]);
        let last = audited.last().cloned().unwrap_or_default();
        for field in ["missing", "extra", "different", "miscounted", "unfetched"] {
            if last[field] != 0 {
                self.found
                    .push(format!("{}: audit says {last}", home.device));
            }
        }
        let waiting = home.done(&["outbox"]);
        let waiting = waiting.iter().filter(|line| line["message_id"].is_string());
        for entry in waiting {
            self.found
                .push(format!("{}: still in the outbox: {entry}", home.device));
        }
    }

    /// The conversations that were written to, and the first message's seq: a
    /// group begins with its making.
    fn conversations(writers: &[Writer]) -> BTreeMap<ConversationId, Seq> {
        let mut first = BTreeMap::new();
        for writer in writers {
            let group = writer.target.parse();
            let seq = Seq::new(if group.is_ok() { 2 } else { 1 });
            first.extend(group.map(|id| (id, seq)));
            for line in &writer.lines {
                if let Some((_, Outcome::Accepted(place))) = line.told {
                    first.insert(place.conversation, seq);
                }
            }
        }
        first
    }

    fn read(&mut self, name: &str, lines: &[Value], from: &BTreeMap<ConversationId, Seq>) {
        let shown = lines.iter().map(|line| Shown {
            place: place(line),
            message_id: line["message_id"].as_str().unwrap().parse().unwrap(),
            digest: Digest::of(line["text"].as_str().unwrap().as_bytes()),
        });
        self.readers.push(Reader {
            device: name.to_owned(),
            from: from.clone(),
            shown: shown.collect(),
        });
    }

    /// What was handed in. Of a line without an answer only its text is known;
    /// whoever stored it knows its id.
    fn sent(&mut self, writer: Writer, stored: &HashMap<String, BTreeSet<MessageId>>) {
        let device = writer.home.device.clone();
        for line in writer.lines {
            let ids = stored.get(&line.text).cloned().unwrap_or_default();
            if ids.len() > 1 {
                let text = &line.text;
                self.found.push(format!(
                    "one line became several messages: {text:?}, {ids:?}"
                ));
            }
            let known = line
                .told
                .or_else(|| Some((*ids.first()?, Outcome::Unknown)));
            if let Some((message_id, outcome)) = known {
                self.sendings.push(Sending {
                    device: device.clone(),
                    message_id,
                    digest: Digest::of(line.text.as_bytes()),
                    outcome,
                });
            }
        }
        self.owed.extend(writer.owed);
    }

    /// Every promise that was broken, as a story.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut violations = self.found.clone();
        let broken = check(&self.sendings, &self.readers);
        violations.extend(broken.iter().map(ToString::to_string));
        for reader in &self.readers {
            let shown: BTreeSet<_> = reader.shown.iter().map(|it| it.message_id).collect();
            for (id, text) in &self.owed {
                if !shown.contains(id) {
                    let device = &reader.device;
                    violations.push(format!(
                        "{id} ({text:?}) was in a durable outbox and is not in {device}"
                    ));
                }
            }
        }
        violations
    }

    /// How many messages their senders were told are accepted.
    pub(crate) fn accepted(&self) -> usize {
        let accepted = self.sendings.iter();
        accepted.filter(|it| it.outcome != Outcome::Unknown).count()
    }

    /// The broken promises of D1 and D2.
    pub(crate) fn lost(&self) -> Vec<Violation> {
        let mut broken = check(&self.sendings, &self.readers);
        broken.retain(|it| it.kind == Kind::Lost);
        broken
    }

    /// Removes the files of a test in which promises had to be broken.
    pub(crate) fn discard(self) {
        std::fs::remove_dir_all(self.kept_at).unwrap();
    }

    pub(crate) fn assert_kept(&self) {
        let accepted = self.accepted();
        let required = accepted + self.owed.len();
        assert!(
            required >= 10,
            "{}: only {required} must be there",
            self.plan
        );
        println!(
            "{}: {accepted} accepted, {} of unknown outcome, {} owed by outboxes, {} readers",
            self.plan,
            self.sendings.len() - accepted,
            self.owed.len(),
            self.readers.len()
        );
        let violations = self.violations();
        if violations.is_empty() {
            return;
        }
        let mut story = String::new();
        for violation in violations.iter().take(20) {
            writeln!(story, "  {violation}").unwrap();
        }
        panic!(
            "{}: {} violations; files in {}\n{story}",
            self.plan,
            violations.len(),
            self.kept_at
        );
    }
}

/// All messages of a conversation that a device has stored, oldest first.
pub(crate) fn history(home: &Home, conversation: ConversationId) -> Vec<Value> {
    const LIMIT: usize = 2_000;
    let conversation = conversation.to_string();
    let mut pages: Vec<Vec<Value>> = Vec::new();
    let mut before = None;
    loop {
        let limit = LIMIT.to_string();
        let mut args = vec!["history", &conversation, "--limit", &limit];
        let before_text: String;
        if let Some(seq) = before {
            before_text = u64::to_string(&seq);
            args.extend(["--before", &before_text]);
        }
        let page = home.done(&args);
        let seqs = page.iter().filter_map(|line| line["seq"].as_u64());
        let Some(first) = seqs.min() else {
            break;
        };
        before = Some(first);
        pages.push(page);
        if first == 1 {
            break;
        }
    }
    let lines = pages.into_iter().rev().flatten();
    lines.filter(|line| line["type"] == "message").collect()
}
