//! Devices that connect when they are woken, and not otherwise.

use std::time::Duration;

use anyhow::ensure;
use magpie_fcm_emulator::{Control, Delivered, Reach, Standing};
use magpie_protocol::{
    session::Answer,
    wire::v1::{self, client_frame::Body, send_message::To},
};
use tokio::task::JoinSet;

use crate::{connection::Connection, credentials::Device, dialer::Dialer};

/// How long all pushes may take to come.
const PUSH_TIMEOUT: Duration = Duration::from_secs(20);

/// Devices that answer at the same time.
const ANSWERS_MAX: usize = 64;

/// A device and what it has been pushed.
struct Sleeper {
    device: Device,
    token: String,
    /// The number of the last push that was looked at.
    seen: u64,
}

/// Devices, in their order, and the emulator that has their pushes.
pub(super) struct Sleepers {
    dialer: Dialer,
    control: Control,
    all: Vec<Sleeper>,
}

impl Sleepers {
    /// Gives each device a token and lets it sleep.
    ///
    /// # Errors
    ///
    /// The server or the emulator refused, or is not there.
    pub(super) async fn new(
        dialer: Dialer,
        emulator: &str,
        connected: Vec<(Device, Connection)>,
    ) -> anyhow::Result<Self> {
        let control = Control::new(emulator)?;
        let mut all = Vec::new();
        for (mut device, mut connection) in connected {
            let token = format!("{}:APA91b", device.name.replace('.', "-"));
            let reach = Reach::Doze;
            control
                .set_device(&token, Standing::Registered, reach)
                .await?;
            let set = Body::SetPush(v1::SetPush {
                platform: v1::Platform::Android.into(),
                app_id: "org.example.bench".to_owned(),
                token: token.clone(),
            });
            let set = connection.ask(set, &mut device).await?;
            ensure!(matches!(set, Answer::Done), "a push token was refused");
            detach(&mut device, connection).await?;
            // What an earlier run was pushed.
            let before = control.pushes(&token, 0, Duration::ZERO).await?;
            let seen = before.last().map_or(0, |it| it.number);
            all.push(Sleeper {
                device,
                token,
                seen,
            });
        }
        Ok(Self {
            dialer,
            control,
            all,
        })
    }

    /// Where to send to reach each of them alone.
    pub(super) fn each(&self) -> Vec<To> {
        self.names().into_iter().map(To::UserName).collect()
    }

    /// Their users' names.
    pub(super) fn names(&self) -> Vec<String> {
        self.all.iter().map(|it| it.device.name.clone()).collect()
    }

    /// What each was pushed since this was asked last; waits until each has
    /// something, or for so long.
    ///
    /// # Errors
    ///
    /// The emulator is gone.
    pub(super) async fn pushes(&mut self) -> anyhow::Result<Vec<Vec<Delivered>>> {
        let until = tokio::time::Instant::now() + PUSH_TIMEOUT;
        let mut all = Vec::with_capacity(self.all.len());
        for it in &mut self.all {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let pushes = self.control.pushes(&it.token, it.seen, left).await?;
            it.seen = pushes.last().map_or(it.seen, |it| it.number);
            all.push(pushes);
        }
        Ok(all)
    }

    /// Each of the first `count` connects, stores what came, and sleeps again.
    ///
    /// # Errors
    ///
    /// The server refused, or is not there.
    pub(super) async fn answer(&mut self, count: usize) -> anyhow::Result<()> {
        let mut answers = JoinSet::new();
        let devices = self.all.iter().take(count).map(|it| it.device.clone());
        let devices: Vec<Device> = devices.collect();
        let mut waiting = devices.into_iter().enumerate();
        loop {
            while answers.len() < ANSWERS_MAX
                && let Some((index, mut device)) = waiting.next()
            {
                let dialer = self.dialer.clone();
                answers.spawn(async move {
                    let connection = Connection::hello(&dialer, &mut device).await?;
                    detach(&mut device, connection).await?;
                    anyhow::Ok((index, device))
                });
            }
            let Some(answered) = answers.join_next().await else {
                break;
            };
            let (index, device) = answered??;
            if let Some(it) = self.all.get_mut(index) {
                it.device = device;
            }
        }
        Ok(())
    }

    /// The devices, with the cursors that they have now.
    pub(super) fn into_devices(self) -> Vec<Device> {
        self.all.into_iter().map(|it| it.device).collect()
    }
}

/// Says that the app goes to the background, and goes. The request carries the
/// acknowledgement of what was stored.
async fn detach(device: &mut Device, mut connection: Connection) -> anyhow::Result<()> {
    let detach = Body::Detach(v1::Detach {});
    let answer = connection.ask(detach, device).await?;
    ensure!(matches!(answer, Answer::Done), "a detach was refused");
    connection.close().await;
    Ok(())
}
