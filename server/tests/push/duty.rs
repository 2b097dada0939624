//! The duty to wake, on a real store and against the emulator.

mod moments;
mod muted;
mod requests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use magpie_fcm_emulator::{Emulator, Fault, FaultKind, Reach, Standing};
use magpie_protocol::{
    id::{ConversationId, DeviceId, MessageId, UserId},
    push::{AppId, Platform, PushAddress, PushToken},
    seq::Seq,
    text::{DeviceName, UserName},
    wire::{Target, v1},
};
use magpie_server::{
    clock::{Blocking, Clock},
    config::Apps,
    push::{Answers, Deadlines, Duty, Endpoints, Pace, Parts},
    random::Random,
    store::{
        Account, Actor, Append, Attachment, Command, Connect, CreateUser, DEADLINE_MS_MAX,
        NewDevice, Outcome, Positions, SharedStore, User, embedded, postgres,
    },
};
use magpie_sim::postgres as cluster;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::sender;

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const APP: &str = "org.example.chat";

/// A user with one device that sleeps.
pub(crate) struct Sleeper {
    name: UserName,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) token: String,
}

/// A store, an emulator, somebody who sends and some who sleep.
pub(crate) struct Party {
    pub(crate) store: SharedStore,
    pub(crate) emulator: Emulator,
    sender: Actor,
    pub(crate) sleepers: Vec<Sleeper>,
}

pub(crate) fn id() -> [u8; 16] {
    Uuid::now_v7().into_bytes()
}

pub(crate) async fn register(store: &SharedStore, name: &str) -> (UserName, Actor) {
    let (user, device) = (UserId::new(id()), DeviceId::new(id()));
    let name = UserName::parse(name).unwrap();
    let account = Account {
        user: User {
            id: user,
            name: name.clone(),
        },
        password_hash: String::new(),
        standing: magpie_server::store::Standing::Active,
    };
    let new = NewDevice {
        id: device,
        name: DeviceName::try_from("phone".to_owned()).unwrap(),
        token_hash: [0; 32],
    };
    let made = store.create_user(&account, Some(&new), 0).await;
    assert_eq!(made, Ok(CreateUser::Done));
    (name, Actor { user, device })
}

impl Party {
    pub(crate) async fn new(store: SharedStore, count: usize) -> Self {
        let emulator = Emulator::start("127.0.0.1:0".parse().unwrap()).await;
        let emulator = emulator.unwrap();
        let (_, sender) = register(&store, "sender").await;
        let mut sleepers = Vec::new();
        for number in 0..count {
            let (name, actor) = register(&store, &format!("sleeper{number}")).await;
            let token = format!("device-{number}:APA91b");
            let hello = Connect {
                device: actor.device,
                cursor: Positions::origin(store.shard_count()),
                at_ms: 0,
                attachment: Attachment::Away,
            };
            store.connect(&[hello]).await.unwrap();
            let address = PushAddress {
                platform: Platform::Android,
                app: AppId::parse(APP).unwrap(),
                token: PushToken::parse(&token).unwrap(),
            };
            let look_at_ms = Clock::start().wall_ms() + DEADLINE_MS_MAX;
            let set = store.set_push(actor.device, &address, look_at_ms).await;
            assert_eq!(set, Ok(()));
            let world = emulator.world();
            world.set_device(&token, Standing::Registered, Reach::Doze);
            sleepers.push(Sleeper {
                name,
                user: actor.user,
                device: actor.device,
                token,
            });
        }
        Self {
            store,
            emulator,
            sender,
            sleepers,
        }
    }

    /// A node that has a part in the duty, until `stop`.
    fn node(&self, store: &SharedStore, previews: Apps, stop: &CancellationToken) {
        self.node_at(Clock::start(), store, previews, stop);
    }

    /// The same by this clock.
    pub(crate) fn node_at(
        &self,
        clock: Clock,
        store: &SharedStore,
        previews: Apps,
        stop: &CancellationToken,
    ) {
        let duty = Duty::new(Parts {
            store: Arc::clone(store),
            fcm: sender(&self.emulator, Endpoints::default()).unwrap(),
            pace: Pace::new(3_000, clock, Random::system()),
            deadlines: Deadlines {
                foreground: Duration::from_secs(15),
                background: Duration::from_secs(8),
            },
            previews,
            answers: Arc::new(Answers::new(clock)),
            clock,
            random: Random::system(),
            news: Arc::new(Notify::new()),
        });
        tokio::spawn(Arc::new(duty).run(stop.clone()));
    }

    /// Where it is then.
    pub(crate) async fn send(
        &self,
        store: &SharedStore,
        to: &Sleeper,
        text: &str,
    ) -> (ConversationId, Seq) {
        let append = Append {
            actor: self.sender,
            id: MessageId::new(id()),
            command: Command::SendMessage {
                to: Target::User(to.name.clone()),
                message: text.try_into().unwrap(),
            },
        };
        let batch: Arc<[Append]> = [append].into();
        let shard = store.shards_of(&batch).await.unwrap().pop().unwrap();
        let now_ms = Clock::start().wall_ms();
        let committed = store.append(shard, batch, now_ms).await.unwrap();
        let Outcome::Accepted {
            conversation, seq, ..
        } = committed.outcomes[0]
        else {
            panic!("it was refused");
        };
        (conversation, seq)
    }

    async fn pushes(&self, of: &Sleeper) -> usize {
        let world = self.emulator.world();
        world.wait_for_push(&of.token, 0, PATIENCE).await.len()
    }

    async fn has_token(&self, it: &Sleeper) -> bool {
        self.store.push_address(it.device).await.unwrap().is_some()
    }

