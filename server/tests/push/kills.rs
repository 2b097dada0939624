//! The real duty, over a real store and over HTTP to the emulator, killed at any
//! await, while FCM fails in each way and devices come, go, and change.
//!
//! The short form is part of the test command. `MAGPIE_WAKE_KILLS` kills of the
//! duty, and as many requests to FCM that fail, make the long one;
//! `MAGPIE_WAKE_SEED` repeats the choices of an earlier run. What comes of them
//! depends on the machine. Time is the duty's own and passes as the test says.

mod node;
mod people;
mod watch;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::RecvTimeoutError,
    },
    thread,
    time::{Duration, Instant},
};

use magpie_audit::{Invariant, Verdict, judge};
use magpie_fcm_emulator::{Emulator, Fault, FaultKind, Target};
use magpie_server::store::Attachment;
use magpie_sim::{postgres as cluster, proxy::Random};
use tokio::runtime::Runtime;

use self::{
    node::{Files, Node},
    people::{ALL_PAGES, Act, People, SLEEPERS},
    watch::Watch,
};

/// Kills in the test command.
const KILLS: u64 = 40;

/// Kills after which others go on.
const KILLS_OF_A_PARTY: u64 = 100;

/// Kills between two times at which everything owed must come.
const KILLS_TOGETHER: u64 = 4;

/// How often the duty is polled in one life, at most.
const POLLS_MAX: u64 = 120;

/// The longest life.
const LIFE_MAX: Duration = Duration::from_millis(400);

/// How long everything owed may take to come, on the machine's clock.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at whether it has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

const FAULTS: [FaultKind; 10] = [
    FaultKind::InvalidArgument,
    FaultKind::Unregistered,
    FaultKind::SenderIdMismatch,
    FaultKind::QuotaExceeded,
    FaultKind::Unavailable,
    FaultKind::Internal,
    FaultKind::ThirdPartyAuthError,
    FaultKind::Unauthenticated,
    FaultKind::Reset,
    FaultKind::Slow,
];

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|it| it.parse().unwrap())
}

/// Everything that outlives a server.
struct Party {
    outside: Runtime,
    emulator: Emulator,
    files: Files,
    watch: Watch,
    people: Arc<People>,
    ahead_ms: &'static AtomicU64,
    random: Random,
    kills: u64,
    /// Of these, when the duty had been polled so often.
    at_an_await: u64,
}

impl Party {
    fn embedded(seed: u64) -> Self {
        Self::new(
            Files::Embedded(tempfile::tempdir().unwrap()),
            seed,
            |files, _| match files {
                Files::Embedded(dir) => Watch::embedded(dir.path()),
                Files::Postgres { .. } => unreachable!(),
            },
        )
    }

    fn postgres(seed: u64) -> Self {
        let outside = Runtime::new().unwrap();
        let made = cluster::shared().unwrap().create_database();
        let url = outside.block_on(made).unwrap();
        let database = url.rsplit('/').next().unwrap().to_owned();
        Self::new(Files::Postgres { url }, seed, |_, outside| {
            Watch::postgres(&database, outside.handle().clone())
        })
    }

    fn new(files: Files, seed: u64, watch: impl FnOnce(&Files, &Runtime) -> Watch) -> Self {
        println!("MAGPIE_WAKE_SEED={seed}");
        let outside = Runtime::new().unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let emulator = outside.block_on(Emulator::start(address)).unwrap();
        let ahead_ms: &AtomicU64 = Box::leak(Box::default());
        // Makes the schema.
        let node = Node::idle(&files, ahead_ms);
        let people = People::new(&node.store, node.clock, Arc::clone(emulator.world()));
        let people = Arc::new(node.run(people));
        node.kill();
        let watch = watch(&files, &outside);
        Self {
            outside,
            emulator,
            files,
            watch,
            people,
            ahead_ms,
            random: Random::new(seed),
            kills: 0,
            at_an_await: 0,
        }
    }

