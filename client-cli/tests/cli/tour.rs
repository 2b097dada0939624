//! A walk through all that there is, as docs/tour.md tells it: real programs, from
//! registering to a deleted account. `UPDATE_DOCS=1` writes the page anew.

use std::{collections::HashMap, env, fmt::Write as _, fs, path::Path, time::Instant};

use crate::world::{PATIENCE, World, number};

const PAGE: &str = "../docs/tour.md";

/// What every id, time and address looks like on the page: as long as it was, so that
/// columns stay.
const TIME: &str = "2026-11-23 12:00:00";
const ID_SIZE: usize = 36;

/// Characters of a line of prose.
const WIDTH: usize = 110;

/// The page while it is written, and the world that it is about.
struct Tour {
    world: World,
    page: String,
    /// Ids by what they are on the page.
    ids: HashMap<String, String>,
    in_block: bool,
}

impl Tour {
    fn begin() -> Self {
        let mut tour = Self {
            world: World::new(),
            page: String::new(),
            ids: HashMap::new(),
            in_block: false,
        };
        tour.say(
            "# A tour\n\nWhat two people, a group and a server can do, from registering to a deleted account. Every command was \
             run, and what it printed is shown: a test writes this page and compares it. The server is `magpied`, with its \
             defaults, on the same machine; each `--home` is one device of one user. Ids and times are replaced. What `sync` \
             prints, how much was new, is left out.",
        );
        tour
    }

    /// Prose.
    fn say(&mut self, text: &str) {
        self.end_block();
        for paragraph in text.split("\n\n") {
            writeln!(self.page, "{}\n", wrapped(paragraph)).unwrap();
        }
    }

    fn end_block(&mut self) {
        if std::mem::take(&mut self.in_block) {
            self.page.push_str("```\n\n");
        }
    }

    /// Runs a command, and shows it with what it printed.
    fn run(&mut self, home: &str, arguments: &[&str]) -> String {
        self.exits(home, arguments, 0)
    }

    /// One that ends so.
    fn exits(&mut self, home: &str, arguments: &[&str], code: i32) -> String {
        let output = self.world.for_people(home, arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        let mut printed = String::from_utf8(output.stdout).unwrap();
        printed.push_str(&String::from_utf8(output.stderr).unwrap());
        if !std::mem::replace(&mut self.in_block, true) {
            self.page.push_str("```console\n");
        }
        let command: Vec<String> = arguments.iter().map(|it| quoted(it)).collect();
        let command = self.normal(&command.join(" "));
        writeln!(self.page, "$ magpie --home ./{home} {command}").unwrap();
        if arguments != ["sync"] || code != 0 {
            let printed = self.normal(&printed);
            for line in printed.lines() {
                // Who has stored it is told to devices that are connected when it happens.
                let line = line.split("; on devices of").next().unwrap_or(line);
                writeln!(self.page, "{}", line.trim_end()).unwrap();
            }
        }
        printed
    }

    /// The same for ids, times and addresses that are never the same.
    fn normal(&mut self, text: &str) -> String {
        let homes = self.world.home("");
        let text = text.replace(homes.to_str().unwrap(), "./");
        let text = text.replace(&self.world.address, "127.0.0.1:7443");
        let mut normal = String::new();
        let mut rest = text.as_str();
        while let Some(next) = rest.chars().next() {
            if let Some(id) = rest.get(..ID_SIZE).filter(|it| is_id(it)) {
                let count = self.ids.len() + 1;
                let new = || format!("00000000-0000-7000-8000-{count:012}");
                normal.push_str(self.ids.entry(id.to_owned()).or_insert_with(new));
                rest = rest.get(ID_SIZE..).unwrap_or_default();
            } else if let Some(digits) = secret_size(rest) {
                normal.extend(std::iter::repeat_n('0', digits));
                rest = rest.get(digits..).unwrap_or_default();
            } else if rest.get(..TIME.len()).is_some_and(is_time) {
                normal.push_str(TIME);
                rest = rest.get(TIME.len()..).unwrap_or_default();
            } else {
                normal.push(next);
                rest = rest.get(next.len_utf8()..).unwrap_or_default();
            }
        }
        normal
    }

    fn end(mut self) -> String {
        self.end_block();
        self.page.truncate(self.page.trim_end().len());
        self.page.push('\n');
        self.page
    }
}

/// In lines that can be read as they are.
fn wrapped(paragraph: &str) -> String {
    let (mut text, mut width) = (String::new(), 0);
    for word in paragraph.split_whitespace() {
        let size = word.chars().count();
        if width > 0 {
            let fits = width + 1 + size <= WIDTH;
            text.push(if fits { ' ' } else { '\n' });
            width = if fits { width + 1 } else { 0 };
        }
        text.push_str(word);
        width += size;
    }
    text
}

/// Of the shape of `like`, in which 0 is a digit (or one of `abcdef` of an id).
fn is_like(text: &str, like: &str, is_digit: fn(char) -> bool) -> bool {
    let mut both = text.chars().zip(like.chars());
    text.len() == like.len()
        && both.all(|(it, like)| match like {
            '0' => is_digit(it),
            other => it == other,
        })
}

fn is_id(text: &str) -> bool {
    let like = "00000000-0000-0000-0000-000000000000";
    is_like(text, like, |it| it.is_ascii_hexdigit())
}

/// How long the secret is that a text begins with: links end in one.
fn secret_size(text: &str) -> Option<usize> {
    let size = text.find(|it: char| !it.is_ascii_hexdigit());
    Some(size.unwrap_or(text.len())).filter(|size| matches!(size, 32 | 64))
}

fn is_time(text: &str) -> bool {
    is_like(text, "0000-00-00 00:00:00", |it| it.is_ascii_digit())
}

/// As a shell takes it.
fn quoted(argument: &str) -> String {
    let is_plain = |it: char| it.is_alphanumeric() || "@-_./:+👍".contains(it);
    match argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{argument}'"),
    }
}

