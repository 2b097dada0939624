//! A server that may be killed.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::failure::Failure;

/// How long it may take until it is ready: it may have a log to recover.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long it may take to end in order.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Limits that a few devices on one machine would run into.
const UNLIMITED: [&str; 8] = [
    "--registration-rate-per-address",
    "--registration-rate",
    "--send-rate-per-device",
    "--send-rate-per-user",
    "--send-size-rate-per-device",
    "--send-size-rate-per-user",
    "--delivery-rate-per-user",
    "--request-rate-per-device",
];

/// One port and one store, however often it is killed.
#[derive(Debug)]
pub(super) struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    data: PathBuf,
    log: PathBuf,
    pub(super) address: SocketAddr,
    child: Option<Child>,
}

impl Server {
    /// Starts it; what it says goes to `log`.
    pub(super) async fn start(
        program: &Path,
        arguments: Vec<String>,
        data: PathBuf,
        log: PathBuf,
    ) -> Result<Self, Failure> {
        let mut server = Self {
            program: program.to_owned(),
            arguments,
            data,
            log,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            child: None,
        };
        server.start_again().await?;
        Ok(server)
    }

    /// What its certificate is believed by, if it made one itself.
    pub(super) fn ca(&self) -> PathBuf {
        self.data.join("ca.pem")
    }

    /// Starts it on the port that it had before.
    pub(super) async fn start_again(&mut self) -> Result<(), Failure> {
        let log = File::options().append(true).create(true).open(&self.log);
        let log = log.map_err(|error| Failure::File {
            path: self.log.display().to_string(),
            error,
        })?;
        let mut command = Command::new(&self.program);
        command
            .arg("--listen")
            .arg(self.address.to_string())
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--admin-listen=127.0.0.1:0", "--json"]);
        for limit in UNLIMITED {
            let is_given = |it: &String| it.split('=').next() == Some(limit);
            if !self.arguments.iter().any(is_given) {
                command.arg(format!("{limit}=off"));
            }
        }
        let mut child = command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.not_started(&error.to_string()))?;
        self.address = timeout(READY_TIMEOUT, until_ready(&mut child))
            .await
            .unwrap_or_default()
            .ok_or_else(|| self.not_started("it did not say that it is ready"))?;
        self.child = Some(child);
        Ok(())
    }

    fn not_started(&self, reason: &str) -> Failure {
        Failure::NoServer {
            program: self.program.display().to_string(),
            reason: reason.to_owned(),
            log: self.log.display().to_string(),
        }
    }

    /// `kill -9`.
    pub(super) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill().await);
        }
    }

    /// Ends it in order; it is killed if it does not.
    pub(super) async fn end(&mut self) {
        self.signal(Signal::TERM);
        if let Some(child) = &mut self.child {
            drop(timeout(DRAIN_TIMEOUT, child.wait()).await);
        }
        self.kill().await;
    }

    /// It stands still.
    pub(super) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub(super) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id);
        let id = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(id) = id {
            // It may have ended by itself; who waits for it finds out.
            kill_process(id, signal).ok();
        }
    }
}

/// Where it listens, once it is ready; `None` if it ended.
async fn until_ready(child: &mut Child) -> Option<SocketAddr> {
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    loop {
        let line: Value = serde_json::from_str(&lines.next_line().await.ok()??).ok()?;
        if line.get("type")?.as_str()? == "ready" {
            let address = line.get("listen")?.as_str()?.parse().ok();
            // Whatever it says later must not fill the pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return address;
        }
    }
}
