//! The chart: what it renders, what it refuses, and what helm and a real API server make of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "chart/alerts.rs"]
mod alerts;
#[path = "chart/cluster.rs"]
mod cluster;
#[path = "chart/docs.rs"]
mod docs;
#[path = "chart/generated.rs"]
mod generated;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/manifests.rs"]
mod manifests;
#[path = "chart/release.rs"]
mod release;
#[path = "chart/values.rs"]
mod values;
