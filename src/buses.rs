//! The built-in buses. Each has the same five files: `config`, `provision`, `publish`, `consume`
//! and `error`; knowing one is knowing all.

pub mod memory;
