//! A dispatcher for the SQLite bus: `SQLITE_FILE` says where its messages are.

use std::{env, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use third_party_bus::SqliteBus;

/// Longer than the 20 s within which a dispatcher tells that it still holds a message.
const LEASE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    busway_buskit::run_dispatcher(|_| {
        let file = env::var_os("SQLITE_FILE").map_or_else(|| "bus.sqlite".into(), PathBuf::from);
        Ok(Arc::new(SqliteBus::open(&file, LEASE)?))
    })
}
