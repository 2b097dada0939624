//! What was typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// Measures a Magpie server with many connections from one process.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// One JSON object instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "\
Examples:
  magpie-bench pairs --ca magpie-data/ca.pem --pairs 100 --in-flight 16 --pid $(pgrep -x magpied)
  magpie-bench open --ca magpie-data/ca.pem --rate 2000
  magpie-bench idle --ca magpie-data/ca.pem --connections 5000 --pid $(pgrep -x magpied)
  magpie-bench wakes --ca magpie-data/ca.pem --emulator http://127.0.0.1:9099
  magpie-bench silent --ca magpie-data/ca.pem --pid $(pgrep -x magpied)
  magpie-bench return --ca magpie-data/ca.pem --restart-command 'systemctl restart magpied'
  magpie-bench floor --dir .
  magpie-bench medians figures.jsonl | magpie-bench page -";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Senders that keep a fixed number of messages in flight.
    Pairs(Pairs),
    /// Messages at a fixed rate; latency counts from the scheduled moment.
    Open(Open),
    /// Connections that do nothing, and what they cost the server.
    Idle(Idle),
    /// Devices that connect with their token, catch up and leave.
    SignIn(SignIn),
    /// A device with many conversations that comes back after a while.
    Away(Away),
    /// A new device of a user with many conversations, through the SDK.
    NewDevice(NewDevice),
    /// One sender, one group, everybody online.
    FanOut(FanOut),
    /// Photos that come in from many phones at once, beside pairs that talk.
    Uploads(Uploads),
    /// Devices that sleep, and the pushes that wake them.
    Wakes(Wakes),
    /// Connections that say nothing, as many as there may be, again and again.
    Silent(Silent),
    /// Messages at a low rate while others flood the server with TLS handshakes.
    Flood(Flood),
    /// Devices that come back after the server was restarted.
    Return(Return),
    /// What this machine can do without Magpie.
    Floor(Floor),
    /// Medians of runs with the same settings, as JSON lines.
    Medians(Medians),
    /// Tables and plots of medians.
    Page(Page),
}

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Server {
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:7443", value_name = "HOST:PORT")]
    pub(crate) server: String,

    /// The certificate authority that signed the server's certificate.
    #[arg(long, default_value = "magpie-data/ca.pem", value_name = "FILE")]
    pub(crate) ca: PathBuf,

    /// The server's process: reports its processor time and memory.
    #[arg(long)]
    pub(crate) pid: Option<u32>,

    /// The main process of the server's PostgreSQL: reports the processor time
    /// of all its processes.
    #[arg(long)]
    pub(crate) database_pid: Option<u32>,

    /// Keeps the devices' tokens here, so that the next run need not register
    /// (which costs a password hash each). Holds secrets of made-up users.
    #[arg(long, value_name = "FILE")]
    pub(crate) credentials: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Sender and receiver pairs, each a direct conversation of two users.
    #[arg(long, default_value_t = 100)]
    pub(crate) pairs: usize,

    /// Bytes of a message's text, at least 32.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(32..=16_384))]
    pub(crate) size: u32,

    /// How long to measure.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,

    /// How long to run before measuring, in seconds.
    #[arg(long, default_value_t = 2)]
    pub(crate) warm_up: u64,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Pairs {
    #[command(flatten)]
    pub(crate) load: Load,

    /// Messages that each sender has sent and not seen accepted.
    #[arg(long, default_value_t = 16)]
    pub(crate) in_flight: usize,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Open {
    #[command(flatten)]
    pub(crate) load: Load,

    /// Messages a second, over all pairs.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) rate: u32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Connections to hold.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) connections: usize,

    /// Devices that share one user; a server allows 50 unless set otherwise.
    #[arg(long, default_value_t = 50)]
    pub(crate) devices: usize,

    /// How long the server's memory may settle, in seconds.
    #[arg(long, default_value_t = 3)]
    pub(crate) settle: u64,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SignIn {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Devices that connect again and again, at the same time.
    #[arg(long, default_value_t = 32)]
    pub(crate) connections: usize,

    /// How long to measure.
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,

    /// Resume TLS sessions instead of a full handshake each time.
    #[arg(long)]
    pub(crate) resume: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Away {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Conversations of the device's user.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) conversations: usize,

    /// Of those, how many changed while it was away.
    #[arg(long, default_value_t = 100)]
    pub(crate) changed: usize,

    /// Messages in each that changed.
    #[arg(long, default_value_t = 3)]
    pub(crate) messages: usize,

    /// Messages of others meanwhile.
    #[arg(long, default_value_t = 200_000)]
    pub(crate) others: usize,

    /// How often it comes back with the same cursor.
    #[arg(long, default_value_t = 20)]
    pub(crate) rounds: u32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct NewDevice {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Conversations of the device's user.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) conversations: usize,

    /// Messages in each.
    #[arg(long, default_value_t = 20)]
    pub(crate) messages: usize,

    /// How many new devices, one after the other.
    #[arg(long, default_value_t = 10)]
    pub(crate) rounds: u32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FanOut {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Members of the group, the sender among them.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub(crate) members: u32,

    /// How many of them are connected; without it all.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub(crate) online: Option<u32>,

    /// Pairs that talk beside them.
    #[arg(long, default_value_t = 10)]
    pub(crate) pairs: usize,

    /// Their messages a second, all together.
    #[arg(long, default_value_t = 50)]
    pub(crate) rate: u32,

    /// Messages, one after the other.
    #[arg(long, default_value_t = 50)]
    pub(crate) messages: u32,

    /// Bytes of a message's text, at least 32.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(32..=16_384))]
    pub(crate) size: u32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Uploads {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Uploads at once, four from each device: the server's `media_uploads_max` bounds
    /// them.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) uploads: u32,

    /// Bytes of each. What is whole stays on the server's disk until `media_expiry`.
    #[arg(long, default_value_t = 3_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) size: u32,

    /// Bytes a second of each; 0: as fast as they go.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) pace: u32,

    /// Seconds in which each begins another one when it is done, and as long before that
    /// the pairs talk alone.
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,

    /// Pairs that talk beside them.
    #[arg(long, default_value_t = 10)]
    pub(crate) pairs: usize,

    /// Their messages a second, all together.
    #[arg(long, default_value_t = 50)]
    pub(crate) rate: u32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Wakes {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Where `magpie fcm-emulator` is, to which the server pushes.
    #[arg(long, value_name = "URL")]
    pub(crate) emulator: String,

    /// Devices that sleep, each a user's only one.
    #[arg(long, default_value_t = 999, value_parser = clap::value_parser!(u32).range(11..=999))]
    pub(crate) devices: u32,

    /// Messages a second, each to another device.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// Messages into each group, 20 a second, in ten turns.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    pub(crate) sends: u32,

    /// How often all of it is done.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Silent {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Connections to hold, half of them with a finished TLS handshake. The default
    /// is what the limit of open files leaves, of this process and of the server's.
    #[arg(long)]
    pub(crate) connections: Option<usize>,

    /// How often they all come, one time after the other.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// How long the server's memory may take to come back, in seconds.
    #[arg(long, default_value_t = 20)]
    pub(crate) settle: u64,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Flood {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Sender and receiver pairs that go on meanwhile.
    #[arg(long, default_value_t = 50)]
    pub(crate) pairs: usize,

    /// Messages a second, over all pairs.
    #[arg(long, default_value_t = 100)]
    pub(crate) rate: u32,

    /// How long to flood and to measure, in seconds.
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,

    /// Threads that open connections as fast as they can.
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,

    /// Connections that each thread opens at the same time.
    #[arg(long, default_value_t = 64)]
    pub(crate) lanes: usize,

    /// Connections that are kept without ever finishing their handshake.
    #[arg(long, default_value_t = 4_000)]
    pub(crate) held: usize,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Return {
    #[command(flatten)]
    pub(crate) server: Server,

    /// Devices that are connected when the server goes.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) connections: usize,

    /// Of those, how many pairs chat as soon as they are back, a message a second
    /// each.
    #[arg(long, default_value_t = 100)]
    pub(crate) pairs: usize,

    /// Devices that share one user; a server allows 50 unless set otherwise.
    #[arg(long, default_value_t = 50)]
    pub(crate) devices: usize,

    /// Restarts the server (run by `sh -c`). Without it, restart the server by hand
    /// when asked to.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) restart_command: Option<String>,

    /// How long all may take to be back, in seconds from the server's end.
    #[arg(long, default_value_t = 120)]
    pub(crate) timeout: u64,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Floor {
    /// Where to write: on the disk that holds the server's files.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// An empty database of PostgreSQL: measures it instead of SQLite.
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,

    /// Connections of the TLS echo, and pairs whose messages are appended.
    #[arg(long, default_value_t = 100)]
    pub(crate) connections: usize,

    /// How long to measure each, in seconds.
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u64,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Medians {
    /// JSON lines of many runs; "-" is standard input.
    pub(crate) figures: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Page {
    /// JSON lines of medians; "-" is standard input.
    pub(crate) medians: PathBuf,

    /// Replaces the tables of this page instead of printing them.
    #[arg(long, value_name = "FILE")]
    pub(crate) docs: Option<PathBuf>,

    /// Writes plots here.
    #[arg(long, value_name = "DIR")]
    pub(crate) plots: Option<PathBuf>,
}
