//! libFuzzer, with the target that `FUZZ_TARGET` names.

#![no_main]

use std::sync::OnceLock;

use busway_fuzz::{TARGETS, Target};

static TARGET: OnceLock<&Target> = OnceLock::new();

fn named() -> &'static Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = TARGETS.iter().find(|target| target.name == name);
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    target.unwrap_or_else(|| panic!("FUZZ_TARGET is none of {names:?}"))
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.get_or_init(named).run)(data));
