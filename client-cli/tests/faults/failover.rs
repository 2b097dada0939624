//! A database that is lost for good, and its standby that takes over.

use std::collections::BTreeMap;

use magpie_audit::check::Outcome;
use magpie_protocol::id::MessageId;
use magpie_sim::postgres;

use crate::{
    database::Database,
    pair::Pair,
    plan::{Plan, until},
    stage::Stage,
    town::{Home, Town},
    verdict::history,
    writer::Writer,
};

/// D1, D2, D3, D4, D5, D6, D7. A commit waits for the standby: whatever was
/// accepted is there.
#[test]
fn a_fail_over_to_a_synchronous_standby_loses_doubles_and_reorders_nothing() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("synchronous");
    let primary = Database::private(&[]);
    let standby = primary.standby();
    primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.run("SELECT pg_reload_conf()");
    primary.until(
        "commits wait for the standby",
        "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')",
    );
    let proxy = primary.proxy(plan.seed());
    let mut pair = Pair::start(Town::over(&plan, &primary.url_at(proxy.address())));
    pair.accepts(50);
    let schedule = plan.scheduled("at 300ms cut database\nat 500ms fail over");
    Stage::of_pair(&mut pair)
        .over(&primary)
        .through(&proxy)
        .with_standby(&standby)
        .play(&schedule);
    pair.town.server.until_readiness(200);
    pair.accepts(50);
    pair.verdict(&plan).assert_kept();
}

/// D2, D3, D4, D11. The standby lacked the tail: the log went back, nobody is
/// served until an operator says so, and then every sender sends again what the
/// log forgot.
#[test]
fn a_fail_over_that_lost_the_tail_is_a_new_epoch_and_gets_it_back_from_the_senders() {
    if postgres::is_skipped() {
        return;
    }
    let plan = Plan::calm("asynchronous");
    let primary = Database::private(&[]);
    let standby = primary.standby();
    let proxy = primary.proxy(plan.seed());
    let mut pair = Pair::start(Town::over(&plan, &primary.url_at(proxy.address())));
    pair.accepts(20);
    standby.run("ALTER SYSTEM SET primary_conninfo = ''");
    standby.run("SELECT pg_reload_conf()");
    primary.until(
        "the standby does not follow any more",
        "SELECT NOT EXISTS (SELECT FROM pg_stat_replication)",
    );
    pair.accepts(50);
    // How far the log had come is written down once a second.
    let schedule = plan.scheduled("at 1500ms fail over");
    Stage::of_pair(&mut pair)
        .over(&primary)
        .through(&proxy)
        .with_standby(&standby)
        .play(&schedule);
    pair.town.server.until_readiness(503);
    until("the server says why", || {
        pair.town.server.said().contains("the log went back")
    });
    pair.town.server.begin_epoch();
    pair.town.server.until_readiness(200);
    pair.accepts(20);
    pair.writer.finish();
    pair.listener.kill();
    let Pair {
        town: _town,
        writer,
        listener,
    } = pair;
    // What was forgotten is sent again by the first, and has reached the second.
    for home in [&writer.home, &listener.home].repeat(2) {
        home.done(&["sync"]);
    }
    assert_all_there(&writer, &listener.home);
}

/// Every accepted message once, at one place for both, which the server has.
fn assert_all_there(writer: &Writer, reader: &Home) {
    let mut accepted = Vec::new();
    for line in &writer.lines {
        if let Some((id, Outcome::Accepted(place))) = line.told {
            accepted.push((id, place.conversation));
        }
    }
    assert!(accepted.len() > 90, "{}", accepted.len());
    let conversation = accepted[0].1;
    let [written, read] = [&writer.home, reader].map(|home| {
        let mut places: BTreeMap<MessageId, u64> = BTreeMap::new();
        for line in history(home, conversation) {
            let id = line["message_id"].as_str().unwrap().parse().unwrap();
            let twice = places.insert(id, line["seq"].as_u64().unwrap());
            assert_eq!(twice, None, "{}: {line} is there twice", home.device);
        }
        // Now that all of it was fetched.
        let (code, audited) = home.ended(&["audit"]);
        assert_eq!(code, Some(0), "{}: {audited:#?}", home.device);
        let last = audited.last().unwrap();
        assert_eq!(last["unfetched"], 0, "{}: {last}", home.device);
        places
    });
    assert_eq!(written, read);
    for (id, _) in accepted {
        assert!(read.contains_key(&id), "{id} was accepted and is gone");
    }
}
