//! Clients that others wrote, as they are, over a network that cuts every connection.
//!
//! They are run by hand: `npm install tus-js-client` and `pip install tuspy` first, then
//! with `MAGPIE_TEST_TUS_NODE` (the directory with `node_modules`) and `MAGPIE_TEST_TUS_PYTHON`
//! (the Python that has tuspy).

use std::{path::Path, process::Stdio};

use magpie_proxy::Proxy;
use tokio::process::Command;

use super::{Uploader, get, id_of, picture, urls};
use crate::peer::World;

const WHOLE: usize = 5_000_000;

/// Runs a program that uploads a file and says where it is.
async fn upload_with(mut program: Command, directory: &Path, cut_after: u64) {
    let world = World::start().await;
    let proxy = Proxy::start(world.address, 1).await.unwrap();
    proxy.cut_each_after(cut_after..=cut_after);
    let alice = Uploader::new(&world, "alice").await;
    let bytes = picture(WHOLE);
    let file = world.ca().with_file_name("photo.png");
    std::fs::write(&file, &bytes).unwrap();
    let output = program
        .current_dir(directory)
        .env(
            "ENDPOINT",
            format!("https://localhost:{}/media/uploads", proxy.address().port()),
        )
        .env("AUTHORIZATION", &alice.authorization)
        .env("PHOTO", &file)
        .env("NODE_EXTRA_CA_CERTS", world.ca())
        .env("REQUESTS_CA_BUNDLE", world.ca())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let place = said.lines().last().unwrap();
    let urls = urls(&world, &alice.device, &[id_of(place)]).await;
    let url = &urls.first().unwrap().url;
    assert!(get(&world, url, &[]).await.body == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_uploads() {
    let Some(directory) = std::env::var_os("MAGPIE_TEST_TUS_NODE") else {
        eprintln!("!!! SKIPPED: MAGPIE_TEST_TUS_NODE names no directory with tus-js-client");
        return;
    };
    let mut node = Command::new("node");
    node.arg("-e").arg(include_str!("upload.js"));
    upload_with(node, Path::new(&directory), 1_500_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tuspy_uploads() {
    let Some(python) = std::env::var_os("MAGPIE_TEST_TUS_PYTHON") else {
        eprintln!("!!! SKIPPED: MAGPIE_TEST_TUS_PYTHON names no Python with tuspy");
        return;
    };
    let mut command = Command::new(python);
    command.arg("-c").arg(include_str!("upload.py"));
    upload_with(command, Path::new("."), 1_500_000).await;
}
