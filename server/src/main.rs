//! `magpied`: read the settings, build the parts, run until a signal.

use std::{fs::DirBuilder, io::Write as _, os::unix::fs::DirBuilderExt as _, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use magpie_server::{
    clock::{Blocking, Clock},
    config::{self, AdminTask, Config, Push as PushSettings, Secret, Stop, Task},
    limits, logs, metrics,
    node::{Ground, Node, Push, adopt, bind},
    operate,
    push::{self, Deadlines, Endpoints, Fcm, ServiceAccount},
    random::Random,
    shutdown::{Signals, Wanted},
    status::Status,
    store::{NewEpoch, SharedStore, embedded, postgres},
    systemd::{self, Notifier},
    tls::{self, Source},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

/// Gives back to the system what connections that are gone have held (decision 14).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A wrong setting (`EX_USAGE` of sysexits.h).
const EXIT_WRONG_SETTING: u8 = 64;

fn main() -> ExitCode {
    let config = match Config::read(std::env::args_os()) {
        Ok(config) => config,
        Err(Stop::Asked(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Stop::Wrong(text)) => {
            eprintln!("{}", text.trim_end());
            return ExitCode::from(EXIT_WRONG_SETTING);
        }
    };
    logs::start(&config.log, config.json);
    match run(&config) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("magpied: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: &Config) -> Result<ExitCode> {
    // While there is one thread: what tells of the sockets is taken out of the
    // environment.
    let passed = systemd::sockets().context("a socket that was passed cannot be used")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = match &config.task {
        Task::Serve => runtime.block_on(serve(config, passed)),
        Task::Status { json } => return runtime.block_on(status(config, *json)),
        Task::Admin { task, json } => runtime.block_on(admin(config, task, *json)),
        Task::Migrate => runtime.block_on(migrate(config)),
        Task::CheckPush => runtime.block_on(check_push(config)),
        Task::NewEpoch { sign_out_all } => runtime.block_on(begin_epoch(config, *sign_out_all)),
    };
    // What still runs is what was given up: it must not hold up the end.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

async fn status(config: &Config, json: bool) -> Result<ExitCode> {
    let address = config.admin_listen.context("admin_listen is off")?;
    let status = Status::ask(address).await?;
    let mut out = std::io::stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(&status)?)?,
        false => write!(out, "{}", status.to_text())?,
    }
    Ok(match status.ready {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn admin(config: &Config, task: &AdminTask, json: bool) -> Result<()> {
    let told = operate::run(&config.data_dir, task, json).await?;
    write!(std::io::stdout().lock(), "{told}")?;
    Ok(())
}

async fn check_push(config: &Config) -> Result<()> {
    let push = open_push(&config.push, Clock::start())?;
    let push = push.context("there is no account to check")?;
    let said = push::check(&push.fcm).await.map_err(anyhow::Error::msg)?;
    writeln!(std::io::stdout().lock(), "{said}")?;
    Ok(())
}

async fn migrate(config: &Config) -> Result<()> {
    let url = config.database_url.as_ref().map_or("", Secret::reveal);
    let postgres::Migrated { from, to } =
        postgres::migrate_schema(url, config.database_shards).await?;
    let mut out = std::io::stdout().lock();
    if from == to {
        writeln!(out, "the schema has version {to} already")?;
    } else {
        writeln!(out, "the schema had version {from} and has {to} now")?;
    }
    Ok(())
}

async fn begin_epoch(config: &Config, sign_out_all: bool) -> Result<()> {
    let begun = match &config.database_url {
        Some(url) => postgres::begin_epoch(url.reveal(), sign_out_all).await?,
        None => embedded::begin_epoch(&config.data_dir, sign_out_all)?,
    };
    let NewEpoch {
        state,
        devices,
        revoked,
    } = begun;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "epoch {} begins at {}; servers that run go on by themselves within seconds",
        state.history.epoch, state.heads
    )?;
    if sign_out_all {
        writeln!(out, "{revoked} devices were signed out")?;
    } else {
        writeln!(
            out,
            "{devices} devices may connect. What was made after the backup and took rights away is \
             undone with it: revoked devices, removed members, changed passwords. If that matters, \
             run `magpied epoch new --sign-out-all`."
        )?;
    }
    Ok(())
}

async fn open_store(config: &Config, random: &Random) -> Result<SharedStore> {
    let fresh_key = random.bytes()?;
    Ok(match &config.database_url {
        Some(url) => {
            // The certificate is kept there all the same.
            let dir = &config.data_dir;
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.with_context(|| format!("the data directory {} cannot be made", dir.display()))?;
            postgres::open(url.reveal(), config.database_shards, fresh_key).await?
        }
        None => embedded::open(&config.data_dir, Blocking::Pool, fresh_key)?,
    })
}

async fn serve(config: &Config, passed: Vec<std::net::TcpListener>) -> Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let random = Random::system();
    let blocking = Blocking::Pool;
    let store = open_store(config, &random).await?;
    let tls = tls::load(&config.tls)?;
    let ca = tls.ca.clone();
    limits::raise();
    let notifier = Notifier::new(config::notify_socket());
    let (listener, admin) = listeners(config, passed).await?;
    let admin = match admin {
        Some(admin) => Some((admin, start_metrics()?)),
        None => None,
    };
    let engine = store.engine();
    let clock = Clock::start();
    let ground = Ground {
        store,
        tls,
        clock,
        random,
        push: open_push(&config.push, clock)?,
        blocking,
        data_dir: Some(config.data_dir.clone()),
        media: Some((config.media.clone(), config.media_url.clone())),
        limits: config.limits.clone(),
    };
    let node = Node::start(ground, listener, admin).await?;
    announce(config, &node, &ca, engine)?;
    let connections_max = node.connections_max;
    tracing::info!(connections_max, "ready");
    notifier.tell(&format!(
        "READY=1\nSTATUS=serving up to {connections_max} connections"
    ));
    while signals.next().await == Wanted::Reload {
        reload(config, &node);
    }
    notifier.tell("STOPPING=1\nSTATUS=draining");
    tokio::select! {
        () = node.drain() => Ok(()),
        () = signals.end() => bail!("ended at once by a second signal"),
    }
}

/// Where clients connect, and where operators look: sockets that were passed, or
/// our own.
async fn listeners(
    config: &Config,
    passed: Vec<std::net::TcpListener>,
) -> Result<(TcpListener, Option<TcpListener>)> {
    let mut passed = passed.into_iter();
    let listener = match passed.next() {
        Some(socket) => adopt(socket)?,
        None => bind(config.listen)?,
    };
    let is_for_others = !listener.local_addr()?.ip().is_loopback();
    let is_development = matches!(config.tls, Source::Development { .. });
    // The settings were checked for `listen`, not for the socket.
    if is_for_others && is_development && config.listen.ip().is_loopback() {
        bail!("others can reach the socket that was passed: give tls_cert and tls_key");
    }
    let admin = match (passed.next(), config.admin_listen) {
        (Some(socket), _) => Some(adopt(socket)?),
        (None, Some(address)) => Some(bind(address)?),
        (None, None) => None,
    };
    Ok((listener, admin))
}

/// Reads the certificate again. One that is of no use changes nothing.
fn reload(config: &Config, node: &Node) {
    match tls::load(&config.tls) {
        Ok(tls) => {
            node.replace_certificate(tls);
            tracing::info!("new connections get the certificate as it is now");
        }
        Err(error) => tracing::error!(%error, "the certificate was not replaced"),
    }
}

/// Who wakes devices, if somebody does.
fn open_push(settings: &PushSettings, clock: Clock) -> Result<Option<Push>> {
    let Some(file) = &settings.push_account else {
        return Ok(None);
    };
    let endpoints = Endpoints {
        base_url: settings.push_url.clone(),
        token_uri: settings.push_token_url.clone(),
        ca: settings.push_ca.clone(),
    };
    Ok(Some(Push {
        fcm: Fcm::new(ServiceAccount::read(file)?, &endpoints, clock)?,
        rate_max: settings.push_rate,
        deadlines: Deadlines {
            foreground: settings.push_foreground,
            background: settings.push_background,
        },
        previews: settings.push_previews.clone(),
    }))
}

fn start_metrics() -> Result<PrometheusHandle> {
    let handle = metrics::start().context("cannot start the metrics")?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(std::time::Duration::from_secs(5));
        loop {
            every.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

fn announce(config: &Config, node: &Node, ca: &std::path::Path, engine: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let ca = ca.display().to_string();
    let admin = node
        .admin
        .map_or_else(|| "off".to_owned(), |admin| admin.to_string());
    if config.json {
        let line = serde_json::json!({
            "type": "ready",
            "listen": node.listen.to_string(),
            "ca": ca,
            "admin": admin,
            "store": engine,
            "connections_max": node.connections_max,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(
            out,
            "magpied is ready: {} (TLS), store {engine}, admin {admin}, up to {} connections",
            node.listen, node.connections_max
        )?;
        writeln!(out)?;
        writeln!(out, "In another terminal:")?;
        let server = format!("--server {} --ca {ca}", node.listen);
        writeln!(out, "  magpie {server} --home ./alice register alice")?;
        writeln!(out, "  magpie --home ./alice chat @bob")?;
    }
    out.flush()?;
    Ok(())
}
