//! What a person at a terminal sees, on a terminal of the test's own.

use std::{
    io::{Read, Write},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Instant,
};

use magpie_proxy::{Direction, Proxy};
use pty_process::{
    Size,
    blocking::{Command as OnTerminal, Pty, open},
};
use tokio::runtime::Runtime;

use crate::{
    media::{arguments, file, received},
    world::{PATIENCE, World, text},
};

/// A program on a terminal of its own, and what that has shown so far.
struct Terminal {
    child: Child,
    screen: Arc<Pty>,
    chunks: Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Terminal {
    fn start(command: Command) -> Self {
        Self::with(OnTerminal::from(command))
    }

    /// With those streams elsewhere that the command says.
    fn with(command: OnTerminal) -> Self {
        let (screen, program) = open().unwrap();
        screen.resize(Size::new(24, 100)).unwrap();
        let command = command.env("TERM", "xterm-256color");
        let child = command.spawn(program).unwrap();
        let screen = Arc::new(screen);
        let (sender, chunks) = channel();
        let from = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // Ends with an error once the program has closed the terminal.
            while let Ok(count @ 1..) = from.as_ref().read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            screen,
            chunks,
            shown: Vec::new(),
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    #[track_caller]
    fn wait_for(&mut self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown().contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => self.shown.extend(chunk),
                Err(error) => panic!("{words:?} was not shown ({error}): {:?}", self.shown()),
            }
        }
    }

    fn type_in(&self, keys: &str) {
        self.screen.as_ref().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until what is typed is shown, or is not.
    #[track_caller]
    fn wait_for_echo(&self, on: bool) {
        let deadline = Instant::now() + PATIENCE;
        let wanted = if on { " echo " } else { " -echo " };
        loop {
            let terminal = self.screen.as_fd().try_clone_to_owned().unwrap();
            let said = Command::new("stty").arg("-a").stdin(terminal).output();
            let said = String::from_utf8(said.unwrap().stdout).unwrap();
            if said.replace('\n', " ").contains(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{said}");
        }
    }

    /// Waits until the program has ended; its code, and all that was shown.
    #[track_caller]
    fn finish(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => self.shown.extend(chunk),
                Err(_) => break,
            }
        }
        assert!(Instant::now() < deadline, "no end: {:?}", self.shown());
        let code = self.child.wait().unwrap().code();
        (code, self.shown())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Alice has written to Bob, and Bob's home has it.
fn with_a_message() -> World {
    let world = World::with_alice_and_bob();
    world.magpie("alice", ["send", "@bob", "hello"]).done();
    world.magpie("bob", ["sync"]).done();
    world
}

/// Without colours: what stands between an escape with `[` and `m`.
fn plain(shown: &str) -> String {
    let mut parts = shown.split("\u{1b}[");
    let first = parts.next().unwrap().to_owned();
    let rest = parts.map(|part| part.split_once('m').unwrap().1);
    std::iter::once(first.as_str()).chain(rest).collect()
}

#[test]
fn a_terminal_is_coloured_and_a_pipe_says_the_same_plainly() {
    let world = with_a_message();
    for arguments in [&["history", "@alice"][..], &["conversations"], &["whoami"]] {
        let command = || world.for_people("bob", arguments);
        let (code, shown) = Terminal::start(command()).finish();
        assert_eq!(code, Some(0), "{shown:?}");
        assert!(shown.contains("\u{1b}["), "{shown:?}");
        let piped = command().output().unwrap();
        let piped = String::from_utf8(piped.stdout).unwrap();
        // A terminal ends lines with both.
        assert_eq!(plain(&shown).replace("\r\n", "\n"), piped);
        assert!(!piped.contains('\u{1b}'), "{piped:?}");
    }
}

#[test]
fn flags_and_environment_decide_on_colours() {
    let world = with_a_message();
    let history = |flags: &[&str], variable: Option<&str>| {
        let mut command = world.for_people("bob", ["history", "@alice"]);
        command.args(flags);
        if let Some(variable) = variable {
            command.env(variable, "1");
        }
        command
    };
    for (flags, variable) in [
        (&["--color", "never"][..], None),
        (&["--color=never"], Some("CLICOLOR_FORCE")),
        (&[], Some("NO_COLOR")),
        (&["--json", "--color", "always"], None),
    ] {
        let (_, shown) = Terminal::start(history(flags, variable)).finish();
        assert!(shown.contains("hello"), "{shown:?}");
        assert!(
            !shown.contains('\u{1b}'),
            "{flags:?} {variable:?} {shown:?}"
        );
    }
    for (choice, coloured) in [("never", false), ("always", true)] {
        let help = world.for_people("bob", ["--color", choice, "--help"]);
        let (_, shown) = Terminal::start(help).finish();
        assert_eq!(shown.contains('\u{1b}'), coloured, "{shown:?}");
    }
    for (flags, variable) in [
        (&["--color", "always"][..], Some("NO_COLOR")),
        (&[], Some("CLICOLOR_FORCE")),
    ] {
        let piped = history(flags, variable).output().unwrap().stdout;
        assert!(piped.contains(&b'\x1b'), "{flags:?} {variable:?}");
    }
}

#[test]
fn a_password_is_asked_for_twice_and_never_shown() {
    const SECRET: &str = "nobody reads this";
    let world = World::new();
    let mut command = world.for_people("carol", ["register", "carol"]);
    command.env_remove("MAGPIE_PASSWORD");
    let mut terminal = Terminal::start(command);
    for question in ["Password: ", "Password again: "] {
        terminal.wait_for(question);
        terminal.wait_for_echo(false);
        terminal.type_in(&format!("{SECRET}\n"));
    }
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown:?}");
    assert!(shown.contains("registered"), "{shown:?}");
    assert!(!shown.contains("nobody"), "{shown:?}");
    // It is what was typed.
    let again = ["login", "carol", "--password-stdin"];
    world.magpie_with_input("phone", again, SECRET).done();
}

#[test]
fn two_passwords_that_differ_are_refused_before_anybody_is_asked() {
    let world = World::without_server();
    let mut command = world.for_people("carol", ["register", "carol"]);
    command.env_remove("MAGPIE_PASSWORD");
    let mut terminal = Terminal::start(command);
    for (question, answer) in [("Password: ", "one\n"), ("Password again: ", "two\n")] {
        terminal.wait_for(question);
        terminal.wait_for_echo(false);
        terminal.type_in(answer);
    }
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(2), "{shown:?}");
    assert!(shown.contains("differ"), "{shown:?}");
}

