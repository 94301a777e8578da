//! What the fuzzer found, and what was thought of before it did.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use busway_fuzz::TARGETS;

/// Inputs of each target at least: fewer are no corpus.
const FEWEST: usize = 20;
/// The largest input that is kept, in bytes.
const LARGEST: u64 = 128 * 1024;
/// For one input, which takes a millisecond: no test of speed, only of an end.
const WITHIN: Duration = Duration::from_secs(60);

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_that_is_kept_is_read_or_refused() {
    for target in TARGETS {
        let inputs = files(&corpus().join(target.name));
        assert!(
            inputs.len() >= FEWEST,
            "{} of {}",
            inputs.len(),
            target.name
        );
        for input in inputs {
            let (bytes, run) = (fs::read(&input).unwrap(), target.run);
            let (ended, end) = mpsc::channel();
            thread::spawn(move || ended.send(catch_unwind(|| run(&bytes)).is_ok()));
            match end.recv_timeout(WITHIN) {
                Ok(true) => {}
                Ok(false) => panic!("{} panics", input.display()),
                Err(_) => panic!("{} does not end", input.display()),
            }
        }
    }
}

#[test]
fn the_corpus_is_of_these_targets_and_small() {
    for folder in files(&corpus()) {
        let name = folder.file_name().unwrap().to_str().unwrap();
        assert!(TARGETS.iter().any(|target| target.name == name), "{name}");
        for input in files(&folder) {
            let length = fs::metadata(&input).unwrap().len();
            assert!(length <= LARGEST, "{} has {length} bytes", input.display());
        }
    }
}
