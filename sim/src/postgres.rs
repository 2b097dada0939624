//! A private `PostgreSQL` for one test process: started on a free port from a
//! directory of its own, removed when the process ends, however it ends.
//!
//! A shell owns the database. It does what it reads from a pipe that only the
//! test process holds open; when the pipe ends (the process is done, or was
//! killed), the shell ends the database and removes its directory. `PostgreSQL`
//! refuses to run as root, so for root the shell runs as another user.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub use tokio_postgres::Client;
use tokio_postgres::NoTls;

/// Where the programs are, if not on the `PATH`.
const BIN_VARIABLE: &str = "MAGPIE_TEST_POSTGRES_BIN";

/// Set to 1, tests that need `PostgreSQL` pass without having tested anything.
const SKIP_VARIABLE: &str = "MAGPIE_TEST_NO_POSTGRES";

/// How long a database may take to accept connections, also after a crash.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a small disk is mounted, seen by the database alone.
const SMALL_DISK: &str = "/mnt";

/// Mounts it, then runs the rest of the words.
const WITH_SMALL_DISK: &str = r#"
mount -t tmpfs -o "size=$1m,mode=1777" magpie-test "$2" || exit 1
shift 2
exec "$@"
"#;

/// Owns the database: see the module.
const OWNER: &str = r#"
bin=$1 port=$2 tmp=$3 settings=$4 primary=$5
cd /
dir=$(mktemp -d "$tmp/magpie-postgres.XXXXXX" 2>/dev/null) ||
    dir=$(mktemp -d /tmp/magpie-postgres.XXXXXX) || exit 1
# Only the end of the pipe ends this, not a signal to the terminal's whole group.
trap '' INT TERM HUP PIPE
trap 'rm -rf "$dir" || { sleep 1; rm -rf "$dir"; }' EXIT
if [ -n "$primary" ]; then
    cp -a "$primary" "$dir/data" && touch "$dir/data/standby.signal"
else
    "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync --wal-segsize=4
fi >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
# The last one of a name counts.
cat >>"$dir/data/postgresql.conf" <<CONF
port = $port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
max_connections = 200
log_min_messages = fatal
$settings
CONF
start() {
    "$bin/postgres" -D "$dir/data" </dev/null >>"$dir/log" 2>&1 &
    pid=$!
}
is_running() { grep -qs '^State:.[^ZX]' "/proc/$1/status"; }
# More than once: a process that has just been started ignores some signals. And
# not in order for ever: asked for that while it recovers, it may never end.
end() {
    signal=$1 tries=0
    while is_running "$pid"; do
        kill "-$signal" "$pid" 2>/dev/null
        sleep 0.1
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || signal=QUIT
    done
    wait "$pid" 2>/dev/null
}
start
echo "$dir"
while read -r command; do
    case $command in
        start) is_running "$pid" || start ;;
        stop) end INT ;;
        kill)
            # Stopped, it makes no more of them.
            kill -STOP "$pid"
            children=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)
            kill -9 "$pid" $children 2>/dev/null
            wait "$pid" 2>/dev/null
            for child in $children; do
                while is_running "$child"; do :; done
            done
            ;;
        fill) cat /dev/zero >"$dir/filler" 2>/dev/null ;;
        clear) rm -f "$dir/filler" ;;
    esac
    echo done
done
end QUIT
"#;

/// A database server that nobody else uses.
pub struct Cluster {
    port: u16,
    directory: PathBuf,
    has_small_disk: bool,
    owner: Mutex<Owner>,
    databases: AtomicU64,
}

struct Owner {
    shell: Child,
    /// Dropped first: then the shell ends.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.commands = None;
        if let Err(error) = self.shell.wait() {
            eprintln!("a private PostgreSQL was not waited for: {error}");
        }
    }
}

/// Whether tests that need `PostgreSQL` are to be skipped. Says so.
#[must_use]
pub fn is_skipped() -> bool {
    let skipped = env::var(SKIP_VARIABLE).is_ok_and(|value| value == "1");
    if skipped {
        eprintln!("skipped: {SKIP_VARIABLE} is 1, nothing is tested with PostgreSQL");
    }
    skipped
}

