//! Silent connections, floods, returns and new devices, in small.

use std::time::Duration;

use serde_json::json;

use super::server::Server;
use crate::{args, flood, new_device, returning, silent, uploads};

/// D9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_closed_while_others_sign_in() {
    let server = Server::start().await;
    let args = args::Silent {
        server: server.args.clone(),
        connections: Some(20),
        rounds: 2,
        settle: 0,
    };
    let report = silent::run(&args).await.unwrap();
    assert_eq!(report.field("open"), json!(20));
    for none in ["immortal", "failed", "sign_ins_failed"] {
        assert_eq!(report.field(none), json!(0), "{none}");
    }
    let longest = |field: &str| report.field(field)["max"].as_f64().unwrap();
    assert!((2_900.0..10_000.0).contains(&longest("mute_closed_ms")));
    assert!((3_900.0..14_000.0).contains(&longest("greeted_closed_ms")));
    assert!(longest("sign_in_ms") > 0.0);
    assert!(report.field("resident_kib_each").is_number());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_on_in_a_flood_of_handshakes() {
    let server = Server::start().await;
    let args = args::Flood {
        server: server.args.clone(),
        pairs: 2,
        rate: 50,
        seconds: 2,
        threads: 1,
        lanes: 4,
        held: 20,
    };
    let report = flood::run(&args).await.unwrap();
    assert_eq!(report.field("lost"), json!(0));
    for some in [
        "accepted_per_second",
        "finished_per_second",
        "answered_per_second",
    ] {
        assert!(report.field(some).as_f64().unwrap() > 1.0, "{some}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_come_back_after_a_restart_and_chat() {
    let server = Server::start().await;
    let (marked, done) = (
        server.dir.path().join("restart"),
        server.dir.path().join("done"),
    );
    let command = format!(
        "touch {}; until [ -e {} ]; do sleep 0.05; done",
        marked.display(),
        done.display()
    );
    let args = args::Return {
        server: server.args.clone(),
        connections: 12,
        pairs: 2,
        devices: 4,
        restart_command: Some(command),
        timeout: 60,
    };
    let restarts = async {
        while !marked.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let server = server.restart().await;
        std::fs::write(&done, "").unwrap();
        server
    };
    let (report, _server) = tokio::join!(returning::run(&args), restarts);
    let report = report.unwrap();
    assert_eq!(report.field("announced"), json!(true));
    assert_eq!(report.field("missing"), json!(0));
    assert!(report.field("back_ms")["max"].as_f64().unwrap() > 0.0);
    assert!(report.field("messages_meanwhile").as_u64().unwrap() > 0);
    for some in ["accept_ms", "deliver_ms"] {
        assert!(report.field(some)["max"].as_f64().unwrap() > 0.0, "{some}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_device_shows_what_is_most_recent_first() {
    let server = Server::start().await;
    let args = args::NewDevice {
        server: server.args.clone(),
        conversations: 60,
        messages: 1,
        rounds: 2,
    };
    let report = new_device::run(&args).await.unwrap();
    let median = |field| report.field(field)["p50"].as_f64().unwrap();
    assert!(median("signed_in_ms") < median("shown_ms"));
    assert!(median("shown_ms") <= median("all_ms"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn photos_come_in_while_others_talk() {
    let server = Server::start().await;
    let args = args::Uploads {
        server: server.args.clone(),
        uploads: 6,
        size: 100_000,
        pace: 0,
        seconds: 1,
        pairs: 2,
        rate: 50,
    };
    let report = uploads::run(&args).await.unwrap();
    assert!(report.field("whole").as_u64().unwrap() >= 6);
    for field in ["idle_ms", "meanwhile_ms"] {
        assert!(
            report.field(field)["max"].as_f64().unwrap() > 0.0,
            "{field}"
        );
    }
    assert!(report.field("resident_mib").is_number());
}
