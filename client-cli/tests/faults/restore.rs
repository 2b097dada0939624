//! A server that is restored from an older backup: what its devices still hold of
//! what it lost comes back, once and in one order.

use std::{fs, path::Path};

use magpie_sim::postgres;
use serde_json::Value;

use crate::{
    database::Database,
    plan::Plan,
    process::Process,
    town::{Home, Town},
    verdict::Verdict,
    writer::Writer,
};

/// A town whose store can be copied and put back.
pub(crate) struct Place {
    pub(crate) town: Town,
    /// None: the embedded store.
    database: Option<Database>,
}

/// A copy of a store, and of the photos and files.
pub(crate) struct Backup {
    files: tempfile::TempDir,
    database: Option<String>,
}

impl Place {
    fn embedded(plan: &Plan) -> Self {
        Self {
            town: Town::start(plan),
            database: None,
        }
    }

    fn postgres(plan: &Plan) -> Self {
        let database = Database::shared();
        Self {
            town: Town::over(plan, &database.url()),
            database: Some(database),
        }
    }

    /// Copies the store of the server, which is away meanwhile.
    pub(crate) fn back_up(&mut self) -> Backup {
        self.town.server.kill();
        let files = tempfile::tempdir().unwrap();
        let database = self.database.as_ref().map(Database::back_up);
        copy_files(&self.town.server.data, files.path());
        self.town.server.start();
        Backup { files, database }
    }

    /// Puts the copy in the store's place, and begins a new epoch.
    pub(crate) fn restore(&mut self, backup: &Backup) {
        self.town.server.kill();
        if let (Some(database), Some(copy)) = (&self.database, &backup.database) {
            database.restore(copy);
        }
        let data = &self.town.server.data;
        fs::remove_dir_all(data).unwrap();
        fs::create_dir(data).unwrap();
        copy_files(backup.files.path(), data);
        self.town.server.begin_epoch();
        self.town.server.start();
    }
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        // The socket of operators is of no use in a backup.
        if kind.is_file() {
            fs::copy(entry.path(), to).unwrap();
        } else if kind.is_dir() {
            fs::create_dir(&to).unwrap();
            copy_files(&entry.path(), &to);
        }
    }
}

pub(crate) fn with_each_store(name: &str, story: fn(&Plan, Place) -> Verdict) {
    in_each_store(name, |plan, place| story(plan, place).assert_kept());
}

/// The same of a story that says by itself what is wrong.
pub(crate) fn in_each_store(name: &str, story: impl Fn(&Plan, Place) + Sync) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let plan = Plan::calm(name);
            story(&plan, Place::embedded(&plan));
        });
        if !postgres::is_skipped() {
            scope.spawn(|| {
                let plan = Plan::calm(&format!("{name}-postgresql"));
                story(&plan, Place::postgres(&plan));
            });
        }
    });
}

/// Two users with two devices each, in one group, where three of them write.
struct People {
    alice: Writer,
    tablet: Writer,
    bob: Writer,
    phone: Writer,
    group: String,
}

impl People {
    fn gather(town: &Town) -> Self {
        let alice = town.register("alice");
        let tablet = town.sign_in("alice", "tablet");
        let bob = town.register("bob");
        let phone = town.sign_in("bob", "phone");
        let group = town.create_group(&alice, "lighthouses", &["@bob"]);
        let writer = |home: &Home| Writer::new(home, &group);
        Self {
            alice: writer(&alice),
            tablet: writer(&tablet),
            bob: writer(&bob),
            phone: writer(&phone),
            group,
        }
    }

    fn all(&mut self) -> [&mut Writer; 4] {
        [
            &mut self.alice,
            &mut self.tablet,
            &mut self.bob,
            &mut self.phone,
        ]
    }

    /// Alice's devices and Bob's first one write, in turns.
    fn write(&mut self, rounds: usize, what: &str) {
        for _ in 0..rounds {
            self.alice.say(what);
            self.bob.say(what);
            self.tablet.say(what);
        }
    }

    fn sync(&mut self) {
        for writer in self.all() {
            writer.home.done(&["sync"]);
        }
    }

    /// How many lines each has handed in so far.
    fn counts(&mut self) -> [usize; 4] {
        self.all().map(|writer| writer.lines.len())
    }

    /// The server will be put back to where so many had been handed in.
    fn lose(&mut self, from: [usize; 4]) {
        for (writer, from) in self.all().into_iter().zip(from) {
            writer.loses(from);
        }
    }

    fn verdict(mut self, plan: &Plan, place: Place, more: Vec<Writer>) -> Verdict {
        self.sync();
        let Self {
            alice,
            tablet,
            bob,
            phone,
            ..
        } = self;
        let mut writers = vec![alice, tablet, bob, phone];
        writers.extend(more);
        Verdict::reach(plan, place.town, writers, Vec::new())
    }
}

fn dropped(lines: &[Value]) -> Vec<&Value> {
    let dropped = lines.iter().filter(|line| line["type"] == "dropped");
    dropped.collect()
}

