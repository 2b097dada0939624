//! Made-up users and their devices, kept between runs.
//!
//! Registering costs the server a password hash of tens of milliseconds, so a
//! run with `--credentials FILE` keeps what it got and the next one starts at
//! once.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use magpie_protocol::{
    session::Incoming,
    wire::v1::{self, Action, client_frame::Body},
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    args::Server,
    connection::{Connection, Rejected, name},
    dialer::Dialer,
};

/// Registrations under way at the same time: enough to keep the server's
/// hashing busy.
const REGISTRATIONS_MAX: usize = 8;
/// Hellos under way at the same time.
const HELLOS_MAX: usize = 64;
/// Tries at a registration that the server is too busy for.
const TRIES_MAX: u32 = 20;

/// A device of a made-up user.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Device {
    /// The user's name.
    pub(crate) name: String,
    device_id: [u8; 16],
    token: Vec<u8>,
    /// The history that the device knows.
    pub(crate) epoch: u64,
    /// Where that history began.
    pub(crate) base: u64,
    cursor: Vec<u8>,
}

impl Device {
    pub(crate) fn id(&self) -> Bytes {
        Bytes::copy_from_slice(&self.device_id)
    }

    pub(crate) fn token(&self) -> Bytes {
        Bytes::copy_from_slice(&self.token)
    }

    pub(crate) fn cursor(&self) -> Bytes {
        Bytes::copy_from_slice(&self.cursor)
    }

    pub(crate) fn set_cursor(&mut self, cursor: &[u8]) {
        self.cursor.clear();
        self.cursor.extend_from_slice(cursor);
    }
}

/// What the file holds: for each kind of crowd its devices.
type Kept = HashMap<String, Vec<Device>>;

/// The devices of one run.
pub(crate) struct Crowd {
    key: String,
    file: Option<PathBuf>,
    devices_per_user: usize,
    devices: Vec<Device>,
}

impl Crowd {
    /// Loads what an earlier run kept for the same server and purpose.
    ///
    /// # Errors
    ///
    /// The file is there and not readable.
    pub(crate) fn load(server: &Server, purpose: &str, users: Users) -> anyhow::Result<Self> {
        let key = format!("{} {purpose}", server.server);
        let devices = match &server.credentials {
            Some(file) => load(file)?.remove(&key).unwrap_or_default(),
            None => Vec::new(),
        };
        Ok(Self {
            key,
            file: server.credentials.clone(),
            devices_per_user: match users {
                Users::OneDeviceEach => 1,
                Users::ManyDevices(count) => count.max(1),
            },
            devices,
        })
    }

    /// `count` connections that have caught up, each with its device;
    /// registers whom the server does not know.
    ///
    /// # Errors
    ///
    /// The server refused, or is not there.
    pub(crate) async fn connect(
        &mut self,
        dialer: &Dialer,
        count: usize,
    ) -> anyhow::Result<Vec<(Device, Connection)>> {
        self.grow_to(dialer, count).await?;
        self.connect_those(dialer, 0..count).await
    }

    /// Of the devices that the server knows, connections of these.
    ///
    /// # Errors
    ///
    /// As for [`Self::connect`].
    pub(crate) async fn connect_those(
        &self,
        dialer: &Dialer,
        which: Range<usize>,
    ) -> anyhow::Result<Vec<(Device, Connection)>> {
        let mut connected = Vec::with_capacity(which.len());
        let those = self.devices.get(which).unwrap_or_default();
        let mut waiting = those.iter().cloned().enumerate();
        let mut hellos = JoinSet::new();
        loop {
            while hellos.len() < HELLOS_MAX
                && let Some((index, mut device)) = waiting.next()
            {
                let dialer = dialer.clone();
                hellos.spawn(async move {
                    let connection = Connection::hello(&dialer, &mut device).await?;
                    anyhow::Ok((index, device, connection))
                });
            }
            let Some(hello) = hellos.join_next().await else {
                break;
            };
            connected.push(hello??);
        }
        connected.sort_by_key(|(index, ..)| *index);
        Ok(connected
            .into_iter()
            .map(|(_, device, connection)| (device, connection))
            .collect())
    }

