//! When to ask what others say of themselves: once after all has come, of everybody who
//! is known here; then of those who are new, and of whom the server hints at. One request
//! at a time, and behind everything else.

use magpie_protocol::{
    id::UserId,
    limits::PROFILES_COUNT_MAX,
    session::{Answer, Hint},
    wire::{
        KnownProfile,
        v1::{self, client_frame::Body},
    },
};

use super::connection::{Connection, Purpose, Waiting};
use crate::{
    client::Event,
    database::{People, Wanted, Work},
};

/// The version of a profile that is asked for whatever is known of it.
const ANY: u64 = u64::MAX;

/// What is to be asked for.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    /// All has come: not before.
    has_begun: bool,
    /// A request is read for, waits or is under way, or its answer is being stored.
    is_busy: bool,
    /// It was told that everybody's is here.
    is_fresh: bool,
    /// Everybody, behind this one.
    everybody: Option<Option<UserId>>,
    /// Somebody may be new.
    strangers: bool,
    /// The server hinted at them.
    hinted: Vec<UserId>,
    /// To be sent.
    waiting: Option<Vec<KnownProfile>>,
}

impl Profiles {
    /// All has come that there was.
    pub(super) fn begin(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.everybody = Some(None);
        }
    }

    /// Somebody may be new.
    pub(super) fn meet(&mut self) {
        self.strangers = true;
    }

    /// What to read from the local database next.
    pub(super) const fn load(&self) -> Option<Wanted> {
        if !self.has_begun || self.is_busy {
            return None;
        }
        match self.everybody {
            Some(place) => Some(Wanted::Behind(place)),
            None if self.strangers => Some(Wanted::Unknown),
            None => None,
        }
    }

    /// It is being read.
    pub(super) const fn loading(&mut self, wanted: Option<Wanted>) {
        self.is_busy |= wanted.is_some();
    }

    /// These are to be asked for.
    pub(super) fn loaded(&mut self, wanted: Wanted, known: Vec<KnownProfile>) {
        let is_full = known.len() >= PROFILES_COUNT_MAX;
        match wanted {
            Wanted::Behind(_) => {
                let last = known.last().map(|it| it.user);
                self.everybody = is_full.then_some(last);
            }
            Wanted::Unknown => self.strangers = is_full,
        }
        self.is_busy = !known.is_empty();
        self.waiting = Some(known).filter(|known| !known.is_empty());
    }

    /// What was answered is stored.
    pub(super) const fn stored(&mut self) {
        self.is_busy = false;
    }

    /// Whether everybody's is here now, for the first time.
    pub(super) fn became_fresh(&mut self) -> bool {
        let is_fresh = self.has_begun && !self.is_busy && self.everybody.is_none();
        is_fresh && !std::mem::replace(&mut self.is_fresh, true)
    }

    /// What to send when nothing else waits.
    fn next(&mut self) -> Option<Vec<KnownProfile>> {
        if let Some(known) = self.waiting.take() {
            return Some(known);
        }
        if self.is_busy || self.hinted.is_empty() {
            return None;
        }
        self.is_busy = true;
        let hinted = std::mem::take(&mut self.hinted).into_iter();
        let known = hinted.map(|user| KnownProfile { user, version: ANY });
        Some(known.collect())
    }
}

impl Connection<'_> {
    /// Takes what a turn wrote and read of other people.
    pub(super) fn settle_people(&mut self, people: People) {
        if people.met {
            self.profiles.meet();
        }
        if let Some((wanted, known)) = people.wanted {
            self.profiles.loaded(wanted, known);
        }
        if let Some(changed) = people.profiles {
            self.profiles.stored();
            for user in changed {
                self.driver.notices.push(Event::Profile { user });
            }
        }
    }

    pub(super) fn tell_refreshed(&mut self) {
        if self.profiles.became_fresh() {
            self.driver.notices.push(Event::Refreshed);
        }
    }

    pub(super) fn take_hint(&mut self, hint: &Hint) {
        match hint {
            Hint::Typing(it) => self.take_typing(it),
            Hint::Presence(it) => self.take_presence(it),
            Hint::ProfileChanged(it) => {
                let Ok(user) = UserId::try_from(it.user_id.as_ref()) else {
                    return;
                };
                let hinted = &mut self.profiles.hinted;
                if hinted.len() < PROFILES_COUNT_MAX && !hinted.contains(&user) {
                    hinted.push(user);
                }
            }
        }
    }

    /// The next question about other people, if it is time for one.
    pub(super) fn next_profiles(&mut self) -> Option<Waiting> {
        let known = self.profiles.next()?;
        let asked = known.iter().map(|it| it.user).collect();
        let known = known.into_iter().map(|it| v1::KnownProfile {
            user_id: it.user.to_wire(),
            version: it.version,
        });
        Some(Waiting {
            body: Body::FetchProfiles(v1::FetchProfiles {
                known: known.collect(),
            }),
            purpose: Purpose::Profiles(asked),
        })
    }

    pub(super) fn answer_to_profiles(&mut self, asked: Vec<UserId>, answer: Answer) {
        if let Answer::Profiles(it) = answer {
            let found = it.profiles;
            self.works.push(Work::Profiles { asked, found });
        } else {
            // Not now, or not this server: the next connection asks again.
            self.profiles = Profiles {
                has_begun: true,
                is_fresh: self.profiles.is_fresh,
                ..Profiles::default()
            };
        }
    }
}
