//! `torture`: many devices, many faults, and a verdict.
//!
//! Most devices are the SDK in this process; a few are `magpie send` and `magpie
//! listen`, to be killed. Between them and the server stand proxies. Each device
//! notes what it was told and showed, in the order in which that happened to it;
//! at the end the notes, the local databases and the server's log go to the
//! checker (`audit/`).

mod board;
mod device;
mod faults;
mod notes;
mod people;
mod process;
mod run;
mod server;
mod verdict;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::ValueEnum as _;
use magpie_client::{ConnectError, Home, SignInError, Trust, register};
use magpie_proxy::Proxy;
use tempfile::TempDir;
use tokio::net::lookup_host;

use self::{
    board::Board,
    device::Device,
    faults::{Victim, World},
    notes::Clock,
    people::{Plan, are_processes, make_directory},
    process::Processes,
    server::Server,
};
use crate::{
    args::{
        Global,
        torture::{FaultKind, Torture},
    },
    failure::{Exit, Failure},
    line::{BegunFields, Line},
    output::Output,
    trust::{self, DEFAULT_SERVER},
};

/// Proxies before the devices of this process: a fault of one leaves the others
/// as they are.
const PROXIES_MAX: usize = 4;

/// Devices that are processes.
const PROCESSES_MAX: usize = 4;

/// Where everything is kept.
enum Place {
    Temporary(TempDir),
    Given(PathBuf),
}

impl Place {
    fn path(&self) -> PathBuf {
        match self {
            Self::Temporary(directory) => directory.path().to_owned(),
            Self::Given(path) => path.clone(),
        }
    }
}

/// What devices and faults are made of.
struct Ground {
    place: Place,
    server: Option<Server>,
    ca: Option<PathBuf>,
    proxies: Vec<Proxy>,
    /// Of the devices that are processes, by their numbers.
    own_proxies: Vec<(usize, Option<Proxy>)>,
    addresses: Vec<String>,
}

/// Makes a world, breaks it, heals it, judges it.
pub(crate) async fn run(global: &Global, options: Torture) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let moment = now.map_or(0, |it| u64::try_from(it.as_micros()).unwrap_or_default());
    let seed = options.seed.unwrap_or(moment % 1_000_000_000);
    let ground = prepare(global, &options, seed, &output).await?;
    let devices = ground.addresses.len();
    let clock = Clock::start();
    let plan = Plan {
        directory: ground.place.path(),
        addresses: ground.addresses,
        ca: ground.ca,
        invitation: options.invitation.clone(),
        pause: Duration::from_secs(1) * u32::try_from(devices).unwrap_or(1) / options.rate,
        seed,
        clock,
        prefix: format!("t{moment:x}"),
    };
    let board = Arc::new(Board::new(devices));
    let progress = output.progress("devices are there");
    let people = people::make(&plan, &board, |count| {
        if let Some(progress) = &progress {
            progress.set(count);
        }
    })
    .await?;
    drop(progress);
    output.line(&Line::TortureBegun(BegunFields {
        seed,
        users: people.users.len() as u64,
        devices: devices as u64,
        processes: ground.own_proxies.len() as u64,
        conversations: people.conversations as u64,
        directory: plan.directory.display().to_string(),
    }))?;
    let (devices, processes) = people.split(ground.own_proxies.len(), seed).await;
    let cast = Cast::new(
        devices,
        processes,
        ground.server,
        ground.proxies,
        ground.own_proxies,
    );
    let run = run::Run {
        options: &options,
        output: &output,
        board,
        random: people::random(seed, usize::MAX / 2),
        clock,
    };
    let totals = run.play(cast).await?;
    let is_kept = totals.violations == 0;
    let mut totals = totals;
    match ground.place {
        Place::Temporary(directory) if !is_kept => {
            totals.kept = Some(directory.keep().display().to_string());
        }
        Place::Temporary(_) => {}
        Place::Given(path) => totals.kept = Some(path.display().to_string()),
    }
    output.line(&Line::Torture(totals))?;
    Ok(if is_kept { Exit::Done } else { Exit::Refused })
}

/// Who plays, and what they play with.
struct Cast {
    world: World,
    devices: Vec<(Device, tokio::sync::mpsc::Receiver<Duration>)>,
    processes: Vec<(Processes, tokio::sync::mpsc::Receiver<process::Kill>)>,
}

impl Cast {
    fn new(
        devices: Vec<Device>,
        processes: Vec<Processes>,
        server: Option<Server>,
        proxies: Vec<Proxy>,
        mut own_proxies: Vec<(usize, Option<Proxy>)>,
    ) -> Self {
        let mut cast = Self {
            world: World {
                server,
                proxies,
                victims: Vec::new(),
                leaves: Vec::new(),
            },
            devices: Vec::new(),
            processes: Vec::new(),
        };
        for device in devices {
            let (leaves, told) = tokio::sync::mpsc::channel(1);
            cast.world.leaves.push(leaves);
            cast.devices.push((device, told));
        }
        for process in processes {
            let (kills, told) = tokio::sync::mpsc::channel(1);
            let device = process.seat.number;
            let own = own_proxies.iter_mut().find(|(number, _)| *number == device);
            cast.world.victims.push(Victim {
                device,
                kills,
                proxy: own.and_then(|(_, proxy)| proxy.take()),
            });
            cast.processes.push((process, told));
        }
        cast
    }
}

