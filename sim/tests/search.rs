//! Every reachable small world keeps every promise, and no mutant does.

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

/// A search that finds nothing proves nothing. Most are found early, so all
/// scopes are searched a little before any is searched long.
#[test]
fn no_mutant_lives_in_small_worlds() {
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
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
        match found {
            Some((scope, found)) => println!("{mutant:?}: {scope}: {found}"),
            None => survivors.push(mutant),
        }
    }
    assert_eq!(survivors, []);
}
