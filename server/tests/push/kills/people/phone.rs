//! A device that sleeps.

use std::collections::HashSet;

use magpie_audit::{Device, Digest, Event, Place, Record};
use magpie_fcm_emulator::World;
use magpie_protocol::{id::MessageId, text::UserName, wire::v1};
use magpie_server::{
    clock::Clock,
    store::{
        Actor, Attachment, Confirm, Connect, Generation, Positions, ReadLimit, SharedStore,
        StoreError, UserPage,
    },
};
use parking_lot::Mutex;
use prost::Message as _;

/// Small, so that devices confirm in the middle.
const PAGE: ReadLimit = ReadLimit {
    count: 2,
    size: 100_000,
};

/// Pages of a device that stores everything.
pub(in super::super) const ALL_PAGES: u64 = u64::MAX;

/// A user with a device that sleeps.
pub(super) struct Sleeper {
    pub(super) name: UserName,
    pub(super) actor: Actor,
    pub(super) phone: Mutex<Phone>,
}

/// What is on a device.
pub(super) struct Phone {
    /// Everything up to here is stored.
    cursor: Positions,
    pub(super) stored: HashSet<MessageId>,
    generation: Option<Generation>,
    /// As FCM gave it out.
    pub(super) token: String,
    tokens: u32,
    /// The number of the last push to the token that it looked at.
    seen: u64,
    /// It is talking to the server.
    pub(super) is_busy: bool,
    pub(super) notes: Device,
}

impl Sleeper {
    pub(super) fn new(name: UserName, actor: Actor, shards: usize) -> Self {
        let phone = Phone {
            cursor: Positions::origin(shards),
            stored: HashSet::new(),
            generation: None,
            token: String::new(),
            tokens: 0,
            seen: 0,
            is_busy: false,
            notes: Device::new(name.as_str(), actor.user),
        };
        Self {
            name,
            actor,
            phone: Mutex::new(phone),
        }
    }

    pub(super) async fn sync(
        &self,
        store: &SharedStore,
        clock: Clock,
        attachment: Attachment,
        pages: u64,
    ) -> Result<(), StoreError> {
        let hello = Connect {
            device: self.actor.device,
            cursor: self.phone.lock().cursor,
            at_ms: clock.wall_ms(),
            attachment,
        };
        let generation = store.connect(&[hello]).await?[0].unwrap();
        self.phone.lock().generation = Some(generation);
        for _ in 0..pages {
            let after = self.phone.lock().cursor;
            let page = store.user_page(self.actor.user, after, PAGE).await?;
            self.phone.lock().store(&page, generation);
            let confirm = Confirm {
                device: self.actor.device,
                generation,
                cursor: page.upto,
            };
            store.confirm(&[confirm]).await?;
            if page.complete {
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn leave(&self, store: &SharedStore) -> Result<(), StoreError> {
        let generation = self.phone.lock().generation;
        match generation {
            Some(generation) => {
                let gone = [(self.actor.device, generation)];
                store.detach(&gone, 0).await
            }
            None => Ok(()),
        }
    }
}

impl Phone {
    /// Which wakes came since it looked last.
    pub(super) fn look(&mut self, fcm: &World) -> Vec<u64> {
        let pushes = fcm.pushes(&self.token, self.seen);
        self.seen = pushes.last().map_or(self.seen, |it| it.number);
        let wakes = pushes.iter().map(|it| {
            let wake = it.message["data"]["magpie_wake"].as_str().unwrap();
            u64::from_str_radix(wake, 16).unwrap()
        });
        wakes.collect()
    }

    /// FCM gives out another token.
    pub(super) fn new_token(&mut self) -> String {
        self.tokens += 1;
        self.token = format!("{}-{}:APA91b", self.notes.name, self.tokens);
        self.seen = 0;
        self.token.clone()
    }

    /// One local transaction.
    fn store(&mut self, page: &UserPage, generation: Generation) {
        for event in &page.events {
            let decoded = v1::Event::decode(event.encoded.clone()).unwrap();
            let Some(v1::event_content::Kind::Message(message)) =
                decoded.content.and_then(|it| it.kind)
            else {
                continue;
            };
            let message_id = MessageId::new((*decoded.message_id).try_into().unwrap());
            let stored = Event {
                place: Place {
                    conversation: event.conversation,
                    seq: event.seq,
                },
                message_id,
                sender: None,
                digest: Digest::of(message.text.as_bytes()),
            };
            self.stored.insert(message_id);
            self.notes.note(
                0,
                Record::Stored {
                    event: stored,
                    epoch: 1,
                    generation: generation.0,
                },
            );
        }
        self.cursor = page.upto;
    }

    pub(super) fn wipe(&mut self, shards: usize) {
        self.cursor = Positions::origin(shards);
        self.stored.clear();
        self.notes.note(0, Record::RolledBack { to: 0 });
    }
}
