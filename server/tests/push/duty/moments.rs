//! Moments at which a wake is easily lost, or sent once too often.

use super::*;

/// Longer than a wake waits for its second try.
const NEXT_TRY: Duration = Duration::from_secs(60);

/// Where a restored server's log is.
enum Ground {
    Embedded(tempfile::TempDir),
    Postgres(String),
}

impl Ground {
    /// One of each store that there is.
    async fn all() -> Vec<Self> {
        let mut all = vec![Self::Embedded(tempfile::tempdir().unwrap())];
        if !cluster::is_skipped() {
            let cluster = cluster::shared().unwrap();
            all.push(Self::Postgres(cluster.create_database().await.unwrap()));
        }
        all
    }

    async fn open(&self) -> SharedStore {
        match self {
            Self::Embedded(dir) => embedded::open(dir.path(), Blocking::Pool, [7; 32]).unwrap(),
            Self::Postgres(url) => postgres::open(url, Some(2), [7; 32]).await.unwrap(),
        }
    }

    async fn begin_epoch(&self) {
        match self {
            Self::Embedded(dir) => embedded::begin_epoch(dir.path(), false).unwrap(),
            Self::Postgres(url) => postgres::begin_epoch(url, false).await.unwrap(),
        };
    }
}

fn message(party: &Party, to: &Sleeper) -> Append {
    Append {
        actor: party.sender,
        id: MessageId::new(id()),
        command: Command::SendMessage {
            to: Target::User(to.name.clone()),
            message: "one".try_into().unwrap(),
        },
    }
}

async fn commit(store: &SharedStore, append: &Append) -> Outcome {
    let batch: Arc<[Append]> = [append.clone()].into();
    let shard = store.shards_of(&batch).await.unwrap().pop().unwrap();
    let now_ms = Clock::start().wall_ms();
    let committed = store.append(shard, batch, now_ms).await.unwrap();
    committed.outcomes.into_iter().next().unwrap()
}

/// D3. D8. The server is killed when it has committed and answered nobody, once
/// before the wake was sent and once after.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_after_a_kill_wakes_nobody_again() {
    for ground in Ground::all().await {
        let party = Party::new(ground.open().await, 3).await;
        let (before, after) = (&party.sleepers[0], &party.sleepers[1]);
        let (one, two) = (message(&party, before), message(&party, after));
        let first = commit(&party.store, &two).await;
        let killed = CancellationToken::new();
        party.node(&party.store, Apps::default(), &killed);
        assert_eq!(party.pushes(after).await, 1);
        killed.cancel();
        let second = commit(&party.store, &one).await;

        let stop = CancellationToken::new();
        party.node(&party.store, Apps::default(), &stop);
        assert_eq!(commit(&party.store, &two).await, first);
        assert_eq!(commit(&party.store, &one).await, second);
        assert_eq!(party.pushes(before).await, 1);
        // What comes behind it is decided behind it.
        party.send(&party.store, &party.sleepers[2], "three").await;
        assert_eq!(party.pushes(&party.sleepers[2]).await, 1);
        let pushes = [before, after].map(|it| party.emulator.world().pushes(&it.token, 0).len());
        assert_eq!(pushes, [1, 1]);
        assert_eq!(party.emulator.world().counts().sends, 3);
        stop.cancel();
    }
}

/// D8. The device names another token while FCM still has to say that this one is
/// dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_replaced_a_dead_one_in_the_meantime_stays() {
    let (store, _dir) = fresh();
    let party = Party::new(store, 1).await;
    let sleeper = &party.sleepers[0];
    let stop = CancellationToken::new();
    party.node(&party.store, Apps::default(), &stop);
    let world = party.emulator.world();
    world.set_fault(Fault {
        delay_ms: 300,
        ..Fault::next(FaultKind::Unregistered, 1)
    });
    party.send(&party.store, sleeper, "one").await;
    party.until_asked(1).await;
    let token = "another:APA91b";
    world.set_device(token, Standing::Registered, Reach::Doze);
    let address = PushAddress {
        platform: Platform::Android,
        app: AppId::parse(APP).unwrap(),
        token: PushToken::parse(token).unwrap(),
    };
    let set = party.store.set_push(sleeper.device, &address, i64::MAX);
    assert_eq!(set.await, Ok(()));
    // The next try comes long after the answer.
    assert_eq!(world.wait_for_push(token, 0, NEXT_TRY).await.len(), 1);
    let kept = party.store.push_address(sleeper.device).await;
    assert_eq!(kept, Ok(Some(address)));
    assert_eq!(world.pushes(&sleeper.token, 0).len(), 0);
    stop.cancel();
}

/// D8. D11. What the device had confirmed of one history says nothing of another:
/// it may have taken over a third one in between.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_sleeps_through_a_restore_is_woken() {
    for ground in Ground::all().await {
        let store = ground.open().await;
        let party = Party::new(Arc::clone(&store), 2).await;
        let has_all = &party.sleepers[0];
        commit(&store, &message(&party, has_all)).await;
        let hello = Connect {
            device: has_all.device,
            cursor: store.state().await.unwrap().heads,
            at_ms: 0,
            attachment: Attachment::Away,
        };
        store.connect(&[hello]).await.unwrap();
        let later_ms = Clock::start().wall_ms() + 2 * DEADLINE_MS_MAX;
        let due = async |store: &SharedStore| {
            let due = store.due_wakes(later_ms, 10, &[60_000]).await.unwrap();
            due.iter().map(|it| it.device).collect::<Vec<_>>()
        };
        assert_eq!(due(&store).await, []);
        let Party {
            store: held,
            sleepers,
            ..
        } = party;
        drop((store, held));
        ground.begin_epoch().await;

        let store = ground.open().await;
        // The other one was never sent anything.
        assert_eq!(due(&store).await, [sleepers[0].device]);
    }
}

/// D8. D11. Also who was tried so often that the next time would be tomorrow.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_does_not_wait_for_the_next_try() {
    const DAY_MS: i64 = 24 * 60 * 60_000;
    for ground in Ground::all().await {
        let store = ground.open().await;
        let party = Party::new(Arc::clone(&store), 1).await;
        commit(&store, &message(&party, &party.sleepers[0])).await;
        let later_ms = Clock::start().wall_ms() + 2 * DEADLINE_MS_MAX;
        let due = async |store: &SharedStore| {
            let schedule = [DAY_MS];
            store.due_wakes(later_ms, 10, &schedule).await.unwrap()
        };
        assert_eq!(due(&store).await.len(), 1);
        assert_eq!(due(&store).await, []);
        let Party { store: held, .. } = party;
        drop((store, held));
        ground.begin_epoch().await;
        let store = ground.open().await;
        assert_eq!(due(&store).await.len(), 1);
    }
}