/// The id at the end of what `group create` and `send` print.
fn last_word(printed: &str) -> String {
    printed.split_whitespace().last().unwrap().to_owned()
}

#[test]
fn the_tour_is_what_the_programs_do() {
    let mut tour = Tour::begin();
    two_people(&mut tour);
    messages(&mut tour);
    offline(&mut tour);
    let tea = a_group(&mut tour);
    receipts(&mut tour, &tea);
    the_door(&mut tour, &tea);
    who_is_who(&mut tour);
    what_is_ones_own(&mut tour);
    friends(&mut tour);
    block(&mut tour);
    another_device(&mut tour);
    the_end(&mut tour, &tea);
    let told = tour.end();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &told).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    let differs = page
        .lines()
        .zip(told.lines())
        .find(|(page, told)| page != told);
    assert_eq!(differs, None, "docs/tour.md: UPDATE_DOCS=1 writes it anew");
    assert_eq!(page, told, "docs/tour.md: UPDATE_DOCS=1 writes it anew");
}

fn two_people(tour: &mut Tour) {
    tour.say("## Two people\n\nA name and a password make a user. The password is asked for, or taken from `MAGPIE_PASSWORD`.");
    tour.run("alice", &["register", "alice"]);
    tour.run("bob", &["register", "bob"]);
    tour.exits("eve", &["register", "alice"], 1);
    tour.run("alice", &["whoami"]);
    tour.say("Whoever knows a name can write to it.");
    tour.run("alice", &["send", "@bob", "shall we have tea?"]);
    tour.exits("alice", &["send", "@nobody", "hello?"], 1);
    tour.run("alice", &["outbox"]);
    tour.run("bob", &["sync"]);
    tour.run("bob", &["conversations"]);
    tour.run("bob", &["history", "@alice"]);
    tour.run("bob", &["read", "@alice"]);
    tour.say("Each message has a number in its conversation, the same for everybody.");
    tour.run("alice", &["readers", "@bob", "1"]);
}

fn messages(tour: &mut Tour) {
    tour.say("## Messages\n\nThey are answered, reacted to, edited, deleted, sent on, and hidden from oneself.");
    tour.run("bob", &["reply", "@alice", "1", "yes, at for"]);
    tour.run("bob", &["edit", "@alice", "2", "yes, at four"]);
    tour.run("bob", &["send", "@alice", "or not"]);
    tour.run("bob", &["delete", "@alice", "4"]);
    tour.run("alice", &["sync"]);
    tour.run("alice", &["react", "@bob", "2", "👍"]);
    tour.exits("alice", &["edit", "@bob", "2", "no"], 1);
    tour.run("bob", &["sync"]);
    tour.run("bob", &["history", "@alice"]);
    tour.run("bob", &["edits", "@alice", "2"]);
    tour.run("bob", &["hide", "@alice", "1"]);
    tour.run("bob", &["history", "@alice"]);
}