/// Starts what there is to start, and finds the way to the server.
async fn prepare(
    global: &Global,
    options: &Torture,
    seed: u64,
    output: &Output,
) -> Result<Ground, Failure> {
    let place = place(options)?;
    let path = place.path();
    let server = match &options.magpied {
        Some(program) => {
            let data = options.data_dir.clone().unwrap_or(path.join("server"));
            let log = path.join("server.log");
            Some(Server::start(program, options.arguments.clone(), data, log).await?)
        }
        None => None,
    };
    let (address, ca) = if let Some(server) = &server {
        let ca = global.ca.clone().unwrap_or(server.ca());
        (server.address.to_string(), Some(ca))
    } else {
        let address = global.server.clone();
        let address = address.unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        let found = trust::server(address, global.ca.as_deref(), None);
        let ca = match found.trust {
            Trust::CaFile(path) => Some(path),
            Trust::CaPem(_) | Trust::System => None,
        };
        (found.address, ca)
    };
    let count = usize::try_from(options.devices).unwrap_or(usize::MAX);
    let are_processes = are_processes(count, PROCESSES_MAX.min(count / 4));
    let target = resolved(&address).await?;
    let mut ground = Ground {
        place,
        server,
        ca,
        proxies: Vec::new(),
        own_proxies: Vec::new(),
        addresses: Vec::new(),
    };
    if believes_proxy(&ground, target).await? {
        for number in 0..PROXIES_MAX.min(count / 2) {
            ground.proxies.push(proxy(target, seed, number).await?);
        }
    } else {
        output.note(
            "the server's certificate does not hold for 127.0.0.1: it is reached without a proxy, \
             and faults of the network are left out",
        );
    }
    for (number, is_process) in are_processes.into_iter().enumerate() {
        let shared = number.checked_rem(ground.proxies.len());
        let shared = shared.and_then(|index| ground.proxies.get(index));
        let mut way = shared.map(Proxy::address);
        if is_process {
            let own = match way {
                Some(_) => Some(proxy(target, seed, PROXIES_MAX + number).await?),
                None => None,
            };
            way = own.as_ref().map(Proxy::address);
            ground.own_proxies.push((number, own));
        }
        let way = way.map_or_else(|| address.clone(), |it| it.to_string());
        ground.addresses.push(way);
    }
    Ok(ground)
}

fn place(options: &Torture) -> Result<Place, Failure> {
    if let Some(path) = &options.directory {
        make_directory(path)?;
        let path = std::path::absolute(path);
        return Ok(Place::Given(path.map_err(Failure::Output)?));
    }
    let directory = tempfile::Builder::new().prefix("magpie-torture-").tempdir();
    let directory = directory.map_err(|error| Failure::File {
        path: std::env::temp_dir().display().to_string(),
        error,
    })?;
    Ok(Place::Temporary(directory))
}

async fn resolved(address: &str) -> Result<SocketAddr, Failure> {
    let unreachable = |reason: String| {
        Failure::Connect(ConnectError::Unreachable {
            address: address.to_owned(),
            reason,
        })
    };
    let found = lookup_host(address).await;
    let mut found = found.map_err(|error| unreachable(error.to_string()))?;
    found
        .next()
        .ok_or_else(|| unreachable("its name has no address".to_owned()))
}

async fn proxy(target: SocketAddr, seed: u64, number: usize) -> Result<Proxy, Failure> {
    let seed = people::random(seed, number).number();
    let proxy = Proxy::start(target, seed).await;
    proxy.map_err(|error| Failure::Lost(format!("a proxy did not start: {error}")))
}

/// Whether the server's certificate holds for a proxy on this machine: somebody
/// with a name that cannot be is refused, or not believed.
async fn believes_proxy(ground: &Ground, target: SocketAddr) -> Result<bool, Failure> {
    let proxy = proxy(target, 0, 0).await?;
    let directory = ground.place.path().join("probe");
    let server = magpie_client::Server {
        address: proxy.address().to_string(),
        trust: ground.ca.clone().map_or(Trust::System, Trust::CaFile),
    };
    let home = Home::open(&directory)?;
    let tried = register(&home, &server, "", "no such user", "").await;
    Ok(!matches!(
        tried,
        Err(SignInError::Connect(ConnectError::Certificate { .. }))
    ))
}

/// All faults, or those that were asked for.
fn kinds(options: &Torture) -> Vec<FaultKind> {
    if options.faults.is_empty() {
        FaultKind::value_variants().to_vec()
    } else {
        options.faults.clone()
    }
}
