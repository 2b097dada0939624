use std::{fs, path::Path, time::Duration};

use super::*;

fn merge(args: &[&str], environment: &[(&str, &str)]) -> Result<Config, String> {
    let args = std::iter::once("magpied")
        .chain(args.iter().copied())
        .map(OsString::from);
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::merge(args, &environment).map_err(|stop| match stop {
        Stop::Asked(text) | Stop::Wrong(text) => text,
    })
}

fn read(args: &[&str]) -> Result<Config, String> {
    merge(args, &[])
}

/// A file with this text, and its path.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("magpie.toml");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn the_defaults_are_those_of_the_readme() {
    let config = read(&[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:7443");
    assert_eq!(config.admin_listen.unwrap().to_string(), "127.0.0.1:7480");
    assert_eq!(config.data_dir, PathBuf::from("./magpie-data"));
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file_and_that_the_default() {
    let (_dir, path) = file("ack_timeout = \"1min\"\nhello_timeout = \"2s\"\nreads_max = 7");
    let config = merge(
        &["--config", &path, "--ack-timeout", "3min"],
        &[
            ("MAGPIE_ACK_TIMEOUT", "2min"),
            ("MAGPIE_HELLO_TIMEOUT", "3s"),
        ],
    )
    .unwrap();
    assert_eq!(config.limits.ack_timeout, Duration::from_secs(180));
    assert_eq!(config.limits.hello_timeout, Duration::from_secs(3));
    assert_eq!(config.limits.reads_max, 7);
    assert_eq!(config.limits.handshake_timeout, Duration::from_secs(10));
}

#[test]
fn every_problem_is_reported_at_once() {
    let (_dir, path) = file("reeds_max = 1\nreads_max = 0\n[connections]\nmax = 3");
    let refused = merge(
        &["--config", &path, "--hello-timeout", "soon"],
        &[("MAGPIE_LISTN", "1"), ("MAGPIE_LISTEN", "0.0.0.0:1")],
    )
    .unwrap_err();
    for problem in [
        &format!("reeds_max in {path}: there is no such setting"),
        &format!("reads_max in {path} is \"0\", expected a whole number, from 1 to 10000"),
        &format!("connections in {path}: there is no such setting"),
        "--hello-timeout is \"soon\", expected a duration (500ms, 10s, 5min, 1h), from 1s to 1min",
        "MAGPIE_LISTN: there is no such setting",
        "listen is 0.0.0.0:1, which others can reach",
    ] {
        assert!(refused.contains(problem), "{problem} is not in\n{refused}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_by_its_line_and_its_secrets_stay_there() {
    let (_dir, path) = file("reads_max = 3\ndatabase_url = \"postgres://x:hush@db");
    let refused = read(&["--config", &path]).unwrap_err();
    assert!(refused.contains(&format!("{path}, line 2: ")), "{refused}");
    assert!(!refused.contains("hush"), "{refused}");
    assert!(read(&["--config", "/nowhere/magpie.toml"]).is_err());
}

#[test]
fn a_development_certificate_for_others_must_be_asked_for() {
    let refused = read(&["--listen", "0.0.0.0:7443"]).unwrap_err();
    assert!(refused.contains("tls_cert"), "{refused}");
    assert!(read(&["--listen", "0.0.0.0:7443", "--development-certificate"]).is_ok());
    let half = read(&["--tls-cert", "chain.pem"]).unwrap_err();
    assert!(half.contains("tls_key is missing"), "{half}");
}

#[test]
fn a_secret_may_stand_in_a_file_of_its_own_and_is_never_printed() {
    let (_dir, path) = file("postgres://magpie:hush@db/magpie\n");
    let environment = [("MAGPIE_DATABASE_URL_FILE", path.as_str())];
    let config = merge(&[], &environment).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
    let url = config.database_url.unwrap();
    assert_eq!(url.reveal(), "postgres://magpie:hush@db/magpie");

    let shown = merge(&["config"], &environment).unwrap_err();
    assert!(shown.contains("database_url = \"***\" # MAGPIE_DATABASE_URL_FILE\n"));
    assert!(!shown.contains("hush"), "{shown}");
    let both = [environment[0], ("MAGPIE_DATABASE_URL", "postgres://db")];
    let refused = merge(&[], &both).unwrap_err();
    assert!(refused.contains("both set"), "{refused}");
    let wrong = [("MAGPIE_INVITATIONS", "hush")];
    let refused = merge(&[], &wrong).unwrap_err();
    assert!(refused.starts_with("MAGPIE_INVITATIONS is \"***\", expected tokens"));
    // What is no secret is read from no file.
    assert!(merge(&[], &[("MAGPIE_LISTEN_FILE", path.as_str())]).is_err());
}

#[test]
fn migrate_needs_a_database() {
    assert!(read(&["migrate"]).unwrap_err().contains("database_url"));
    let config = read(&["migrate", "--database-url", "postgres://db/magpie"]).unwrap();
    assert_eq!(config.task, Task::Migrate);
}

#[test]
fn registration_by_invitation_needs_invitations() {
    assert!(read(&["--registration", "invitation"]).is_err());
    let list = "invitations = [\"sixteen bytes or\", \"a-token-of-our-own\"]";
    let (_dir, path) = file(&format!("registration = \"invitation\"\n{list}"));
    // A space stands between tokens, never in one.
    assert!(read(&["--config", &path]).is_err());
    let (_dir, path) = file("registration = \"invitation\"\ninvitations = \"a-token-of-our-own\"");
    let config = read(&["--config", &path]).unwrap();
    assert!(config.limits.invitations.holds("a-token-of-our-own"));
}

#[test]
fn what_the_client_and_the_tests_read_is_not_refused() {
    let environment = [("MAGPIE_HOME", "./alice"), ("MAGPIE_TEST_NO_POSTGRES", "1")];
    assert!(merge(&[], &environment).is_ok());
}

#[test]
fn the_settings_in_force_name_who_set_them() {
    let shown = merge(&["config", "--reads-max", "9"], &[]).unwrap_err();
    assert!(shown.contains("reads_max = 9 # --reads-max\n"), "{shown}");
    assert!(
        shown.contains("hello_timeout = \"15s\" # default\n"),
        "{shown}"
    );
}

/// What is printed is what can be read: the file of defaults, made active, changes
/// nothing.
#[test]
fn the_default_file_holds_every_setting_with_its_default() {
    let text = read(&["config", "--default"]).unwrap_err();
    let active: String = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with([' ', '#']))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(active.lines().count(), settings::table().len());
    let (_dir, path) = file(&active);
    assert_eq!(read(&["--config", &path]), read(&[]));
}

#[test]
fn completions_and_manual_pages_know_commands_and_settings() {
    let script = read(&["completions", "bash"]).unwrap_err();
    for word in ["--connections-max", "migrate", "status"] {
        assert!(script.contains(word), "{word}");
    }
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    read(&["man", pages.to_str().unwrap()]).unwrap_err();
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("magpied.1").contains("connections\\-max"));
    assert!(page("magpied-status.1").contains("running server"));
}

#[test]
fn a_status_needs_an_admin_listener() {
    let told = read(&["status", "--admin-listen", "off"]).unwrap_err();
    assert!(told.contains("admin_listen is off"), "{told}");
    let config = read(&["status", "--json"]).unwrap();
    assert_eq!(config.task, Task::Status { json: true });
}

#[test]
fn the_page_of_the_settings_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == document::page(),
        "cargo run --bin magpied -- config --markdown > docs/configuration.md"
    );
}