#[test]
fn a_prompt_that_is_given_up_gives_the_echo_back() {
    // The shell keeps the terminal open afterwards, as a person's does.
    const SHELL: &str = r#"trap : INT; "$@"; echo ended with $?; read -r _"#;
    let world = World::without_server();
    for ctrl_c_or_d in ["half\u{3}", "\u{4}"] {
        let magpie = world.for_people("carol", ["register", "carol"]);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", SHELL, "sh"])
            .arg(magpie.get_program())
            .args(magpie.get_args())
            .env_remove("MAGPIE_PASSWORD");
        let mut terminal = Terminal::start(shell);
        terminal.wait_for("Password: ");
        terminal.wait_for_echo(false);
        terminal.type_in(ctrl_c_or_d);
        terminal.wait_for("no password was typed");
        terminal.wait_for("ended with 2");
        terminal.wait_for_echo(true);
        terminal.type_in("\n");
        terminal.finish();
    }
}

#[test]
fn a_chat_shows_what_is_typed_and_what_comes_of_it() {
    let world = with_a_message();
    let mut terminal = Terminal::start(world.for_people("bob", ["chat", "@alice"]));
    terminal.wait_for("hello");
    terminal.wait_for("connected");
    terminal.wait_for_echo(true);
    terminal.type_in("good news\n");
    terminal.wait_for("good news\r\n");
    terminal.wait_for(" good news\r\n");
    terminal.type_in("/quit\n");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown:?}");
}

#[test]
fn a_long_send_shows_that_it_moves_and_leaves_nothing_behind() {
    let world = World::with_alice_and_bob();
    let command = OnTerminal::from(world.for_people("alice", ["send", "@bob"]));
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = Terminal::with(command);
    let mut stdin = terminal.child.stdin.take().unwrap();
    for count in 1..=3 {
        writeln!(stdin, "line {count}").unwrap();
        terminal.wait_for(&format!(" {count} sent"));
    }
    drop(stdin);
    let mut lines = String::new();
    let mut stdout = terminal.child.stdout.take().unwrap();
    stdout.read_to_string(&mut lines).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(!lines.contains('\u{1b}'), "{lines:?}");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown:?}");
    // The line of the bar is cleared, and the cursor at its beginning.
    assert!(shown.ends_with("\r\u{1b}[2K"), "{shown:?}");
}

#[test]
fn what_is_saved_shows_how_far_it_is() {
    let mut world = World::with_alice_and_bob();
    let film = file(&world, "film.bin", &vec![7; 3_000_000]);
    world
        .magpie("alice", arguments("file", "@bob", &film))
        .done();
    let message = received(&world, "bob");
    let runtime = Runtime::new().unwrap();
    let server = world.address.parse().unwrap();
    let proxy = runtime.block_on(Proxy::start(server, 1)).unwrap();
    proxy.pace(Direction::Down, 2_000_000);
    world.address = proxy.address().to_string();
    let id = text(&message, "message_id");
    let mut terminal = Terminal::start(world.for_people("bob", ["save", id, "into"]));
    terminal.wait_for(" of 2.86 MiB, ");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown:?}");
    let end = plain_end(&shown);
    assert!(
        end.contains("saved into/film.bin (3000000 bytes)"),
        "{shown:?}"
    );
}

#[test]
fn who_types_a_send_is_told_how_it_ends() {
    let world = World::with_alice_and_bob();
    let mut terminal = Terminal::start(world.for_people("alice", ["send", "@bob"]));
    terminal.wait_for("Ctrl-D ends\r\n");
    terminal.wait_for_echo(true);
    terminal.type_in("good news\n");
    terminal.wait_for("accepted");
    terminal.type_in("\u{4}");
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown:?}");
    assert!(!shown.contains(" sent"), "a bar gets in the way: {shown:?}");
}

#[test]
fn a_sync_that_waits_shows_it_and_says_why() {
    let mut world = World::with_alice_and_bob();
    world.kill_server();
    let mut terminal = Terminal::start(world.for_people("alice", ["sync"]));
    terminal.wait_for("0 events and requests");
    terminal.wait_for("trying again\r\n");
    world.start_server();
    let (code, shown) = terminal.finish();
    assert_eq!(code, Some(0), "{shown:?}");
    assert!(plain_end(&shown).contains("synced: 0 new"), "{shown:?}");
}

/// What follows the last bar.
fn plain_end(shown: &str) -> &str {
    shown.rsplit("\u{1b}[2K").next().unwrap()
}
