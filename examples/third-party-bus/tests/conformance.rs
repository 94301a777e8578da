//! The contract of a bus, against this one.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use busway_buskit::Bus;
use busway_testkit::conformance::Subject;
use tempfile::TempDir;
use third_party_bus::SqliteBus;

/// Long enough that no test outlives it by being slow, short enough to wait for.
const LEASE: Duration = Duration::from_secs(8);

struct InAFile(TempDir);

#[async_trait]
impl Subject for InAFile {
    async fn open(&self) -> anyhow::Result<Arc<dyn Bus>> {
        let bus = SqliteBus::open(&self.0.path().join("bus.sqlite"), LEASE)?;
        Ok(Arc::new(bus))
    }
}

busway_testkit::conformance!(InAFile(tempfile::tempdir().unwrap()));
