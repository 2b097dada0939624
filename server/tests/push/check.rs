//! `magpied push check`: each of its sentences, by a world in which it is true.

use std::{path::Path, process::Command};

use magpie_fcm_emulator::{Emulator, Fault, FaultKind, Target};

use crate::Scene;

/// A service-account file, and what `magpied push check` says of it.
struct Checked {
    scene: Scene,
    dir: tempfile::TempDir,
}

impl Checked {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let dir = tempfile::tempdir().unwrap();
        let account = dir.path().join("account.json");
        scene.emulator.write_account(&account).unwrap();
        Self { scene, dir }
    }

    fn account(&self) -> String {
        let file = self.dir.path().join("account.json");
        std::fs::read_to_string(file).unwrap()
    }

    /// Puts something else in the account's file.
    fn change(&self, from: &str, to: &str) {
        let changed = self.account().replace(from, to);
        std::fs::write(self.dir.path().join("account.json"), changed).unwrap();
    }

    fn run(&self, further: &[&str]) -> (bool, String) {
        let account = self.dir.path().join("account.json");
        run(&self.scene.emulator.url(), &account, further)
    }

    #[track_caller]
    fn assert_bad(&self, expected: &str) {
        let (is_good, said) = self.run(&[]);
        assert!(!is_good && said.contains(expected), "{said}");
    }
}

fn run(url: &str, account: &Path, further: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_magpied"))
        .args(["push", "check", "--push-url", url, "--push-account"])
        .arg(account)
        .args(further)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_account_is_said_to_be_one_and_nothing_is_delivered() {
    let checked = Checked::new().await;
    let (is_good, said) = checked.run(&[]);
    assert!(
        is_good && said.contains("FCM takes pushes of push@"),
        "{said}"
    );
    assert!(!said.contains("clock"), "{said}");
    assert_eq!(checked.scene.pushes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_account_is_told_from_one_that_others_may_read() {
    let checked = Checked::new().await;
    let file = checked.dir.path().join("account.json");
    let nowhere = checked.dir.path().join("nowhere.json");
    let (is_good, said) = run(&checked.scene.emulator.url(), &nowhere, &[]);
    assert!(!is_good && said.contains("cannot be read"), "{said}");
    checked.change("service_account", "authorized_user");
    checked.assert_bad("its type is another one");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o640)).unwrap();
    checked.assert_bad("chmod 600");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_google_does_not_know_needs_a_new_key() {
    let checked = Checked::new().await;
    checked.change("push@magpie-emulated", "gone@magpie-emulated");
    checked.assert_bad("Google gives no access token to gone@magpie-emulated");
    checked.assert_bad("A new key is made in the Firebase console");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_found_by_the_answers_date() {
    let checked = Checked::new().await;
    let world = checked.scene.emulator.world();
    // Wrong, and not so much that Google minds.
    world.set_clock(120);
    let (is_good, said) = checked.run(&[]);
    assert!(is_good && said.contains("behind Google's"), "{said}");
    world.set_clock(7_200);
    checked.assert_bad("s behind Google's: let it be set by NTP");
    world.set_clock(-7_200);
    checked.assert_bad("s ahead of Google's: let it be set by NTP");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_not_there_is_no_matter_of_the_key() {
    let checked = Checked::new().await;
    checked.change("\"magpie-emulated\"", "\"another-project\"");
    checked.assert_bad("no project another-project");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fcm_answers_is_told_with_what_to_do() {
    let checked = Checked::new().await;
    for (kind, count, expected) in [
        (
            FaultKind::SenderIdMismatch,
            1,
            "is the Firebase Cloud Messaging API (V1) enabled",
        ),
        (
            FaultKind::Unauthenticated,
            2,
            "does not take the access token",
        ),
        (
            FaultKind::InvalidArgument,
            1,
            "which is a bug of it: Invalid TTL",
        ),
        (FaultKind::QuotaExceeded, 1, "FCM asks to come back in 60 s"),
        (
            FaultKind::Unavailable,
            1,
            "does not answer as it should: UNAVAILABLE",
        ),
        (
            FaultKind::Internal,
            1,
            "does not answer as it should: INTERNAL",
        ),
        (
            FaultKind::Reset,
            1,
            "does not answer as it should: the connection broke",
        ),
    ] {
        let world = checked.scene.emulator.world();
        world.set_fault(Fault::next(kind, count));
        checked.assert_bad(expected);
        world.clear_faults();
        world.set_fault(Fault {
            target: Target::Token,
            ..Fault::next(FaultKind::Unavailable, 1)
        });
        checked.assert_bad("the token endpoint says 503");
    }
    assert_eq!(checked.scene.pushes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_there_and_who_is_not_trusted_are_told_apart() {
    let checked = Checked::new().await;
    let account = checked.dir.path().join("account.json");
    // A port that nobody has, for as long as this socket is bound.
    let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://127.0.0.1:{}", held.local_addr().unwrap().port());
    let token_url = format!("{nobody}/token");
    let (is_good, said) = run(&nobody, &account, &["--push-token-url", &token_url]);
    assert!(
        !is_good && said.contains("no connection (127.0.0.1)"),
        "{said}"
    );
    assert!(said.contains("port 443?"), "{said}");

    let emulator = Emulator::start_with_tls("127.0.0.1:0".parse().unwrap()).await;
    let emulator = emulator.unwrap();
    emulator.write_account(&account).unwrap();
    let (is_good, said) = run(&emulator.url(), &account, &[]);
    assert!(!is_good && said.contains("is push_ca right?"), "{said}");
    let ca = checked.dir.path().join("ca.pem");
    std::fs::write(&ca, emulator.ca().unwrap()).unwrap();
    let ca = ca.display().to_string();
    let (is_good, said) = run(&emulator.url(), &account, &["--push-ca", &ca]);
    assert!(is_good, "{said}");
}
