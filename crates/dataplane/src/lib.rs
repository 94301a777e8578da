//! Receiver and dispatcher.
