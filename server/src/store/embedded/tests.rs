//! The conformance suite, and what only this engine promises.

mod plans;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use magpie_protocol::seq::Position;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    Embedded, OpenError, checkpoint, migrations, migrations::Migration, open, open::DATABASE_FILE,
};
use crate::{
    clock::Blocking,
    store::{
        Shard, StoreError,
        conformance::{ALL, Opened, World, pages as read_pages, suite},
        read::WINDOW_COUNT,
    },
};

async fn open_empty() -> Opened {
    let dir = tempfile::tempdir().unwrap();
    (open_at(dir.path()).unwrap(), Box::new(dir))
}

suite!(open_empty);

fn open_at(dir: &Path) -> Result<Arc<Embedded>, OpenError> {
    open(dir, Blocking::Inline, [5; 32])
}

fn refused(dir: &Path) -> String {
    match open_at(dir) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

/// A directory with a database that nobody has open.
fn closed() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    drop(open_at(dir.path()).unwrap());
    dir
}

fn change(dir: &TempDir, sql: &str) {
    let database = Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
    database.execute_batch(sql).unwrap();
}

/// D1.
#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new((open_at(dir.path()).unwrap(), Box::new(())));
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let hello = world.to(&alice, &bob, "hello");
    let accepted = world.accept(hello.clone()).await;
    let key = world.store.cursor_key().await.unwrap();
    let log = world.store.stretch(Position::ZERO, ALL).await.unwrap();
    let next = world.to(&bob, &alice, "hi");
    drop(world);

    let reopened = open(dir.path(), Blocking::Pool, [6; 32]).unwrap();
    let world = World::new((reopened, Box::new(dir)));
    assert_eq!(world.store.cursor_key().await.unwrap(), key);
    assert_eq!(world.store.stretch(Position::ZERO, ALL).await.unwrap(), log);
    assert_eq!(world.accept(hello).await, accepted);
    assert_eq!(world.accept(next).await, (accepted.0, 2));
}

/// D11.
#[tokio::test]
async fn a_snapshot_says_what_histories_share() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new((open_at(dir.path()).unwrap(), Box::new(())));
    let begin = async |epoch| {
        let sql = format!("INSERT INTO epochs SELECT {epoch}, position FROM log_head");
        change(&dir, &sql);
    };
    read_pages::a_snapshot_says_what_histories_share(world, begin).await;
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path()).unwrap();
    assert!(refused(dir.path()).ends_with("is in use by another magpied"));
    drop(store);
    assert!(open_at(dir.path()).is_ok());
}

#[test]
fn nobody_else_may_read_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("a/b");
    let _store = open_at(&inner).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    for file in fs::read_dir(&inner).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = refused(&file.join("data"));
    assert!(refused.contains("cannot be made"), "{refused}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = closed();
    fs::remove_file(dir.path().join(DATABASE_FILE)).unwrap();
    // Not even root can write a directory as a file.
    fs::create_dir(dir.path().join(DATABASE_FILE)).unwrap();
    let refused = refused(dir.path());
    assert!(refused.contains("magpie.db cannot be written"), "{refused}");
}

#[test]
fn a_newer_schema_is_refused_unless_it_says_that_we_can_work_with_it() {
    let dir = closed();
    change(&dir, "INSERT INTO migrations VALUES (2, 1, x'00')");
    assert!(open_at(dir.path()).is_ok());
    change(&dir, "UPDATE migrations SET oldest = 2 WHERE version = 2");
    let refused = refused(dir.path());
    let expected = "its schema has version 2, this one knows up to 1";
    assert!(refused.ends_with(expected), "{refused}");
}

#[test]
fn a_changed_migration_is_refused() {
    let dir = closed();
    change(&dir, "UPDATE migrations SET checksum = x'00'");
    let refused = refused(dir.path());
    assert!(refused.contains("another migration 1"), "{refused}");
}

