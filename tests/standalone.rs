//! `busway dispatcher --standalone` against a real API server, as a person uses it: kubectl and the real binary.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "standalone/support.rs"]
mod support;

#[path = "standalone/edges.rs"]
mod edges;
#[path = "standalone/faults.rs"]
mod faults;
#[path = "standalone/story.rs"]
mod story;
#[path = "standalone/watches.rs"]
mod watches;
