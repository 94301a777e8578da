//! Handlers: two functions, and a type of its own.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use busway_sdk::events::{
    Context, Event, EventDoc, Handler, HandlerError, Schema, new_response, schema_of,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Wishes.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Order {
    pub(crate) item: String,
    pub(crate) amount: u32,
}

/// What it costs.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Price {
    pub(crate) cents: u32,
}

/// An order that was placed.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Placed {
    pub(crate) order: u32,
    pub(crate) cents: u32,
}

/// The price of an order. An unknown item stays unknown: trying again would not help.
pub(crate) async fn price(_: Context, order: Order) -> Result<Price, HandlerError> {
    let each = match order.item.as_str() {
        "book" => 1250,
        "lamp" => 3900,
        other => return Err(HandlerError::message(format!("no price for {other}")).no_retry()),
    };
    let cents = order.amount.checked_mul(each);
    let cents = cents.ok_or_else(|| HandlerError::message("that many?").no_retry())?;
    Ok(Price { cents })
}

/// Places an order.
///
/// A message may come twice. A real shop would look up whether it has placed this one already, by
/// the event's id; `Handler` below shows how to get at it.
pub(crate) async fn place(context: Context, order: Order) -> Result<Placed, HandlerError> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let Price { cents } = price(context, order).await?;
    Ok(Placed {
        order: 1 + LAST.fetch_add(1, Relaxed),
        cents,
    })
}

/// Cancels an order: a handler that sees the whole event.
pub(crate) struct CancelOrder;

impl Handler for CancelOrder {
    async fn serve(&self, context: Context, event: Event) -> Result<Event, HandlerError> {
        let order: u32 = event.payload.get()?;
        let flow = context.flow_id();
        Ok(new_response(
            &event,
            &json!({"cancelled": order, "flow": flow, "by": event.id}),
        )?)
    }

    fn doc(&self) -> Option<&dyn EventDoc> {
        Some(self)
    }
}

impl EventDoc for CancelOrder {
    fn example(&self) -> (Value, Value) {
        (json!(1), json!({"cancelled": 1, "flow": "f", "by": "i"}))
    }

    fn input(&self) -> Schema {
        schema_of::<u32>()
    }

    fn output(&self) -> Schema {
        schema_of::<Value>()
    }

    fn doc(&self) -> String {
        "Cancels an order, by its number.".to_owned()
    }
}