    /// Has at least `count` devices that the server knows.
    ///
    /// # Errors
    ///
    /// As for [`Self::connect`].
    pub(crate) async fn grow_to(&mut self, dialer: &Dialer, count: usize) -> anyhow::Result<()> {
        self.probe(dialer).await?;
        self.grow(dialer, count).await
    }

    /// The names of the first `count` of them.
    pub(crate) fn names(&self, count: usize) -> impl Iterator<Item = String> {
        self.devices.iter().take(count).map(|it| it.name.clone())
    }

    /// Forgets the devices if the server no longer knows the first one: its
    /// files are new.
    async fn probe(&mut self, dialer: &Dialer) -> anyhow::Result<()> {
        let Some(first) = self.devices.first_mut() else {
            return Ok(());
        };
        match Connection::hello(dialer, first).await {
            Ok(connection) => connection.close().await,
            Err(error) => match error.downcast_ref::<Rejected>() {
                Some(rejected) if rejected.action == Action::SignIn => self.devices.clear(),
                _ => return Err(error),
            },
        }
        Ok(())
    }

    /// Registers and signs in until there are `count` devices.
    async fn grow(&mut self, dialer: &Dialer, count: usize) -> anyhow::Result<()> {
        let per_user = self.devices_per_user;
        // A half-filled user is left alone; new ones begin at their first device.
        let missing = count.saturating_sub(self.devices.len());
        let mut users = JoinSet::new();
        let mut left = missing;
        let mut done = 0;
        loop {
            while users.len() < REGISTRATIONS_MAX && left > 0 {
                let devices = per_user.min(left);
                left -= devices;
                users.spawn(make_user(dialer.clone(), devices));
            }
            let Some(made) = users.join_next().await else {
                break;
            };
            let made = made??;
            done += made.len();
            self.devices.extend(made);
            if done % 500 == 0 {
                eprintln!("{done} of {missing} devices registered");
            }
        }
        self.save()
    }

    /// Keeps the devices, with the cursors they have now, for the next run.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn keep(&mut self, devices: Vec<Device>) -> anyhow::Result<()> {
        for device in devices {
            let kept = self
                .devices
                .iter_mut()
                .find(|kept| kept.device_id == device.device_id);
            if let Some(kept) = kept {
                *kept = device;
            }
        }
        self.save()
    }

    fn save(&self) -> anyhow::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut kept = load(file)?;
        kept.insert(self.key.clone(), self.devices.clone());
        std::fs::write(file, serde_json::to_vec(&kept)?)
            .with_context(|| format!("{} is not writable", file.display()))
    }
}

/// How devices are spread over users.
#[derive(Clone, Copy)]
pub(crate) enum Users {
    /// Each device is a user of its own.
    OneDeviceEach,
    /// So many devices a user.
    ManyDevices(usize),
}

fn load(file: &Path) -> anyhow::Result<Kept> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("{} holds no credentials", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Kept::new()),
        Err(error) => Err(error).with_context(|| format!("{} is not readable", file.display())),
    }
}

/// A made-up user with a password.
pub(crate) struct Account {
    name: String,
    password: String,
}

impl Account {
    /// One that no server knows.
    pub(crate) fn make_up() -> Self {
        let unique = Uuid::now_v7().as_u128();
        // A name has at most 32 characters: the moment, and the random end.
        let (moment, random) = (unique >> 80, unique & 0xffff_ffff_ffff);
        Self {
            name: format!("bench.{moment:012x}{random:012x}"),
            password: Uuid::now_v7().to_string(),
        }
    }

