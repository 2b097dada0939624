//! Commits that are slow, refused, or of which nobody hears.

use std::time::Duration;

use magpie_sim::{postgres, proxy::Fate};

use crate::{
    database::Database,
    pair::Pair,
    plan::{Draw, Plan, until},
    schedule::Fault,
    stage::Stage,
    town::Town,
};

/// How long a slow commit takes, in milliseconds.
const SLOW: u64 = 10_000;

/// D1, D2, D3, D6. The connection is cut exactly between a commit and its
/// answer, whether the database has committed, never will, or is about to.
#[test]
fn a_commit_whose_answer_is_lost_is_there_once() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::from_environment("answers");
    let database = Database::shared();
    let proxy = database.commit_proxy();
    let mut pair = Pair::start(Town::over(&plan, &database.url_at(proxy.address())));
    let kinds: [Draw; 3] = [
        |_| vec![(0, Fault::LoseCommit(Fate::Committed))],
        |_| vec![(0, Fault::LoseCommit(Fate::Undone))],
        |random| {
            let late = Duration::from_millis(random.between(0, 60));
            vec![(0, Fault::LoseCommit(Fate::Late(late)))]
        },
    ];
    let schedule = plan.schedule(20..=400, &kinds);
    Stage::of_pair(&mut pair).committing(&proxy).play(&schedule);
    pair.verdict(&plan).assert_kept();
}

/// D1, D2, D3, D6, D7. Nothing is accepted before it is committed, however long
/// that takes. A commit that gave up waiting for its standby, and only warned, is
/// run again and waits again.
#[test]
fn a_slow_commit_is_waited_for() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("slow");
    let database = Database::private(&[]);
    let pair = Pair::start(Town::over(&plan, &database.url()));
    pair.accepts(20);
    wait_for_nobody(&database, true);
    assert_accepted_is_seen(&pair, &database);
    plan.pass(SLOW);
    assert_eq!(pair.town.server.readiness(), 200);
    assert_accepted_is_seen(&pair, &database);
    let given_up = database.number(
        "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
          WHERE wait_event = 'SyncRep' AND query = 'COMMIT'",
    );
    assert!(given_up > 0);
    until("the warning is noticed", || {
        pair.town.server.said().contains("came with a warning")
    });
    // It is in the log, where all may read it, and yet it is asked for again.
    until_waiting(&database);
    assert_accepted_is_seen(&pair, &database);
    wait_for_nobody(&database, false);
    pair.accepts(20);
    pair.verdict(&plan).assert_kept();
}

/// Nothing has been accepted that waits: a commit that waits is not seen.
fn assert_accepted_is_seen(pair: &Pair, database: &Database) {
    let accepted = pair.writer.answered() as i64;
    let seen = database.number("SELECT count(*) FROM events");
    assert!(accepted <= seen, "{accepted} accepted, {seen} committed");
}

/// Makes commits wait for a standby that does not exist, or ends that.
fn wait_for_nobody(database: &Database, waits: bool) {
    if waits {
        database.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    } else {
        database.run("ALTER SYSTEM RESET synchronous_standby_names");
    }
    database.run("SELECT pg_reload_conf()");
    if waits {
        until_waiting(database);
    }
}

fn until_waiting(database: &Database) {
    database.until(
        "a commit waits for its standby",
        "SELECT EXISTS (SELECT FROM pg_stat_activity
                         WHERE wait_event = 'SyncRep' AND query = 'COMMIT')",
    );
}

/// Refuses some of what is written, at once or at the commit.
const REFUSING: &str = "
    CREATE SEQUENCE refused;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF random() < 0.05 THEN
                PERFORM nextval('refused');
                RAISE 'by a test' USING ERRCODE = TG_ARGV[0];
            END IF;
            RETURN NULL;
        END $$;
    CREATE TRIGGER serialization AFTER INSERT ON events
        FOR EACH STATEMENT EXECUTE FUNCTION refuse('40001');
    CREATE TRIGGER deadlock AFTER UPDATE ON log_head
        FOR EACH STATEMENT EXECUTE FUNCTION refuse('40P01');
    CREATE CONSTRAINT TRIGGER serialization_at_commit AFTER UPDATE ON log_head
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse('40001');
    CREATE TRIGGER deadlock_of_devices AFTER UPDATE ON devices
        FOR EACH STATEMENT EXECUTE FUNCTION refuse('40P01')";

/// D1, D2, D3, D6.
#[test]
fn serialization_failures_and_deadlocks_lose_double_and_reorder_nothing() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("refusals");
    let database = Database::shared();
    let pair = Pair::start(Town::over(&plan, &database.url()));
    pair.accepts(5);
    database.run(REFUSING);
    database.until("much was refused", "SELECT last_value > 30 FROM refused");
    pair.accepts(20);
    pair.verdict(&plan).assert_kept();
}
