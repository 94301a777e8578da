//! The folder of one control plane: logs, keys, etcd's data. It is left for a look after a failure, and emptied by
//! the next run.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// `target/control/<test binary>-<n>`, with the first `n` that no living process holds.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked as long as this lives, or the process.
    _lock: File,
}

impl Folder {
    pub(super) fn claim() -> Result<Self> {
        let (target, binary) = running_test()?;
        let root = target.join("control");
        fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        let mut number = 0;
        loop {
            let path = root.join(format!("{binary}-{number}"));
            let lock = File::create(path.with_extension("lock"))
                .with_context(|| format!("locking {}", path.display()))?;
            if lock.try_lock().is_ok() {
                match fs::remove_dir_all(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("emptying {}", path.display()));
                    }
                    _ => fs::create_dir_all(&path)?,
                }
                return Ok(Self { path, _lock: lock });
            }
            number += 1;
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The target folder and the name of the running test binary, which is `target/<profile>/deps/<name>-<hash>`; of the
/// benchmark, which has no `deps` in its path.
fn running_test() -> Result<(PathBuf, String)> {
    let exe = std::env::current_exe().context("the path of the test binary")?;
    let mut folders = exe.ancestors().skip(1).peekable();
    let in_deps = folders.next_if(|folder| folder.ends_with("deps")).is_some();
    let target = folders.nth(1).context("a test binary in a target folder")?;
    let stem = exe.file_stem().unwrap_or_default().to_string_lossy();
    let hashed = stem.rsplit_once('-').filter(|_| in_deps);
    let name = hashed.map_or(&*stem, |(name, _)| name);
    Ok((target.to_owned(), name.to_owned()))
}
