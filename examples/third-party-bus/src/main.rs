//! A durable bus of a third party, on buskit and SQLite alone.
fn main() {}
