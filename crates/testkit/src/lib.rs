//! Fakes, recording subscribers, control-plane harness, bus conformance suite.
