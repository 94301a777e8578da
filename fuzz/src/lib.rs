//! Everything that reads what anybody may send, as functions of bytes that must not panic, must end
//! soon and must keep what they promise. `make fuzz` looks for inputs that break one; `make test`
//! runs those that are kept in `corpus/`.

mod request;
mod targets;

pub use targets::{TARGETS, Target};
