//! Busway, the product: the built-in buses.

pub mod buses;
