//! A schedule of faults: text, one fault a line, in the order in which they
//! strike. What a test prints when it fails, and what it runs again.
//!
//! ```text
//! # from here to the end of the line is a comment
//! at 300ms stop server
//! at 1s cut clients
//! at 2500ms continue server
//! ```
//!
//! Moments count from the beginning. A fault that lasts past the moment of the
//! next one delays it. docs/reliability.md has all faults.

use std::{fmt, str::FromStr, time::Duration};

use magpie_sim::proxy::{Direction, Fate};

/// Faults and their moments.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Schedule(pub(crate) Vec<(Duration, Fault)>);

/// Whose connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Net {
    /// Between clients and server.
    Clients,
    /// Between server and `PostgreSQL`.
    Database,
}

/// A client that writes or listens: the first, the second, ... one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Client {
    Writer(usize),
    Listener(usize),
}

/// One fault, and its end if it has one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// `kill -9`, and a new start.
    KillServer,
    /// It stands still.
    StopServer,
    /// It goes on.
    ContinueServer,
    /// `kill -9`, and a new start.
    Kill(Client),
    /// Remembers its database, to go back to.
    Save(Client),
    /// Its database is again as it was when it was saved.
    RollBack(Client),
    /// All connections are cut.
    Cut(Net),
    /// Each new one is cut after a random number of bytes.
    CutInMidFrame(Net, Duration),
    /// Nobody hears anything any more, and nobody is told.
    HalfOpen(Net),
    /// Bytes wait.
    Stall(Net, Direction, Duration),
    /// Bytes are lost, and nobody is told; then the connections are cut.
    Swallow(Net, Direction, Duration),
    /// Bytes come that much later.
    Delay(Net, Direction, Duration, Duration),
    /// New connections are closed at once.
    Refuse(Net, Duration),
    /// The next commit is not answered.
    LoseCommit(Fate),
    /// There is no room on the database's disk.
    FillDisk(Duration),
    /// In order.
    RestartPostgres,
    /// All its processes, with -9, and a new start.
    KillPostgres,
    /// Some of those that serve the server.
    EndBackends(u64),
    /// The database is killed for good, and its standby takes over.
    FailOver,
}

impl Schedule {
    /// When the last fault strikes.
    pub(crate) fn length(&self) -> Duration {
        self.0.last().map_or(Duration::ZERO, |(at, _)| *at)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in &self.0 {
            writeln!(formatter, "at {} {fault}", Span(*at))?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut schedule = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let [at, moment, rest @ ..] = words.as_slice() else {
                if words.is_empty() {
                    continue;
                }
                return Err(format!("line {}: write `at MOMENT FAULT`", index + 1));
            };
            let parsed = span(moment).filter(|_| *at == "at").zip(fault(rest));
            let (at, fault) =
                parsed.ok_or_else(|| format!("line {}: no such fault: {line:?}", index + 1))?;
            if at < schedule.length() {
                return Err(format!("line {}: it comes before the one above", index + 1));
            }
            schedule.0.push((at, fault));
        }
        Ok(schedule)
    }
}

/// Written in whole milliseconds or seconds.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        if milliseconds.is_multiple_of(1_000) {
            write!(formatter, "{}s", milliseconds / 1_000)
        } else {
            write!(formatter, "{milliseconds}ms")
        }
    }
}

fn span(text: &str) -> Option<Duration> {
    if let Some(milliseconds) = text.strip_suffix("ms") {
        return milliseconds.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

impl fmt::Display for Net {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Clients => "clients",
            Self::Database => "database",
        })
    }
}

impl fmt::Display for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writer(index) => write!(formatter, "writer {}", index + 1),
            Self::Listener(index) => write!(formatter, "listener {}", index + 1),
        }
    }
}

const fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::KillServer => write!(to, "kill server"),
            Self::StopServer => write!(to, "stop server"),
            Self::ContinueServer => write!(to, "continue server"),
            Self::Kill(client) => write!(to, "kill {client}"),
            Self::Save(client) => write!(to, "save {client}"),
            Self::RollBack(client) => write!(to, "roll back {client}"),
            Self::Cut(net) => write!(to, "cut {net}"),
            Self::CutInMidFrame(net, lasts) => {
                write!(to, "cut {net} in mid-frame for {}", Span(lasts))
            }
            Self::HalfOpen(net) => write!(to, "half-open {net}"),
            Self::Stall(net, direction, lasts) => {
                write!(to, "stall {net} {} for {}", name(direction), Span(lasts))
            }
            Self::Swallow(net, direction, lasts) => {
                write!(to, "swallow {net} {} for {}", name(direction), Span(lasts))
            }
            Self::Delay(net, direction, by, lasts) => write!(
                to,
                "delay {net} {} by {} for {}",
                name(direction),
                Span(by),
                Span(lasts)
            ),
            Self::Refuse(net, lasts) => write!(to, "refuse {net} for {}", Span(lasts)),
            Self::LoseCommit(Fate::Committed) => write!(to, "lose commit committed"),
            Self::LoseCommit(Fate::Undone) => write!(to, "lose commit undone"),
            Self::LoseCommit(Fate::Late(by)) => write!(to, "lose commit late by {}", Span(by)),
            Self::FillDisk(lasts) => write!(to, "fill disk for {}", Span(lasts)),
            Self::RestartPostgres => write!(to, "restart postgres"),
            Self::KillPostgres => write!(to, "kill postgres"),
            Self::EndBackends(count) => write!(to, "end {count} backends"),
            Self::FailOver => write!(to, "fail over"),
        }
    }
}

