//! Rules of single attribute values.
