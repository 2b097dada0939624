//! Users, their devices, and the conversations between them, before anything is
//! broken.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use magpie_client::{
    Home, NewRequest, Recipient, Server, SignInError, Title, UserId, UserName, register_invited,
    sign_in,
};
use magpie_proxy::Random;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    board::Board,
    device::{Device, Seat},
    notes::{Clock, GROUP_CREATED, Notes},
    process::Processes,
};
use crate::failure::Failure;

/// Devices of each user.
const DEVICES: usize = 2;

/// Users of each group, of whom two and two also write to each other alone.
const GROUP: usize = 4;

/// Devices that sign in at the same time: hashing passwords takes whole cores.
const AT_ONCE: usize = 4;

/// How long a server may ask for patience.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(120);

const PASSWORD: &str = "correct horse battery staple";

/// Where and how devices are made.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) directory: PathBuf,
    /// Where each device connects: by its number.
    pub(super) addresses: Vec<String>,
    pub(super) ca: Option<PathBuf>,
    pub(super) invitation: String,
    pub(super) pause: Duration,
    pub(super) seed: u64,
    pub(super) clock: Clock,
    /// Names of users begin so: others may have been here before.
    pub(super) prefix: String,
}

/// Everybody, caught up, with somebody to write to.
#[derive(Debug)]
pub(super) struct People {
    pub(super) devices: Vec<Device>,
    pub(super) users: Arc<HashMap<String, UserId>>,
    pub(super) conversations: usize,
}

/// Numbers that one part of a run chooses by.
pub(super) fn random(seed: u64, part: usize) -> Random {
    let mut random = Random::new(seed.wrapping_add(part as u64));
    Random::new(random.number())
}

fn name(plan: &Plan, user: usize) -> String {
    format!("{}_{user}", plan.prefix)
}

/// Makes all of them.
pub(super) async fn make(
    plan: &Plan,
    board: &Arc<Board>,
    progress: impl Fn(u64),
) -> Result<People, Failure> {
    let count = plan.addresses.len();
    let mut seats: Vec<Option<(Seat, Home)>> = (0..count).map(|_| None).collect();
    // A user's first device makes the user.
    for first in [true, false] {
        let mut entering = JoinSet::new();
        let ours = (0..count).filter(|number| number.is_multiple_of(DEVICES) == first);
        let mut waiting = ours.collect::<Vec<_>>().into_iter();
        loop {
            while entering.len() < AT_ONCE
                && let Some(number) = waiting.next()
            {
                entering.spawn(enter(plan.clone(), Arc::clone(board), number));
            }
            let Some(entered) = entering.join_next().await else {
                break;
            };
            let (seat, home) = entered
                .map_err(|error| Failure::Lost(format!("a device was not made: {error}")))??;
            if let Some(place) = seats.get_mut(seat.number) {
                *place = Some((seat, home));
            }
            progress(seats.iter().flatten().count() as u64);
        }
    }
    let mut devices = Vec::new();
    for (seat, home) in seats.into_iter().flatten() {
        let random = random(plan.seed, seat.number);
        let mut device = Device::new(seat, home, Notes::new(plan.clock), random);
        // What is there when a device comes for the first time is not sent to it:
        // all come before anybody writes.
        device.until_caught_up().await?;
        devices.push(device);
    }
    let mut users = HashMap::new();
    for device in &devices {
        users.insert(name(plan, device.seat.number / DEVICES), device.seat.user);
    }
    let conversations = introduce(plan, &mut devices).await?;
    Ok(People {
        devices,
        users: Arc::new(users),
        conversations,
    })
}

