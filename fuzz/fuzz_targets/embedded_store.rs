//! Histories of the embedded store against a model that is too simple to be
//! wrong: who was allowed to do what, and what each user reads page by page, in
//! snapshots and as history.
#![no_main]

use libfuzzer_sys::fuzz_target;
use magpie_server::store::conformance::fuzzing::{Deed, compare};

fuzz_target!(|input: (Vec<Vec<Deed>>, u8, u8, u8)| {
    let (mut batches, count, since, at) = input;
    batches.truncate(12);
    batches.iter_mut().for_each(|batch| batch.truncate(8));
    // A batch is never empty.
    batches.retain(|batch| !batch.is_empty());
    let directory = std::path::PathBuf::from("/dev/shm");
    let directory = if directory.is_dir() { directory } else { std::env::temp_dir() };
    let directory = directory.join(format!("magpie-fuzz-store-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&directory));
    compare(&directory, &batches, count, since, at);
    drop(std::fs::remove_dir_all(&directory));
});
