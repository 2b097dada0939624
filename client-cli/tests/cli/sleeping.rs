//! Devices that are connected only when a push has woken them, while the server
//! is killed and FCM fails.
//!
//! The short form is part of the test command. `MAGPIE_SLEEPERS` devices for
//! `MAGPIE_SLEEP_SECONDS` make the long one, with `MAGPIE_SLEEP_SEED`.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use magpie_fcm_emulator::{Fault, FaultKind};
use magpie_sim::proxy::Random;

use crate::{
    waking::{Engine, Scene},
    world::{Running, text, texts},
};

/// Two steps of a wake's schedule, and the longest back-off between them.
const ALL_WOKEN: Duration = Duration::from_secs(240);

const FAULTS: [FaultKind; 5] = [
    FaultKind::Unavailable,
    FaultKind::Internal,
    FaultKind::Reset,
    FaultKind::QuotaExceeded,
    FaultKind::Unauthenticated,
];

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |it| it.parse().unwrap())
}

/// A user whose one device sleeps.
struct Sleeper {
    name: String,
    running: Running,
    got: Vec<String>,
}

impl Sleeper {
    fn new(scene: &Scene, number: u64) -> Self {
        let name = format!("sleeper{number}");
        scene.world.register(&name);
        scene.set_push(&name);
        let running = scene.background(&name);
        Self {
            name,
            running,
            got: Vec::new(),
        }
    }

    /// Reads until it has as many messages as were sent.
    fn read(&mut self, count: usize, until: Instant) {
        while self.got.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            let Some(line) = self.running.next(left) else {
                let (name, got) = (&self.name, self.got.len());
                panic!("{name} was not woken for all: it has {got} of {count}");
            };
            let line = [line];
            self.got.extend(texts(&line).into_iter().map(str::to_owned));
        }
    }
}

/// What happens beside the sending.
fn disturb(scene: &mut Scene, random: &mut Random) {
    match random.between(0, 3) {
        0 => {
            scene.world.kill_server();
            thread::sleep(Duration::from_millis(random.between(0, 300)));
            scene.world.start_server();
        }
        1 => {
            let kind = usize::try_from(random.between(0, 4)).unwrap();
            scene.fail(Fault {
                after_effect: random.between(0, 1) == 1,
                retry_after_secs: Some(1),
                ..Fault::next(FAULTS[kind], 1)
            });
        }
        _ => thread::sleep(Duration::from_millis(random.between(50, 400))),
    }
}

/// D2, D3, D4, D8.
#[test]
fn every_message_reaches_every_sleeping_device_once_through_kills_and_faults() {
    let sleepers = number("MAGPIE_SLEEPERS", 5);
    let time = Duration::from_secs(number("MAGPIE_SLEEP_SECONDS", 6));
    let seed = number("MAGPIE_SLEEP_SEED", 1);
    println!("MAGPIE_SLEEP_SEED={seed}");
    let mut random = Random::new(seed);
    let mut scene = Scene::new(Engine::Embedded);
    let mut sleepers: Vec<Sleeper> = (1..=sleepers)
        .map(|number| Sleeper::new(&scene, number))
        .collect();
    let mut group = vec!["group".to_owned(), "create".to_owned(), "all".to_owned()];
    group.extend(sleepers.iter().map(|it| format!("@{}", it.name)));
    let made = scene.world.magpie("alice", group).done();
    let group = text(&made[0], "conversation_id").to_owned();

    let mut sent = Vec::new();
    let ends_at = Instant::now() + time;
    while Instant::now() < ends_at {
        let what = format!("message {}", sent.len());
        let queued = ["send", "--queue", &group, &what];
        scene.world.magpie("alice", queued).done();
        sent.push(what);
        let sending = scene.world.start("alice", ["sync"]);
        disturb(&mut scene, &mut random);
        sending.finish();
    }
    scene.heal();
    scene.world.magpie("alice", ["sync"]).done();
    let deadline = Instant::now() + ALL_WOKEN;
    for sleeper in &mut sleepers {
        sleeper.read(sent.len(), deadline);
        assert_eq!(sleeper.got, sent, "{}", sleeper.name);
    }
}
