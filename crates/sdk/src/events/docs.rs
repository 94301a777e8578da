//! What the documentation page shows.

mod page;

use std::panic::{AssertUnwindSafe, catch_unwind};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::Value;

pub use schemars::Schema;

use super::{Mux, handler::AnyHandler};

/// What the documentation page says of an event. [`super::Typed::documented`] makes one.
///
/// ```
/// use busway_sdk::events::{EventDoc, Schema, schema_of};
/// use serde_json::{Value, json};
///
/// #[derive(schemars::JsonSchema)]
/// struct Order { item: String, note: Option<String> }
///
/// struct Doc;
///
/// impl EventDoc for Doc {
///     fn example(&self) -> (Value, Value) {
///         (json!({"item": "book"}), json!(1250))
///     }
///     fn input(&self) -> Schema { schema_of::<Order>() }
///     fn output(&self) -> Schema { schema_of::<u32>() }
///     fn doc(&self) -> String { "What the order costs, in cents.".into() }
/// }
///
/// let schema = Doc.input();
/// assert_eq!(schema.get("title"), Some(&json!("Order")));
/// assert_eq!(schema.get("required"), Some(&json!(["item"])));
/// ```
pub trait EventDoc: Send + Sync {
    /// An example of what goes in, and of what comes out.
    fn example(&self) -> (Value, Value);
    /// The schema of what goes in.
    fn input(&self) -> Schema;
    /// The schema of what comes out.
    fn output(&self) -> Schema;
    /// What it is for.
    fn doc(&self) -> String;
}

/// The JSON Schema (2020-12) of a type; its `title` is the type's name.
///
/// ```
/// let schema = busway_sdk::events::schema_of::<Vec<u8>>();
/// assert_eq!(schema.get("type"), Some(&serde_json::json!("array")));
/// ```
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
}

/// One event of the page.
#[derive(Debug, Serialize)]
struct Documented {
    name: String,
    version: i64,
    #[serde(flatten)]
    told: Option<Told>,
}

#[derive(Debug, Serialize)]
struct Told {
    doc: String,
    input: Side,
    output: Side,
}

#[derive(Debug, Serialize)]
struct Side {
    example: Value,
    schema: Schema,
}

/// The page as JSON.
pub(super) fn json(mux: &Mux) -> String {
    serde_json::to_string(&events(mux)).unwrap_or_else(|_| "[]".to_owned())
}

/// The page for people.
pub(super) fn html(mux: &Mux) -> String {
    page::html(&events(mux))
}

/// Sorted by name, then version.
fn events(mux: &Mux) -> Vec<Documented> {
    let documented = |(name, version, handler): (&str, i64, Option<&dyn AnyHandler>)| Documented {
        name: name.to_owned(),
        version,
        told: handler.and_then(told),
    };
    mux.handlers().map(documented).collect()
}

/// A documentation that panics is none; it does not take the page away from the others.
fn told(handler: &dyn AnyHandler) -> Option<Told> {
    let told = || {
        handler.doc().map(|doc| {
            let (input, output) = doc.example();
            Told {
                doc: doc.doc(),
                input: Side {
                    example: input,
                    schema: doc.input(),
                },
                output: Side {
                    example: output,
                    schema: doc.output(),
                },
            }
        })
    };
    catch_unwind(AssertUnwindSafe(told)).ok().flatten()
}
