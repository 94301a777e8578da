//! Watches resources, calls the hooks of a bus, writes status.
