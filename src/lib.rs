//! Busway, the product: the built-in buses, the commands, and what wires them.
//!
//! The crates under `crates/` are for others to import; this one is for `main.rs` and for tests.

pub mod buses;
pub mod cli;
pub mod operator;

pub mod app;
