//! Commands that need no more than the API types and HTTP.

pub mod crds;
pub mod post;
pub mod sink;
pub mod uninstall;
