//! A device whose client is two processes, `magpie send` and `magpie listen`, to
//! be killed.

use std::{
    collections::{HashMap, VecDeque},
    env,
    ffi::OsStr,
    fs::File,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use magpie_audit::{Digest, Event as LogEvent, Place};
use magpie_client::{ConversationId, Home, MessageId, Operation, Seq, UserId};
use magpie_proxy::Random;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    device::{Phase, Seat},
    notes::{GROUP_CREATED, Notes},
};
use crate::failure::Failure;

/// How long a client that has nothing to do may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Says when a client was killed.
pub(super) type Kill = oneshot::Sender<()>;

/// A device of which this process sees only what a person would.
#[derive(Debug)]
pub(super) struct Processes {
    pub(super) seat: Seat,
    pub(super) notes: Notes,
    /// By their names.
    users: Arc<HashMap<String, UserId>>,
    random: Random,
    count: u64,
    /// Where this run of `magpie send` writes.
    target: Option<ConversationId>,
    writer: Option<Running>,
    listener: Option<Running>,
    /// What the listener printed last.
    heard: Option<MessageId>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stdin: Option<ChildStdin>,
    /// What it was handed and has not answered, as the notes number it.
    open: VecDeque<usize>,
    /// It has printed nothing yet.
    is_new: bool,
}

impl Processes {
    pub(super) const fn new(
        seat: Seat,
        notes: Notes,
        users: Arc<HashMap<String, UserId>>,
        random: Random,
    ) -> Self {
        Self {
            seat,
            notes,
            users,
            random,
            count: 0,
            target: None,
            writer: None,
            listener: None,
            heard: None,
        }
    }

    /// Writes and reads until it is over, however often it is killed.
    pub(super) async fn run(
        mut self,
        mut phase: watch::Receiver<Phase>,
        mut kills: mpsc::Receiver<Kill>,
    ) -> Result<Self, Failure> {
        self.listener = Some(self.spawn(&["listen"])?);
        let mut write_at = Instant::now() + self.seat.pause(&mut self.random);
        loop {
            let now = *phase.borrow_and_update();
            if now == Phase::Over {
                self.end().await?;
                return Ok(self);
            }
            tokio::select! {
                line = next_line(&mut self.listener) => {
                    self.heard(&line?);
                    // Only now it certainly holds the connection, without which it
                    // would end; `send` does beside another.
                    if self.writer.is_none() {
                        self.start_to_write()?;
                    }
                }
                line = next_line(&mut self.writer) => self.answered(&line?),
                () = sleep_until(write_at), if now == Phase::Writing => {
                    self.write().await?;
                    write_at += self.seat.pause(&mut self.random);
                }
                Some(kill) = kills.recv() => {
                    self.kill().await?;
                    // Who asked may have given up.
                    kill.send(()).ok();
                    self.listener = Some(self.spawn(&["listen"])?);
                }
                _ = phase.changed() => {}
            }
        }
    }

    fn start_to_write(&mut self) -> Result<(), Failure> {
        self.target = self.seat.target(&mut self.random);
        let target = self.target.map(|it| it.to_string()).unwrap_or_default();
        self.writer = Some(self.spawn(&["send", &target])?);
        Ok(())
    }

    fn spawn(&self, arguments: &[&str]) -> Result<Running, Failure> {
        let path = self.seat.directory.with_extension("log");
        let unwritable = |error| Failure::File {
            path: path.display().to_string(),
            error,
        };
        let log = File::options().append(true).create(true).open(&path);
        let mut command = Command::new(env::current_exe().map_err(unwritable)?);
        command
            .args(["--json", "--timeout", "0", "--server", &self.seat.address])
            .args([OsStr::new("--home"), self.seat.directory.as_os_str()]);
        if let Some(ca) = &self.seat.ca {
            command.args([OsStr::new("--ca"), ca.as_os_str()]);
        }
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.map_err(unwritable)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(unwritable)?;
        let out = child.stdout.take();
        let out = out.ok_or_else(|| Failure::Lost("a client has no output".to_owned()))?;
        Ok(Running {
            lines: BufReader::new(out).lines(),
            stdin: child.stdin.take(),
            child,
            open: VecDeque::new(),
            is_new: true,
        })
    }

