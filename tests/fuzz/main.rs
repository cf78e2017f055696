//! Replays the seeds of the fuzz targets and mutations of them. `cargo fuzz` drives the same
//! functions for longer runs: see CONTRIBUTING.md.

mod mutate;
mod readers;

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use mutate::Mutator;
use readers::{TARGETS, Target};

/// Mutations of each seed.
const MUTATIONS: usize = 200;

/// The seeds of a target, in order.
fn seeds(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds");
    let folder = folder.join(target.name);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn readers_accept_the_seeds() {
    for target in &TARGETS {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{}", target.name);
        for (path, bytes) in seeds {
            assert!((target.read)(&bytes), "{}", path.display());
        }
    }
}

#[test]
fn readers_survive_mutated_seeds() {
    for target in &TARGETS {
        for (path, seed) in seeds(target) {
            let mut mutator = Mutator::new(&seed);
            for i in 0..MUTATIONS {
                let bytes = mutator.mutate(&seed);
                let survived = catch_unwind(|| (target.read)(&bytes)).is_ok();
                assert!(survived, "mutation {i} of {}", path.display());
            }
        }
    }
}

/// Inputs that once made a reader panic or take too much memory or time.
#[test]
fn readers_refuse_past_findings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/findings");
    for target in &TARGETS {
        for entry in std::fs::read_dir(folder.join(target.name))
            .into_iter()
            .flatten()
        {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let accepted = catch_unwind(|| (target.read)(&bytes)).ok();
            assert_eq!(accepted, Some(false), "{}", path.display());
        }
    }
}
