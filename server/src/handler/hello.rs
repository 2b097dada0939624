//! Hello: from a device's token to a session.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use magpie_protocol::{
    limits::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN},
    wire::Hello,
};

use super::account::token_hash;
use crate::{
    clock::Clock,
    delivery::{Delivery, Feed},
    hub::{Hub, Mailbox},
    limits::{Limited, Limiter},
    store::{Attachment, Connect, Device, History, StoreError, User},
    tokens::Tokens,
};

/// Why a device is not welcome.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HelloError {
    /// Too old; update the client.
    #[error(
        "protocol version {version} is not spoken here any more, {PROTOCOL_VERSION_MIN} is the oldest"
    )]
    TooOld {
        /// What the client speaks.
        version: u32,
    },
    /// No such device, or not its token, or revoked: which one is not told.
    #[error("the device is unknown or revoked")]
    Unauthenticated,
    /// It began anew too often.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// Nothing has changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A device that is welcome.
pub struct Greeted {
    /// Whose it is.
    pub user: User,
    /// What the server knows of the connection.
    pub mailbox: Arc<Mailbox>,
    /// What it has not confirmed.
    pub delivery: Delivery,
    /// The history that it is served.
    pub history: History,
    /// The version that both sides speak.
    pub protocol_version: u32,
    /// Its cursor was of no use.
    pub starts_anew: bool,
}

/// Welcomes devices.
pub struct Hellos {
    /// What deliveries share.
    pub feed: Arc<Feed>,
    /// Where connections are found.
    pub hub: Arc<Hub>,
    /// Devices that were welcome lately.
    pub tokens: Arc<Tokens>,
    /// For the list of devices.
    pub clock: Clock,
    /// Bounds snapshots.
    pub limiter: Arc<Limiter>,
}

impl Hellos {
    /// Checks a device's token, makes it the device's one live connection, and
    /// begins its delivery.
    ///
    /// # Errors
    ///
    /// [`HelloError`].
    pub async fn greet(&self, hello: Hello) -> Result<Greeted, HelloError> {
        if let Some(reason) = self.feed.chronicle.stopped() {
            return Err(StoreError::Unavailable { reason }.into());
        }
        if hello.protocol_version < PROTOCOL_VERSION_MIN {
            return Err(HelloError::TooOld {
                version: hello.protocol_version,
            });
        }
        let history = self.feed.chronicle.history();
        let epoch = history.epoch;
        let device = self.authenticate(&hello).await?;

        let mailbox = Arc::new(Mailbox::new(device.user.id, device.id));
        if hello.background {
            mailbox.looks_away();
        }
        let place = self.feed.resume(device.id, epoch, &hello.cursor).await?;
        let starts_anew = place.is_none();
        if starts_anew {
            self.limiter.snapshot(device.id, self.clock.now())?;
        }
        let is_held = (hello.epoch, hello.base) == (epoch, history.base.given_out());
        let held = (hello.epoch != 0 && !is_held).then_some(hello.epoch);
        let place = place.unwrap_or_else(|| {
            let never_had_one = hello.cursor.is_empty() && held.is_none();
            self.feed.anew(never_had_one.then_some(device.made_at))
        });
        self.hub.join(&mailbox);
        // Whoever stops serving ends all who are in the hub; this one joined late.
        let chronicle = &self.feed.chronicle;
        if chronicle.is_stopped() || chronicle.history().epoch != epoch {
            self.hub.leave(&mailbox);
            let reason = "a new epoch began meanwhile".to_owned();
            return Err(StoreError::Unavailable { reason }.into());
        }
        let at_ms = self.clock.wall_ms();
        let connect = Connect {
            device: device.id,
            cursor: place.confirmed(),
            at_ms,
            attachment: if hello.background {
                Attachment::Background
            } else {
                Attachment::Foreground
            },
        };
        self.feed.keeper.connect(connect, Arc::clone(&mailbox));
        let feed = Arc::clone(&self.feed);
        let delivery = Delivery::new(feed, Arc::clone(&mailbox), epoch, held, place);
        tracing::debug!(device = %device.id, client = hello.client, starts_anew, "hello");
        Ok(Greeted {
            user: device.user,
            mailbox,
            delivery,
            history,
            protocol_version: hello.protocol_version.min(PROTOCOL_VERSION),
            starts_anew,
        })
    }

    /// The device whose token this is.
    async fn authenticate(&self, hello: &Hello) -> Result<Device, HelloError> {
        let hash = token_hash(&hello.token);
        let has_token =
            |device: &Device| verify_slices_are_equal(&hash, &device.token_hash).is_ok();
        let known = self.tokens.get(hello.device, self.clock.now());
        // One whose token is wrong may have a new one.
        if let Some(device) = known.filter(has_token) {
            return Ok(device);
        }
        let began = self.tokens.look_up();
        let device = self.feed.store.device(hello.device).await?;
        // Compared also for a device that does not exist, so that it takes as long.
        let expected = device.as_ref().map_or([0; 32], |device| device.token_hash);
        let is_right = verify_slices_are_equal(&hash, &expected).is_ok();
        let device = device.filter(|_| is_right);
        let device = device.ok_or(HelloError::Unauthenticated)?;
        self.tokens.found(began, &device);
        Ok(device)
    }
}
