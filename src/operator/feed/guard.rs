//! An object as it came, also where this version cannot read it.

use std::borrow::Cow;

use kube::{Resource, core::ObjectMeta};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// An object that this version can read, or not.
#[derive(Clone, Debug)]
pub(crate) enum Guarded<K> {
    /// It can.
    Read(K),
    /// It cannot.
    Unread(Box<Unread>),
}

/// An object of a form that this version does not know.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    pub(crate) metadata: ObjectMeta,
    /// As it came.
    pub(crate) raw: Value,
    /// What is not known about it.
    pub(crate) error: String,
}

impl<'de, K> Deserialize<'de> for Guarded<K>
where
    K: for<'a> Deserialize<'a>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut raw = Value::deserialize(deserializer)?;
        let error = match K::deserialize(&raw) {
            Ok(object) => return Ok(Self::Read(object)),
            Err(error) => error.to_string(),
        };
        let metadata = raw.get("metadata").cloned().unwrap_or_default();
        let mut metadata: ObjectMeta =
            serde_json::from_value(metadata).map_err(D::Error::custom)?;
        metadata.managed_fields = None;
        raw["metadata"] = serde_json::to_value(&metadata).map_err(D::Error::custom)?;
        Ok(Self::Unread(Box::new(Unread {
            metadata,
            raw,
            error,
        })))
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Read(object) => object.meta(),
            Self::Unread(unread) => &unread.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Read(object) => object.meta_mut(),
            Self::Unread(unread) => &mut unread.metadata,
        }
    }
}
