//! Tells who is there to those who look at them.
//!
//! One rule says it, of what is connected here and what the store knows, so it is the same
//! after a restart and on every node. A phone that roams is back before anybody would be
//! told; of the others each watcher is told once, however many connections come and go. One
//! question at a time goes to the store, whatever happens.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use magpie_protocol::{
    id::UserId,
    limits::PRESENCE_GRACE,
    moment::Moment,
    session::Hint,
    wire::v1::{self, PresenceState, account_change},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, within},
    hub::{Hub, Mailbox, Note, Told, Wakeups},
    store::{Look, NODE_TIMEOUT_MS, Presence, SharedStore, StoreError},
};

/// How long it takes at the most until what became due is told.
const ROUND: Duration = Duration::from_secs(1);

/// How often it is told of one user that they come and go.
const PACE: Duration = Duration::from_secs(5);

/// When to look again at who may leave, or come, where it is not seen from here.
const RECHECK: Duration = Duration::from_secs(10);

/// How often a node says that it is there, while anybody is connected to it.
const KEEP_INTERVAL: Duration = Duration::from_secs(20);

// One lost word must not make a node gone.
const _: () = assert!((KEEP_INTERVAL.as_millis() as i64) * 2 < NODE_TIMEOUT_MS);

/// What is asked of the store at once.
const LOOKS_MAX: usize = 512;

/// When somebody was last is told in whole minutes: enough to know whether to wait for
/// them, and too little to follow their steps.
const MINUTE_MS: i64 = 60_000;

/// Who is there, and who is told.
pub struct Presences {
    store: SharedStore,
    hub: Arc<Hub>,
    clock: Clock,
    /// Other nodes serve this log, too.
    has_others: AtomicBool,
}

impl Presences {
    pub(super) fn new(store: SharedStore, hub: Arc<Hub>, clock: Clock) -> Self {
        Self {
            store,
            hub,
            clock,
            has_others: AtomicBool::new(false),
        }
    }

    /// The user has changed something of their own.
    pub(super) fn look_at(&self, user: UserId, change: &account_change::Kind) {
        use account_change::Kind;
        if matches!(change, Kind::OwnPresence(_) | Kind::Block(_)) {
            self.hub.note_change(user);
        }
    }

    /// Whether these users are there, as far as the one who asks may know. What becomes
    /// otherwise is told behind [`Self::answered`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn ask(
        &self,
        from: &Mailbox,
        users: &[UserId],
    ) -> Result<Vec<v1::Presence>, StoreError> {
        let looks: Vec<Look> = users.iter().map(|user| look(from, *user)).collect();
        let now_ms = self.clock.wall_ms();
        let seen = self.store.presences(&looks, now_ms).await?;
        let told = looks.iter().zip(seen).map(|(look, seen)| {
            let told = self.told(look.watched, seen, now_ms);
            to_wire(look.watched, told)
        });
        Ok(told.collect())
    }

    /// This answer is on its way to the connection.
    pub fn answered(&self, to: &Arc<Mailbox>, presences: &[v1::Presence]) {
        for it in presences {
            let (Ok(user), state) = (UserId::try_from(it.user_id.as_ref()), it.state()) else {
                continue;
            };
            let last_seen_at_ms = it.last_seen_at_ms;
            let told = Told {
                state,
                last_seen_at_ms,
            };
            if self.hub.watches.tell(to, user, told) && self.may_change_unseen(user, told) {
                self.hub.watches.note(user, Note::Unseen);
            }
        }
    }

    /// Tells for ever.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut agenda = Agenda::default();
        let mut keep_at = self.clock.now() + KEEP_INTERVAL;
        while !stop.is_cancelled() {
            let now = self.clock.now();
            if now >= keep_at {
                keep_at = now + KEEP_INTERVAL;
                self.keep_node().await;
            }
            agenda.note(self.hub.watches.take_noted(), now);
            self.tell(&mut agenda, now).await;
            let pause = within(ROUND, self.hub.watches.rung());
            // Whatever ends the pause, there may be something to look for.
            stop.run_until_cancelled(pause).await;
        }
    }

    /// Says that this node is there.
    async fn keep_node(&self) {
        metrics::gauge!(crate::metrics::PRESENCE_WATCHED).set(self.hub.watches.count() as f64);
        if self.hub.connected() == 0 {
            return;
        }
        match self.store.keep_node(self.clock.wall_ms()).await {
            Ok(has_others) => {
                let had_others = self.has_others.swap(has_others, Ordering::Relaxed);
                if has_others && !had_others {
                    self.hub.watches.note_all(Note::Unseen);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "it was not written down that this node is there")
            }
        }
    }

    /// Tells of those who are due.
    async fn tell(&self, agenda: &mut Agenda, now: Moment) {
        let mut looks = Vec::new();
        for (user, must_ask) in agenda.take_due(now) {
            let is_here = self.hub.is_looked_at(user);
            for (by, told) in self.hub.watches.watchers(user) {
                match told {
                    // Its answer is under way.
                    None => agenda.again(user, now + ROUND, must_ask),
                    Some(it) if is_here && !must_ask && it.state == PresenceState::Online => {}
                    Some(it) => looks.push((look(&by, user), by, it)),
                }
            }
        }
        for looks in looks.chunks(LOOKS_MAX) {
            if let Err(error) = self.tell_some(looks, agenda, now).await {
                tracing::debug!(%error, "nobody is told who is there");
                for (look, ..) in looks {
                    agenda.again(look.watched, now + RECHECK, true);
                }
            }
        }
    }

    async fn tell_some(
        &self,
        looks: &[(Look, Arc<Mailbox>, Told)],
        agenda: &mut Agenda,
        now: Moment,
    ) -> Result<(), StoreError> {
        let asked: Vec<Look> = looks.iter().map(|(look, ..)| *look).collect();
        let now_ms = self.clock.wall_ms();
        let seen = self.store.presences(&asked, now_ms).await?;
        let mut wakeups = Wakeups::default();
        for ((look, by, before), seen) in looks.iter().zip(seen) {
            let user = look.watched;
            let told = self.told(user, seen, now_ms);
            if self.may_change_unseen(user, told) {
                agenda.again(user, now + RECHECK, false);
            }
            if told != *before && self.hub.watches.tell(by, user, told) {
                let hint = Hint::Presence(to_wire(user, told));
                wakeups.note(by, by.put_hint(&hint));
                agenda.told(user, now);
                metrics::counter!(crate::metrics::PRESENCE_HINTS).increment(1);
            }
        }
        wakeups.ring();
        Ok(())
    }

    /// The rule.
    fn told(&self, user: UserId, seen: Option<Presence>, now_ms: i64) -> Told {
        let Some(seen) = seen else {
            return Told {
                state: PresenceState::Hidden,
                last_seen_at_ms: 0,
            };
        };
        let last_at_ms = seen.last_at_ms.unwrap_or(0);
        let grace_ms = i64::try_from(PRESENCE_GRACE.as_millis()).unwrap_or(i64::MAX);
        let was_just_here = now_ms.saturating_sub(last_at_ms) < grace_ms;
        if self.hub.is_looked_at(user) || seen.is_attached || was_just_here {
            return Told {
                state: PresenceState::Online,
                last_seen_at_ms: 0,
            };
        }
        Told {
            state: PresenceState::Offline,
            last_seen_at_ms: last_at_ms - last_at_ms.rem_euclid(MINUTE_MS),
        }
    }

    /// Whether it may be otherwise soon, and nothing here will tell.
    fn may_change_unseen(&self, user: UserId, told: Told) -> bool {
        let has_others = self.has_others.load(Ordering::Relaxed);
        match told.state {
            PresenceState::Online => !self.hub.is_looked_at(user),
            PresenceState::Offline => has_others,
            PresenceState::Hidden | PresenceState::Unspecified => false,
        }
    }
}