/// One device.
async fn enter(plan: Plan, board: Arc<Board>, number: usize) -> Result<(Seat, Home), Failure> {
    let name = name(&plan, number / DEVICES);
    let directory = plan.directory.join(format!("device-{number}"));
    let home = Home::open(&directory)?;
    let mut seat = Seat {
        number,
        name: format!("device {number}"),
        user: UserId::new([0; 16]),
        directory,
        address: plan.addresses.get(number).cloned().unwrap_or_default(),
        ca: plan.ca,
        conversations: Vec::new(),
        pause: plan.pause,
        board,
    };
    let server = seat.server();
    let deadline = Instant::now() + SIGN_IN_TIMEOUT;
    loop {
        let entering = try_to_enter(&home, &server, &name, number, &plan.invitation);
        match entering.await {
            Ok(user) => {
                seat.user = user;
                return Ok((seat, home));
            }
            Err(error) => {
                let failure = Failure::from_sign_in(error, seat.directory.display().to_string());
                if !failure.may_pass() || Instant::now() > deadline {
                    return Err(failure);
                }
                sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

async fn try_to_enter(
    home: &Home,
    server: &Server,
    name: &str,
    number: usize,
    invitation: &str,
) -> Result<UserId, SignInError> {
    let device = format!("device {number}");
    let account = if number.is_multiple_of(DEVICES) {
        register_invited(home, server, name, PASSWORD, &device, invitation).await?
    } else {
        sign_in(home, server, name, PASSWORD, &device).await?
    };
    Ok(account.user_id)
}

/// Makes groups, and direct conversations between two and two of each. Gives how
/// many.
async fn introduce(plan: &Plan, devices: &mut [Device]) -> Result<usize, Failure> {
    let users = devices.len().div_ceil(DEVICES);
    let mut conversations = 0;
    let mut first = 0;
    while first < users {
        // Nobody is left alone.
        let last = if users - first < GROUP + 2 {
            users
        } else {
            first + GROUP
        };
        let title = Title::try_from(format!("group {}", first / GROUP))?;
        let names: Result<Vec<UserName>, _> = (first + 1..last)
            .map(|user| UserName::parse(&name(plan, user)))
            .collect();
        let names = names?;
        let group = NewRequest::CreateGroup { title, names };
        begin(devices, first, GROUP_CREATED, group, first..last).await?;
        conversations += 1;
        for one in (first..last - 1).step_by(2) {
            let hello = NewRequest::Send {
                to: Recipient::User(UserName::parse(&name(plan, one + 1))?),
                message: "hello".try_into()?,
            };
            begin(devices, one, "hello", hello, one..one + 2).await?;
            conversations += 1;
        }
        first = last;
    }
    Ok(conversations)
}

/// A user begins a conversation, in which all devices of these users are then.
async fn begin(
    devices: &mut [Device],
    user: usize,
    text: &str,
    request: NewRequest,
    users: std::ops::Range<usize>,
) -> Result<(), Failure> {
    let Some(device) = devices.get_mut(user * DEVICES) else {
        return Ok(());
    };
    let place = device.ask(text.to_owned(), request).await?;
    for device in devices {
        let Seat { number, board, .. } = &device.seat;
        if users.contains(&(number / DEVICES)) {
            board.belongs(*number, place.conversation);
            device.seat.conversations.push(place.conversation);
        }
    }
    Ok(())
}

impl People {
    /// The last devices of the last users become processes: so many of them.
    pub(super) async fn split(mut self, count: usize, seed: u64) -> (Vec<Device>, Vec<Processes>) {
        let mut processes = Vec::new();
        let mut devices = Vec::new();
        while let Some(mut device) = self.devices.pop() {
            if processes.len() < count && device.seat.number % DEVICES == 1 {
                device.disconnect().await;
                let random = random(seed, device.seat.number);
                let Device { seat, notes, .. } = device;
                let users = Arc::clone(&self.users);
                processes.push(Processes::new(seat, notes, users, random));
            } else {
                devices.push(device);
            }
        }
        (devices, processes)
    }
}

/// Which devices are processes: the same as those that [`People::split`] takes.
pub(super) fn are_processes(devices: usize, count: usize) -> Vec<bool> {
    let mut left = count;
    let mut are: Vec<bool> = (0..devices)
        .rev()
        .map(|number| {
            let is = left > 0 && number % DEVICES == 1;
            left -= usize::from(is);
            is
        })
        .collect();
    are.reverse();
    are
}

/// Makes a directory that nobody but its owner reads.
pub(super) fn make_directory(path: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(path).map_err(|error| Failure::File {
        path: path.display().to_string(),
        error,
    })
}
