//! What `torture` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Try to make a server lose, double or reorder messages
///
/// Makes users with several devices each, lets them write to each other while
/// connections, clients and the server are cut, stalled and killed, then heals
/// everything, waits until all have caught up, and judges what each was told,
/// stored and showed. Ends with 0 if every promise was kept, else with 1.
///
/// With `--magpied` it starts a server, which it may also kill; else it tortures
/// the one at `--server`. A server on another machine is reached without a proxy
/// unless its certificate holds for 127.0.0.1 too, and the faults of the network
/// are left out then.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  magpie torture --magpied ./magpied
  magpie torture --magpied ./magpied --seconds 60 --faults kill-server,kill-client,storm
  magpie torture --magpied ./magpied -- --database-url postgres://postgres@127.0.0.1/magpie
  magpie torture --server 127.0.0.1:7443 --ca magpie-data/ca.pem --rate 200 --devices 100")]
pub(crate) struct Torture {
    /// The server's program: to be started, stopped and killed
    #[arg(long, value_name = "PATH")]
    pub(crate) magpied: Option<PathBuf>,

    /// Where it keeps what it keeps in files [default: in the directory of the run]
    #[arg(long, value_name = "DIR", requires = "magpied")]
    pub(crate) data_dir: Option<PathBuf>,

    /// More arguments for it, behind `--`
    #[arg(last = true, value_name = "ARGUMENT", requires = "magpied")]
    pub(crate) arguments: Vec<String>,

    /// Messages a second, of all devices together
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// Devices, two for each user; a few of them are processes, to be killed
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=10_000))]
    pub(crate) devices: u32,

    /// For how long faults strike
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) seconds: u64,

    /// Between the beginnings of two faults; 0: no faults
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = pause)]
    pub(crate) fault_every: f64,

    /// Which faults [default: all that are possible]
    #[arg(long, value_name = "FAULT", value_enum, value_delimiter = ',')]
    pub(crate) faults: Vec<FaultKind>,

    /// How long all may take to catch up when everything is healed; a silent
    /// connection alone takes a client up to a minute to give up
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) patience: u64,

    /// Repeats the choices of an earlier run [default: by the clock]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,

    /// Where homes and logs are kept, which stay then [default: a temporary
    /// directory, which stays if a promise was broken]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,

    /// What the operator gave you, where not everybody may register
    #[arg(
        long,
        env = "MAGPIE_INVITATION",
        value_name = "TOKEN",
        default_value = "",
        hide_env_values = true
    )]
    pub(crate) invitation: String,
}

/// What can happen.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum FaultKind {
    /// The connections of some devices are cut.
    Cut,
    /// New connections are cut after some bytes, in mid-frame.
    MidFrame,
    /// Connections fall silent without a word to either end.
    HalfOpen,
    /// What the server answers is lost, then the connections are cut.
    DropAcks,
    /// Bytes arrive late.
    Delay,
    /// Bytes wait, then all come at once.
    Stall,
    /// All connections are cut at once, and all devices come back together.
    Storm,
    /// A client is killed when its message is committed and it does not know.
    KillClient,
    /// Some devices go away, write on, and come back.
    Away,
    /// The server is killed with -9 and started again.
    KillServer,
    /// The server stands still for a while.
    StopServer,
    /// The server is restarted in order.
    RestartServer,
}

impl FaultKind {
    /// As it is typed and printed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::MidFrame => "mid-frame",
            Self::HalfOpen => "half-open",
            Self::DropAcks => "drop-acks",
            Self::Delay => "delay",
            Self::Stall => "stall",
            Self::Storm => "storm",
            Self::KillClient => "kill-client",
            Self::Away => "away",
            Self::KillServer => "kill-server",
            Self::StopServer => "stop-server",
            Self::RestartServer => "restart-server",
        }
    }

    /// It needs a server that may be killed.
    pub(crate) const fn is_of_server(self) -> bool {
        matches!(
            self,
            Self::KillServer | Self::StopServer | Self::RestartServer
        )
    }

    /// It needs proxies.
    pub(crate) const fn is_of_network(self) -> bool {
        !self.is_of_server() && !matches!(self, Self::Away)
    }
}

fn pause(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("write a number of seconds, such as 2.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_printed_as_it_is_typed() {
        for kind in FaultKind::value_variants() {
            let typed = kind.to_possible_value().unwrap();
            assert_eq!(typed.get_name(), kind.name());
        }
    }
}
