//! How the database finds what it is asked for.

mod statements;

use std::time::Duration;

use magpie_protocol::{
    friendship::FriendAction,
    id::ConversationId,
    seq::Position,
    setting::Reach,
    wire::{CountReaders, FetchHistory, FetchMembers, HistoryFrom},
};
use magpie_sim::postgres;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::{
    super::{changes, receipts},
    cluster, open_at,
};
use crate::store::{
    Attachment, CandidatePlace, Confirm, Connect, Look, Positions, ReadLimit, Recency, Shard,
    SharedStore, SnapshotPlace,
    conformance::{ALL, Player, World, blocks, friends, privacy, seq, wakes},
};

/// Alice and Bob in so many groups of two, three messages in each, by whole
/// statements. Everything is in the database as a server would have written it.
const MAKE_GROUPS: &str = "
    INSERT INTO conversations (conversation_id, kind, title)
    SELECT gen_random_uuid(), 2, 'group ' || g FROM generate_series(1, $1::integer) g";

const MAKE_MEMBERS: &str = "
    WITH counted AS (UPDATE conversations SET member_count = 2 WHERE kind = 2)
    INSERT INTO members (user_key, conversation_key, from_seq, from_position, to_seq, to_position,
                         role, history_seq)
    SELECT u.key, c.key, 1, (SELECT position FROM log_head) + c.key, 9223372036854775807,
           9223372036854775807, 1, 1
      FROM users u, conversations c WHERE c.kind = 2";

/// The first message of each group, then the second, then the third.
const MAKE_EVENTS: &str = "
    INSERT INTO events (position, conversation_key, seq, sender_key, committed_at_ms, message_id,
                        kind, digest, body, message_count, sender_count, hidden)
    SELECT (SELECT position FROM log_head) + (round.seq - 1) * (SELECT max(key) FROM conversations) + c.key,
           c.key, round.seq, (SELECT min(key) FROM users), 0, gen_random_uuid(), 1, 'digest', 'body',
           round.seq, round.seq, false
      FROM conversations c, generate_series(1, 3) AS round (seq) WHERE c.kind = 2";

const MOVE_HEAD: &str = "UPDATE log_head SET position = (SELECT max(position) FROM events)";

/// Alice and Bob, with so many groups, and a connection beside their store's.
async fn large_accounts(groups: i32) -> (Client, World, [Player; 2]) {
    let url = cluster().create_database().await.unwrap();
    let client = cluster().connect(url.rsplit('/').next().unwrap()).await;
    let client = client.unwrap();
    let store: SharedStore = open_at(&url).await;
    let world = World::new((store, Box::new(())));
    let players = [world.player("alice").await, world.player("bob").await];
    client.execute(MAKE_GROUPS, &[&groups]).await.unwrap();
    for sql in [MAKE_MEMBERS, MAKE_EVENTS, MOVE_HEAD, "ANALYZE"] {
        client.batch_execute(sql).await.unwrap();
    }
    (client, world, players)
}

