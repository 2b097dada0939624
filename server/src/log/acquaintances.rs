//! Tells connected people that somebody whom they know says something else of themself.
//!
//! A change of a profile is an event of its user's account log, so every node learns of
//! it from the log. What is told here is a hint: whoever misses it asks when they connect
//! again. So all of it is bounded, and told at leisure.

use std::{collections::HashMap, sync::Arc, time::Duration};

use magpie_protocol::{
    id::UserId,
    limits::MARKED_MEMBERS_MAX,
    session::Hint,
    wire::v1::{self, account_change, event_content},
};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::within,
    hub::{Hub, Wakeups},
    store::{LogEvent, SharedStore},
};

/// Users whose change is still to be told; of further ones nobody is told.
const CHANGED_MAX: usize = 1_000;

/// To how many one change is told: others learn of it when they look.
const TOLD_MAX: usize = 1_000;

/// How long is waited between one round and the next: what somebody changes meanwhile is
/// told once.
const PAUSE: Duration = Duration::from_secs(2);

/// Who has changed their profile, and is to be told of.
pub struct Acquaintances {
    store: SharedStore,
    hub: Arc<Hub>,
    /// The version of each.
    changed: Mutex<HashMap<UserId, u64>>,
    bell: Notify,
}

impl Acquaintances {
    pub(super) fn new(store: SharedStore, hub: Arc<Hub>) -> Self {
        Self {
            store,
            hub,
            changed: Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// The user has changed something of their own, as the event at `version` of their account
    /// log says.
    pub(super) fn look_at(&self, user: UserId, version: u64, change: &account_change::Kind) {
        if !matches!(change, account_change::Kind::Profile(_)) {
            return;
        }
        let mut changed = self.changed.lock();
        if changed.len() < CHANGED_MAX || changed.contains_key(&user) {
            changed.insert(user, version);
        }
        drop(changed);
        self.bell.notify_one();
    }

    /// Tells of changes for ever.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while stop
            .run_until_cancelled(self.bell.notified())
            .await
            .is_some()
        {
            let changed = std::mem::take(&mut *self.changed.lock());
            for (user, version) in changed {
                self.tell(user, version).await;
            }
            let pause = within(PAUSE, std::future::pending::<()>());
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn tell(&self, user: UserId, version: u64) {
        let known = self
            .store
            .acquaintances(user, MARKED_MEMBERS_MAX, TOLD_MAX)
            .await;
        let known = match known {
            Ok(known) => known,
            Err(error) => {
                tracing::debug!(%error, "nobody is told of a changed profile");
                return;
            }
        };
        let hint = Hint::ProfileChanged(v1::ProfileChanged {
            user_id: user.to_wire(),
            version,
        });
        let mut wakeups = Wakeups::default();
        for other in known {
            self.hub.each_of(other, |mailbox| {
                wakeups.note(mailbox, mailbox.put_hint(&hint));
            });
        }
        wakeups.ring();
    }
}

/// Who has changed something of their own by this event of their account log, its seq, and
/// what.
pub(super) fn account_change(event: &LogEvent) -> Option<(UserId, u64, account_change::Kind)> {
    let decoded = v1::Event::decode(event.encoded.clone()).ok()?;
    let event_content::Kind::AccountChanged(it) = decoded.content?.kind? else {
        return None;
    };
    let user = UserId::try_from(decoded.sender?.user_id.as_ref()).ok()?;
    Some((user, decoded.seq, it.change?.kind?))
}
