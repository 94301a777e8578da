//! The operator's part for Channels and Subscriptions, and `busway uninstall`, against a real API server and controller
//! manager: the operator in process, dispatchers and the command as real binaries. There are no nodes, so pods never
//! run; where one would answer, a test writes the EndpointSlice by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use busway_testkit::control::ApiServer;

/// What the tests run on.
const API_SERVER: ApiServer = ApiServer::Newest;

#[path = "operator_channels/support.rs"]
mod support;

#[path = "operator_channels/deletion.rs"]
mod deletion;
#[path = "operator_channels/handover.rs"]
mod handover;
#[path = "operator_channels/reasons.rs"]
mod reasons;
#[path = "operator_channels/scale.rs"]
mod scale;
#[path = "operator_channels/services.rs"]
mod services;
#[path = "operator_channels/terminating.rs"]
mod terminating;
#[path = "operator_channels/undecodable.rs"]
mod undecodable;
#[path = "operator_channels/uninstall.rs"]
mod uninstall;
