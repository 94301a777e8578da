//! Those cases of `operator_channels` that lean on server-side apply of a status by several managers, on the oldest
//! Kubernetes that Busway states.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use busway_testkit::control::ApiServer;

/// What the tests run on.
const API_SERVER: ApiServer = ApiServer::Oldest;

#[allow(
    dead_code,
    reason = "some is for the cases that run on the newest only"
)]
#[path = "operator_channels/support.rs"]
mod support;

#[path = "operator_channels/handover.rs"]
mod handover;
#[path = "operator_channels/services.rs"]
mod services;
