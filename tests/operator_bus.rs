//! `busway operator` and buses, against a real API server and its controllers: kubectl and the real binary. There are
//! no nodes; where pods have to run, the test plays the kubelet.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use busway_testkit::control::ApiServer;

/// What the tests run on.
const API_SERVER: ApiServer = ApiServer::Newest;

#[path = "operator/support.rs"]
mod support;

#[path = "operator/account.rs"]
mod account;
#[path = "operator/author.rs"]
mod author;
#[path = "operator/bus_children.rs"]
mod bus_children;
#[path = "operator/bus_deletion.rs"]
mod bus_deletion;
#[path = "operator/bus_refusals.rs"]
mod bus_refusals;
#[path = "operator/cluster_bus.rs"]
mod cluster_bus;
#[path = "operator/lead.rs"]
mod lead;
#[path = "operator/older_definitions.rs"]
mod older_definitions;
#[path = "operator/scoped.rs"]
mod scoped;
#[path = "operator/server_side_apply.rs"]
mod server_side_apply;