/// Everything that a server ever asks, for two users with many conversations.
async fn ask_everything(world: &World, alice: &Player, bob: &Player) {
    let store = &world.store;
    let heads = world.heads().await;
    let (direct, _) = world.accept(world.to(alice, bob, "hello")).await;
    let tea = world.group(alice, &[bob]).await;
    world.remove(alice, tea, bob).await;
    world.add(alice, tea, &[bob]).await;
    world.accept(world.post(bob, tea, "tea?")).await;
    world.mark(bob, direct, 1).await;
    store.account(&alice.name()).await.unwrap();
    let device = world.new_device();
    for _ in 0..2 {
        store.put_device(&bob.account(), &device, 0).await.unwrap();
    }
    store.devices(bob.id()).await.unwrap();
    store.device(device.id).await.unwrap();
    let hello = Connect {
        device: device.id,
        cursor: heads,
        at_ms: 0,
        attachment: Attachment::Foreground,
    };
    let generation = store.connect(&[hello]).await.unwrap()[0].unwrap();
    let confirm = Confirm {
        device: device.id,
        generation,
        cursor: world.heads().await,
    };
    store.confirm(&[confirm]).await.unwrap();
    store
        .stretch(heads.in_shard(Shard::FIRST), ALL)
        .await
        .unwrap();
    store.memberships(tea, Position::ZERO).await.unwrap();
    let members = FetchMembers {
        conversation: tea,
        after: Some(alice.id()),
        limit: 10,
    };
    store.members(bob.id(), members).await.unwrap().unwrap();
    ask_for_readers(world, bob, tea).await;
    let few = ReadLimit { count: 10, ..ALL };
    for (after, limit) in [(heads, few), (Positions::origin(1), ALL)] {
        store.user_page(bob.id(), after, limit).await.unwrap();
    }
    let place = SnapshotPlace {
        since: Positions::origin(1),
        at: heads,
        below: Recency::LAST,
    };
    store
        .snapshot_page(bob.id(), place, Some(1), few)
        .await
        .unwrap();
    store.conversations(bob.id(), None, few).await.unwrap();
    for from in [HistoryFrom::Before(seq(9)), HistoryFrom::After(seq(1))] {
        let request = FetchHistory {
            conversation: tea,
            from,
            limit: 10,
        };
        store.history(bob.id(), request).await.unwrap();
    }
    ask_for_blocks(world, [alice, bob], [direct, tea]).await;
    ask_for_friends(world, [alice, bob], tea).await;
    ask_for_wakes(world, bob, direct).await;
    ask_for_presence(world, [alice, bob]).await;
    store.revoke_device(bob.id(), device.id).await.unwrap();
}

async fn ask_for_blocks(
    world: &World,
    [alice, bob]: [&Player; 2],
    [direct, tea]: [ConversationId; 2],
) {
    blocks::block(world, bob, alice).await;
    world.accept(world.post(alice, direct, "hidden")).await;
    world.accept(world.post(alice, tea, "tea!")).await;
    let users = [(alice.id(), direct), (bob.id(), direct)];
    world.store.silent(&users).await.unwrap();
    blocks::unblock(world, bob, alice).await;
}

async fn ask_for_presence(world: &World, [alice, bob]: [&Player; 2]) {
    world.accept(world.to(bob, alice, "hello")).await;
    let store = &world.store;
    store.begin_node(0).await.unwrap();
    store.keep_node(0).await.unwrap();
    let (watcher, watched) = (alice.id(), bob.id());
    let looks = [Look { watcher, watched }; 3];
    let seen = store.presences(&looks, 0).await.unwrap();
    assert!(seen.iter().all(Option::is_some));
}

async fn ask_for_friends(world: &World, [alice, bob]: [&Player; 2], tea: ConversationId) {
    friends::befriend(world, alice, bob, FriendAction::Request).await;
    friends::befriend(world, bob, alice, FriendAction::Accept).await;
    let store = &world.store;
    assert_eq!(store.are_friends(alice.id(), bob.id()).await, Ok(true));
    assert_eq!(store.friends(bob.id(), 10).await, Ok(vec![alice.id()]));
    // From then on, it is asked for with every wake.
    privacy::let_write(world, bob, Reach::Friends).await;
    world.remove(alice, tea, bob).await;
    world.add(alice, tea, &[bob]).await;
    friends::befriend(world, bob, alice, FriendAction::Remove).await;
    assert_eq!(store.departures(None, 10).await, Ok(vec![]));
}

async fn ask_for_readers(world: &World, of: &Player, conversation: ConversationId) {
    let readers = CountReaders {
        conversation,
        seqs: vec![seq(4)],
    };
    let counted = world.store.count_readers(of.id(), readers).await.unwrap();
    counted.unwrap();
    world.store.hiding_receipts(&[of.id()]).await.unwrap();
}

