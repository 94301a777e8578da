//! The Monitor against a cluster in memory and a bus that records its calls, in virtual time: one
//! test for each row and paragraph of what the Monitor promises.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "monitor/admitted.rs"]
mod admitted;
#[path = "monitor/bus.rs"]
mod bus;
#[path = "monitor/cluster.rs"]
mod cluster;
#[path = "monitor/deleting.rs"]
mod deleting;
#[path = "monitor/edits.rs"]
mod edits;
#[path = "monitor/failing.rs"]
mod failing;
#[path = "monitor/replicas.rs"]
mod replicas;
#[path = "monitor/rig.rs"]
mod rig;
#[path = "monitor/shares.rs"]
mod shares;
#[path = "monitor/start.rs"]
mod start;
#[path = "monitor/status.rs"]
mod status;
#[path = "monitor/table.rs"]
mod table;