#[test]
fn a_migration_that_fails_leaves_nothing() {
    let mut database = Connection::open_in_memory().unwrap();
    let step = |sql| Migration {
        version: 1,
        oldest: 1,
        sql,
    };
    let broken = step("CREATE TABLE half (key INTEGER); CREATE TABLE;");
    assert!(migrations::migrate(&mut database, &[broken]).is_err());
    let whole = step("CREATE TABLE half (key INTEGER);");
    assert!(migrations::migrate(&mut database, &[whole]).is_ok());
}

#[test]
fn another_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    change(&dir, "CREATE TABLE bookmarks (url TEXT)");
    assert!(refused(dir.path()).ends_with("is not a database of magpied"));
    fs::write(dir.path().join(DATABASE_FILE), "not a database".repeat(100)).unwrap();
    assert!(refused(dir.path()).contains("is damaged"));
}

#[test]
fn a_log_that_is_ahead_of_its_head_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new((open_at(dir.path()).unwrap(), Box::new(())));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let alice = world.player("alice").await;
        world.accept(world.to(&alice, &alice, "note")).await;
    });
    drop(world);
    change(&dir, "UPDATE log_head SET position = 0");
    let refused = refused(dir.path());
    assert!(
        refused.ends_with("the log's last event is at position 1, beyond its head at 0"),
        "{refused}"
    );
}

/// A batch that fails half way leaves nothing, and what the writer remembers is
/// what the database holds.
#[tokio::test]
async fn a_failed_batch_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path()).unwrap();
    let shared = Arc::clone(&store.shared);
    let world = World::new((store, Box::new(dir)));
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    let sql = |sql: &str| {
        shared
            .writer
            .lock()
            .connection()
            .execute_batch(sql)
            .unwrap()
    };
    sql(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON events WHEN NEW.seq = 3
         BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    );
    let batch: Arc<[_]> = (0..3).map(|_| world.to(&alice, &bob, "word")).collect();
    let failed = world
        .store
        .append(Shard::FIRST, Arc::clone(&batch), 0)
        .await;
    assert!(
        matches!(failed, Err(StoreError::Unavailable { .. })),
        "{failed:?}"
    );
    assert_eq!(world.head().await, Position::ZERO);

    sql("DROP TRIGGER full");
    assert_eq!(world.append(&batch).await.events.len(), 3);
}

/// D9.
#[tokio::test]
async fn a_page_looks_at_a_bounded_stretch_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new((open_at(dir.path()).unwrap(), Box::new(dir)));
    let (alice, bob) = (world.player("alice").await, world.player("bob").await);
    // So many conversations that asking each of them would take longer.
    for _ in 0..WINDOW_COUNT {
        world.group(&bob, &[]).await;
    }
    let after = world.head().await;
    let notes = (0..WINDOW_COUNT + 5).map(|_| world.to(&alice, &alice, "note"));
    world.append(&notes.collect::<Vec<_>>()).await;
    world.accept(world.to(&alice, &bob, "at last")).await;
    let first = world.page(&bob, after, ALL).await;
    assert_eq!(first.upto, Position::new(after.get() + WINDOW_COUNT));
    assert_eq!((first.events, first.complete), (vec![], false));
    let second = world.page(&bob, first.upto, ALL).await;
    assert_eq!((second.events.len(), second.complete), (1, true));
}

#[tokio::test]
async fn the_write_ahead_log_is_emptied_behind_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let store = open_at(&path).unwrap();
    let shared = Arc::clone(&store.shared);
    let world = World::new((store, Box::new(dir)));
    let alice = world.player("alice").await;
    let large = "x".repeat(16_000);
    let size = || fs::metadata(path.join("magpie.db-wal")).unwrap().len();
    let mut largest = 0;
    for _ in 0..50 {
        let batch: Vec<_> = (0..100).map(|_| world.to(&alice, &alice, &large)).collect();
        world.append(&batch).await;
        largest = largest.max(size());
        // Without a word from the runtime nothing runs behind anybody's back.
        tokio::task::yield_now().await;
    }
    // 80 MB were written.
    assert!(
        largest > 0 && size() < 75_000_000,
        "{largest} then {}",
        size()
    );
    checkpoint::start(shared, Blocking::Inline).await;
}