    /// Waits until FCM was asked so often.
    async fn until_asked(&self, sends: u64) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while self.emulator.world().counts().sends < sends {
            assert!(tokio::time::Instant::now() < until, "nothing was sent");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What it is in lives as long as the directory.
pub(crate) fn fresh() -> (SharedStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store: SharedStore = embedded::open(dir.path(), Blocking::Pool, [7; 32]).unwrap();
    (store, dir)
}

/// D8.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_dead_token_is_forgotten_and_nobody_else_waits_for_it() {
    let (store, _dir) = fresh();
    let party = Party::new(store, 8).await;
    let stop = CancellationToken::new();
    party.node(&party.store, Apps::default(), &stop);
    let world = party.emulator.world();
    let answers = [
        (FaultKind::Unregistered, false),
        (FaultKind::InvalidArgument, true),
        (FaultKind::SenderIdMismatch, true),
        (FaultKind::ThirdPartyAuthError, true),
    ];
    for ((kind, keeps), both) in answers.into_iter().zip(party.sleepers.chunks(2)) {
        let asked = world.counts().sends;
        world.set_fault(Fault::next(kind, 1));
        party.send(&party.store, &both[0], "one").await;
        party.until_asked(asked + 1).await;
        // The next one is answered after it.
        party.send(&party.store, &both[1], "two").await;
        assert_eq!(party.pushes(&both[1]).await, 1, "{kind:?}");
        if !keeps {
            let until = tokio::time::Instant::now() + PATIENCE;
            while party.has_token(&both[0]).await {
                assert!(tokio::time::Instant::now() < until, "it is kept");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert_eq!(party.has_token(&both[0]).await, keeps, "{kind:?}");
        assert!(party.has_token(&both[1]).await);
        assert_eq!(world.counts().sends, asked + 2, "not again at once");
    }
    stop.cancel();
}

/// D8.
#[tokio::test(flavor = "multi_thread")]
async fn while_fcm_asks_for_patience_nobody_is_sent_to_and_nothing_is_lost() {
    let (store, _dir) = fresh();
    let party = Party::new(store, 20).await;
    let stop = CancellationToken::new();
    party.node(&party.store, Apps::default(), &stop);
    let world = party.emulator.world();
    world.set_fault(Fault {
        retry_after_secs: Some(2),
        ..Fault::next(FaultKind::QuotaExceeded, 1)
    });
    party.send(&party.store, &party.sleepers[0], "one").await;
    party.until_asked(1).await;
    let refused_at = tokio::time::Instant::now();
    for sleeper in &party.sleepers[1..] {
        party.send(&party.store, sleeper, "one").await;
    }
    for sleeper in &party.sleepers {
        assert_eq!(party.pushes(sleeper).await, 1);
    }
    assert!(refused_at.elapsed() >= Duration::from_secs(2));
    assert_eq!(world.counts().sends, 21, "each once, and the one refused");
    stop.cancel();
}

/// D8. D10.
#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_sent_to_the_apps_that_the_operator_names_alone() {
    let (store, _dir) = fresh();
    let party = Party::new(store, 1).await;
    let sleeper = &party.sleepers[0];
    for (previews, text) in [
        (Apps::new(["another"]), None),
        (Apps::new([APP]), Some("hello")),
    ] {
        let token = format!("{}-{}", sleeper.token, text.is_some());
        let world = party.emulator.world();
        world.set_device(&token, Standing::Registered, Reach::Doze);
        let address = PushAddress {
            platform: Platform::Android,
            app: AppId::parse(APP).unwrap(),
            token: PushToken::parse(&token).unwrap(),
        };
        let (name, actor) = register(&party.store, &format!("reader{}", text.is_some())).await;
        let hello = Connect {
            device: actor.device,
            cursor: Positions::origin(1),
            at_ms: 0,
            attachment: Attachment::Away,
        };
        party.store.connect(&[hello]).await.unwrap();
        let set = party.store.set_push(actor.device, &address, i64::MAX).await;
        assert_eq!(set, Ok(()));
        let reader = Sleeper {
            name,
            user: actor.user,
            device: actor.device,
            token,
        };
        let stop = CancellationToken::new();
        party.node(&party.store, previews, &stop);
        party.send(&party.store, &reader, "hello").await;
        let pushes = world.wait_for_push(&reader.token, 0, PATIENCE).await;
        let data = &pushes[0].message["data"];
        assert_eq!(data.get("magpie_text").and_then(|it| it.as_str()), text);
        let sender = data.get("magpie_sender").and_then(|it| it.as_str());
        assert_eq!(sender, text.map(|_| "sender"));
        stop.cancel();
    }
}

/// D8. Neither knows of the other but by the lease.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_compete_for_the_duty_send_each_wake_once() {
    const SLEEPERS: usize = 120;
    if cluster::is_skipped() {
        return;
    }
    let url = cluster::shared().unwrap().create_database().await.unwrap();
    let open = async || {
        let store: SharedStore = postgres::open(&url, Some(2), [5; 32]).await.unwrap();
        store
    };
    let party = Party::new(open().await, SLEEPERS).await;
    let stop = CancellationToken::new();
    let stores = [open().await, open().await, open().await];
    for store in &stores {
        party.node(store, Apps::default(), &stop);
    }
    for (number, sleeper) in party.sleepers.iter().enumerate() {
        let store = &stores[number % stores.len()];
        party.send(store, sleeper, "one").await;
    }
    let mut counts = HashMap::new();
    for sleeper in &party.sleepers {
        *counts.entry(party.pushes(sleeper).await).or_insert(0) += 1;
    }
    assert_eq!(counts, HashMap::from([(1, SLEEPERS)]));
    assert_eq!(party.emulator.world().counts().sends, SLEEPERS as u64);
    stop.cancel();
}