fn offline(tour: &mut Tour) {
    tour.say(
        "## Without a server\n\nWhat is sent is written down first, and leaves once there is a server; nothing is lost, doubled or \
         reordered meanwhile. With `--queue` nobody even looks for one.",
    );
    tour.world.kill_server();
    tour.run("alice", &["send", "@bob", "I bring cake", "--queue"]);
    tour.run("alice", &["send", "@bob", "and plates", "--queue"]);
    tour.run("alice", &["outbox"]);
    tour.world.start_server();
    tour.say("The server is back:");
    tour.run("alice", &["sync"]);
    tour.run("alice", &["outbox"]);
    tour.run("bob", &["sync"]);
    tour.run("bob", &["conversations"]);
}

fn a_group(tour: &mut Tour) -> String {
    tour.say("## A group\n\nWho makes it owns it. Everybody adds people; admins remove them and say what it is about.");
    tour.run("carol", &["register", "carol"]);
    let made = tour.run("alice", &["group", "create", "Tea", "@bob"]);
    let tea = last_word(&made);
    tour.run("alice", &["group", "role", &tea, "@bob", "admin"]);
    tour.run("bob", &["sync"]);
    tour.run("bob", &["group", "add", &tea, "@carol"]);
    tour.run(
        "bob",
        &[
            "group",
            "update",
            &tea,
            "--title",
            "Tea at four",
            "--description",
            "Bring a cup.",
        ],
    );
    tour.run("alice", &["sync"]);
    tour.run("alice", &["send", &tea, "who brings milk? @carol?"]);
    tour.run("carol", &["sync"]);
    tour.run("carol", &["conversations"]);
    tour.run("carol", &["send", &tea, "I do"]);
    tour.say("Where admins alone write:");
    tour.run(
        "alice",
        &["group", "update", &tea, "--announcement-only", "on"],
    );
    tour.run("carol", &["sync"]);
    tour.exits("carol", &["send", &tea, "and biscuits"], 1);
    tour.run("alice", &["sync"]);
    tour.run("alice", &["members", &tea]);
    tour.run("alice", &["history", &tea]);
    tea
}

fn receipts(tour: &mut Tour, tea: &str) {
    tour.say("## Who has read it\n\nRead receipts can be hidden, both ways.");
    tour.run("bob", &["sync"]);
    tour.run("bob", &["read", tea]);
    tour.run("carol", &["receipts", "hide"]);
    tour.run("carol", &["read", tea]);
    tour.run("alice", &["readers", tea, "5"]);
    tour.run("carol", &["readers", tea, "5"]);
    tour.run("carol", &["receipts", "show"]);
    tour.run("alice", &["readers", tea, "5"]);
}

fn the_door(tour: &mut Tour, tea: &str) {
    tour.say(
        "## The door of a group\n\nWhoever has the link of an invite may join, as often and as long as it says. Who is new sees what was \
         said before them if the group wants it so.",
    );
    tour.run("alice", &["group", "update", tea, "--history", "on"]);
    let made = tour.run("alice", &["invite", "create", tea, "--uses", "2"]);
    let link = made.split_whitespace().find(|it| it.starts_with("magpie:"));
    let link = link.unwrap().to_owned();
    tour.run("dave", &["register", "dave"]);
    tour.run("dave", &["invite", "show", &link]);
    tour.run("dave", &["join", &link]);
    tour.run("dave", &["sync"]);
    tour.run("dave", &["history", tea, "--limit", "6"]);
    tour.run("alice", &["invite", "list", tea]);
    tour.say(
        "What all should find is pinned; who is banned is out, and does not come back by a link.",
    );
    tour.run("alice", &["sync"]);
    tour.run("alice", &["pin", tea, "5"]);
    tour.run("alice", &["group", "ban", tea, "@dave"]);
    tour.run("alice", &["group", "bans", tea]);
    tour.exits("dave", &["join", &link], 1);
    tour.run("dave", &["sync"]);
    tour.run("dave", &["conversations"]);
    tour.run("carol", &["sync"]);
    tour.run("carol", &["pins", tea]);
}

fn who_is_who(tour: &mut Tour) {
    tour.say(
        "## Who is who\n\nWhat somebody says of themself reaches those who know them. Others find them by their whole name, by a link \
         that they hand out, or by the beginning of the name if they allow it.",
    );
    tour.run(
        "carol",
        &["profile", "--name", "Carol 🫖", "--status", "mostly tea"],
    );
    tour.run("bob", &["sync"]);
    tour.run("bob", &["profile", "@carol"]);
    let link = tour.run("carol", &["link", "--new"]);
    let link = link.split_whitespace().find(|it| it.starts_with("magpie:"));
    let link = link.unwrap().to_owned();
    tour.run("dave", &["find", &link]);
    tour.run("dave", &["find", "car", "--prefix"]);
    tour.run("carol", &["profile", "--discoverable", "yes"]);
    tour.run("dave", &["find", "car", "--prefix"]);
}

