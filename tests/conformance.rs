//! The contract of a bus, against the memory bus.

use std::sync::Arc;

use async_trait::async_trait;
use busway::buses::memory::MemoryBus;
use busway_core::{Bus, budget::MemoryBudget, world::SystemClock};
use busway_testkit::conformance::Subject;

struct Memory;

#[async_trait]
impl Subject for Memory {
    async fn open(&self) -> anyhow::Result<Arc<dyn Bus>> {
        let budget = MemoryBudget::new(0);
        Ok(Arc::new(MemoryBus::new(budget, Arc::new(SystemClock))))
    }
}

busway_testkit::conformance!(Memory);