/// D1, D2, D3, D4, D6, D11, D12. What is waiting when the server comes back does not
/// overtake what was accepted before and forgotten; somebody else has taken its
/// seqs meanwhile.
#[test]
fn what_a_restored_server_forgot_comes_back_from_the_devices_of_those_who_wrote_it() {
    with_each_store("restored", |plan, mut place| {
        let mut people = People::gather(&place.town);
        people.write(2, "kept");
        people.sync();
        let backup = place.back_up();
        let counts = people.counts();

        people.write(2, "lost");
        people.phone.home.done(&["sync"]);
        people.write(2, "lost, and not on the phone");
        let alice = people.alice.home.clone();
        let mut direct = Writer::new(&alice, "@bob");
        direct.say("a conversation that is lost");
        let bird = place.town.create_group(&alice, "a lost group", &["@bob"]);
        let lines = alice.done(&["send", &bird, "to a lost group"]);
        let to_nowhere = lines[0]["message_id"].clone();
        people.bob.home.done(&["sync"]);
        place.town.server.kill();
        people.alice.leave_waiting("waiting");
        people.tablet.leave_waiting("waiting");
        place.restore(&backup);

        people.lose(counts);
        // From a device that had not seen all of it, and first drops what it had.
        people.phone.say("first in the new history");
        let told = alice.ended(&["sync"]).1;
        let forgotten = dropped(&told);
        let of = |id: &str| {
            *forgotten
                .iter()
                .find(|line| line["conversation_id"] == id)
                .unwrap()
        };
        assert!(of(&people.group)["resent"].as_u64() >= Some(8), "{told:?}");
        assert_eq!(of(&bird)["changes"], 1, "{told:?}");
        people.sync_all_but_refused(&alice, &to_nowhere);
        direct.loses(0);
        direct.say("behind what was lost");
        people.verdict(plan, place, vec![direct])
    });
}

impl People {
    /// The message to a group that is no more is refused and kept, until it is
    /// discarded; so on each of its sender's devices that had it.
    fn sync_all_but_refused(&mut self, sender: &Home, message: &Value) {
        for _ in 0..2 {
            for writer in self.all() {
                writer.home.ended(&["sync"]);
            }
        }
        let failed = sender.done(&["outbox"]);
        let [entry] = failed.as_slice() else {
            panic!("{failed:?}");
        };
        assert_eq!(
            (&entry["message_id"], &entry["state"], &entry["code"]),
            (message, &"failed".into(), &"not_found".into())
        );
        for writer in self.all() {
            for entry in writer.home.done(&["outbox"]) {
                assert_eq!(&entry["message_id"], message);
                let id = entry["message_id"].as_str().unwrap();
                writer.home.done(&["outbox", "discard", id]);
            }
        }
    }
}

/// D1, D2, D3, D4, D6, D11. Of the history between, the log that is restored at last
/// knows nothing: it was begun from the same backup.
#[test]
fn a_device_that_slept_through_two_restores_brings_back_what_it_held() {
    with_each_store("restored-twice", |plan, mut place| {
        let mut people = People::gather(&place.town);
        people.write(1, "kept");
        people.sync();
        let first = place.back_up();
        let at_first = people.counts();
        people.write(2, "lost with the first restore");
        let after_first = people.counts();

        // The tablet sleeps from here on.
        place.restore(&first);
        people.lose(at_first);
        people.phone.say("in the second history");
        people.bob.say("in the second history");
        people.alice.home.done(&["sync"]);
        people.bob.home.done(&["sync"]);
        let second = place.back_up();
        people.alice.say("lost with the second restore");
        people.bob.say("lost with the second restore");
        place.restore(&second);
        people.lose(after_first);
        people.phone.say("in the third history");
        people.tablet.say("awake again");
        people.sync();
        people.sync();

        place.restore(&first);
        people.lose(at_first);
        people.phone.say("in the fourth history");
        people.sync();
        people.verdict(plan, place, Vec::new())
    });
}

/// D2, D3, D4, D6, D11. Wherever a client is killed while it takes another history
/// over, it goes on where it was.
#[test]
fn a_client_that_is_killed_while_it_takes_over_another_history_goes_on() {
    with_each_store("restored-killed", |plan, mut place| {
        let mut random = plan.random();
        let proxy = place.town.proxy(random.number());
        let mut people = People::gather(&place.town);
        people.write(1, "kept");
        // So many that the snapshot has several pages.
        let alice = people.alice.home.clone();
        let groups = (0..12).map(|number| {
            let title = format!("group {number}");
            let group = place.town.create_group(&alice, &title, &["@bob"]);
            Writer::new(&alice, &group)
        });
        let mut groups: Vec<Writer> = groups.collect();
        people.sync();
        let backup = place.back_up();
        let counts = people.counts();
        for (number, group) in groups.iter_mut().enumerate() {
            group.say_many(30, &format!("in {number}"));
        }
        people.write(2, "lost");
        people.sync();
        place.restore(&backup);
        people.lose(counts);
        groups.iter_mut().for_each(|group| group.loses(0));
        people.phone.say("first in the new history");
        for round in 0..8 {
            let size = 3_000 + round * random.between(1_000, 6_000);
            proxy.cut_each_after(size..=size);
            for home in [&people.alice.home, &people.tablet.home] {
                let process = Process::start(&mut home.command(&["sync"]));
                plan.pass(random.between(20, 250));
                process.kill();
            }
        }
        proxy.cut_none();
        people.sync();
        people.sync();
        people.verdict(plan, place, groups)
    });
}
