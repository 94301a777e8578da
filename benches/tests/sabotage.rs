//! The harness against itself: broken on purpose, it fails and says why. With the bare loop only, so that
//! the product need not be built.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

fn bench(sabotage: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_busway-benches"))
        .args(["data", "--quick", "--bare-only"])
        .args(sabotage)
        .output()
        .unwrap()
}

fn failure(sabotage: &str) -> String {
    let output = bench(&["--sabotage", sabotage]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_lost_delivery_fails_the_benchmark() {
    let said = failure("loss");
    assert!(
        said.contains("deliveries are not accepted × fan-out"),
        "{said}"
    );
}

#[test]
fn a_generator_that_stands_still_fails_the_benchmark() {
    let said = failure("stall");
    assert!(said.contains("the generator missed its times"), "{said}");
}
