//! Several nodes on one database.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use magpie_protocol::{
    id::{ConversationId, MessageId},
    wire::{Target, v1},
};
use magpie_sim::{postgres, proxy::Random};
use uuid::Uuid;

use super::{cluster, open};
use crate::store::{
    AccountChange, Append, Outcome, Refusal, Shard, SharedStore, StoreError,
    conformance::{ALL, NOON, Player, World, decoded, send},
};

/// Batches of each node.
const BATCHES: u64 = 60;

/// What one node's clients know in the end.
type Answers = HashMap<MessageId, (ConversationId, u64)>;

/// D3, D4, D6. Each writes to the same conversations, sends old ids again, and
/// loses its backends at random.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_write_one_log() {
    write_from_three_nodes(1).await;
}

/// The same with a head for each of two conversations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_write_a_log_of_two_shards() {
    write_from_three_nodes(2).await;
}

async fn write_from_three_nodes(shards: usize) {
    if postgres::is_skipped() {
        return;
    }
    let url = cluster().create_database().await.unwrap();
    let node = async || {
        let store: SharedStore = open(&url, Some(shards), [5; 32]).await.unwrap();
        store
    };
    let world = World::new((node().await, Box::new(())));
    let mut players = Vec::new();
    for name in ["alice", "bob", "carol"] {
        players.push(world.player(name).await);
    }
    let all: Vec<&Player> = players.iter().collect();
    let shard = |group| Shard::of_conversation(group, shards);
    let first = world.group(&players[0], &all).await;
    let second = loop {
        let group = world.group(&players[1], &all).await;
        if shards == 1 || shard(group) != shard(first) {
            break group;
        }
    };
    let mut stores: Vec<SharedStore> = Vec::new();
    for _ in &players {
        stores.push(node().await);
    }
    let done = Arc::new(AtomicBool::new(false));
    let killer = tokio::spawn(kill_backends(url.clone(), Arc::clone(&done)));
    let mut nodes = Vec::new();
    for (seed, (player, store)) in players.iter().zip(stores).enumerate() {
        let random = Random::new(seed as u64);
        nodes.push(tokio::spawn(write(
            store,
            player.clone(),
            [first, second],
            random,
        )));
    }
    let mut answers = Answers::new();
    for node in nodes {
        answers.extend(node.await.unwrap());
    }
    done.store(true, Ordering::Release);
    assert!(killer.await.unwrap() > 0, "no backend was ever killed");
    // Its idle connections may be dead without knowing it.
    check(&node().await, &answers).await;
}

/// A name that another node has lately looked up is nobody's there either, once it
/// has read on; that its user had no device does not matter.
#[tokio::test]
async fn another_node_learns_that_somebody_without_a_device_is_deleted() {
    if postgres::is_skipped() {
        return;
    }
    let url = cluster().create_database().await.unwrap();
    let node = async || {
        let store: SharedStore = open(&url, Some(1), [5; 32]).await.unwrap();
        store
    };
    let one = node().await;
    let world = World::new((node().await, Box::new(())));
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let revoked = one.revoke_device(alice.id(), alice.actor.device).await;
    assert_eq!(revoked, Ok(true));
    world.accept(world.to(&bob, &alice, "hello")).await;

    let before = world.head().await;
    let deleted = one.change_account(alice.id(), None, &AccountChange::Delete);
    assert_eq!(deleted.await, Ok(Some(vec![])));
    world.store.stretch(before, ALL).await.unwrap();
    let refused = world.refuse(world.to(&bob, &alice, "hello?")).await;
    assert_eq!(refused, Refusal::NotFound);
}

/// Ends a backend of the database now and then. Returns how many.
async fn kill_backends(url: String, done: Arc<AtomicBool>) -> usize {
    let name = url.rsplit('/').next().unwrap();
    let client = cluster().connect(name).await.unwrap();
    let sql = "SELECT pg_terminate_backend(pid) FROM (
                   SELECT pid FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()
                    ORDER BY random() LIMIT 1) victim";
    let mut killed = 0;
    while !done.load(Ordering::Acquire) {
        killed += client.query(sql, &[]).await.unwrap().len();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    killed
}

