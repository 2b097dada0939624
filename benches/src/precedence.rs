//! Whose turn it is on a machine that all share.
//!
//! Clients are elsewhere in truth. What those compute who are not measured must not take the
//! processor from the server, nor from those whose latency counts; and these must not wait
//! until the server leaves them one, which takes up to 3 ms (Linux gives a thread so long at
//! a time) and would count as the server's.

use std::process::Command;

use anyhow::{Context as _, ensure};
use tokio::runtime::{Builder, Handle, Runtime};

/// This thread, and those that it will start, run as soon as they can (`SCHED_FIFO` of
/// sched(7)). That takes a privilege; who lacks it is told, and measures the wait for the
/// processor with the rest.
pub(crate) fn take() {
    if let Err(error) = schedule("--fifo", 1) {
        eprintln!("those whose latency counts wait for the processor like others: {error:#}");
    }
}

/// This thread runs when no other wants to (`SCHED_IDLE`).
fn give_way() {
    if let Err(error) = schedule("--idle", 0) {
        eprintln!("a thread that should give way does not: {error:#}");
    }
}

/// With chrt(1): the call is not to be had without unsafe code.
fn schedule(policy: &str, priority: u8) -> anyhow::Result<()> {
    let thread = rustix::thread::gettid().as_raw_pid().to_string();
    let mut chrt = Command::new("chrt");
    let chrt = chrt.args([policy, "--pid", &priority.to_string(), &thread]);
    let output = chrt.output().context("chrt cannot be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim());
    Ok(())
}

/// A runtime on threads that give way to all others.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    /// Its threads are started.
    ///
    /// # Errors
    ///
    /// There can be no more threads.
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(give_way)
            .build()
            .context("no runtime")?;
        Ok(Self(Some(runtime)))
    }

    /// Runs there to its end what `work` does.
    ///
    /// # Errors
    ///
    /// The work died.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> anyhow::Result<T> {
        Ok(self.handle()?.spawn(work).await?)
    }

    /// Where tasks are spawned.
    ///
    /// # Errors
    ///
    /// Never, while it is there.
    pub(crate) fn handle(&self) -> anyhow::Result<&Handle> {
        let runtime = self.0.as_ref().context("the runtime has ended")?;
        Ok(runtime.handle())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // A runtime may not wait for its threads on one of another.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
