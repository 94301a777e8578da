//! Hours of schedule in milliseconds of test: tokio's paused clock, and a network of pipes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod doing;
mod gate;
mod harness;
mod order;
mod owner;
mod pacing;
