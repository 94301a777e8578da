use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{MAX_BATCH_DEPTH, MAX_BATCH_ITEMS, MAX_INHERITED};
use crate::events::{
    Event, EventError, Mux, ProtocolError, Validation, envelope, handler::AnyHandler, mux::Entry,
};

/// A batch with all that is in it: made before anything runs, because a batch that is too large as
/// a whole runs nothing.
pub(super) struct Plan {
    pub(super) parallel: bool,
    pub(super) items: Vec<Item>,
}

pub(super) struct Item {
    pub(super) event: Event,
    pub(super) work: Work,
}

pub(super) enum Work {
    Handle(Arc<dyn AnyHandler>),
    Batch(Plan),
    Unknown,
    /// An error before it began.
    Failed(EventError),
}

/// What all levels together may still have.
struct Left {
    items: usize,
    inherited: usize,
}

impl Plan {
    /// The plan of a batch whose items go to this mux.
    pub(super) fn of(mux: &Mux, batch: &Event) -> Result<Self, EventError> {
        let mut left = Left {
            items: MAX_BATCH_ITEMS,
            inherited: MAX_INHERITED,
        };
        Self::at(1, mux, batch, &mut left)
    }

    /// With items at this depth.
    fn at(depth: usize, mux: &Mux, batch: &Event, left: &mut Left) -> Result<Self, EventError> {
        let body = batch.payload.to_bytes();
        let stated: Stated<'_> = serde_json::from_slice(&body).map_err(|error| {
            let what = format!("`payload` is no batch: {error}");
            EventError::Protocol(ProtocolError::of("payload", what))
        })?;
        let items = left.items.checked_sub(stated.events.len());
        left.items = items.ok_or(EventError::TooManyItems)?;
        let mut items = Vec::with_capacity(stated.events.len());
        for raw in stated.events {
            let raw = body.slice_ref(raw.get().as_bytes());
            items.push(Self::item(depth, mux, batch, &raw, left)?);
        }
        Ok(Self {
            parallel: stated.parallel,
            items,
        })
    }

    fn item(
        depth: usize,
        mux: &Mux,
        batch: &Event,
        raw: &Bytes,
        left: &mut Left,
    ) -> Result<Item, EventError> {
        let (mut event, error) = match envelope::read(raw, Validation::Off) {
            Ok(event) => (event, None),
            Err(unread) => (unread.readable, Some(EventError::Protocol(unread.error))),
        };
        if event.flow_id.is_empty() {
            let inherited = left.inherited.checked_sub(batch.flow_id.len());
            left.inherited = inherited.ok_or(EventError::FlowTooLong)?;
            event.flow_id.clone_from(&batch.flow_id);
        }
        let work = match (error, mux.find(&event.name, event.version)) {
            (Some(error), _) => Work::Failed(error),
            (None, _) if depth > MAX_BATCH_DEPTH => Work::Failed(EventError::TooDeep),
            (None, None) => Work::Unknown,
            (None, Some(Entry::Handler(handler))) => Work::Handle(Arc::clone(handler)),
            (None, Some(Entry::Batch(target))) => {
                match Self::at(depth + 1, target.of(mux), &event, left) {
                    Ok(plan) => Work::Batch(plan),
                    Err(error @ EventError::Protocol(_)) => Work::Failed(error),
                    // Of all levels together.
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(Item { event, work })
    }
}

/// The payload of a batch, as it is stated.
#[derive(Default)]
struct Stated<'a> {
    parallel: bool,
    events: Vec<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Stated<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Stated<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Stated::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut stated = Stated::default();
                while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    if name.eq_ignore_ascii_case("parallel") {
                        stated.parallel = map.next_value::<Option<bool>>()?.unwrap_or_default();
                    } else if name.eq_ignore_ascii_case("events") {
                        let items: Option<Items<'_>> = map.next_value()?;
                        stated.events = items.map(|items| items.0).unwrap_or_default();
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(stated)
            }
        }

        deserializer.deserialize_any(Object)
    }
}

/// The items; of too many, one more than there may be.
struct Items<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;

        impl<'de> Visitor<'de> for Array {
            type Value = Items<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() <= MAX_BATCH_ITEMS {
                    match array.next_element()? {
                        Some(item) => items.push(item),
                        None => return Ok(Items(items)),
                    }
                }
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Items(items))
            }
        }

        deserializer.deserialize_seq(Array)
    }
}