    fn start(&self, polls: u64) -> Node {
        let _entered = self.outside.enter();
        Node::start(&self.files, self.ahead_ms, &self.emulator, polls)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.random.between(1, count) == 1
    }

    fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap();
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// One life of the server, until it is killed.
    fn live_and_die(&mut self) {
        if self.one_in(3) {
            self.emulator.world().clear_faults();
        }
        let polls = self.random.between(1, POLLS_MAX);
        let node = self.start(polls);
        let until = Instant::now() + LIFE_MAX;
        loop {
            let wait = Duration::from_millis(self.random.between(0, 3));
            match node.died.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(RecvTimeoutError::Timeout) => break,
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                    self.at_an_await += 1;
                    break;
                }
            }
            let passed_ms = match self.random.between(1, 100) {
                1 => 10 * 60_000,
                2..10 => self.random.between(10_000, 40_000),
                10..40 => self.random.between(1_000, 10_000),
                _ => self.random.between(0, 1_000),
            };
            self.pass(Duration::from_millis(passed_ms));
            if self.one_in(3) {
                self.break_something();
            }
            if self.one_in(2) {
                self.somebody_acts(&node);
            }
            node.news.notify_one();
        }
        node.kill();
        self.kills += 1;
        self.people.cut_off();
        self.watch.end_lease();
    }

    fn break_something(&mut self) {
        let kind = usize::try_from(self.random.between(0, 9)).unwrap();
        let fault = Fault {
            target: if self.one_in(6) {
                Target::Token
            } else {
                Target::Send
            },
            delay_ms: if self.one_in(3) {
                self.random.between(0, 30)
            } else {
                0
            },
            retry_after_secs: self.one_in(3).then_some(5),
            after_effect: self.one_in(3),
            ..Fault::next(FAULTS[kind], 1)
        };
        self.emulator.world().set_fault(fault);
    }

    fn somebody_acts(&mut self, node: &Node) {
        let who = usize::try_from(self.random.between(0, SLEEPERS as u64 - 1)).unwrap();
        let pages = match self.random.between(0, 3) {
            0 => self.random.between(0, 2),
            _ => ALL_PAGES,
        };
        let attachment = match self.random.between(0, 1) {
            0 => Attachment::Foreground,
            _ => Attachment::Background,
        };
        let act = match self.random.between(1, 100) {
            1..=25 => Act::Send(Some(who)),
            26..=35 => Act::Send(None),
            36..=80 => Act::Answer(who, pages),
            81..=84 => Act::Sync(who, attachment, pages, false),
            85..=90 => Act::Leave(who),
            91..=94 => Act::NewToken(who),
            95..=96 => Act::ClearToken(who),
            _ => Act::Wipe(who),
        };
        let (people, store, clock) = (
            Arc::clone(&self.people),
            Arc::clone(&node.store),
            node.clock,
        );
        let news = Arc::clone(&node.news);
        node.spawn(async move {
            // Whoever is cut off tries again later, or not.
            drop(people.act(&store, clock, act).await);
            news.notify_one();
        });
    }

    /// The faults end: everything owed must come now.
    fn heal(&mut self, patience: Duration) -> Verdict {
        self.emulator.world().clear_faults();
        let node = self.start(u64::MAX);
        let began = Instant::now();
        loop {
            let part = self.people.do_their_part(&node.store, node.clock);
            node.run(part);
            if self.people.have_all() || began.elapsed() > patience {
                break;
            }
            // However slow the machine is, in the end days pass: the last steps of
            // the schedule.
            let part = began.elapsed().as_millis() * 8 / patience.as_millis();
            self.pass(match part {
                0 => Duration::from_secs(2),
                1 => Duration::from_secs(60),
                2 | 3 => Duration::from_secs(20 * 60),
                4.. => Duration::from_secs(7 * 60 * 60),
            });
            node.news.notify_one();
            thread::sleep(LOOK_INTERVAL);
        }
        let now_ms = node.clock.wall_ms();
        node.kill();
        self.people.cut_off();
        self.watch.end_lease();
        if !self.people.have_all() {
            println!("wakes: {:?}, now {now_ms}", self.watch.waiting());
        }
        let written = self.watch.written();
        let unwritten = self.people.pushed_without(&written);
        assert!(
            unwritten.is_empty(),
            "sent before it was written down: {unwritten:?}"
        );
        judge(&self.people.history(&written))
    }

    /// Kills, faults, and the checker's word. How many of both.
    fn tell(mut self, wanted: u64) -> (u64, u64) {
        let began = Instant::now();
        while self.kills < wanted || self.emulator.world().counts().faults < wanted {
            for _ in 0..KILLS_TOGETHER {
                self.live_and_die();
            }
            let verdict = self.heal(PATIENCE);
            assert!(verdict.is_ok(), "after {} kills: {verdict}", self.kills);
        }
        let counts = self.emulator.world().counts();
        println!(
            "{} kills of the duty ({} at an await), {} faults of FCM, {} sends of which {} were \
             taken, {} wakes and tries written down, {} messages, {} s",
            self.kills,
            self.at_an_await,
            counts.faults,
            counts.sends,
            counts.taken,
            self.watch.written().len(),
            self.people.sent(),
            began.elapsed().as_secs(),
        );
        (self.kills, counts.faults)
    }

    /// Everybody is sent something, and nobody is awake.
    fn send_to_all(&self) {
        let node = Node::idle(&self.files, self.ahead_ms);
        let sent = self.people.act(&node.store, node.clock, Act::Send(None));
        node.run(sent).unwrap();
        node.kill();
        self.people.cut_off();
    }
}

