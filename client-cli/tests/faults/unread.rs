//! What is unread is the same on all devices, on the server and by the log, whatever was
//! killed or put back while people read.

use serde_json::Value;

use crate::{
    plan::Plan,
    process::Process,
    restore::{Place, with_each_store},
    town::Home,
    verdict::Verdict,
    writer::Writer,
};

/// Alice writes, from two devices; Bob reads, on two others.
struct Readers {
    alice: Writer,
    tablet: Writer,
    bob: Home,
    phone: Home,
    group: String,
}

impl Readers {
    fn gather(place: &Place) -> Self {
        let town = &place.town;
        let (alice, bob) = (town.register("alice"), town.register("bob"));
        let (tablet, phone) = (
            town.sign_in("alice", "tablet"),
            town.sign_in("bob", "phone"),
        );
        let group = town.create_group(&alice, "tides", &["@bob"]);
        tablet.done(&["sync"]);
        Self {
            alice: Writer::new(&alice, &group),
            tablet: Writer::new(&tablet, &group),
            bob,
            phone,
            group,
        }
    }

    /// One of these mentions Bob, and one everybody.
    fn write(&mut self) {
        self.alice.say("@bob, it is high");
        self.tablet.say("and will be low");
        self.alice.say("@everybody, look");
    }

    /// Unread messages and mentions, as a device shows them.
    fn shown(&self, home: &Home) -> (u64, u64) {
        let lines = home.done(&["conversations"]);
        let is_group = |line: &&Value| line["conversation_id"] == self.group;
        let line = lines.iter().find(is_group).unwrap();
        let number = |field: &str| line[field].as_u64().unwrap();
        (number("unread"), number("unread_mentions"))
    }

    /// Both devices show this, and the server and the log say the same.
    fn show(&self, expected: (u64, u64)) {
        for home in [&self.bob, &self.phone] {
            home.done(&["sync"]);
        }
        for home in [&self.bob, &self.phone] {
            // The other one's mark may be on its way.
            home.done(&["sync"]);
            let shown = self.shown(home);
            let history = || home.done(&["history", &self.group]);
            assert_eq!(shown, expected, "{}: {:#?}", home.device, history());
            let (code, audited) = home.ended(&["audit"]);
            assert_eq!(code, Some(0), "{}: {audited:#?}", home.device);
        }
    }

    fn verdict(self, plan: &Plan, place: Place) -> Verdict {
        let bob = Writer::new(&self.bob, &self.group);
        let phone = Writer::new(&self.phone, &self.group);
        let writers = vec![self.alice, self.tablet, bob, phone];
        Verdict::reach(plan, place.town, writers, Vec::new())
    }
}

/// D1, D2. A mark that was on its way when its device or the server was killed counts on
/// all devices or on none.
#[test]
fn what_is_unread_is_equal_whoever_was_killed_between_marks() {
    with_each_store("unread-killed", |plan, mut place| {
        let mut random = plan.random();
        let mut readers = Readers::gather(&place);
        for round in 0..6 {
            readers.write();
            readers.bob.done(&["sync"]);
            let group = readers.group.clone();
            let reading = Process::start(&mut readers.bob.command(&["read", &group]));
            plan.pass(random.between(1, 150));
            match round % 3 {
                0 => drop(reading.kill()),
                1 => {
                    place.town.server.kill();
                    drop(reading.kill());
                    place.town.server.start();
                }
                _ => {
                    place.town.server.kill();
                    place.town.server.start();
                    drop(reading.wait("it is read"));
                }
            }
            readers.phone.done(&["sync"]);
        }
        let group = readers.group.clone();
        readers.phone.done(&["sync"]);
        readers.phone.done(&["read", &group]);
        readers.show((0, 0));
        readers.write();
        readers.show((3, 2));
        readers.verdict(plan, place)
    });
}

/// D11. What was written since the backup comes back and is unread; what was there and was
/// read since then stays read, for the devices tell the server again.
#[test]
fn what_is_unread_is_equal_after_a_restore() {
    with_each_store("unread-restored", |plan, mut place| {
        let mut readers = Readers::gather(&place);
        readers.write();
        let group = readers.group.clone();
        readers.bob.done(&["sync"]);
        readers.bob.done(&["read", &group]);
        readers.write();
        readers.show((3, 2));
        let backup = place.back_up();
        let counts = [&readers.alice, &readers.tablet].map(|it| it.lines.len());
        readers.write();
        readers.phone.done(&["sync"]);
        readers.phone.done(&["read", &group]);
        readers.show((0, 0));
        place.restore(&backup);
        readers.alice.loses(counts[0]);
        readers.tablet.loses(counts[1]);
        for _ in 0..2 {
            for home in [&readers.alice.home, &readers.tablet.home] {
                home.ended(&["sync"]);
            }
        }
        // What was read and is in this history is read still: the devices say so again.
        readers.show((3, 2));
        readers.bob.done(&["read", &group]);
        readers.show((0, 0));
        for _ in 0..2 {
            readers.write();
        }
        readers.show((6, 4));
        readers.verdict(plan, place)
    });
}