fn block(tour: &mut Tour) {
    tour.say(
        "## Peace\n\nWho is blocked is not told. What they say while they are is not shown, then or later, and wakes nobody.",
    );
    tour.run("bob", &["block", "@dave"]);
    tour.run("dave", &["send", "@bob", "let me in"]);
    tour.run("bob", &["sync"]);
    tour.run("bob", &["conversations"]);
    tour.run("bob", &["unblock", "@dave"]);
    tour.run("dave", &["send", "@bob", "please"]);
    tour.run("bob", &["sync"]);
    tour.run("bob", &["history", "@dave"]);
}

fn what_is_ones_own(tour: &mut Tour) {
    tour.say("## What is one's own\n\nFor what one is woken, and what others are to one: on all devices, and nobody else learns of it.");
    tour.run("bob", &["mute", "@alice"]);
    tour.run(
        "bob",
        &[
            "contact",
            "@alice",
            "--favourite",
            "--nickname",
            "Alice from tea",
        ],
    );
    tour.run("bob", &["contacts"]);
    tour.run("bob", &["sync"]);
    tour.run("bob", &["conversations"]);
}

fn friends(tour: &mut Tour) {
    tour.say("## Friends\n\nOne asks, the other accepts, or declines and is not betrayed. Who lets friends alone write gets what others write as a request: it wakes nobody.");
    tour.run("alice", &["friends", "request", "@bob"]);
    tour.run("bob", &["sync"]);
    tour.run("bob", &["friends"]);
    tour.run("bob", &["friends", "accept", "@alice"]);
    tour.run("bob", &["friends"]);
    tour.run("bob", &["privacy", "--messages", "friends"]);
    tour.run("carol", &["send", "@bob", "is this your number?"]);
    tour.run("bob", &["sync"]);
    tour.run("bob", &["conversations"]);
    tour.exits("carol", &["group", "create", "Raffle", "@bob"], 1);
    tour.say("Friends see when the other is there, until one of them hides it. Who hides it sees nobody either.");
    tour.run("bob", &["presence", "--hide"]);
    tour.run("bob", &["presence", "@alice"]);
    tour.run("alice", &["presence", "@bob"]);
    tour.run("bob", &["presence", "--show"]);
}

fn another_device(tour: &mut Tour) {
    tour.say("## Another device\n\nIt has all that the first one has: what is unread, what is one's own.");
    tour.run("tablet", &["login", "bob", "--device-name", "tablet"]);
    tour.run("tablet", &["sync"]);
    tour.run("tablet", &["conversations"]);
    tour.run("tablet", &["read", "@alice"]);
    tour.run("bob", &["sync"]);
    tour.run("bob", &["conversations"]);
    tour.say("What somebody does that nobody should is told to those who run the server.");
    tour.run(
        "carol",
        &["report", "@bob", "--reason", "spam", "he plays the trumpet"],
    );
    tour.say("Every device can compare itself with the server's log, and end another one.");
    tour.run("tablet", &["audit"]);
    tour.run("tablet", &["devices"]);
    let devices = tour.world.magpie("bob", ["devices"]).done();
    let other = devices.iter().find(|it| it["device_name"] == "tablet");
    let id = other.unwrap()["device_id"].as_str().unwrap().to_owned();
    tour.run("bob", &["devices", "revoke", &id]);
    tour.exits("tablet", &["sync"], 3);
}

/// Who is deleted leaves their groups soon, not at once.
fn until_two_are_left(world: &World, tea: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        world.magpie("bob", ["sync"]).done();
        let members = world.magpie("bob", ["members", tea]).done();
        if members.last().is_some_and(|it| number(it, "count") == 2) {
            return;
        }
        assert!(Instant::now() < deadline, "{members:?}");
    }
}

fn the_end(tour: &mut Tour, tea: &str) {
    tour.say(
        "## The end of an account\n\nWho is deleted leaves their groups, and goes by no name from then on. What they said stays; the \
         name is given to nobody else.",
    );
    tour.run("alice", &["delete-account", "--yes"]);
    tour.exits("alice", &["whoami"], 3);
    until_two_are_left(&tour.world, tea);
    tour.exits("eve", &["register", "alice"], 1);
    tour.run("new", &["login", "bob"]);
    tour.run("new", &["sync"]);
    tour.run("new", &["conversations"]);
}
