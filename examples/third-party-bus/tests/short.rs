//! What a bus author has to write stays short.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

#[test]
fn the_bus_has_under_200_lines_of_rust() {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let rust =
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let texts: Vec<_> = rust.map(|path| fs::read_to_string(path).unwrap()).collect();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let lines = texts.iter().flat_map(|text| text.lines()).filter(is_code).count();
    assert!((50..200).contains(&lines), "{lines} lines");
}
