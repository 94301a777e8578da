//! Who wrote what, by the API server's audit log of this run.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A write that the API server accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// When it was received, in text that sorts by time.
    pub(crate) at: String,
    /// The pod whose account's token it came with.
    pub(crate) pod: String,
    pub(crate) namespace: String,
    /// `channels/status`
    pub(crate) resource: String,
}

/// Where the log is, on a cluster of our own.
pub(crate) fn log() -> Option<PathBuf> {
    env::var_os("BUSWAY_AUDIT_LOG").map(PathBuf::from)
}

/// The writes of pods to anything but Leases and Events, in the order in which they were received.
pub(crate) fn writes(log: &PathBuf, chosen: impl Fn(&Write) -> bool) -> Result<Vec<Write>> {
    const VERBS: [&str; 4] = ["create", "update", "patch", "delete"];
    const PASSING: [&str; 2] = ["leases", "events"];
    let text = fs::read_to_string(log).with_context(|| log.display().to_string())?;
    let mut found = Vec::new();
    for line in text.lines() {
        if !line.contains("authentication.kubernetes.io/pod-name") {
            continue;
        }
        // The last line may be half written.
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let word = |path: &str| entry.pointer(path).and_then(Value::as_str).unwrap_or("");
        let code = entry
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64);
        let resource = word("/objectRef/resource");
        if word("/stage") != "ResponseComplete"
            || !VERBS.contains(&word("/verb"))
            || PASSING.contains(&resource)
            || !code.is_some_and(|code| (200..300).contains(&code))
        {
            continue;
        }
        let write = Write {
            at: word("/requestReceivedTimestamp").to_owned(),
            pod: word("/user/extra/authentication.kubernetes.io~1pod-name/0").to_owned(),
            namespace: word("/objectRef/namespace").to_owned(),
            resource: match word("/objectRef/subresource") {
                "" => resource.to_owned(),
                sub => format!("{resource}/{sub}"),
            },
        };
        if chosen(&write) {
            found.push(write);
        }
    }
    found.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(found)
}
