//! `busway operator` and buses, against a real API server and its controllers: kubectl and the real binary. There are
//! no nodes; where pods have to run, the test plays the kubelet.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "operator/support.rs"]
mod support;

#[path = "operator/account.rs"]
mod account;
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
