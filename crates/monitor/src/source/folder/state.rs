//! What a folder's objects are kept in between two runs: UIDs, finalizers, status, the last good form.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The file, in the state folder.
const FILE: &str = "objects.json";
/// Held while a process uses the state folder.
const LOCK: &str = "lock";
/// Bytes that are read of it: four times what a folder's files may have.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// All that is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Saved {
    /// The last resourceVersion.
    pub(super) version: u64,
    /// The objects.
    pub(super) objects: Vec<SavedObject>,
}

/// One object.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SavedObject {
    /// The file it came from.
    pub(super) file: String,
    /// As an API server would give it.
    pub(super) object: Arc<Value>,
    /// Who said what of its status.
    pub(super) managers: BTreeMap<String, Value>,
    /// The ClusterBus it was put on, where its manifest names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cluster_bus: Option<String>,
}

/// A state folder that is ours alone.
#[derive(Debug)]
pub(super) struct State {
    folder: PathBuf,
    _lock: File,
}

impl State {
    /// Takes the folder, made where it is not there, and reads what is in it. `None`: another process has it.
    pub(super) fn open(folder: &Path) -> io::Result<Option<(Self, Saved)>> {
        fs::create_dir_all(folder)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        let saved = match File::open(folder.join(FILE)) {
            Ok(file) => read(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::default(),
            Err(error) => return Err(error),
        };
        let state = Self {
            folder: folder.to_owned(),
            _lock: lock,
        };
        Ok(Some((state, saved)))
    }

    /// Puts it in place of what was there, on disk when this returns: a crash leaves the one or the other.
    pub(super) fn save(&self, saved: &Saved) -> io::Result<()> {
        let part = self.folder.join(format!("{FILE}.part"));
        let mut file = File::create(&part)?;
        file.write_all(&serde_json::to_vec(saved)?)?;
        file.sync_all()?;
        fs::rename(&part, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()
    }
}

fn read(file: File) -> io::Result<Saved> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!(
            "{FILE} is larger than {MAX_BYTES} bytes"
        )));
    }
    serde_json::from_slice(&bytes).map_err(|error| io::Error::other(format!("{FILE}: {error}")))
}
