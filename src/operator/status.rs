//! Writes what the operator says of an object: its own conditions and fields, only when they differ.

use busway_api::{ConditionType, Said, conditions};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Map, Value, json};

use super::{context::Context, error::Error, labels::MANAGER, object::Object};

/// How often a status is applied when others write to the object at that moment.
const TRIES: usize = 4;

/// What the operator says of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words {
    /// The conditions that are the operator's on this kind; one that is not said is removed.
    pub(crate) owned: &'static [ConditionType],
    /// The fields that are the operator's on this kind; one without a value is removed.
    pub(crate) owned_fields: &'static [&'static str],
    /// Conditions, for the object's generation.
    pub(crate) said: Vec<Said>,
    /// Fields and their values.
    pub(crate) fields: Map<String, Value>,
}

impl Words {
    /// Nothing yet.
    pub(crate) fn new(
        owned: &'static [ConditionType],
        owned_fields: &'static [&'static str],
    ) -> Self {
        Self {
            owned,
            owned_fields,
            said: Vec::new(),
            fields: Map::new(),
        }
    }

    /// Says a condition.
    pub(crate) fn say(&mut self, said: Said) {
        self.said.push(said);
    }

    /// Sets a field.
    pub(crate) fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// The status to apply, and whether it differs from what is there.
    pub(crate) fn status(
        &self,
        old: &[Condition],
        old_status: &Value,
        generation: i64,
        now: &Time,
    ) -> (Value, bool) {
        let mut all = old.to_vec();
        let mut differs = false;
        for said in &self.said {
            differs |= conditions::set(&mut all, said.clone(), generation, now);
        }
        let is_said =
            |condition: &Condition| self.said.iter().any(|s| s.kind.as_str() == condition.type_);
        let is_owned =
            |condition: &Condition| self.owned.iter().any(|o| o.as_str() == condition.type_);
        differs |= old.iter().any(|o| is_owned(o) && !is_said(o));
        all.retain(is_said);
        differs |= self
            .owned_fields
            .iter()
            .any(|field| old_status.get(field) != self.fields.get(*field));
        let mut status = self.fields.clone();
        status.insert("conditions".to_owned(), json!(all));
        (Value::Object(status), differs)
    }
}

/// Writes it; says whether there was anything to write.
///
/// # Errors
/// [`Error::Gone`] when the object is gone or another took its name; whatever else the API server says.
pub(crate) async fn write<K: Object>(
    ctx: &Context,
    object: &K,
    words: &Words,
) -> Result<bool, Error> {
    let now = Time(Timestamp::now());
    let (status, differs) = words.status(
        object.conditions(),
        &object.status_value(),
        object.generation(),
        &now,
    );
    if !differs {
        return Ok(false);
    }
    let mut tries = TRIES;
    loop {
        match apply(ctx, object, &status).await {
            // Another manager's status came in between; with the UID checked it is ours to apply again.
            Err(Error::Conflict { .. }) if tries > 1 => tries -= 1,
            done => {
                done?;
                ctx.metrics.wrote(K::KIND);
                return Ok(true);
            }
        }
    }
}

/// At a version, because an API server ignores the UID in an apply to the status of a custom resource.
async fn apply<K: Object>(ctx: &Context, object: &K, status: &Value) -> Result<(), Error> {
    let (what, name) = (
        format!("the status of {}", object.told()),
        object.name_any(),
    );
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(ctx.client().clone(), &namespace, &resource),
        None => Api::all_with(ctx.client().clone(), &resource),
    };
    let found = ctx.call(&what, api.get_metadata(&name)).await?.metadata;
    if found.uid.as_deref() != Some(object.uid_or_empty()) {
        return Err(Error::Gone { what });
    }
    let payload = json!({
        "apiVersion": busway_api::API_VERSION,
        "kind": K::KIND,
        "metadata": { "name": name, "uid": found.uid, "resourceVersion": found.resource_version },
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&payload);
    ctx.call(&what, api.patch_status(&name, &params, &patch))
        .await
        .map(drop)
}
