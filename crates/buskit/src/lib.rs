//! What a bus author imports.
