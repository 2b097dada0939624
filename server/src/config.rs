//! Settings: the only place that reads the command line and the environment.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Parser, error::ErrorKind};

use crate::tls::Source;

/// A chat server that loses nothing.
#[derive(Clone, Debug, Parser)]
#[command(name = "magpied", version, about, after_help = EXAMPLES)]
struct Args {
    /// Where clients connect (TLS); port 0 takes a free one
    #[arg(
        long,
        env = "MAGPIE_LISTEN",
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:7443"
    )]
    listen: SocketAddr,

    /// Where the log, the keys and the development certificate are kept
    #[arg(
        long,
        env = "MAGPIE_DATA_DIR",
        value_name = "DIR",
        default_value = "./magpie-data"
    )]
    data_dir: PathBuf,

    /// Where operators look (HTTP: /metrics, /livez, /readyz), or "off"
    #[arg(
        long,
        env = "MAGPIE_ADMIN_LISTEN",
        value_name = "ADDR:PORT|off",
        default_value = "127.0.0.1:7480"
    )]
    admin_listen: String,

    /// The certificate with its chain (PEM); without it a development certificate is made
    #[arg(
        long,
        env = "MAGPIE_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// The certificate's key (PEM)
    #[arg(
        long,
        env = "MAGPIE_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// Make a development certificate also for an address that is not this machine's own
    #[arg(long)]
    development_certificate: bool,

    /// Print one JSON line when ready; logs go to standard error
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  magpied                                    for development, on 127.0.0.1:7443
  magpied --listen 0.0.0.0:7443 --tls-cert chain.pem --tls-key key.pem
  magpied --listen 127.0.0.1:0 --admin-listen off --json

Exit status: 0 drained, 64 a wrong setting, 1 anything else.";

/// What the server needs to know, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators look.
    pub admin_listen: Option<SocketAddr>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the certificate comes from.
    pub tls: Source,
    /// Print one JSON line when ready.
    pub json: bool,
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Stop {
    /// Help or version was asked for: print it, exit 0.
    Asked(clap::Error),
    /// A wrong setting: print it, exit 64.
    Wrong(String),
}

impl Config {
    /// Reads `args` (the program's name first) and the environment.
    ///
    /// # Errors
    ///
    /// [`Stop`], with every problem found.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let args = Args::try_parse_from(args).map_err(|error| {
            let is_asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            if is_asked {
                Stop::Asked(error)
            } else {
                Stop::Wrong(error.render().to_string())
            }
        })?;
        let mut problems = Vec::new();
        let admin_listen = match args.admin_listen.as_str() {
            "off" => None,
            address => address.parse().map(Some).unwrap_or_else(|_| {
                problems.push(format!(
                    "--admin-listen is {address:?}, expected ADDR:PORT or \"off\""
                ));
                None
            }),
        };
        let tls = match (args.tls_cert, args.tls_key) {
            (Some(certificate), Some(key)) => Source::Files { certificate, key },
            _ => Source::Development {
                dir: args.data_dir.clone(),
                listen: args.listen,
            },
        };
        let is_development = matches!(tls, Source::Development { .. });
        if is_development && !args.listen.ip().is_loopback() && !args.development_certificate {
            problems.push(format!(
                "--listen is {}, which others can reach: give --tls-cert and --tls-key \
                 (or --development-certificate, for a test)",
                args.listen
            ));
        }
        if !problems.is_empty() {
            return Err(Stop::Wrong(problems.join("\n")));
        }
        let Args {
            listen,
            data_dir,
            json,
            ..
        } = args;
        Ok(Self {
            listen,
            admin_listen,
            data_dir,
            tls,
            json,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Config, String> {
        let args = std::iter::once("magpied")
            .chain(args.iter().copied())
            .map(OsString::from);
        Config::read(args).map_err(|stop| match stop {
            Stop::Asked(error) => error.to_string(),
            Stop::Wrong(text) => text,
        })
    }

    #[test]
    fn the_defaults_are_those_of_the_readme() {
        let config = read(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7443");
        assert_eq!(config.admin_listen.unwrap().to_string(), "127.0.0.1:7480");
        assert_eq!(config.data_dir, PathBuf::from("./magpie-data"));
    }

    #[test]
    fn a_development_certificate_for_others_must_be_asked_for() {
        let refused = read(&["--listen", "0.0.0.0:7443"]).unwrap_err();
        assert!(refused.contains("--tls-cert"), "{refused}");
        assert!(read(&["--listen", "0.0.0.0:7443", "--development-certificate"]).is_ok());
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let refused = read(&["--listen", "0.0.0.0:1", "--admin-listen", "nowhere"]).unwrap_err();
        assert!(
            refused.contains("--admin-listen is \"nowhere\""),
            "{refused}"
        );
        assert!(refused.contains("--listen is 0.0.0.0:1"), "{refused}");
    }
}