    /// Registers the user with a first device.
    ///
    /// # Errors
    ///
    /// The server refused, or is not there.
    pub(crate) async fn register(
        &self,
        dialer: &Dialer,
        device_id: [u8; 16],
    ) -> anyhow::Result<v1::SignedIn> {
        let body = Body::Register(v1::Register {
            device_id: Bytes::copy_from_slice(&device_id),
            name: self.name.clone(),
            password: self.password.clone(),
            device_name: "magpie-bench".to_owned(),
            invitation: String::new(),
        });
        authenticate(dialer, body).await
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes an SDK's home a device of the user.
    ///
    /// # Errors
    ///
    /// The server refused, or is not there.
    pub(crate) async fn sign_in_home(
        &self,
        home: &magpie_client::Home,
        server: &magpie_client::Server,
    ) -> anyhow::Result<()> {
        let (name, password) = (&self.name, &self.password);
        magpie_client::sign_in(home, server, name, password, "magpie-bench").await?;
        Ok(())
    }

    /// Signs in with the password, on a device that may be new.
    ///
    /// # Errors
    ///
    /// The server refused, or is not there.
    pub(crate) async fn sign_in(
        &self,
        dialer: &Dialer,
        device_id: [u8; 16],
    ) -> anyhow::Result<v1::SignedIn> {
        let body = Body::SignIn(v1::SignIn {
            device_id: Bytes::copy_from_slice(&device_id),
            name: self.name.clone(),
            password: self.password.clone(),
            device_name: "magpie-bench".to_owned(),
        });
        authenticate(dialer, body).await
    }
}

/// Registers a user and signs in its other devices, one after the other.
async fn make_user(dialer: Dialer, devices: usize) -> anyhow::Result<Vec<Device>> {
    let account = Account::make_up();
    let mut made = Vec::with_capacity(devices);
    for index in 0..devices {
        let device_id = Uuid::now_v7().into_bytes();
        let signed_in = if index == 0 {
            account.register(&dialer, device_id).await?
        } else {
            account.sign_in(&dialer, device_id).await?
        };
        made.push(Device {
            name: account.name.clone(),
            device_id,
            token: signed_in.device_token.to_vec(),
            epoch: 0,
            base: 0,
            cursor: Vec::new(),
        });
    }
    Ok(made)
}

/// Registers or signs in on a connection of its own, again if the server is
/// too busy.
async fn authenticate(dialer: &Dialer, body: Body) -> anyhow::Result<v1::SignedIn> {
    for _ in 0..TRIES_MAX {
        let mut connection = Connection::open(dialer, Bytes::new()).await?;
        connection.introduce(body.clone());
        let error = match first(&mut connection).await? {
            Incoming::SignedIn(signed_in) => {
                connection.close().await;
                return Ok(signed_in);
            }
            Incoming::Refused(error) => error,
            Incoming::Goodbye(goodbye) => return Err(Rejected::from(goodbye).into()),
            it @ (Incoming::Welcome(_)
            | Incoming::Page { .. }
            | Incoming::Answer { .. }
            | Incoming::Unsupported
            | Incoming::Hint(_)
            | Incoming::Nothing) => bail!("a {} instead of a sign-in", name(&it)),
        };
        connection.close().await;
        match error.action() {
            Action::Retry | Action::RetryAfter => {
                let after = Duration::from_millis(error.after_ms.max(100).into());
                tokio::time::sleep(after).await;
            }
            Action::Unspecified
            | Action::Never
            | Action::Reconnect
            | Action::SignIn
            | Action::Resync
            | Action::Upgrade => return Err(Rejected::from(error).into()),
        }
    }
    bail!("the server was too busy for a registration {TRIES_MAX} times")
}

async fn first(connection: &mut Connection) -> anyhow::Result<Incoming> {
    let mut incoming = Vec::new();
    loop {
        connection.flush().await?;
        connection.turn(&mut incoming).await?;
        if let Some(first) = incoming.drain(..).find(|it| *it != Incoming::Nothing) {
            return Ok(first);
        }
    }
}
