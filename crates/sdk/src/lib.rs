//! For people who write subscribers of Busway channels.
//!
//! # Handlers of events
//!
//! Module [`events`]: one typed async function for each event, behind one HTTP endpoint. It takes
//! what Busway delivers (any CloudEvent), and what callers of the Events protocol send, and its
//! answers become replies.
//!
//! ```no_run
//! use busway_sdk::events::{self, Context, HandlerError, Mux, typed};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Order {
//!     item: String,
//!     amount: u32,
//! }
//!
//! #[derive(serde::Serialize, schemars::JsonSchema)]
//! struct Price {
//!     cents: u32,
//! }
//!
//! /// What the order costs.
//! async fn price(_: Context, order: Order) -> Result<Price, HandlerError> {
//!     match order.item.as_str() {
//!         "book" => Ok(Price { cents: 1250 * order.amount }),
//!         other => Err(HandlerError::message(format!("no price for {other}")).no_retry()),
//!     }
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mux = Mux::builder().add("order:price", 1, typed(price)).build()?;
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:9100").await?;
//!     events::serve(listener, mux.service(), std::future::pending()).await?;
//!     Ok(())
//! }
//! ```
//!
//! `POST /events` takes the events, `GET /doc` shows a page of them. With a Subscription whose
//! `subscriber` is `handlers:9100/events`, a CloudEvent of type `order:price` gets there.
//! `examples/handlers` is a whole service, and `docs/events-protocol.md` the protocol.
//!
//! # Features
//!
//! `server` and `client`, both on by default: [`events::serve`] and [`events::Client`]. Without
//! them there is no HTTP implementation in the dependencies; [`events::Mux::service`] still mounts
//! into any tower server.

pub mod events;
