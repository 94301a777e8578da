//! The ConfigMaps of a folder: they are no objects of ours, and are read where a bus names one.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::Store;
use crate::source::folder::{documents::Document, files::Reading};

impl Store {
    /// Tells of a change of ConfigMaps, though no object of ours is another by it.
    pub(super) fn take_config_maps(&mut self, reading: &Arc<Reading>) {
        if !config_maps(&self.reading).eq(config_maps(reading)) {
            self.version += 1;
            self.ticks.send_replace(self.version);
        }
    }

    pub(in crate::source::folder) fn config_map(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<BTreeMap<String, String>> {
        let text =
            |value: &Value, field: &str| value["metadata"][field].as_str().map(str::to_owned);
        let mut found = config_maps(&self.reading).filter(|value| {
            let of = text(value, "namespace").unwrap_or_else(|| "default".to_owned());
            text(value, "name").as_deref() == Some(name)
                && namespace.is_none_or(|namespace| namespace == of)
        });
        let value = found.next()?;
        if found.next().is_some() {
            return None;
        }
        let data = value["data"].as_object().into_iter().flatten();
        let data = data.filter_map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned())));
        Some(data.collect())
    }
}

fn config_maps(reading: &Reading) -> impl Iterator<Item = &Value> {
    let documents = reading.files.values().flat_map(|all| all.iter());
    documents.filter_map(|(_, document)| match document {
        Document::ConfigMap(value) => Some(value),
        _ => None,
    })
}
