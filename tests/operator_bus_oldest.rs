//! Those cases of `operator_bus` that lean on server-side apply, on the oldest Kubernetes that Busway states.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use busway_testkit::control::ApiServer;

/// What the tests run on.
const API_SERVER: ApiServer = ApiServer::Oldest;

#[path = "operator/support.rs"]
mod support;

#[path = "operator/bus_children.rs"]
mod bus_children;
#[path = "operator/bus_refusals.rs"]
mod bus_refusals;
#[path = "operator/server_side_apply.rs"]
mod server_side_apply;
