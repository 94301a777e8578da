//! The files of a folder, looked at again and again.
//!
//! A change is taken when two looks in a row saw the same: an editor that empties a file before it writes it, or puts
//! another in its place, must not look like a deletion.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::documents::{self, Document};

/// Bytes of one file: well past the 1.5 MiB that an API server takes as one object.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Files that are read.
const MAX_FILES: usize = 10_000;
/// Bytes of all files together.
const MAX_TOTAL_BYTES: u64 = 64 * 1024 * 1024;
/// Folders below the one given.
const MAX_DEPTH: usize = 8;
/// A file modified this short ago is read again: file systems keep times to 2 s at worst, so its next change may not
/// show in them.
const RACY: Duration = Duration::from_secs(3);
/// The app's own settings for dev mode.
const SETTINGS: &str = "busway-dev.yaml";

/// All that the folder says.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Documents, by file, in the order of paths.
    pub(super) files: BTreeMap<String, Arc<Vec<(usize, Document)>>>,
    /// What could not be read: a file, a folder, or (the empty path) all; what came from there stays as it is.
    pub(super) trouble: BTreeMap<String, String>,
}

/// When a change is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// At once: there is nothing yet that it could harm.
    AtOnce,
    /// When it was the same in the last look.
    Settled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Print {
    modified: Option<SystemTime>,
    bytes: u64,
}

#[derive(Debug)]
struct Taken {
    print: Print,
    racy: bool,
    text: Result<String, String>,
    documents: Arc<Vec<(usize, Document)>>,
}

impl Taken {
    /// Whether it is to be read again: also what could not be read, since permissions leave no trace in the print.
    fn stale(&self, print: &Print) -> bool {
        self.racy || self.print != *print || self.text.is_err()
    }
}

/// A folder, and what was last taken from it.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    state: PathBuf,
    before: BTreeMap<String, Print>,
    taken: BTreeMap<String, Taken>,
    trouble: BTreeMap<String, String>,
}

impl Files {
    pub(super) const fn new(root: PathBuf, state: PathBuf) -> Self {
        Self {
            root,
            state,
            before: BTreeMap::new(),
            taken: BTreeMap::new(),
            trouble: BTreeMap::new(),
        }
    }

    /// Looks again; the reading when it is another than before.
    pub(super) fn look(&mut self, take: Take) -> Option<Reading> {
        let mut walk = Walk::default();
        self.walk(&self.root, "", 0, &mut walk);
        let Walk {
            files: now,
            trouble,
        } = walk;
        // The first look says something also when the folder is empty: there may be objects from before.
        let mut changed = take == Take::AtOnce || trouble != self.trouble;
        let settled = |name: &str, print: Option<&Print>| {
            take == Take::AtOnce || self.before.get(name) == print
        };

        let gone: Vec<String> = self
            .taken
            .keys()
            .filter(|name| {
                !now.contains_key(*name) && settled(name, None) && !covered(&trouble, name)
            })
            .cloned()
            .collect();
        let fresh: Vec<(&String, &Print)> = now
            .iter()
            .filter(|(name, print)| {
                settled(name, Some(print))
                    && self.taken.get(*name).is_none_or(|taken| taken.stale(print))
            })
            .collect();
        let mut total: u64 = now
            .values()
            .map(|print| print.bytes.min(MAX_FILE_BYTES))
            .sum();
        let mut taken_now = Vec::new();
        for (name, print) in fresh {
            let text = if total > MAX_TOTAL_BYTES {
                total -= print.bytes.min(MAX_FILE_BYTES);
                Err(format!(
                    "not read: the folder has more than {MAX_TOTAL_BYTES} bytes"
                ))
            } else if print.bytes > MAX_FILE_BYTES {
                Err(too_large())
            } else {
                match read(&self.root.join(name)) {
                    // Gone since the walk: the next look will tell.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    read => read
                        .map_err(|error| format!("cannot be read: {error}"))
                        .and_then(text_of),
                }
            };
            taken_now.push((name.clone(), print.clone(), text));
        }
        for name in gone {
            self.taken.remove(&name);
            changed = true;
        }
        for (name, print, text) in taken_now {
            changed |= self.take(name, print, text);
        }
        self.before = now;
        self.trouble = trouble;
        changed.then(|| self.reading())
    }

