//! Status: what each object's is to be (`bus`, `channel`, `subscription`), and who writes it
//! (`writer`).

pub(crate) mod assemble;
pub(crate) mod bus;
pub(crate) mod channel;
pub(crate) mod subscription;
pub(crate) mod writer;

use std::sync::Arc;

use busway_api::conditions::Said;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Map, Value};
use tokio::time::Instant;

/// A status as JSON text: a quarter of its tree's memory, and thousands wait at once while a bus starts.
///
/// Keys are in order, so that equal statuses are equal texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(Arc<str>);

impl Text {
    pub(crate) fn of(mut status: Value) -> Self {
        status.sort_all_objects();
        Self(status.to_string().into())
    }

    pub(crate) fn value(&self) -> serde_json::Result<Value> {
        serde_json::from_str(&self.0)
    }
}

/// What was last said of an object, and how far its writing is.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The identity that the rest is of.
    pub(crate) uid: Option<String>,
    pub(crate) conditions: Vec<Condition>,
    /// Given to the writer, written when it says when, and not yet seen in the object.
    pub(crate) offered: Option<(Text, Option<Instant>)>,
    /// How often in a row a write was not seen in the object: it is repeated ever less often.
    pub(crate) unseen: u32,
    /// What the API server refused for good; not tried again until it differs.
    pub(crate) refused: Option<Text>,
    /// Since when something is under way that will soon make it differ again.
    pub(crate) under_way: Option<Instant>,
    /// The reason and message of the last event.
    pub(crate) noted: Option<(String, String)>,
}

/// Whether a status will soon differ by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It says how things are until something happens.
    Settled,
    /// A hook or a replica is being waited for: worth waiting a moment before it is written.
    UnderWay,
}

/// What is to be said of an object.
#[derive(Debug)]
pub(crate) struct Words {
    /// Each with the generation that it is said of. Ready is not among them.
    pub(crate) said: Vec<(Said, i64)>,
    /// The other fields of the status.
    pub(crate) fields: Map<String, Value>,
    pub(crate) progress: Progress,
}

impl Words {
    pub(crate) fn new() -> Self {
        Self {
            said: Vec::new(),
            fields: Map::new(),
            progress: Progress::Settled,
        }
    }

    pub(crate) fn say(&mut self, said: Said, generation: i64) {
        self.said.push((said, generation));
    }

    pub(crate) fn under_way(&mut self) {
        self.progress = Progress::UnderWay;
    }

    pub(crate) fn field(&mut self, name: &str, value: Value) {
        if !value.is_null() {
            self.fields.insert(name.to_owned(), value);
        }
    }
}
