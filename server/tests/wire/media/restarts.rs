//! What is left of uploads when the server ends.

use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Http, Uploader, get, id_of, picture, urls};
use crate::{
    peer::World,
    process::{Server, magpied},
};

/// D12.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_restart() {
    goes_on_after_a_restart(World::start().await).await;
}

pub(super) async fn goes_on_after_a_restart(world: World) {
    let alice = Uploader::new(&world, "alice").await;
    let bytes = picture(1_500_000);
    let place = alice.begin(&world, bytes.len()).await;
    let half = &bytes[..800_000];
    assert_eq!(alice.patch(&world, &place, 0, half, &[]).await.status, 204);
    let world = world.restart().await;
    // The token is good on every server of the log.
    assert_eq!(alice.head(&world, &place).await.offset(), 800_000);
    let rest = &bytes[800_000..];
    let answer = alice.patch(&world, &place, 800_000, rest, &[]).await;
    assert_eq!(answer.status, 204);
    let world = world.restart().await;
    let urls = urls(&world, &alice.device, &[id_of(&place)]).await;
    assert!(get(&world, &urls[0].url, &[]).await.body == bytes);
}

/// Files in a directory and below.
fn files(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let entries = entries.map(|it| it.unwrap().path());
    entries
        .map(|path| if path.is_dir() { files(&path) } else { 1 })
        .sum()
}

/// D12. Killed in the middle of a body, before, and just when the last byte has come.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_that_the_server_is_killed() {
    let dir = TempDir::new().unwrap();
    survives_kills(dir.path(), &[]).await;
    // What was begun more than once is on the list of what goes, and is there until then.
    assert!(files(&dir.path().join("media/blobs")) >= 1);
}

pub(super) async fn survives_kills(dir: &Path, environment: &[(&str, String)]) {
    let start = async || {
        let mut command = magpied(dir);
        command.envs(environment.iter().cloned()).arg("--json");
        Server::spawn(&mut command).await
    };
    let mut server = start().await;
    let alice = Uploader::new(&server, "alice").await;
    let bytes = picture(3_000_000);
    let place = alice.begin(&server, bytes.len()).await;
    let mut offset = 0;
    for end in [400_000, 1_400_000, 2_900_000, 3_000_000] {
        let mut http = Http::connect(&server).await;
        let mut head = format!("PATCH {place} HTTP/1.1\r\nhost: localhost\r\n");
        let (at, length) = (offset.to_string(), (bytes.len() - offset).to_string());
        let more = [
            ("content-type", "application/offset+octet-stream"),
            ("upload-offset", at.as_str()),
            ("content-length", length.as_str()),
        ];
        for (key, value) in alice.headers(&more) {
            head += &format!("{key}: {value}\r\n");
        }
        http.write((head + "\r\n").as_bytes()).await;
        http.write(&bytes[offset..end]).await;
        server.signal(Signal::KILL);
        server.ended().await;
        server = start().await;
        let answer = alice.head(&server, &place).await;
        assert_eq!(answer.status, 200);
        let now = usize::try_from(answer.offset()).unwrap();
        assert!((offset..=end).contains(&now), "{offset} {now} {end}");
        offset = now;
    }
    if offset < bytes.len() {
        let rest = &bytes[offset..];
        let answer = alice.patch(&server, &place, offset, rest, &[]).await;
        assert_eq!(answer.status, 204);
    }
    let found = urls(&server, &alice.device, &[id_of(&place)]).await;
    assert!(get(&server, &found[0].url, &[]).await.body == bytes);
}