fn seed() -> u64 {
    number("MAGPIE_WAKE_SEED").unwrap_or_else(|| u64::from(std::process::id()))
}

/// One party after the other: what all of one noted is judged again and again.
fn tell_all(party: fn(u64) -> Party) {
    let wanted = number("MAGPIE_WAKE_KILLS").unwrap_or(KILLS);
    let (mut kills, mut faults, mut seed) = (0, 0, seed());
    while kills < wanted || faults < wanted {
        let (killed, failed) = party(seed).tell(wanted.min(KILLS_OF_A_PARTY));
        (kills, faults, seed) = (kills + killed, faults + failed, seed + 1);
    }
    println!("in all {kills} kills of the duty and {faults} faults of FCM");
}

/// D2. D8.
#[test]
fn no_owed_wake_is_lost_and_none_is_for_nothing_through_kills_and_faults_embedded() {
    tell_all(Party::embedded);
}

/// D2. D8.
#[test]
fn no_owed_wake_is_lost_and_none_is_for_nothing_through_kills_and_faults_postgres() {
    if !cluster::is_skipped() {
        tell_all(Party::postgres);
    }
}

/// A check that cannot fail proves nothing.
fn is_found(mut party: Party) {
    party.send_to_all();
    party.watch.forget_owed();
    let verdict = party.heal(Duration::from_secs(3));
    let lost = verdict
        .violations
        .iter()
        .filter(|it| it.invariant == Invariant::I1);
    assert_eq!(lost.count(), SLEEPERS, "{verdict}");

    party.send_to_all();
    assert!(party.heal(PATIENCE).is_ok(), "the next message brings both");
    party.watch.wake_all_for_nothing();
    let verdict = party.heal(PATIENCE);
    let unsound = verdict
        .violations
        .iter()
        .filter(|it| it.invariant == Invariant::I11);
    assert_eq!(unsound.count(), SLEEPERS, "{verdict}");
}

/// D8.
#[test]
fn a_duty_that_forgets_or_wakes_for_nothing_is_found() {
    is_found(Party::embedded(seed()));
    if !cluster::is_skipped() {
        is_found(Party::postgres(seed()));
    }
}
