//! Photos and files, over HTTPS on the port of the sessions: uploads that resume (tus 1.0)
//! and downloads by URLs that are good for a while. Who may do what is asked for over the
//! session, and shown here as a token or a key that we sealed.
//!
//! No bytes are decoded, no URL of a client is fetched, and no name that a client chose
//! reaches the directory or the bucket.

mod assembly;
mod bucket;
mod content;
mod depot;
mod direct;
mod files;
mod http;
mod receivers;
mod receiving;
mod replies;
mod seal;
mod slots;
mod upkeep;
mod uploads;

use std::{sync::Arc, time::Duration};

use magpie_protocol::{
    id::{DeviceId, MediaId, UserId},
    wire::v1,
};

use self::{
    depot::Depot,
    receivers::Receivers,
    seal::{Leave, MediaKey},
    slots::Slots,
};
pub use self::{
    depot::UnusablePlace,
    http::{Speaks, serve},
};
use crate::{
    clock::Clock,
    config::MediaPlace,
    limits::Limiter,
    random::Random,
    store::{SharedStore, StoreError, StoredMedia},
    tokens::Tokens,
};

/// How long a token is good.
const TOKEN_VALIDITY: Duration = Duration::from_secs(3_600);

/// Where uploads begin.
const UPLOADS: &str = "/media/uploads";

/// Below which all that is stored is to be had.
const FILES: &str = "/media/files";

/// What media are kept with.
pub struct Parts {
    /// What there is.
    pub store: SharedStore,
    /// The secret that all servers of the log share.
    pub secret: [u8; 32],
    /// Where clients find what is stored, if not at the address that they know.
    pub url: Option<String>,
    /// Who may connect.
    pub tokens: Arc<Tokens>,
    /// Every request passes it.
    pub limiter: Arc<Limiter>,
    /// For what expires.
    pub clock: Clock,
    /// For names.
    pub random: Random,
}

/// Keeps photos and files.
pub struct Media {
    parts: Parts,
    depot: Depot,
    key: MediaKey,
    slots: Slots,
    receivers: Receivers,
}

impl Media {
    /// Photos and files in this place. A directory is made if it is absent; a bucket is
    /// tried: it must be there, and let us write, read, list and delete.
    ///
    /// # Errors
    ///
    /// The place cannot be used.
    pub async fn open(place: &MediaPlace, parts: Parts) -> Result<Self, UnusablePlace> {
        let depot = Depot::open(place).await?;
        let limits = &parts.limiter.limits;
        Ok(Self {
            depot,
            key: MediaKey::new(&parts.secret),
            slots: Slots::new(
                limits.media_uploads_per_device_max,
                limits.media_uploads_max,
            ),
            receivers: Receivers::default(),
            parts,
        })
    }

    /// Leave to upload, for this device.
    #[must_use]
    pub fn token(&self, user: UserId, device: DeviceId) -> v1::MediaToken {
        let expires_at_ms = self.in_ms(TOKEN_VALIDITY);
        let leave = Leave {
            user,
            device,
            expires_at_ms,
        };
        v1::MediaToken {
            in_reply_to: 0,
            token: self.key.seal(&leave),
            expires_at_ms,
            uploads_url: UPLOADS.to_owned(),
            size_max: self.parts.limiter.limits.media_size_max.0 as u64,
        }
    }

    /// Where those of these are to be had that there are for this user.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn urls(&self, user: UserId, ids: &[MediaId]) -> Result<v1::MediaUrls, StoreError> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let found = self.parts.store.media_for(user, &ids).await?;
        let urls = found.into_iter().map(|media| self.url(media));
        Ok(v1::MediaUrls {
            in_reply_to: 0,
            urls: urls.collect(),
        })
    }

    /// The same for all who ask within a while, so that a cache can serve it.
    fn url(&self, media: StoredMedia) -> v1::MediaUrl {
        let validity_ms = to_ms(self.parts.limiter.limits.media_url_validity).max(1);
        let begun = self.parts.clock.wall_ms().div_euclid(validity_ms);
        let expires_at_ms = begun.saturating_add(2).saturating_mul(validity_ms);
        let base = self.parts.url.as_deref().unwrap_or_default();
        let (id, key) = (media.id, self.key.url_key(media.id, expires_at_ms));
        v1::MediaUrl {
            media_id: id.to_wire(),
            url: format!("{base}{FILES}/{id}?expires={expires_at_ms}&key={key}"),
            expires_at_ms,
            size: media.size,
            sha256: media.sha256.to_vec().into(),
            content_type: media.content_type,
        }
    }

    /// The time of day so much later.
    fn in_ms(&self, later: Duration) -> i64 {
        self.parts.clock.wall_ms().saturating_add(to_ms(later))
    }

    /// When what nothing refers to goes.
    fn expiry_ms(&self) -> i64 {
        self.in_ms(self.parts.limiter.limits.media_expiry)
    }
}

fn to_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
