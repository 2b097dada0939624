//! One run: faults while people write, then healing, then the verdict.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use magpie_audit::check::Tally;
use magpie_client::Home;
use magpie_proxy::Random;
use tokio::{
    signal::ctrl_c,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use super::{
    Cast,
    board::{Board, Goal},
    device::{Device, Phase},
    faults::{Deck, World},
    kinds,
    notes::Clock,
    process::Processes,
    verdict::{self, Log, Witness},
};
use crate::{
    args::torture::{FaultKind, Torture},
    failure::Failure,
    line::{FaultFields, HealedFields, Line, StruckFields, TortureFields},
    output::Output,
    progress::Progress,
};

/// How often to look whether everybody has caught up.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What is handed in so long after a fault must arrive, for it to be made good.
const PROBE_DELAY: Duration = Duration::from_secs(1);

/// Violations of each kind that are told one by one.
const TOLD_MAX: usize = 5;

/// What a run goes by.
pub(super) struct Run<'run> {
    pub(super) options: &'run Torture,
    pub(super) output: &'run Output,
    pub(super) board: Arc<Board>,
    pub(super) random: Random,
    pub(super) clock: Clock,
}

/// How long each fault of a kind took to be made good.
type Healed = BTreeMap<FaultKind, Vec<Duration>>;

/// Those who wait until everybody has caught up after a fault.
type Watching = JoinSet<(FaultKind, Option<Duration>)>;

type Players<T> = Vec<JoinHandle<Result<T, Failure>>>;