/// The one of this test process. It ends with the process.
///
/// # Errors
///
/// What is missing, for the person who runs the tests.
pub fn shared() -> Result<&'static Cluster, String> {
    static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
    SHARED
        .get_or_init(Cluster::start)
        .as_ref()
        .map_err(Clone::clone)
}

impl Cluster {
    /// Starts one. It may not accept connections yet.
    ///
    /// # Errors
    ///
    /// What is missing, for the person who runs the tests.
    pub fn start() -> Result<Self, String> {
        Self::start_with(&[])
    }

    /// Starts one with these lines in its configuration.
    ///
    /// # Errors
    ///
    /// What is missing, for the person who runs the tests.
    pub fn start_with(settings: &[&str]) -> Result<Self, String> {
        let shell = as_other_user(Command::new("sh"))?;
        Self::own(shell, &env::temp_dir(), settings, None)
    }

    /// Starts a copy of this one that follows it, until it is promoted
    /// (`pg_promote()`). Restarts this one: its files are copied meanwhile.
    ///
    /// # Errors
    ///
    /// What is missing, for the person who runs the tests.
    pub fn start_standby(&self) -> Result<Self, String> {
        let follow = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user=postgres'",
            self.port
        );
        let files = self.directory.join("data");
        self.stop()?;
        let shell = as_other_user(Command::new("sh"))?;
        let standby = Self::own(shell, &env::temp_dir(), &[&follow], Some(&files));
        self.restart()?;
        standby
    }

    /// Starts one on a disk of its own, which [`Self::fill_disk`] fills: memory
    /// that only the database sees. Only root can make one, and not in every
    /// container: see [`has_small_disks`].
    ///
    /// # Errors
    ///
    /// What is missing, for the person who runs the tests.
    pub fn start_on_small_disk(megabytes: u32, settings: &[&str]) -> Result<Self, String> {
        let shell = as_other_user(Command::new("sh"))?;
        let mut mounted = mounting(megabytes);
        mounted.arg(shell.get_program()).args(shell.get_args());
        let cluster = Self::own(mounted, Path::new(SMALL_DISK), settings, None)?;
        Ok(Self {
            has_small_disk: true,
            ..cluster
        })
    }

    fn own(
        mut shell: Command,
        directory: &Path,
        settings: &[&str],
        primary: Option<&Path>,
    ) -> Result<Self, String> {
        let bin = find_bin()?;
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let mut shell = shell
            .args(["-c", OWNER])
            .arg("magpie-postgres")
            .arg(bin)
            .arg(port.to_string())
            .arg(directory)
            .arg(settings.join("\n"))
            .arg(primary.unwrap_or(Path::new("")))
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("a private PostgreSQL cannot be started: {error}"))?;
        let commands = shell.stdin.take();
        let answers = shell.stdout.take().ok_or("the shell has no output")?;
        let mut owner = Owner {
            commands,
            answers: BufReader::new(answers),
            shell,
        };
        let directory = owner.answer()?;
        Ok(Self {
            port,
            directory: PathBuf::from(directory),
            has_small_disk: false,
            owner: Mutex::new(owner),
            databases: AtomicU64::new(0),
        })
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps everything; `data` and `log` are inside.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database. Returns its URL.
    ///
    /// # Errors
    ///
    /// What the database says, or that it did not start in time.
    pub async fn create_database(&self) -> Result<String, String> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let client = self.connect("postgres").await?;
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .map_err(|error| format!("no database was made: {error}"))?;
        Ok(self.url(&name))
    }

    /// A connection to one of its databases, as soon as it accepts one.
    ///
    /// # Errors
    ///
    /// What the database says, or that it did not start in time.
    pub async fn connect(&self, database: &str) -> Result<Client, String> {
        let url = self.url(database);
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match tokio_postgres::connect(&url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    return Ok(client);
                }
                Err(error) if Instant::now() > deadline => {
                    let log = fs::read_to_string(self.directory.join("log"));
                    let log = log.unwrap_or_default();
                    return Err(format!("PostgreSQL does not accept: {error}\n{log}"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Ends it with `kill -9`, all its processes at once. It stays down.
    ///
    /// # Errors
    ///
    /// If the shell that owns it is gone.
    pub fn kill(&self) -> Result<(), String> {
        self.command("kill")
    }

    /// Ends it in order; open connections are closed. It stays down.
    ///
    /// # Errors
    ///
    /// If the shell that owns it is gone.
    pub fn stop(&self) -> Result<(), String> {
        self.command("stop")
    }

    /// Starts it again, on the same port, unless it runs.
    ///
    /// # Errors
    ///
    /// If the shell that owns it is gone.
    pub fn restart(&self) -> Result<(), String> {
        self.command("start")
    }

    /// Fills its disk to the last byte.
    ///
    /// # Errors
    ///
    /// If the disk is not its own, or the shell that owns it is gone.
    pub fn fill_disk(&self) -> Result<(), String> {
        if !self.has_small_disk {
            return Err("only a small disk is filled".to_owned());
        }
        self.command("fill")
    }

    /// Makes room again.
    ///
    /// # Errors
    ///
    /// If the shell that owns it is gone.
    pub fn clear_disk(&self) -> Result<(), String> {
        self.command("clear")
    }

    fn command(&self, command: &str) -> Result<(), String> {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let commands = owner.commands.as_mut().ok_or("the shell is gone")?;
        writeln!(commands, "{command}").map_err(|error| error.to_string())?;
        owner.answer().map(drop)
    }
}

impl Owner {
    /// The shell's next line.
    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        if read.is_ok_and(|size| size > 0) {
            return Ok(line.trim_end().to_owned());
        }
        let mut said = String::new();
        if let Some(stderr) = self.shell.stderr.as_mut() {
            stderr
                .read_to_string(&mut said)
                .map_err(|error| error.to_string())?;
        }
        Err(format!("a private PostgreSQL did not start: {said}"))
    }
}

/// Where `initdb` and `postgres` are.
fn find_bin() -> Result<PathBuf, String> {
    if let Some(bin) = env::var_os(BIN_VARIABLE) {
        let bin = PathBuf::from(bin);
        if has_programs(&bin) {
            return Ok(bin);
        }
        let bin = bin.display();
        return Err(format!("{BIN_VARIABLE} is {bin}, where no initdb is"));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = env::split_paths(&path).collect();
    // Debian's place; the newest version last.
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    versions.reverse();
    places.extend(versions);
    places
        .into_iter()
        .find(|bin| has_programs(bin))
        .ok_or_else(|| {
            format!(
                "PostgreSQL is missing: run ./test, which finds or installs it, or give \
                 {BIN_VARIABLE}=DIR, or skip its tests with {SKIP_VARIABLE}=1"
            )
        })
}

fn has_programs(bin: &Path) -> bool {
    bin.join("initdb").is_file() && bin.join("postgres").is_file()
}

/// `command` as a user as whom `PostgreSQL` runs.
fn as_other_user(command: Command) -> Result<Command, String> {
    if !is_root() {
        return Ok(command);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let is_there = |user: &str| {
        users
            .lines()
            .any(|line| line.split(':').next() == Some(user))
    };
    let user = ["postgres", "nobody"]
        .into_iter()
        .find(|user| is_there(user));
    let user = user.ok_or("there is no user postgres or nobody to run PostgreSQL as")?;
    let group = if user == "nobody" { "nogroup" } else { user };
    let mut other = Command::new("setpriv");
    other.args(["--reuid", user, "--regid", group, "--clear-groups"]);
    other.arg(command.get_program()).args(command.get_args());
    Ok(other)
}

/// A command, without its own words yet, that sees a small disk.
fn mounting(megabytes: u32) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", WITH_SMALL_DISK, "magpie-disk"]);
    command.arg(megabytes.to_string()).arg(SMALL_DISK);
    command
}

/// Whether a database can have a small disk here. Says so if not.
#[must_use]
pub fn has_small_disks() -> bool {
    let has = is_root()
        && mounting(1)
            .arg("true")
            .output()
            .is_ok_and(|it| it.status.success());
    if !has {
        eprintln!("skipped: only root may mount a small disk, and this is not root or may not");
    }
    has
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // /proc/self belongs to who runs this.
    fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