async fn ask_for_wakes(world: &World, bob: &Player, of: ConversationId) {
    let (store, phone) = (&world.store, bob.actor.device);
    wakes::attach(world, phone, Position::ZERO, Attachment::Away).await;
    let address = wakes::address("token");
    store.set_push(phone, &address, 0).await.unwrap();
    let due = store.due_wakes(i64::MAX / 2, 10, &[1]).await.unwrap();
    assert_eq!(due.len(), 1);
    let head = world.head().await;
    let worthy = store.worthy_events(Position::ZERO, 10).await.unwrap();
    assert!(!worthy.events.is_empty());
    let from = CandidatePlace::default();
    let candidates = store.wake_candidates(of, head, from, 10, 0, 0).await;
    assert_eq!(candidates.unwrap().candidates.len(), 1);
    wakes::record(world, phone, head, 0).await;
    world.mark(bob, of, 1).await;
    store.owe_syncs(Position::ZERO, head, 0).await.unwrap();
    store.due_syncs(i64::MAX / 2, 10).await.unwrap();
}

/// The planner is told to avoid reading whole tables; where it did all the same,
/// there is no index for what was asked.
#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    if postgres::is_skipped() {
        return;
    }
    let (client, world, [alice, bob]) = large_accounts(2_000).await;
    let scans = "SELECT coalesce(sum(seq_scan), 0)::bigint, coalesce(sum(idx_scan), 0)::bigint
                   FROM pg_stat_user_tables
                  WHERE relname NOT IN ('log_head', 'epochs', 'facts', 'magpie_migrations')";
    let count = async || -> (i64, i64) {
        let row = client.query_one(scans, &[]).await.unwrap();
        (row.get(0), row.get(1))
    };
    flush_statistics(&client).await;
    let (whole, _) = count().await;
    ask_everything(&world, &alice, &bob).await;
    // Backends report what they did at the latest when they end.
    drop(world);
    let others = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND backend_type = 'client backend'";
    let deadline = Instant::now() + Duration::from_secs(20);
    while client
        .query_one(others, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        > 0
    {
        assert!(Instant::now() < deadline, "the store's backends never end");
        sleep(Duration::from_millis(10)).await;
    }
    let (whole_now, by_index) = count().await;
    assert!(
        by_index > 100,
        "only {by_index} look-ups: nothing was asked"
    );
    assert_eq!(whole_now - whole, 0, "whole tables were read");

    // The counter counts.
    let whole_table = "SELECT count(*) FROM events WHERE body = 'sought'";
    client.query_one(whole_table, &[]).await.unwrap();
    flush_statistics(&client).await;
    assert!(count().await.0 > whole_now);
}

/// D9. Under the log's lock nobody reads what others took back, or all that stands.
#[tokio::test]
async fn how_a_reaction_stands_is_found_by_an_index() {
    if postgres::is_skipped() {
        return;
    }
    let url = cluster().create_database().await.unwrap();
    let client = cluster().connect(url.rsplit('/').next().unwrap()).await;
    let client = client.unwrap();
    drop(open_at(&url).await);
    // Of 1,000 people, each with 20 that were taken back and one that stands.
    let react = "
        INSERT INTO reactions (conversation_key, seq, emoji, user_key, added_seq, removed_seq,
                               hidden)
        SELECT 1, 2, 'x' || round, person, person * 100 + round,
               CASE round WHEN 7 THEN 9223372036854775807 ELSE person * 100 + round + 1 END, false
          FROM generate_series(1, 1000) person, generate_series(1, 21) round";
    for sql in [react, "ANALYZE"] {
        client.batch_execute(sql).await.unwrap();
    }
    let explain = format!("EXPLAIN ANALYZE {}", changes::FIND_REACTED);
    let (key, seq, user, emoji) = (1_i64, 2_i64, 700_i64, "y");
    let rows = client.query(&explain, &[&key, &seq, &user, &emoji]).await;
    let lines = rows.unwrap().into_iter().map(|row| row.get(0));
    let lines: Vec<String> = lines.collect();
    let scans: Vec<_> = lines.iter().filter(|line| line.contains("Scan")).collect();
    let read = scans.iter().filter(|line| line.contains("reactions_"));
    assert!(read.count() >= 4, "{lines:#?}");
    for scan in scans {
        let (_, actual) = scan.split_once("(actual").unwrap_or_default();
        let rows = actual.split_once("rows=").unwrap_or_default().1;
        let count: f64 = rows.split(' ').next().unwrap().parse().unwrap_or(0.0);
        assert!(count <= 25.0, "{lines:#?}");
    }
}