    /// Whether it says something else than before.
    fn take(&mut self, name: String, print: Print, text: Result<String, String>) -> bool {
        let age = print
            .modified
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        let racy = age.is_none_or(|age| age < RACY);
        if let Some(taken) = self.taken.get_mut(&name)
            && taken.text == text
        {
            (taken.print, taken.racy) = (print, racy);
            return false;
        }
        let documents = text
            .as_ref()
            .map(|text| documents::parse(&name, text))
            .unwrap_or_default();
        let taken = Taken {
            print,
            racy,
            text,
            documents: Arc::new(documents),
        };
        self.taken.insert(name, taken);
        true
    }

    fn reading(&self) -> Reading {
        let mut reading = Reading {
            trouble: self.trouble.clone(),
            ..Reading::default()
        };
        for (name, taken) in &self.taken {
            match &taken.text {
                Ok(_) => drop(
                    reading
                        .files
                        .insert(name.clone(), Arc::clone(&taken.documents)),
                ),
                Err(why) => drop(reading.trouble.insert(name.clone(), why.clone())),
            }
        }
        reading
    }

    fn walk(&self, folder: &Path, prefix: &str, depth: usize, found: &mut Walk) {
        let mut entries =
            match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
                Ok(entries) => entries,
                Err(error) => {
                    found
                        .trouble
                        .insert(prefix.to_owned(), format!("cannot be read: {error}"));
                    return;
                }
            };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let lossy = format!("{prefix}{}", name.to_string_lossy());
                found
                    .trouble
                    .insert(lossy, "its name is not UTF-8".to_owned());
                continue;
            };
            if name.starts_with('.') || entry.path() == self.state {
                continue;
            }
            let path = format!("{prefix}{name}");
            // Of the entry itself: a link to a folder is not followed, so there are no loops.
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if folder && depth < MAX_DEPTH {
                self.walk(&entry.path(), &format!("{path}/"), depth + 1, found);
            } else if folder {
                found.trouble.insert(
                    path,
                    format!("not read: more than {MAX_DEPTH} folders deep"),
                );
            } else if is_manifest(name) && path != SETTINGS {
                found.add(path, &entry.path());
            }
        }
    }
}

/// Whether `file` is in what could not be looked at.
pub(super) fn covered(trouble: &BTreeMap<String, String>, file: &str) -> bool {
    trouble.keys().any(|place| {
        place.is_empty()
            || place == file
            || (place.ends_with('/') && file.starts_with(place.as_str()))
    })
}

#[derive(Debug, Default)]
struct Walk {
    files: BTreeMap<String, Print>,
    trouble: BTreeMap<String, String>,
}

impl Walk {
    fn add(&mut self, path: String, file: &Path) {
        if self.files.len() >= MAX_FILES {
            let why = format!("not read: the folder has more than {MAX_FILES} files");
            // One complaint for all of them; it covers the whole folder, so nothing is taken for deleted.
            self.trouble.insert(String::new(), why);
            return;
        }
        match fs::metadata(file) {
            Ok(found) if found.is_file() => {
                let print = Print {
                    modified: found.modified().ok(),
                    bytes: found.len(),
                };
                self.files.insert(path, print);
            }
            // A link to a folder named like a file: not ours. Pipes and devices are told.
            Ok(found) if found.is_dir() => {}
            Ok(_) => drop(self.trouble.insert(path, "it is not a file".to_owned())),
            // Gone since, or a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => drop(
                self.trouble
                    .insert(path, format!("cannot be read: {error}")),
            ),
        }
    }
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| format!("it is not UTF-8: {}", error.utf8_error()))?;
    Ok(text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text))
}

fn too_large() -> String {
    format!("not read: it is larger than {MAX_FILE_BYTES} bytes")
}
