//! What is wrong with the files.

use std::collections::BTreeMap;

use super::Store;

/// Complaints about one file that are shown.
const MAX_COMPLAINTS: usize = 20;

impl Store {
    /// Each complaint is logged once, when it is new.
    pub(super) fn complain(&mut self, complaints: Complaints) {
        let now = complaints.texts();
        for (file, text) in &now {
            if self.complaints.get(file) != Some(text) {
                tracing::warn!(file, "{text}");
            }
        }
        for file in self
            .complaints
            .keys()
            .filter(|file| !now.contains_key(*file))
        {
            tracing::info!(file, "all is well with it now");
        }
        if self.complaints != now {
            self.complaints = now;
            self.version += 1;
            self.ticks.send_replace(self.version);
        }
    }
}

/// By file.
#[derive(Default)]
pub(super) struct Complaints(BTreeMap<String, Vec<String>>);

impl Complaints {
    pub(super) fn add(&mut self, file: &str, why: String) {
        self.0.entry(file.to_owned()).or_default().push(why);
    }

    fn texts(self) -> BTreeMap<String, String> {
        let text = |mut all: Vec<String>| {
            if all.len() > MAX_COMPLAINTS {
                let more = all.len() - MAX_COMPLAINTS;
                all.truncate(MAX_COMPLAINTS);
                all.push(format!("and {more} more"));
            }
            all.join("\n")
        };
        self.0
            .into_iter()
            .map(|(file, all)| (file, text(all)))
            .collect()
    }
}
