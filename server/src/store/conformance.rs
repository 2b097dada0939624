//! The suite that every engine passes: stories of what a store promises, and a
//! model that random histories are compared with.
//!
//! An engine runs it with `suite!(open)`, where `open` is an async function that
//! gives an empty store and whatever must live as long as it. With
//! `suite!(open, unless skipped)` the tests pass untested if `skipped` is true.

#![cfg_attr(
    fuzzing,
    expect(
        dead_code,
        unused_macros,
        unused_imports,
        reason = "a fuzzer needs the model alone"
    )
)]

pub(super) mod accounts;
pub(super) mod append;
pub(super) mod bans;
pub(super) mod blocks;
pub(super) mod broadcasts;
pub(super) mod counts;
pub(super) mod friends;
#[cfg(fuzzing)]
pub mod fuzzing;
pub(super) mod groups;
pub(super) mod invites;
pub(super) mod media;
pub(super) mod members;
pub(super) mod messages;
pub(super) mod model;
pub(super) mod newcomers;
pub(super) mod operators;
pub(super) mod pages;
pub(super) mod people;
pub(super) mod pins;
pub(super) mod presence;
pub(super) mod privacy;
pub(super) mod reactions;
pub(super) mod receipts;
mod requests;
pub(super) mod roles;
pub(super) mod settings;
#[cfg(test)]
pub(super) mod sources;
mod suite;
pub(super) mod syncs;
pub(super) mod wakes;

pub(super) use self::{
    requests::{add, create, decoded, remove, send, seq, seqs},
    suite::suite,
};

use std::{
    any::Any,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
};

use magpie_protocol::{
    id::{ConversationId, DeviceId, MessageId, UserId},
    seq::Position,
    text::{DeviceName, UserName},
    wire::{Target, v1},
};

use super::{
    Account, Actor, Append, Command, CreateUser, LogEvent, NewDevice, Outcome, Positions,
    ReadLimit, Refusal, Shard, SharedStore, Standing, User, UserPage,
};

/// More than any test has.
pub(super) const ALL: ReadLimit = ReadLimit {
    count: 100_000,
    size: 100_000_000,
};

/// Most stories happen in a log of one shard.
impl PartialEq<Position> for Positions {
    fn eq(&self, position: &Position) -> bool {
        *self == Self::from(*position)
    }
}

/// The time at which tests happen.
pub(super) const NOON: i64 = 1_700_000_000_000;

/// A store and what must live as long as it.
pub(super) type Opened = (SharedStore, Box<dyn Any + Send>);

/// A store with people in it.
pub(super) struct World {
    pub(super) store: SharedStore,
    _guard: Box<dyn Any + Send>,
    ids: AtomicU64,
    now_ms: AtomicI64,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) after: Positions,
    pub(super) head: Positions,
    pub(super) outcomes: Vec<Outcome>,
    /// Shard by shard.
    pub(super) events: Vec<LogEvent>,
}

/// A user with a device.
#[derive(Clone)]
pub(super) struct Player {
    pub(super) user: User,
    pub(super) actor: Actor,
}

impl Player {
    pub(super) fn id(&self) -> UserId {
        self.user.id
    }

    pub(super) fn name(&self) -> UserName {
        self.user.name.clone()
    }

    pub(super) fn account(&self) -> Account {
        account_of(self.user.clone())
    }
}

impl World {
    pub(super) fn new((store, guard): Opened) -> Self {
        Self {
            store,
            _guard: guard,
            ids: AtomicU64::new(1),
            now_ms: AtomicI64::new(NOON),
        }
    }

    /// The time of day.
    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// From then on it is so much later.
    pub(super) fn wait(&self, for_ms: i64) {
        self.now_ms.fetch_add(for_ms, Ordering::Relaxed);
    }

    /// 16 bytes that were not there before, in the shape of a UUIDv7.
    pub(super) fn fresh(&self) -> [u8; 16] {
        let number = u128::from(self.ids.fetch_add(1, Ordering::Relaxed));
        (0x7 << 76 | 0b10 << 62 | number << 80 | number).to_be_bytes()
    }

    pub(super) fn new_device(&self) -> NewDevice {
        NewDevice {
            id: DeviceId::new(self.fresh()),
            name: DeviceName::try_from("phone".to_owned()).unwrap(),
            token_hash: [7; 32],
        }
    }

