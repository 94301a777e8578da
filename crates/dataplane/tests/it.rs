//! The data plane in one process: real sockets on loopback, and a bus that records.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod it {
    pub mod alone;
    pub mod dead_letters;
    pub mod drain;
    pub mod egress;
    pub mod harness;
    pub mod http2;
    pub mod isolation;
    pub mod lifecycle;
    pub mod observed;
    pub mod outcomes;
    pub mod receive;
    pub mod receive_limits;
    pub mod replies;
    pub mod subscription_metrics;
    pub mod zoo;
}
