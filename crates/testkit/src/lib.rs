//! Fakes, recording subscribers, control-plane harness, bus conformance suite.

pub mod control;
pub mod wait;
