//! The Namespaces of a folder: those that its objects are in, and those that a manifest names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{Store, What, object};
use crate::source::folder::documents::Document;

impl Store {
    /// A Namespace for each that an object is in or a manifest names, with the labels that the manifest gives.
    pub(super) fn name_spaces(&mut self) {
        let reading = Arc::clone(&self.reading);
        let mut labels: BTreeMap<&str, Option<&Value>> = BTreeMap::from([("default", None)]);
        for document in reading
            .files
            .values()
            .flat_map(|documents| documents.iter())
        {
            if let (_, Document::Namespace(value)) = document
                && let Some(name) = value.pointer("/metadata/name").and_then(Value::as_str)
            {
                labels.insert(name, value.pointer("/metadata/labels"));
            }
        }
        let used: BTreeSet<String> = self
            .objects
            .keys()
            .filter_map(|(_, namespace, _)| namespace.clone())
            .collect();
        for namespace in &used {
            labels.entry(namespace).or_insert(None);
        }
        let mut namespaces = std::mem::take(&mut self.namespaces);
        let gone: Vec<String> = namespaces
            .keys()
            .filter(|name| !labels.contains_key(name.as_str()))
            .cloned()
            .collect();
        for name in gone {
            if let Some(object) = namespaces.remove(&name) {
                self.version += 1;
                self.tell(None, What::Deleted, &object);
            }
        }
        for (name, labels) in labels {
            let old = namespaces.get(name).map(|old| &**old);
            if let Some(mut next) = object::namespace(name, labels, old) {
                self.version += 1;
                next["metadata"]["resourceVersion"] = json!(self.version.to_string());
                let next = Arc::new(next);
                self.tell(None, What::Applied, &next);
                namespaces.insert(name.to_owned(), next);
            }
        }
        self.namespaces = namespaces;
    }
}
