//! The `busway` binary.
fn main() {}