fn fault(words: &[&str]) -> Option<Fault> {
    Some(match *words {
        ["kill", "server"] => Fault::KillServer,
        ["stop", "server"] => Fault::StopServer,
        ["continue", "server"] => Fault::ContinueServer,
        ["restart", "postgres"] => Fault::RestartPostgres,
        ["kill", "postgres"] => Fault::KillPostgres,
        ["fail", "over"] => Fault::FailOver,
        ["end", count, "backends"] => Fault::EndBackends(count.parse().ok()?),
        ["fill", "disk", "for", lasts] => Fault::FillDisk(span(lasts)?),
        ["lose", "commit", "committed"] => Fault::LoseCommit(Fate::Committed),
        ["lose", "commit", "undone"] => Fault::LoseCommit(Fate::Undone),
        ["lose", "commit", "late", "by", by] => Fault::LoseCommit(Fate::Late(span(by)?)),
        ["kill", ref client @ ..] => Fault::Kill(client_of(client)?),
        ["save", ref client @ ..] => Fault::Save(client_of(client)?),
        ["roll", "back", ref client @ ..] => Fault::RollBack(client_of(client)?),
        ["cut", net] => Fault::Cut(net_of(net)?),
        ["cut", net, "in", "mid-frame", "for", lasts] => {
            Fault::CutInMidFrame(net_of(net)?, span(lasts)?)
        }
        ["half-open", net] => Fault::HalfOpen(net_of(net)?),
        ["stall", net, way, "for", lasts] => {
            Fault::Stall(net_of(net)?, direction(way)?, span(lasts)?)
        }
        ["swallow", net, way, "for", lasts] => {
            Fault::Swallow(net_of(net)?, direction(way)?, span(lasts)?)
        }
        ["delay", net, way, "by", by, "for", lasts] => {
            Fault::Delay(net_of(net)?, direction(way)?, span(by)?, span(lasts)?)
        }
        ["refuse", net, "for", lasts] => Fault::Refuse(net_of(net)?, span(lasts)?),
        _ => return None,
    })
}

fn net_of(word: &str) -> Option<Net> {
    match word {
        "clients" => Some(Net::Clients),
        "database" => Some(Net::Database),
        _ => None,
    }
}

fn direction(word: &str) -> Option<Direction> {
    match word {
        "up" => Some(Direction::Up),
        "down" => Some(Direction::Down),
        _ => None,
    }
}

/// `writer`, or `writer 2`.
fn client_of(words: &[&str]) -> Option<Client> {
    let (who, number) = match *words {
        [who] => (who, 1),
        [who, number] => (who, number.parse::<usize>().ok()?),
        _ => return None,
    };
    let index = number.checked_sub(1)?;
    match who {
        "writer" => Some(Client::Writer(index)),
        "listener" => Some(Client::Listener(index)),
        _ => None,
    }
}

#[test]
fn a_schedule_is_read_as_it_is_written() {
    let text = "\
at 0s kill server
at 300ms stop server
at 1500ms continue server
at 2s kill writer 1
at 2s save listener 3
at 2s roll back writer 2
at 3s cut clients
at 3s cut database in mid-frame for 700ms
at 3s half-open clients
at 3s stall clients up for 1s
at 3s swallow clients down for 2s
at 3s delay clients down by 20ms for 1s
at 3s refuse database for 300ms
at 4s lose commit committed
at 4s lose commit undone
at 4s lose commit late by 30ms
at 5s fill disk for 500ms
at 5s restart postgres
at 5s kill postgres
at 5s end 17 backends
at 6s fail over
";
    let schedule: Schedule = text.parse().unwrap();
    assert_eq!(schedule.to_string(), text);
    let loose: Schedule = "\n# nothing\n  at 1s  kill writer # now\n".parse().unwrap();
    assert_eq!(loose.to_string(), "at 1s kill writer 1\n");
    for bad in [
        "kill server",
        "at 1s",
        "at noon kill server",
        "at 1s kill writer 0",
        "at 1s cut everything",
        "at 2s cut clients\nat 1s cut clients",
    ] {
        assert!(bad.parse::<Schedule>().is_err(), "{bad}");
    }
}