    pub(super) fn new_account(&self, name: &str) -> Account {
        let user = User {
            id: UserId::new(self.fresh()),
            name: UserName::parse(name).unwrap(),
        };
        account_of(user)
    }

    pub(super) async fn player(&self, name: &str) -> Player {
        let account = self.new_account(name);
        let device = self.new_device();
        let created = self.store.create_user(&account, Some(&device), NOON).await;
        assert_eq!(created, Ok(CreateUser::Done));
        let (user, device) = (account.user, device.id);
        let actor = Actor {
            user: user.id,
            device,
        };
        Player { user, actor }
    }

    pub(super) fn request(&self, player: &Player, command: Command) -> Append {
        Append {
            actor: player.actor,
            id: MessageId::new(self.fresh()),
            command,
        }
    }

    /// A message to a user.
    pub(super) fn to(&self, from: &Player, to: &Player, text: &str) -> Append {
        self.request(from, send(Target::User(to.name()), text))
    }

    /// A message to a conversation.
    pub(super) fn post(&self, from: &Player, to: ConversationId, text: &str) -> Append {
        self.request(from, send(Target::Conversation(to), text))
    }

    /// Appends a batch, to as many shards as it goes to.
    pub(super) async fn append(&self, batch: &[Append]) -> Appended {
        let after = self.heads().await;
        let mut appended = Appended {
            after,
            head: after,
            outcomes: Vec::new(),
            events: Vec::new(),
        };
        let shards = self.store.shards_of(batch).await.unwrap();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        for shard in Shard::all(self.store.shard_count()) {
            let numbers = (0..batch.len()).filter(|number| shards[*number] == shard);
            let numbers: Vec<usize> = numbers.collect();
            if numbers.is_empty() {
                continue;
            }
            let part = numbers.iter().map(|number| batch[*number].clone());
            let committed = self
                .store
                .append(shard, part.collect(), self.now_ms())
                .await
                .unwrap();
            assert!(committed.head >= committed.after);
            assert_eq!(committed.after, after.in_shard(shard));
            appended.head.set(committed.head);
            appended.events.extend(committed.events);
            for (number, outcome) in numbers.into_iter().zip(committed.outcomes) {
                outcomes[number] = Some(outcome);
            }
        }
        appended.outcomes = outcomes.into_iter().flatten().collect();
        appended
    }

    /// Appends one request. Returns where it is.
    pub(super) async fn accept(&self, request: Append) -> (ConversationId, u64) {
        let committed = self.append(&[request]).await;
        match committed.outcomes[..] {
            [
                Outcome::Accepted {
                    conversation, seq, ..
                },
            ] => (conversation, seq.get()),
            ref other => panic!("{other:?}"),
        }
    }

    /// Appends one request that must be refused, and changes nothing.
    pub(super) async fn refuse(&self, request: Append) -> Refusal {
        let committed = self.append(&[request]).await;
        assert_eq!(committed.events, []);
        assert_eq!(committed.after, committed.head);
        match committed.outcomes[..] {
            [Outcome::Refused(refusal)] => refusal,
            ref other => panic!("{other:?}"),
        }
    }

    /// The head of a log of one shard.
    pub(super) async fn head(&self) -> Position {
        self.heads().await.in_shard(Shard::FIRST)
    }

    pub(super) async fn heads(&self) -> Positions {
        self.store.state().await.unwrap().heads
    }

    pub(super) async fn page(
        &self,
        of: &Player,
        after: impl Into<Positions>,
        limit: ReadLimit,
    ) -> UserPage {
        let after = after.into();
        self.store.user_page(of.id(), after, limit).await.unwrap()
    }

    /// The description of a conversation as this user has it.
    pub(super) async fn described(&self, of: &Player, id: ConversationId) -> v1::Conversation {
        let found = self.store.conversations(of.id(), None, ALL).await.unwrap();
        let found = found
            .0
            .into_iter()
            .find(|it| it.conversation_id == id.to_wire());
        found.expect("the user has this conversation")
    }
}

fn account_of(user: User) -> Account {
    Account {
        user,
        password_hash: "$argon2id$".to_owned(),
        standing: Standing::Active,
    }
}
