//! Manifests, as dev mode reads them: a line with the file's name, then its text.

use busway_monitor::manifest::{Manifest, read};

/// More than this of one input says nothing new.
const ENOUGH: usize = 20;

pub(super) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (file, text) = text.split_once('\n').unwrap_or(("a.yaml", &text));
    for manifest in read(file, text).into_iter().take(ENOUGH) {
        match manifest {
            Manifest::Foreign => {}
            Manifest::Unreadable(why) => assert!(!why.is_empty()),
            Manifest::Refused(why) => {
                assert!(!why.is_empty());
                assert!(why.iter().all(|one| !one.is_empty()), "{why:?}");
            }
            // What the schema lets through is of the kind's type.
            Manifest::Undecodable(why) => panic!("accepted, and cannot be decoded: {why}"),
            Manifest::Taken { object, problem } => {
                // The API server's rules and ours are the same, where they are about one thing.
                let told_there = ["is not a duration", "is not a status", "is not a share"];
                if let Some(problem) = problem {
                    assert!(!problem.is_empty());
                    assert!(
                        !told_there.iter().any(|it| problem.contains(it)),
                        "{problem}"
                    );
                }
                // What is stored can be stored again, and is the same.
                let again = read("a.json", &object.to_string());
                match again.as_slice() {
                    [Manifest::Taken { object: stored, .. }] => assert_eq!(*stored, object),
                    other => panic!("{object} is read again as {other:?}"),
                }
            }
        }
    }
}
