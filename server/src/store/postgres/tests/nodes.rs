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
    seq::Position,
    wire::{Target, v1},
};
use magpie_sim::{postgres, proxy::Random};
use uuid::Uuid;

use super::{cluster, open_at};
use crate::store::{
    Append, Outcome, Shard, SharedStore, StoreError,
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
    if postgres::is_skipped() {
        return;
    }
    let url = cluster().create_database().await.unwrap();
    let store: SharedStore = open_at(&url).await;
    let world = World::new((Arc::clone(&store), Box::new(())));
    let mut players = Vec::new();
    for name in ["alice", "bob", "carol"] {
        players.push(world.player(name).await);
    }
    let all: Vec<&Player> = players.iter().collect();
    let groups = [
        world.group(&players[0], &all).await,
        world.group(&players[1], &all).await,
    ];
    let mut stores: Vec<SharedStore> = Vec::new();
    for _ in &players {
        stores.push(open_at(&url).await);
    }
    let done = Arc::new(AtomicBool::new(false));
    let killer = tokio::spawn(kill_backends(url.clone(), Arc::clone(&done)));
    let mut nodes = Vec::new();
    for (seed, (player, store)) in players.iter().zip(stores).enumerate() {
        let random = Random::new(seed as u64);
        nodes.push(tokio::spawn(write(store, player.clone(), groups, random)));
    }
    let mut answers = Answers::new();
    for node in nodes {
        answers.extend(node.await.unwrap());
    }
    done.store(true, Ordering::Release);
    assert!(killer.await.unwrap() > 0, "no backend was ever killed");
    // Its idle connections may be dead without knowing it.
    check(&(open_at(&url).await as SharedStore), &answers).await;
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
        let asked: Arc<[Append]> = batch.as_slice().into();
        // Refused with nothing committed, when its connections died for too long.
        let committed = loop {
            match store.append(Shard::FIRST, Arc::clone(&asked), NOON).await {
                Ok(committed) => break committed,
                Err(StoreError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        for (append, outcome) in batch.iter().zip(committed.outcomes) {
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

/// The log has no gap, no id twice, each sender in order, and says what the
/// senders were told.
async fn check(store: &SharedStore, answers: &Answers) {
    let log = store.stretch(Position::ZERO, ALL).await.unwrap();
    let mut heads: HashMap<ConversationId, u64> = HashMap::new();
    let mut order: HashMap<(ConversationId, String), u64> = HashMap::new();
    let mut ids = HashSet::new();
    for (number, event) in log.events.iter().enumerate() {
        assert_eq!(event.position.get(), number as u64 + 1);
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
