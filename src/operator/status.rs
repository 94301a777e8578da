//! Writes what the operator says of an object: its own conditions and fields, only when they differ.

use busway_api::{ConditionType, Said, conditions, undeclared};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, ManagedFieldsEntry, Time},
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
    /// Conditions of the operator's that stay as they were said.
    pub(crate) unchanged: Vec<ConditionType>,
    /// Fields and their values.
    pub(crate) fields: Map<String, Value>,
    /// Said only while nobody but the operator has that condition: left out, it would be left in part, since who had
    /// it before keeps the fields that never differed.
    pub(crate) until_taken: Option<Said>,
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
            unchanged: Vec::new(),
            fields: Map::new(),
            until_taken: None,
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
        let is_kept =
            |condition: &Condition| self.unchanged.iter().any(|k| k.as_str() == condition.type_);
        differs |= old
            .iter()
            .any(|one| is_owned(one) && !is_said(one) && !is_kept(one));
        all.retain(|one| is_said(one) || is_kept(one));
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
    let (conditions, status) = (object.conditions(), object.status_value());
    let (_, differs) = words.status(conditions, &status, object.generation(), &now);
    if !differs {
        return Ok(false);
    }
    let mut tries = TRIES;
    loop {
        // The last try names no version: whoever is written to all the time would never be told of.
        let versioned = tries > 1;
        match apply(ctx, object, words, &now, versioned).await {
            // Another manager's status came in between; with the UID checked it is ours to apply again.
            Err(Error::Conflict { .. }) if tries > 1 => tries -= 1,
            done => return done,
        }
    }
}

/// At a version, because an API server ignores the UID in an apply to the status of a custom resource.
async fn apply<K: Object>(
    ctx: &Context,
    object: &K,
    words: &Words,
    now: &Time,
    versioned: bool,
) -> Result<bool, Error> {
    let (what, name) = (
        format!("the status of {}", object.told()),
        object.name_any(),
    );
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(ctx.client().clone(), &namespace, &resource),
        None => Api::all_with(ctx.client().clone(), &resource),
    };
    let DynamicObject { metadata, data, .. } = ctx.call(&what, api.get(&name)).await?;
    if metadata.uid.as_deref() != Some(object.uid_or_empty()) {
        return Err(Error::Gone { what });
    }
    // What the store has may be older than what was written last.
    let there = data.get("status").cloned().unwrap_or_default();
    let conditions = there.get("conditions").cloned().unwrap_or_default();
    let conditions: Vec<Condition> = serde_json::from_value(conditions).unwrap_or_default();
    let generation = object.generation();
    let (mut status, differs) = words.status(&conditions, &there, generation, now);
    if !differs {
        return Ok(false);
    }
    let kept = words.until_taken.as_ref();
    if let Some(kept) = kept.filter(|kept| has_alone(&metadata.managed_fields, kept.kind)) {
        add(&mut status, conditions, kept, generation, now);
    }
    let mut payload = json!({
        "apiVersion": busway_api::API_VERSION,
        "kind": K::KIND,
        "metadata": { "name": name, "uid": metadata.uid },
        "status": status,
    });
    if let Some(version) = metadata.resource_version.filter(|_| versioned) {
        payload["metadata"]["resourceVersion"] = json!(version);
    }
    let params = PatchParams::apply(MANAGER).force();
    loop {
        let patch = Patch::Apply(&payload);
        let done = ctx.call(&what, api.patch_status(&name, &params, &patch));
        match done.await {
            // The definitions are of an older version: what they have is said. Each time there is less to leave out.
            Err(Error::Refused { message, .. })
                if undeclared::leave_out(&mut payload["status"], &message) => {}
            Err(error) => return Err(error),
            Ok(_) => {
                ctx.metrics.wrote(K::KIND);
                return Ok(true);
            }
        }
    }
}

fn add(status: &mut Value, mut all: Vec<Condition>, kept: &Said, generation: i64, now: &Time) {
    conditions::set(&mut all, kept.clone(), generation, now);
    let added = conditions::find(&all, kept.kind).map(|condition| json!(condition));
    if let Some(said) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        said.extend(added);
    }
}

/// Whether the status of that condition is the operator's, and no other manager's.
fn has_alone(managers: &Option<Vec<ManagedFieldsEntry>>, kind: ConditionType) -> bool {
    let item = format!("k:{{\"type\":\"{kind}\"}}");
    let mut having = managers.iter().flatten().filter(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields
            .and_then(|fields| {
                fields
                    .get("f:status")?
                    .get("f:conditions")?
                    .get(&item)?
                    .get("f:status")
            })
            .is_some()
    });
    let first = having.next();
    first.is_some_and(|entry| entry.manager.as_deref() == Some(MANAGER)) && having.next().is_none()
}

#[cfg(test)]
#[path = "status/tests.rs"]
mod tests;
