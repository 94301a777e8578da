//! Fakes, recording subscribers, control-plane harness, bus conformance suite.

pub mod binary;
pub mod client;
pub mod conformance;
pub mod control;
pub mod fakes;
pub mod subscriber;
pub mod wait;
pub mod zoo;
