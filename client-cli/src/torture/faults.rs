//! What strikes, and when it is over.

use std::time::Duration;

use magpie_proxy::{Direction, Proxy, Random};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};

use super::{board::Board, process::Kill, server::Server};
use crate::{args::torture::FaultKind, failure::Failure};

/// How long to wait for a client to be connected, and then for one that has sent
/// something and does not know whether it arrived.
const UNTOLD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to be killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that may be killed, behind a proxy of its own.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) device: usize,
    pub(super) kills: mpsc::Sender<Kill>,
    pub(super) proxy: Option<Proxy>,
}

/// Everything that faults can happen to.
#[derive(Debug)]
pub(super) struct World {
    pub(super) server: Option<Server>,
    /// Before the devices of this process, which are spread over them.
    pub(super) proxies: Vec<Proxy>,
    pub(super) victims: Vec<Victim>,
    /// Tells devices to go away for some time.
    pub(super) leaves: Vec<mpsc::Sender<Duration>>,
}

impl World {
    /// Which of these faults can happen here.
    pub(super) fn possible(&self, kinds: &[FaultKind]) -> Vec<FaultKind> {
        let is_possible = |kind: &&FaultKind| {
            (!kind.is_of_server() || self.server.is_some())
                && (!kind.is_of_network() || !self.proxies.is_empty())
        };
        kinds.iter().filter(is_possible).copied().collect()
    }

    /// A fault, from its beginning to its end.
    pub(super) async fn strike(
        &mut self,
        kind: FaultKind,
        board: &Board,
        random: &mut Random,
    ) -> Result<(), Failure> {
        match kind {
            FaultKind::KillClient => self.kill_client(board, random).await,
            FaultKind::Away => self.send_away(random),
            FaultKind::KillServer | FaultKind::StopServer | FaultKind::RestartServer => {
                self.strike_server(kind, random).await?;
            }
            FaultKind::Storm => self.each_proxy().for_each(Proxy::cut_all),
            FaultKind::Cut
            | FaultKind::MidFrame
            | FaultKind::HalfOpen
            | FaultKind::DropAcks
            | FaultKind::Delay
            | FaultKind::Stall => self.strike_network(kind, random).await,
        }
        Ok(())
    }

    fn each_proxy(&self) -> impl Iterator<Item = &Proxy> {
        let own = self.victims.iter().filter_map(|it| it.proxy.as_ref());
        self.proxies.iter().chain(own)
    }

    async fn strike_network(&self, kind: FaultKind, random: &mut Random) {
        let count = self.each_proxy().count();
        let Some(proxy) = self.each_proxy().nth(below(random, count)) else {
            return;
        };
        let direction = match random.between(0, 1) {
            0 => Direction::Up,
            _ => Direction::Down,
        };
        let lasts = Duration::from_millis(random.between(300, 2_000));
        match kind {
            FaultKind::MidFrame => {
                proxy.cut_each_after(500..=20_000);
                proxy.cut_all();
                sleep(lasts).await;
            }
            // Each end must find out by itself.
            FaultKind::HalfOpen => proxy.half_open_all(),
            FaultKind::DropAcks => {
                proxy.swallow(Direction::Down);
                sleep(lasts).await;
                proxy.cut_all();
            }
            FaultKind::Delay => {
                proxy.delay(direction, Duration::from_millis(random.between(1, 200)));
                sleep(lasts).await;
            }
            FaultKind::Stall => {
                proxy.stall(direction);
                sleep(lasts).await;
            }
            FaultKind::Cut
            | FaultKind::Storm
            | FaultKind::KillClient
            | FaultKind::Away
            | FaultKind::KillServer
            | FaultKind::StopServer
            | FaultKind::RestartServer => proxy.cut_all(),
        }
        proxy.cut_none();
        proxy.pass();
    }

    /// Kills a client whose message is committed, and which has not been told.
    async fn kill_client(&self, board: &Board, random: &mut Random) {
        let Some(victim) = self.victims.get(below(random, self.victims.len())) else {
            return;
        };
        if let Some(proxy) = &victim.proxy {
            // Through a connection that is not there yet nothing would come.
            let answered = board.answered_of(victim.device);
            until(|| board.answered_of(victim.device) > answered).await;
            proxy.stall(Direction::Down);
            until(|| board.has_untold(victim.device)).await;
        }
        let (kill, killed) = oneshot::channel();
        if victim.kills.send(kill).await.is_ok() {
            // What became of a device that does not answer is told at the end.
            drop(timeout(KILL_TIMEOUT, killed).await);
        }
        if let Some(proxy) = &victim.proxy {
            proxy.cut_all();
            proxy.pass();
        }
    }

    /// A part of the devices goes away, and comes back one after the other.
    fn send_away(&self, random: &mut Random) {
        let part = random.between(2, 5);
        for leaves in &self.leaves {
            if random.between(1, part) == 1 {
                let away = Duration::from_millis(random.between(500, 4_000));
                // It is away already, if it has not looked at the last one.
                leaves.try_send(away).ok();
            }
        }
    }

    async fn strike_server(&mut self, kind: FaultKind, random: &mut Random) -> Result<(), Failure> {
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        let lasts = Duration::from_millis(random.between(0, 2_000));
        if kind == FaultKind::StopServer {
            server.stop();
            sleep(lasts).await;
            server.go_on();
            return Ok(());
        }
        if kind == FaultKind::RestartServer {
            server.end().await;
        } else {
            server.kill().await;
        }
        sleep(lasts / 4).await;
        server.start_again().await
    }
}

async fn until(happened: impl Fn() -> bool) {
    let deadline = Instant::now() + UNTOLD_TIMEOUT;
    while !happened() && Instant::now() < deadline {
        sleep(Duration::from_millis(2)).await;
    }
}

/// One of so many, by its index.
fn below(random: &mut Random, count: usize) -> usize {
    let last = count.saturating_sub(1) as u64;
    usize::try_from(random.between(0, last)).unwrap_or_default()
}

/// Every kind once, in any order, before any comes again.
#[derive(Debug)]
pub(super) struct Deck {
    kinds: Vec<FaultKind>,
    left: Vec<FaultKind>,
}

impl Deck {
    pub(super) const fn new(kinds: Vec<FaultKind>) -> Self {
        Self {
            kinds,
            left: Vec::new(),
        }
    }

    /// The next one; `None` if nothing can happen.
    pub(super) fn draw(&mut self, random: &mut Random) -> Option<FaultKind> {
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
        }
        if self.left.is_empty() {
            return None;
        }
        Some(self.left.swap_remove(below(random, self.left.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_before_any_comes_again_and_a_seed_fixes_the_order() {
        let kinds = [FaultKind::Cut, FaultKind::Away, FaultKind::Storm];
        let drawn = |seed| {
            let (mut deck, mut random) = (Deck::new(kinds.to_vec()), Random::new(seed));
            let drawn = std::iter::from_fn(|| deck.draw(&mut random)).take(9);
            drawn.collect::<Vec<_>>()
        };
        for seed in 0..20 {
            for three in drawn(seed).chunks(3) {
                assert!(kinds.iter().all(|kind| three.contains(kind)), "{three:?}");
            }
            assert_eq!(drawn(seed), drawn(seed));
        }
        assert_ne!(drawn(1), drawn(2));
    }
}