    async fn write(&mut self) -> Result<(), Failure> {
        if let Some(writer) = &mut self.writer
            && let Some(stdin) = &mut writer.stdin
        {
            self.count += 1;
            let text = self.seat.text(self.count, &mut self.random);
            let number = self.notes.sends(text.clone(), self.target);
            self.seat.board.has_sent(self.seat.number);
            writer.open.push_back(number);
            let line = format!("{text}\n");
            stdin.write_all(line.as_bytes()).await?;
        }
        Ok(())
    }

    /// `magpie send` says one line for each that it was handed.
    fn answered(&mut self, line: &Value) {
        let open = self.writer.as_mut().and_then(|it| it.open.pop_front());
        let Some((number, id)) = open.zip(id(line)) else {
            return;
        };
        self.notes.has_id(number, id);
        self.seat.board.is_answered(self.seat.number);
        match (line.get("type").and_then(Value::as_str), place(line)) {
            (Some("accepted"), Some(place)) => {
                self.notes.accepted(id, place);
                self.seat.board.is_committed(place);
            }
            (Some("error"), _) => self.notes.refused(id),
            _ => {}
        }
    }

    fn heard(&mut self, line: &Value) {
        let (Some(place), Some(id)) = (place(line), id(line)) else {
            return;
        };
        let is_first = self
            .listener
            .as_mut()
            .is_some_and(|it| std::mem::take(&mut it.is_new));
        // Who is killed between a line and its mark prints that line again.
        if self.heard.replace(id) == Some(id) && is_first {
            return;
        }
        let text = line.get("text").and_then(Value::as_str);
        let sender = line.get("sender").and_then(Value::as_str);
        self.notes.showed(LogEvent {
            place,
            message_id: id,
            sender: sender.and_then(|name| self.users.get(name)).copied(),
            digest: Digest::of(text.unwrap_or(GROUP_CREATED).as_bytes()),
        });
        self.seat.board.has_shown(self.seat.number, place);
    }

    /// `kill -9`, and a look at what is in the outbox.
    async fn kill(&mut self) -> Result<(), Failure> {
        for line in killed(&mut self.writer).await? {
            self.answered(&line);
        }
        for line in killed(&mut self.listener).await? {
            self.heard(&line);
        }
        (self.writer, self.listener) = (None, None);
        self.look_into_outbox()?;
        self.seat.board.will_not_be_answered(self.seat.number);
        self.notes.restarted();
        Ok(())
    }

    fn look_into_outbox(&mut self) -> Result<(), Failure> {
        let mut ids = HashMap::new();
        for entry in Home::open(&self.seat.directory)?.outbox() {
            let entry = entry?;
            if let Operation::Send { message, .. } = entry.operation {
                ids.insert(message.text, entry.id);
            }
        }
        self.notes.texts_have_ids(&ids);
        Ok(())
    }

    /// Lets `send` end by itself, and ends `listen`.
    async fn end(&mut self) -> Result<(), Failure> {
        if let Some(writer) = &mut self.writer {
            writer.stdin = None;
            drop(timeout(END_TIMEOUT, writer.child.wait()).await);
        }
        self.kill().await
    }
}

/// Kills it with -9. What it had printed was said.
async fn killed(running: &mut Option<Running>) -> Result<Vec<Value>, Failure> {
    let mut rest = Vec::new();
    if let Some(running) = running {
        running.child.kill().await?;
        while let Some(line) = running.lines.next_line().await? {
            // Only the last line may be cut short, and is none then.
            rest.extend(serde_json::from_str::<Value>(&line));
        }
    }
    Ok(rest)
}

async fn next_line(running: &mut Option<Running>) -> Result<Value, Failure> {
    let Some(running) = running else {
        return std::future::pending().await;
    };
    let line = running.lines.next_line().await?;
    let ended = || Failure::Lost("a client ended by itself; its log says why".to_owned());
    serde_json::from_str(&line.ok_or_else(ended)?)
        .map_err(|error| Failure::Lost(format!("a client printed what is no JSON: {error}")))
}

fn id(line: &Value) -> Option<MessageId> {
    line.get("message_id")?.as_str()?.parse().ok()
}

fn place(line: &Value) -> Option<Place> {
    Some(Place {
        conversation: line.get("conversation_id")?.as_str()?.parse().ok()?,
        seq: Seq::new(line.get("seq")?.as_u64()?),
    })
}