async fn write(
    store: SharedStore,
    player: Player,
    groups: [ConversationId; 2],
    mut random: Random,
) -> Answers {
    let mut answers = Answers::new();
    let mut sent: Vec<Append> = Vec::new();
    for _ in 0..BATCHES {
        let mut batch = Vec::new();
        for _ in 0..=random.between(0, 19) {
            let repeat = random.between(0, 3) == 0 && !sent.is_empty();
            if repeat {
                let which = usize::try_from(random.between(0, sent.len() as u64 - 1)).unwrap();
                batch.push(sent[which].clone());
                continue;
            }
            let group = groups[usize::from(random.between(0, 1) == 1)];
            let fresh = Append {
                actor: player.actor,
                id: MessageId::new(Uuid::now_v7().into_bytes()),
                command: send(Target::Conversation(group), &sent.len().to_string()),
            };
            sent.push(fresh.clone());
            batch.push(fresh);
        }
        let mut outcomes = append(&store, &batch).await;
        for append in &batch {
            let outcome = outcomes.remove(&append.id).or_else(|| {
                // Twice in the batch.
                let (conversation, seq) = answers.get(&append.id)?;
                Some((*conversation, *seq))
            });
            let (conversation, seq) = outcome.unwrap();
            let answer = (conversation, seq);
            let before = answers.insert(append.id, answer);
            assert!(before.is_none_or(|before| before == answer));
        }
    }
    answers
}

/// Appends a batch, each shard's part by itself. Where each request is.
async fn append(store: &SharedStore, batch: &[Append]) -> Answers {
    let mut answers = Answers::new();
    let shards = shards_of(store, batch).await;
    for shard in Shard::all(store.shard_count()) {
        let part = batch.iter().zip(&shards).filter(|(_, of)| **of == shard);
        let part: Arc<[Append]> = part.map(|(append, _)| append.clone()).collect();
        if part.is_empty() {
            continue;
        }
        // Refused with nothing committed, when its connections died for too long.
        let committed = loop {
            match store.append(shard, Arc::clone(&part), NOON).await {
                Ok(committed) => break committed,
                Err(StoreError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        for (append, outcome) in part.iter().zip(committed.outcomes) {
            let Outcome::Accepted {
                conversation, seq, ..
            } = outcome
            else {
                panic!("{outcome:?}");
            };
            let answer = (conversation, seq.get());
            let before = answers.insert(append.id, answer);
            assert!(before.is_none_or(|before| before == answer));
        }
    }
    answers
}

async fn shards_of(store: &SharedStore, batch: &[Append]) -> Vec<Shard> {
    loop {
        if let Ok(shards) = store.shards_of(batch).await {
            return shards;
        }
    }
}

/// The log has no gap, no id twice, each sender in order, and says what the
/// senders were told.
async fn check(store: &SharedStore, answers: &Answers) {
    let mut log = Vec::new();
    for shard in Shard::all(store.shard_count()) {
        let stretch = store.stretch(shard.origin(), ALL).await.unwrap();
        let first = shard.origin().next().get();
        let positions = stretch.events.iter().map(|event| event.position.get());
        assert!(positions.eq(first..first + stretch.events.len() as u64));
        assert!(!stretch.events.is_empty());
        log.extend(stretch.events);
    }
    let mut heads: HashMap<ConversationId, u64> = HashMap::new();
    let mut order: HashMap<(ConversationId, String), u64> = HashMap::new();
    let mut ids = HashSet::new();
    for event in &log {
        let head = heads.entry(event.conversation).or_default();
        assert_eq!(event.seq.get(), *head + 1, "a gap");
        *head += 1;
        let event_of = decoded(event);
        let Some(v1::event_content::Kind::Message(message)) = event_of.content.unwrap().kind else {
            continue;
        };
        let id = MessageId::try_from(event_of.message_id.as_ref()).unwrap();
        assert!(ids.insert(id), "an id twice");
        assert_eq!(
            answers.get(&id),
            Some(&(event.conversation, event.seq.get()))
        );
        let count: u64 = message.text.parse().unwrap();
        let sender = event_of.sender.unwrap().name;
        let last = order.insert((event.conversation, sender), count + 1);
        assert!(last.is_none_or(|last| last <= count), "out of order");
    }
    assert_eq!(ids.len(), answers.len());
}
