//! Sleeping devices are woken: a real server, real clients, and the FCM emulator
//! in a process of its own.

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use magpie_fcm_emulator::{Control, Counts, Delivered, Fault, FaultKind, Reach, Standing};
use magpie_sim::postgres;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::world::{PATIENCE, Running, World, of_type, text, texts};

/// How long an app that somebody looks at has to confirm, here.
const FOREGROUND_MS: u64 = 700;

/// The longest that a wake takes that was written down when the server was
/// killed: its next try.
const NEXT_TRY: Duration = Duration::from_secs(60);

/// Which store the server has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    Embedded,
    Postgres,
}

/// Runs a story with each store, side by side.
fn with_each_store(story: impl Fn(Scene) + Sync) {
    thread::scope(|scope| {
        scope.spawn(|| story(Scene::new(Engine::Embedded)));
        if !postgres::is_skipped() {
            scope.spawn(|| story(Scene::new(Engine::Postgres)));
        }
    });
}

/// A world with an emulator, and alice, bob and carol registered.
pub(crate) struct Scene {
    pub(crate) world: World,
    control: Control,
    url: String,
    /// Whom to trust there, if it speaks TLS.
    ca: Option<String>,
    _emulator: Running,
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

fn token(of: &str) -> String {
    format!("device-of-{of}:APA91b")
}

impl Scene {
    pub(crate) fn new(engine: Engine) -> Self {
        let mut world = World::without_server();
        let account = world.home("account.json");
        std::fs::create_dir_all(account.parent().unwrap()).unwrap();
        let account = account.display().to_string();
        let mut asked = vec!["fcm-emulator", "--account", &account];
        // With one of the stores over TLS, as in life.
        let ca = world.home("fcm-ca.pem").display().to_string();
        let ca = matches!(engine, Engine::Postgres).then_some(ca);
        if let Some(ca) = &ca {
            asked.extend(["--tls", ca]);
        }
        let emulator = world.start("nobody", asked);
        let ready = emulator.line();
        let url = text(&ready, "url").to_owned();
        let foreground = format!("{FOREGROUND_MS}ms");
        world.settings = [
            "--push-account",
            &account,
            "--push-url",
            &url,
            "--push-foreground",
            &foreground,
        ]
        .map(str::to_owned)
        .into();
        if let Some(ca) = &ca {
            world.settings.extend(["--push-ca".to_owned(), ca.clone()]);
            let cluster = postgres::shared().unwrap();
            let url = runtime().block_on(cluster.create_database()).unwrap();
            world.settings.extend(["--database-url".to_owned(), url]);
        }
        world.start_server();
        for name in ["alice", "bob", "carol"] {
            world.register(name);
        }
        let control = match &ca {
            Some(ca) => Control::trusting(&url, &std::fs::read(ca).unwrap()),
            None => Control::new(&url),
        };
        Self {
            world,
            control: control.unwrap(),
            url,
            ca,
            _emulator: emulator,
        }
    }

    /// Gives a home's device a push token that the emulator knows.
    pub(crate) fn set_push(&self, home: &str) {
        self.set_device(home, Standing::Registered);
        let token = token(home);
        self.world.magpie(home, ["push", "set", &token]).done();
    }

    fn set_device(&self, of: &str, standing: Standing) {
        let token = token(of);
        let set = self.control.set_device(&token, standing, Reach::Doze);
        runtime().block_on(set).unwrap();
    }

    pub(crate) fn send(&self, to: &str, what: &str) {
        self.world.magpie("alice", ["send", to, what]).done();
    }

    pub(crate) fn pushes(&self, of: &str, wait: Duration) -> Vec<Delivered> {
        let token = token(of);
        let pushes = self.control.pushes(&token, 0, wait);
        runtime().block_on(pushes).unwrap()
    }

    /// Waits for the first push to a home's device.
    fn woken(&self, of: &str) -> Delivered {
        let deadline = Instant::now() + NEXT_TRY;
        while Instant::now() < deadline {
            if let Some(push) = self.pushes(of, Duration::from_secs(5)).into_iter().next() {
                return push;
            }
        }
        panic!("{of} was not woken");
    }

    fn assert_not_woken(&self, of: &str) {
        assert_eq!(self.pushes(of, Duration::ZERO), [], "{of} was woken");
    }

    pub(crate) fn fail(&self, fault: Fault) {
        runtime().block_on(self.control.set_fault(fault)).unwrap();
    }

    pub(crate) fn heal(&self) {
        runtime().block_on(self.control.clear_faults()).unwrap();
    }

    pub(crate) fn counts(&self) -> Counts {
        runtime().block_on(self.control.counts()).unwrap()
    }