#[test]
fn no_two_settings_share_a_name_and_the_command_line_is_sound() {
    command().debug_assert();
    let table = settings::table();
    let mut names: Vec<String> = table.iter().map(Setting::variable).collect();
    let taken: Vec<String> = table
        .iter()
        .filter(|it| it.is_secret)
        .map(|it| format!("{}_FILE", it.variable()))
        .collect();
    names.extend(taken);
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn photos_and_files_lie_in_a_directory_or_in_a_bucket_that_the_environment_says_how_to_reach() {
    let config = read(&["--data-dir", "/srv/magpie"]).unwrap();
    let directory = MediaPlace::Directory("/srv/magpie/media".into());
    assert_eq!(config.media, directory);
    let environment = [
        ("MAGPIE_MEDIA_BUCKET", "s3://photos/chat"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
    ];
    let config = merge(&["--media-presigned"], &environment).unwrap();
    let MediaPlace::Bucket {
        bucket,
        access,
        is_presigned: true,
    } = &config.media
    else {
        panic!("{:?}", config.media);
    };
    assert_eq!(bucket.to_string(), "s3://photos/chat");
    assert_eq!(access.0.len(), 3);
    assert!(!format!("{config:?}").contains("hush"));
    let shown = merge(&["config"], &environment).unwrap_err();
    assert!(shown.contains("media_bucket = \"s3://photos/chat\" # MAGPIE_MEDIA_BUCKET"));
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn what_contradicts_itself_about_the_place_of_photos_and_files_is_refused() {
    let refused = read(&["--media-presigned"]).unwrap_err();
    assert_eq!(refused, "media_presigned is of no use without media_bucket");
    let refused = read(&["--media-bucket", "s3://photos", "--media-dir", "/srv"]).unwrap_err();
    assert_eq!(
        refused,
        "media_dir and media_bucket are both given: give one of them"
    );
    let refused = read(&["--media-bucket", "s3://photos", "--media-size-max", "6GiB"]).unwrap_err();
    assert_eq!(
        refused,
        "media_size_max is 6GiB, and a bucket takes 5GiB at a time"
    );
    let plain = [("AWS_ENDPOINT_URL", "http://minio:9000")];
    let refused = merge(&["--media-bucket", "s3://photos"], &plain).unwrap_err();
    assert!(
        refused.starts_with("AWS_ENDPOINT_URL begins with http://"),
        "{refused}"
    );
    // It is none of our business otherwise.
    assert!(merge(&[], &plain).is_ok());
    let refused = read(&["--media-bucket", "photos"]).unwrap_err();
    assert_eq!(
        refused,
        "--media-bucket is \"photos\", expected s3://BUCKET or s3://BUCKET/PREFIX, or nothing"
    );
}