fn look(from: &Mailbox, watched: UserId) -> Look {
    Look {
        watcher: from.user,
        watched,
    }
}

fn to_wire(user: UserId, told: Told) -> v1::Presence {
    v1::Presence {
        user_id: user.to_wire(),
        state: told.state.into(),
        last_seen_at_ms: told.last_seen_at_ms,
    }
}

/// Whom to look at, and when. Of watched users alone, and of those who were told of a
/// moment ago.
#[derive(Debug, Default)]
struct Agenda {
    /// Whether the store must be asked, whatever is seen from here.
    due: HashMap<UserId, (Moment, bool)>,
    /// Until when it is not told again that somebody comes or goes.
    quiet: HashMap<UserId, Moment>,
}

impl Agenda {
    fn note(&mut self, noted: HashMap<UserId, Note>, now: Moment) {
        for (user, note) in noted {
            let paced = self.quiet.get(&user).map_or(now, |until| now.max(*until));
            let (at, must_ask) = match note {
                Note::Unseen => (now + RECHECK, false),
                // And what is written of it by then.
                Note::Left => (now + PRESENCE_GRACE + ROUND, false),
                Note::Came => (paced, false),
                Note::Change => (now, true),
            };
            self.again(user, at, must_ask);
        }
    }

    /// Looks at the user again, then or before.
    fn again(&mut self, user: UserId, at: Moment, must_ask: bool) {
        let due = self.due.entry(user).or_insert((at, must_ask));
        due.0 = due.0.min(at);
        due.1 |= must_ask;
    }

    fn told(&mut self, user: UserId, now: Moment) {
        self.quiet.insert(user, now + PACE);
    }

    fn take_due(&mut self, now: Moment) -> HashMap<UserId, bool> {
        self.quiet.retain(|_, until| *until > now);
        let due = self.due.extract_if(|_, (at, _)| *at <= now);
        due.map(|(user, (_, must_ask))| (user, must_ask)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_told_every_five_seconds_that_somebody_comes_and_after_a_while_that_they_went() {
        let user = UserId::new([1; 16]);
        let mut agenda = Agenda::default();
        let note = |agenda: &mut Agenda, note, seconds| {
            agenda.note(HashMap::from([(user, note)]), at(seconds));
        };
        let is_due = |agenda: &mut Agenda, seconds| {
            let due = agenda.take_due(at(seconds));
            due.get(&user).copied()
        };
        note(&mut agenda, Note::Came, 0);
        assert_eq!(is_due(&mut agenda, 0), Some(false), "at once");
        agenda.told(user, at(0));
        // Who roams is looked at when they come, and not once more for having left.
        note(&mut agenda, Note::Left, 1);
        note(&mut agenda, Note::Came, 2);
        assert_eq!(is_due(&mut agenda, 4), None);
        assert_eq!(is_due(&mut agenda, 5), Some(false));
        assert_eq!(is_due(&mut agenda, 100), None);
        note(&mut agenda, Note::Left, 101);
        assert_eq!(is_due(&mut agenda, 131), None);
        assert_eq!(is_due(&mut agenda, 132), Some(false));
        // What is hidden is hidden at once.
        agenda.told(user, at(132));
        note(&mut agenda, Note::Change, 133);
        note(&mut agenda, Note::Left, 133);
        assert_eq!(is_due(&mut agenda, 133), Some(true));
        assert_eq!(is_due(&mut agenda, 500), None);
        assert!(agenda.quiet.is_empty() && agenda.due.is_empty(), "D9");
    }
}