    /// Waits until the server has tried to send.
    pub(crate) fn until_tried(&self, sends: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.counts().sends < sends {
            assert!(Instant::now() < deadline, "the server did not try");
            thread::yield_now();
        }
    }

    /// A home that sleeps until it is woken.
    pub(crate) fn background(&self, home: &str) -> Running {
        let token = token(home);
        let mut asked = vec!["background", "--emulator", &self.url, &token];
        if let Some(ca) = &self.ca {
            asked.extend(["--emulator-ca", ca]);
        }
        let running = self.world.start(home, asked);
        running.until("asleep");
        running
    }
}

/// D8.
#[test]
fn a_sleeping_device_is_woken_by_each_message_and_has_it() {
    with_each_store(|scene| {
        scene.set_push("bob");
        let bob = scene.background("bob");
        for what in ["one", "two", "three"] {
            scene.send("@bob", what);
            let lines = bob.until("asleep");
            let wakes = of_type(&lines, "wake");
            assert_eq!(wakes.len(), 1);
            assert_eq!(text(wakes[0], "priority"), "high");
            assert_eq!(texts(&lines), [what]);
        }
        bob.terminate();
        let rest = bob.finish().done();
        assert_eq!(rest, Vec::<Value>::new());
    });
}

/// D8.
#[test]
fn a_wake_survives_that_fcm_is_down_and_the_server_is_killed() {
    with_each_store(|mut scene| {
        scene.set_push("bob");
        let bob = scene.background("bob");
        scene.fail(Fault::all(FaultKind::Unavailable));
        scene.send("@bob", "one");
        scene.until_tried(1);
        scene.world.kill_server();
        scene.world.start_server();
        scene.assert_not_woken("bob");
        scene.heal();
        scene.woken("bob");
        assert_eq!(texts(&bob.until("asleep")), ["one"]);
        let pushes = scene.pushes("bob", Duration::ZERO);
        assert_eq!(pushes.len(), 1, "one wake is one push");
    });
}

/// D8.
#[test]
fn a_device_that_caught_up_while_fcm_was_down_gets_no_push() {
    with_each_store(|scene| {
        for name in ["bob", "carol"] {
            scene.set_push(name);
        }
        scene.fail(Fault::all(FaultKind::Unavailable));
        scene.send("@bob", "one");
        scene.until_tried(1);
        scene.send("@carol", "two");
        scene.world.magpie("bob", ["sync"]).done();
        scene.heal();
        // Carol's is decided at the same time as bob's or later.
        scene.woken("carol");
        scene.assert_not_woken("bob");
    });
}

/// D8.
#[test]
fn a_device_that_does_not_confirm_is_woken_though_its_socket_is_open() {
    with_each_store(|scene| {
        for name in ["bob", "carol"] {
            scene.set_push(name);
        }
        let group = ["group", "create", "tea", "@bob", "@carol"];
        let made = scene.world.magpie("alice", group).done();
        let group = text(&made[0], "conversation_id").to_owned();
        let (bob, carol) = (
            scene.world.start("bob", ["listen"]),
            scene.world.start("carol", ["listen"]),
        );
        for listener in [&bob, &carol] {
            listener.until("caught_up");
        }
        bob.freeze();
        scene.send(&group, "one");
        assert_eq!(texts(&carol.until("message")), ["one"]);
        scene.woken("bob");
        // Carol is live and acknowledges.
        scene.assert_not_woken("carol");
    });
}

/// D8.
#[test]
fn a_token_that_moved_to_another_user_wakes_them_alone() {
    with_each_store(|scene| {
        scene.set_push("bob");
        let token = token("bob");
        scene.world.magpie("carol", ["push", "set", &token]).done();
        scene.send("@bob", "for bob");
        scene.send("@carol", "for carol");
        scene.woken("bob");
        assert_eq!(scene.counts().sends, 1);
    });
}

/// D8.
#[test]
fn a_dead_token_is_forgotten_and_a_new_one_wakes() {
    with_each_store(|scene| {
        scene.set_push("bob");
        scene.set_device("bob", Standing::Unregistered);
        scene.send("@bob", "one");
        scene.until_tried(1);
        scene.set_push("bob");
        scene.send("@bob", "two");
        scene.woken("bob");
    });
}

/// D8.
#[test]
fn who_wants_no_pushes_gets_none() {
    with_each_store(|scene| {
        for name in ["bob", "carol"] {
            scene.set_push(name);
        }
        scene.world.magpie("bob", ["push", "clear"]).done();
        scene.send("@bob", "one");
        scene.send("@carol", "two");
        scene.woken("carol");
        scene.assert_not_woken("bob");
        assert_eq!(scene.counts().sends, 1);
    });
}