impl Run<'_> {
    /// All of it.
    pub(super) async fn play(mut self, cast: Cast) -> Result<TortureFields, Failure> {
        let Cast {
            mut world,
            devices,
            processes,
        } = cast;
        let (phase, watched) = watch::channel(Phase::Writing);
        let devices: Players<Device> = devices
            .into_iter()
            .map(|(device, told)| self.spawn(device.run(watched.clone(), told)))
            .collect();
        let processes: Players<Processes> = processes
            .into_iter()
            .map(|(device, told)| self.spawn(device.run(watched.clone(), told)))
            .collect();
        let began_at = Instant::now();
        let (mut healed, mut watching) = self.break_things(&mut world).await?;
        let seconds = began_at.elapsed().as_secs();
        phase.send_replace(Phase::Silent);
        while let Some(Ok((kind, after))) = watching.join_next().await {
            self.note_healed(&mut healed, kind, after)?;
        }
        let progress = self.output.progress("answered; everybody catches up");
        let goal = self.board.goal();
        let caught_up_ms = self.until_caught_up(&goal, progress.as_ref()).await;
        let lacking = self.board.lacking(&goal);
        phase.send_replace(Phase::Over);
        let (witnesses, log) = self.question(devices, processes, &goal).await?;
        let found = verdict::reach(witnesses, &log)?;
        drop(progress);
        let mut broken = lacking;
        broken.extend(found.verdict.violations.iter().map(ToString::to_string));
        broken.extend(found.differences.iter().cloned());
        let totals = self.report(
            &found.verdict.tally,
            &broken,
            &healed,
            seconds,
            caught_up_ms,
        )?;
        if let Some(server) = &mut world.server {
            server.end().await;
        }
        Ok(totals)
    }

    /// Somebody who writes and reads, and whose end is noticed.
    fn spawn<T: Send + 'static>(
        &self,
        playing: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> JoinHandle<Result<T, Failure>> {
        let board = Arc::clone(&self.board);
        tokio::spawn(async move {
            let played = playing.await;
            if played.is_err() {
                board.lose();
            }
            played
        })
    }

    /// Faults, one after the other, until the time is over or the person ends
    /// it.
    async fn break_things(&mut self, world: &mut World) -> Result<(Healed, Watching), Failure> {
        let possible = world.possible(&kinds(self.options));
        let mut deck = Deck::new(possible);
        let ends_at = Instant::now() + Duration::from_secs(self.options.seconds);
        let every = Duration::from_secs_f64(self.options.fault_every);
        let mut next_at = Instant::now() + every;
        let mut watching = Watching::new();
        let progress = self.output.progress("answered");
        let mut healed = Healed::new();
        let mut is_over = std::pin::pin!(ctrl_c());
        loop {
            let striking_at = if every.is_zero() { ends_at } else { next_at };
            if self.board.is_lost() || striking_at >= ends_at && Instant::now() >= ends_at {
                break;
            }
            tokio::select! {
                () = sleep_until(striking_at.min(ends_at)) => {
                    if striking_at < ends_at
                        && let Some(kind) = deck.draw(&mut self.random)
                    {
                        self.strike(kind, world).await?;
                        let board = Arc::clone(&self.board);
                        let patience = self.patience();
                        watching.spawn(async move {
                            (kind, until_healed(&board, patience).await)
                        });
                        // A fault that took longer takes the place of the next.
                        next_at = (next_at + every).max(Instant::now());
                    } else if Instant::now() >= ends_at {
                        break;
                    } else {
                        next_at = ends_at;
                    }
                }
                Some(Ok((kind, after))) = watching.join_next() => {
                    self.note_healed(&mut healed, kind, after)?;
                }
                () = sleep(Duration::from_millis(200)) => {}
                _ = &mut is_over => break,
            }
            if let Some(progress) = &progress {
                progress.set(self.board.answered());
            }
        }
        Ok((healed, watching))
    }

    const fn patience(&self) -> Duration {
        Duration::from_secs(self.options.patience)
    }

    async fn strike(&mut self, kind: FaultKind, world: &mut World) -> Result<(), Failure> {
        let at_ms = self.clock.now() / 1_000;
        world.strike(kind, &self.board, &mut self.random).await?;
        let lasted_ms = (self.clock.now() / 1_000).saturating_sub(at_ms);
        self.output.line(&Line::Fault(StruckFields {
            kind: kind.name(),
            at_ms,
            lasted_ms,
        }))?;
        Ok(())
    }

    fn note_healed(
        &self,
        healed: &mut Healed,
        kind: FaultKind,
        after: Option<Duration>,
    ) -> Result<(), Failure> {
        // Who never does is found at the end.
        let after = after.unwrap_or(self.patience());
        healed.entry(kind).or_default().push(after);
        self.output.line(&Line::Healed(HealedFields {
            kind: kind.name(),
            after_ms: milliseconds(after),
        }))?;
        Ok(())
    }

    async fn until_caught_up(&self, goal: &Goal, progress: Option<&Progress>) -> Option<Duration> {
        let mut reaching = std::pin::pin!(until_reached(&self.board, goal, self.patience()));
        loop {
            tokio::select! {
                reached = &mut reaching => return reached,
                () = sleep(Duration::from_millis(200)) => {
                    if let Some(progress) = progress {
                        progress.set(self.board.answered());
                    }
                }
            }
        }
    }

    /// Takes the evidence: everybody ends, and somebody of each conversation asks
    /// the server for all of it.
    async fn question(
        &self,
        devices: Players<Device>,
        processes: Players<Processes>,
        goal: &Goal,
    ) -> Result<(Vec<Witness>, Log), Failure> {
        let mut log: Log = HashMap::new();
        let mut witnesses = Vec::new();
        let mut ended = Vec::new();
        for device in devices {
            ended.push(joined(device).await?);
        }
        let deadline = Instant::now() + self.patience();
        for device in &ended {
            for id in &device.seat.conversations {
                if let Some(client) = device.client()
                    && !log.contains_key(id)
                {
                    let fetched = verdict::fetch_log(client, *id, deadline).await?;
                    let silent = || Failure::Lost("the server does not give its log".to_owned());
                    log.insert(*id, fetched.ok_or_else(silent)?);
                }
            }
        }
        for mut device in ended {
            device.disconnect().await;
            device.read()?;
            witnesses.push(Witness {
                has_caught_up: self.board.has_reached(device.seat.number, goal),
                name: device.seat.name,
                user: device.seat.user,
                home: device.home,
                notes: device.notes,
                conversations: device.seat.conversations,
            });
        }
        for process in processes {
            let Processes { seat, notes, .. } = joined(process).await?;
            witnesses.push(Witness {
                has_caught_up: self.board.has_reached(seat.number, goal),
                name: seat.name,
                user: seat.user,
                home: Home::open(&seat.directory)?,
                notes,
                conversations: seat.conversations,
            });
        }
        Ok((witnesses, log))
    }

    fn report(
        &self,
        tally: &Tally,
        broken: &[String],
        healed: &Healed,
        seconds: u64,
        caught_up: Option<Duration>,
    ) -> Result<TortureFields, Failure> {
        for (kind, times) in healed {
            let mut times = times.clone();
            times.sort_unstable();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            self.output.line(&Line::Faults(FaultFields {
                kind: kind.name(),
                count: times.len() as u64,
                after_ms_median: milliseconds(median),
                after_ms_max: times.last().copied().map_or(0, milliseconds),
            }))?;
        }
        let mut told: HashMap<&str, usize> = HashMap::new();
        for message in broken {
            // A kind is the first word of its stories.
            let kind = message.split(' ').next().unwrap_or_default();
            let count = told.entry(kind).or_default();
            *count += 1;
            if *count <= TOLD_MAX {
                self.output.line(&Line::Violation {
                    message: message.clone(),
                })?;
            }
        }
        Ok(TortureFields {
            seconds,
            faults: healed.values().map(|times| times.len() as u64).sum(),
            sent: tally.sent,
            accepted: tally.accepted,
            refused: tally.refused,
            unanswered: tally.sent.saturating_sub(tally.accepted + tally.refused),
            recovered: tally.recovered,
            stored: tally.stored,
            shown: tally.shown,
            caught_up_ms: caught_up.map(milliseconds),
            violations: broken.len() as u64,
            kept: None,
        })
    }
}

/// How long it takes until everybody has what was handed in up to one second
/// after now: a connection that fell silent is noticed by what does not come.
async fn until_healed(board: &Board, patience: Duration) -> Option<Duration> {
    sleep(PROBE_DELAY).await;
    let reached = until_reached(board, &board.goal(), patience).await?;
    Some(PROBE_DELAY + reached)
}

/// How long it took; `None`: too long.
async fn until_reached(board: &Board, goal: &Goal, patience: Duration) -> Option<Duration> {
    let began_at = Instant::now();
    while !board.have_all_reached(goal) {
        if board.is_lost() || began_at.elapsed() >= patience {
            return None;
        }
        sleep(LOOK_INTERVAL).await;
    }
    Some(began_at.elapsed())
}

async fn joined<T>(player: JoinHandle<Result<T, Failure>>) -> Result<T, Failure> {
    player
        .await
        .map_err(|error| Failure::Lost(format!("a device was lost: {error}")))?
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
