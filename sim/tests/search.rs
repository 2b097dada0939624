//! Every reachable small world keeps every promise, and no mutant does.

use std::thread;

use magpie_sim::{search::Scope, world::Mutant};

/// D1. D2. D3. D4. D5. D6. D7. D8. D10. D11. D12.
#[test]
fn every_small_world_keeps_every_promise() {
    for scope in Scope::all(1) {
        let begun = std::time::Instant::now();
        match scope.search(Mutant::None) {
            Ok(searched) => println!("{}: {searched:?} {:?}", scope.name, begun.elapsed()),
            Err(found) => panic!("{}: {found}", scope.name),
        }
    }
}

/// Whether no scope finds a mutant. Most are found early, so all scopes are searched
/// a little before any is searched long.
fn lives(mutant: Mutant) -> bool {
    let scopes = [600, 4_000].into_iter().flat_map(|worlds_max| {
        let scopes = Scope::all(1).into_iter();
        scopes.map(move |scope| Scope {
            worlds_max,
            ..scope
        })
    });
    let found = scopes
        .into_iter()
        .find_map(|scope| Some((scope.name, scope.search(mutant).err()?)));
    if let Some((scope, found)) = &found {
        println!("{mutant:?}: {scope}: {found}");
    }
    found.is_none()
}

/// A search that finds nothing proves nothing.
#[test]
fn no_mutant_lives_in_small_worlds() {
    let survivors: Vec<Mutant> = thread::scope(|scope| {
        let parts = Mutant::ALL.chunks(Mutant::ALL.len().div_ceil(4));
        let parts = parts.map(|part| {
            scope.spawn(move || part.iter().copied().filter(|it| lives(*it)).collect())
        });
        let parts: Vec<thread::ScopedJoinHandle<'_, Vec<Mutant>>> = parts.collect();
        parts
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    assert_eq!(survivors, []);
}
