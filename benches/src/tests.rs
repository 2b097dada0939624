use std::time::Duration;

use magpie_fcm_emulator::Emulator;
use magpie_server::{
    clock::{Blocking, Clock},
    config::{Apps, Limits},
    node::{Ground, Node, Push, bind},
    push::{Deadlines, Endpoints, Fcm, ServiceAccount},
    random::Random,
    store::embedded,
    tls,
};
use magpie_sim::postgres;
use serde_json::json;

use crate::{args, fan_out, floor, idle, load, model::Model, sign_in, wakes};

mod server;
mod siege;

fn load_of(model: &Model) -> args::Load {
    args::Load {
        server: model.server.clone(),
        pairs: 3,
        size: 100,
        seconds: 1,
        warm_up: 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_accepted_is_delivered_once_and_in_order() {
    let model = Model::start().await;
    // The second run finds its devices in the file.
    for _ in 0..2 {
        let load = load_of(&model);
        let report = load::pairs(&args::Pairs { load, in_flight: 4 })
            .await
            .unwrap();
        assert_eq!(report.field("lost"), json!(0));
        assert_eq!(report.field("refused"), json!(0));
        assert_eq!(report.field("disordered"), json!(0));
        assert!(report.field("delivered_per_second").as_f64().unwrap() > 100.0);
        assert!(report.field("deliver_ms")["p99"].as_f64().unwrap() > 0.0);
        assert!(report.field("server_cpu_us").is_number());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_open_loop_keeps_its_rate() {
    let model = Model::start().await;
    let load = load_of(&model);
    let report = load::open(&args::Open { load, rate: 200 }).await.unwrap();
    assert_eq!(report.field("lost"), json!(0));
    let rate = report.field("accepted_per_second").as_f64().unwrap();
    assert!((100.0..300.0).contains(&rate), "{rate}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_answer_their_heartbeats() {
    let model = Model::start().await;
    let args = args::Idle {
        server: model.server.clone(),
        connections: 20,
        devices: 10,
        settle: 0,
    };
    let report = idle::run(&args).await.unwrap();
    assert_eq!(report.field("alive"), json!(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_sign_in_again_and_again() {
    let model = Model::start().await;
    let args = args::SignIn {
        server: model.server.clone(),
        connections: 4,
        seconds: 1,
        resume: false,
    };
    let report = sign_in::run(&args).await.unwrap();
    assert!(report.field("per_second").as_f64().unwrap() > 10.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_reaches_the_whole_group() {
    let model = Model::start().await;
    let args = args::FanOut {
        server: model.server.clone(),
        members: 20,
        online: Some(12),
        pairs: 2,
        rate: 50,
        messages: 5,
        size: 100,
    };
    let report = fan_out::run(&args).await.unwrap();
    // A group of twenty may be served before anybody else says something.
    assert!(report.field("meanwhile_ms")["max"].is_number());
    for field in ["few_ms", "all_ms", "idle_ms"] {
        assert!(
            report.field(field)["max"].as_f64().unwrap() > 0.0,
            "{field}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floors_are_measured() {
    let dir = tempfile::tempdir().unwrap();
    let args = args::Floor {
        dir: dir.path().to_owned(),
        database_url: None,
        connections: 2,
        seconds: 1,
    };
    let report = floor::run(&args).await.unwrap();
    for field in ["echo_1_per_second", "echo_16_per_second"] {
        assert!(report.field(field).as_f64().unwrap() > 100.0, "{field}");
    }
    assert!(report.field("sqlite_500_rows_per_second").is_number());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floors_of_a_database_are_measured() {
    if postgres::is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let database = postgres::shared().unwrap().create_database().await.unwrap();
    let args = args::Floor {
        dir: dir.path().to_owned(),
        database_url: Some(database),
        connections: 2,
        seconds: 1,
    };
    let report = floor::run(&args).await.unwrap();
    for field in ["postgres_1", "append_1", "append_500"] {
        let rate = report.field(&format!("{field}_rows_per_second"));
        assert!(rate.as_f64().unwrap() > 1.0, "{field}");
        let slowest = &report.field(&format!("{field}_commit_ms"))["max"];
        assert!(slowest.as_f64().unwrap() > 0.0, "{field}");
    }
}

/// A server that pushes to the emulator, and its certificate authority.
async fn pushing(emulator: &Emulator, dir: &std::path::Path) -> (Node, std::path::PathBuf) {
    let account = dir.join("account.json");
    emulator.write_account(&account).unwrap();
    let endpoints = Endpoints {
        base_url: Some(emulator.url()),
        ..Endpoints::default()
    };
    let clock = Clock::start();
    let account = ServiceAccount::read(&account).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let source = tls::Source::Development {
        dir: dir.to_owned(),
        listen,
    };
    let tls = tls::load(&source).unwrap();
    let ca = tls.ca.clone();
    let ground = Ground {
        store: embedded::open(dir, Blocking::Pool, [1; 32]).unwrap(),
        tls,
        clock,
        random: Random::system(),
        blocking: Blocking::Pool,
        push: Some(Push {
            fcm: Fcm::new(account, &endpoints, clock).unwrap(),
            rate_max: 10_000,
            deadlines: Deadlines {
                foreground: Duration::from_secs(15),
                background: Duration::from_secs(8),
            },
            previews: Apps::default(),
        }),
        data_dir: None,
        media: None,
        limits: Limits::default(),
    };
    let node = Node::start(ground, bind(listen).unwrap(), None).await;
    (node.unwrap(), ca)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_to_sleeping_devices_are_measured() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = Emulator::start("127.0.0.1:0".parse().unwrap()).await;
    let emulator = emulator.unwrap();
    let (node, ca) = pushing(&emulator, dir.path()).await;
    let args = args::Wakes {
        server: args::Server {
            server: node.listen.to_string(),
            ca,
            pid: Some(std::process::id()),
            database_pid: None,
            credentials: None,
        },
        emulator: emulator.url(),
        devices: 12,
        rate: 100,
        sends: 10,
        rounds: 1,
    };
    let report = wakes::run(&args).await.unwrap();
    assert_eq!(report.field("wrong"), json!(0));
    assert!(report.field("wakes_per_second").as_f64().unwrap() > 1.0);
    for name in ["wire_ms", "few_ms", "fresh_ms", "outstanding_ms"] {
        assert!(report.field(name)["max"].as_f64().unwrap() > 0.0, "{name}");
    }
    node.drain().await;
}
