//! The members of a JSON object, with their places in the bytes.
