//! Certificate authorities of a bus (`egress.caBundle`), as keys of a ConfigMap: mounted files, or a
//! folder's manifest.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use busway_core::{BusRef, egress::Bundle};
use busway_dataplane::connect::authorities;
use busway_monitor::source::folder::FolderSource;
use serde_json::Value;

/// Bytes of all keys: past the 1 MiB that a ConfigMap may have.
const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// What a bundle is after its keys were read. One with a problem takes nothing away from what was
/// trusted, since a mistake in a file must not end what works; one without is exactly what it says.
pub(crate) fn read(last: &Bundle, keys: io::Result<Vec<(String, Vec<u8>)>>) -> Bundle {
    let (mut good, mut problem) = (BTreeSet::new(), None);
    match keys {
        Ok(keys) if keys.is_empty() => {
            problem = Some("it does not exist, or has no key".to_owned())
        }
        Ok(keys) => {
            for (key, text) in keys {
                let found = authorities(&text);
                good.extend(found.good);
                if let (None, Some(what)) = (&problem, found.problem) {
                    problem = Some(format!("key {key}: {what}"));
                }
            }
        }
        Err(error) => problem = Some(format!("it cannot be read: {error}")),
    }
    if problem.is_some() {
        good.extend(last.authorities.iter().cloned());
    }
    let same = good.len() == last.authorities.len() && good.iter().eq(last.authorities.iter());
    Bundle {
        // What is made of it is kept by this pointer.
        authorities: if same {
            Arc::clone(&last.authorities)
        } else {
            Arc::new(good.into_iter().collect())
        },
        problem,
    }
}

/// The keys of a mounted ConfigMap. What begins with a dot is how the kubelet changes all keys at once.
pub(crate) fn mounted(dir: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut keys = Vec::new();
    let mut left = MAX_BYTES;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Through the link that it is.
        if name.starts_with('.') || !fs::metadata(entry.path())?.is_file() {
            continue;
        }
        let mut text = Vec::new();
        let read = File::open(entry.path())?
            .take(left)
            .read_to_end(&mut text)?;
        left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        if left == 0 {
            return Err(io::Error::other(format!(
                "it is larger than {MAX_BYTES} bytes"
            )));
        }
        keys.push((name, text));
    }
    keys.sort_unstable();
    Ok(keys)
}

/// The bundle of a bus whose manifest, and the ConfigMap's, are in a folder. A ClusterBus's pods are in
/// no namespace there: its ConfigMap may be in any.
#[must_use]
pub fn in_folder(source: &FolderSource, bus: &BusRef, last: Option<&Bundle>) -> Option<Bundle> {
    let objects = source.objects();
    let mut buses = objects.iter().filter(|object| is(object, bus));
    let name = buses
        .next()?
        .pointer("/spec/egress/caBundle/configMap")?
        .as_str()?;
    let keys = source.config_map(bus.namespace(), name).unwrap_or_default();
    let keys = keys.into_iter().map(|(key, text)| (key, text.into_bytes()));
    Some(read(last.unwrap_or(&Bundle::default()), Ok(keys.collect())))
}

fn is(object: &Value, bus: &BusRef) -> bool {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let kind = match bus {
        BusRef::Namespaced { .. } => "Bus",
        BusRef::Cluster { .. } => "ClusterBus",
    };
    text("/kind") == Some(kind)
        && text("/metadata/name") == Some(bus.name())
        && (bus.namespace().is_none() || text("/metadata/namespace") == bus.namespace())
}

/// Tells of a bundle that is another than before.
pub(crate) fn tell(before: Option<&Bundle>, now: &Bundle) {
    if before == Some(now) {
        return;
    }
    let trusted = now.authorities.len();
    match &now.problem {
        Some(problem) => {
            tracing::warn!(
                problem,
                trusted,
                "egress.caBundle cannot be used as a whole"
            );
        }
        None => tracing::info!(trusted, "certificate authorities of egress.caBundle"),
    }
}

#[cfg(test)]
mod tests;