/// D9. Of 10,000 members who have read, among 200,000 marks of others: by indexes alone.
#[tokio::test]
async fn the_readers_of_a_large_group_are_counted_by_an_index() {
    if postgres::is_skipped() {
        return;
    }
    let url = cluster().create_database().await.unwrap();
    let client = cluster().connect(url.rsplit('/').next().unwrap()).await;
    let client = client.unwrap();
    drop(open_at(&url).await);
    for sql in [
        "INSERT INTO users (user_id, name, password_hash, created_at_ms)
         SELECT gen_random_uuid(), 'user' || n, '', 0 FROM generate_series(1, 10000) n",
        "INSERT INTO conversations (conversation_id, kind, title)
         SELECT gen_random_uuid(), 2, 'group' FROM generate_series(1, 21)",
        "INSERT INTO members (user_key, conversation_key, from_seq, from_position, to_seq,
                              to_position, role, history_seq)
         SELECT u.key, c.key, 1, c.key, 9223372036854775807, 9223372036854775807, 1, 1
           FROM users u, conversations c",
        "INSERT INTO marks (user_key, conversation_key, read_seq, read_position)
         SELECT u.key, c.key, u.key % 100 + 1, c.key FROM users u, conversations c",
        "INSERT INTO hidden_receipts (user_key) SELECT key FROM users WHERE key % 100 = 7",
        "VACUUM ANALYZE",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS) {}", receipts::COUNT_READERS);
    let (key, seqs, first) = (2_i64, vec![10_i64, 50, 90], 10_i64);
    let rows = client.query(&explain, &[&key, &seqs, &first]).await;
    let lines: Vec<String> = rows.unwrap().into_iter().map(|row| row.get(0)).collect();
    let scans = lines.iter().filter(|line| line.contains("Scan")).count();
    let marks = lines
        .iter()
        .filter(|line| line.contains("marks_by_conversation"));
    assert!(marks.count() == 1 && scans >= 2, "{lines:#?}");
    assert!(
        !lines.iter().any(|line| line.contains("Seq Scan on m")),
        "{lines:#?}"
    );
}

/// So that what this connection did does not count as the store's.
async fn flush_statistics(client: &Client) {
    // New in PostgreSQL 15; before, they were sent at the end of a statement.
    let sql = "SELECT pg_stat_force_next_flush()
                WHERE EXISTS (SELECT FROM pg_proc WHERE proname = 'pg_stat_force_next_flush')";
    drop(client.query(sql, &[]).await);
}

/// Who was long away gets what changed in one page, without a look at the long
/// stretches of the log that are not for them.
#[tokio::test]
async fn a_large_account_catches_up_on_what_changed() {
    if postgres::is_skipped() {
        return;
    }
    let (client, world, [alice, bob]) = large_accounts(3_000).await;
    let after = world.heads().await;
    let (direct, _) = world.accept(world.to(&alice, &bob, "first")).await;
    // Much of the log is not for them.
    let gap = "UPDATE log_head SET position = position + 1000000";
    client.batch_execute(gap).await.unwrap();
    world.accept(world.post(&alice, direct, "second")).await;
    let page = world.page(&bob, after, ALL).await;
    assert!(page.complete);
    assert_eq!(page.events.len(), 2);
    assert_eq!(page.upto, world.heads().await);
}
