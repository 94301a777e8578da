//! Commands that need no more than the API types and HTTP.

pub mod crds;
pub mod sink;
