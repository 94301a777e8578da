//! `busway crds`: the custom resource definitions.

use std::{fs, io::Write as _, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

/// `busway crds`
#[derive(Debug, Args)]
pub struct CrdsArgs {
    /// Write one file a kind into this folder, instead of all to standard output.
    #[arg(long, value_name = "DIR")]
    pub split: Option<PathBuf>,
}

/// Prints or writes them.
///
/// # Errors
/// When a file or standard output cannot be written.
pub fn run(args: &CrdsArgs) -> anyhow::Result<()> {
    let Some(dir) = &args.split else {
        return Ok(std::io::stdout().write_all(busway_api::crds::crds_yaml()?.as_bytes())?);
    };
    for crd in busway_api::crds::crds() {
        let path = dir.join(format!("{}.yaml", crd.spec.names.plural));
        fs::write(&path, busway_api::crds::yaml(&crd)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
