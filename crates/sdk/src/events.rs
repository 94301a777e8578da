//! Event handlers: one function for each event name and version, behind one endpoint.
//!
//! - [`Event`] and [`Payload`]: what goes in and out; [`new_response`] and [`new_error`] make answers.
//! - [`Handler`]: what takes an event; any `async fn(Context, Event)` is one, and [`typed`] makes one
//!   of a function from your type to your type.
//! - [`Mux`]: finds the handler of an event. [`Mux::service`] is a tower service, [`serve`] an HTTP
//!   server for it, [`Mux::call`] needs no network.
//! - [`batch`]: many events in one.
//! - [`EventDoc`]: what the documentation page says of an event.
//! - [`Tracker`]: sees start, end and errors of each handler.
//! - [`Settings`]: how strict, how large, how long.
//! - [`Client`]: sends events to channels, and calls other services.
//!
//! A handler that panics, hangs or answers nonsense harms no other. On the bus it is retried.

// What an event is, and how it is read and written.
mod event;
mod payload;

mod envelope;
mod error;
mod failure;
mod shown;

// What handles it.
mod handler;
mod typed;

mod context;
mod mux;

mod batch;
mod run;
mod settings;
mod tracker;

// How it comes in.
mod cloud_event;
mod incoming;
mod service;
mod status;

mod docs;
#[cfg(feature = "server")]
mod server;

// How others are asked.
#[cfg(feature = "client")]
mod client;

pub use batch::{Batch, MAX_BATCH_DEPTH, MAX_BATCH_ITEMS, MAX_INHERITED, MAX_PARALLEL, batch};
#[cfg(feature = "client")]
pub use client::{
    Accepted, Client, ClientSettings, ErrorType, MAX_RETRIES, MAX_RETRY_AFTER, NoAnswer, Outcome,
    SendError,
};
pub use context::Context;
pub use docs::{EventDoc, Schema, schema_of};
pub use error::{EventError, HandlerError, MuxError, PayloadError, ProtocolError};
pub use event::{Event, new_error, new_error_with_metadata, new_response, random_id};
pub use handler::Handler;
pub use mux::{Mux, MuxBuilder};
pub use payload::Payload;
#[cfg(feature = "server")]
pub use server::{MAX_CONNECTIONS, serve};
pub use service::{Answer, DocsService, EventsService, MuxService};
pub use settings::{BusStatus, ErrorStyle, Settings, Validation};
pub use tracker::{Counts, MockTracker, NoTracker, TracingTracker, Tracker};
pub use typed::{Typed, typed};
