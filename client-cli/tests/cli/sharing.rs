//! Two servers on one `PostgreSQL` share the duty to wake.

use std::time::{Duration, Instant};

use magpie_fcm_emulator::{Fault, FaultKind};
use magpie_sim::postgres;

use crate::{
    waking::{Engine, Scene},
    world::World,
};

/// As long as a try that was in flight takes to be made again, and a lease to end.
const TAKEN_OVER: Duration = Duration::from_secs(60);

/// Waits until that many pushes have come, or more.
fn until_pushed(scene: &Scene, of: &str, count: usize) {
    let deadline = Instant::now() + TAKEN_OVER;
    while scene.pushes(of, Duration::from_secs(1)).len() < count {
        assert!(Instant::now() < deadline, "{of} was not woken");
    }
}

/// D8.
#[test]
fn a_server_that_is_killed_with_the_duty_is_followed_by_another_and_no_wake_is_lost() {
    if postgres::is_skipped() {
        return;
    }
    let mut scene = Scene::new(Engine::Postgres);
    let names = ["bob", "carol", "dave", "erin"];
    for name in ["dave", "erin"] {
        scene.world.register(name);
    }
    for name in names {
        scene.set_push(name);
    }
    // The first has the duty: it was there alone.
    scene.send("@bob", "through the first");
    until_pushed(&scene, "bob", 1);
    let mut second = World::without_server();
    second.settings = scene.world.settings.clone();
    second.start_server();
    scene.world.address.clone_from(&second.address);
    scene.world.ca.clone_from(&second.ca);
    scene.send("@carol", "through the second");
    until_pushed(&scene, "carol", 1);
    assert_eq!(scene.counts().sends, 2, "each wake is sent once");
    for name in ["bob", "carol"] {
        scene.world.magpie(name, ["sync"]).done();
    }

    // It is killed while a wake that it has written down is in flight.
    scene.fail(Fault {
        delay_ms: 10_000,
        ..Fault::all(FaultKind::Slow)
    });
    scene.send("@dave", "in flight");
    scene.until_tried(3);
    scene.world.kill_server();
    scene.heal();
    scene.send("@erin", "after it");
    until_pushed(&scene, "erin", 1);
    scene.world.magpie("erin", ["sync"]).done();
    until_pushed(&scene, "dave", 1);
    for (name, pushes_max) in [("bob", 1), ("carol", 1), ("erin", 1), ("dave", 2)] {
        let pushes = scene.pushes(name, Duration::ZERO);
        assert!(pushes.len() <= pushes_max, "{name}: {pushes:?}");
    }
    drop(second);
}
