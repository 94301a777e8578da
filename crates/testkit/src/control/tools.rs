//! Where the binaries are: `KUBEBUILDER_ASSETS` first, then the cache that `make tools` fills.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The path of a pinned tool's binary.
///
/// # Errors
/// When it was not built yet; the error says how to.
pub fn find(binary: &str) -> Result<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let cache = cache_dir()?;
    for folder in assets.iter().chain([&cache]) {
        let path = folder.join(binary);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!(
        "{binary} is neither in KUBEBUILDER_ASSETS nor in {}: run `make tools`",
        cache.display()
    )
}

/// The one place that knows the folder's name is the script that fills it.
fn cache_dir() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hack/tools.sh");
    let told = Command::new(&script)
        .arg("--print-dir")
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    let folder = String::from_utf8(told.stdout).context("the tools folder's name")?;
    if !told.status.success() || folder.trim().is_empty() {
        bail!(
            "{} --print-dir: {}",
            script.display(),
            String::from_utf8_lossy(&told.stderr).trim()
        );
    }
    Ok(PathBuf::from(folder.trim()))
}
