//! One consumer: it takes messages under a lease, within its credit, and ends them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use busway_buskit::prelude::*;
use busway_buskit::store::{Taker, decode, from_micros, micros, taken};
use rusqlite::OptionalExtension as _;

use crate::SqliteBus;

/// How often to look for what other processes published, what is due, and leases that ran out.
const POLL: Duration = Duration::from_millis(100);

struct Consumer {
    bus: SqliteBus,
    sub: i64,
    holder: i64,
    credit: Credit,
}

pub(crate) fn deliveries(bus: SqliteBus, (sub, holder): (i64, i64), credit: Credit) -> Deliveries {
    taken(Arc::new(Consumer { bus, sub, holder, credit }), |consumer| &consumer.bus.changed, POLL)
}

#[async_trait]
impl Taker for Consumer {
    async fn take(self: Arc<Self>) -> Result<Option<Delivery>, BusError> {
        let this = Arc::clone(&self);
        let row = self.bus.run(move |tx| {
            if !tx.prepare_cached("SELECT 1 FROM subscriptions WHERE id = ?1")?.exists([this.sub])? {
                return Ok(Err(BusError::UnknownSubscription));
            }
            let (now, credit, lease) = (SystemTime::now(), this.credit, this.bus.lease);
            let credit = (credit.messages as i64, credit.bytes as i64);
            let values = (this.sub, this.holder, credit.0, credit.1, micros(now), micros(now + lease));
            let mut take = tx.prepare_cached(include_str!("sql/take.sql"))?;
            take.query_row(values, |row| row.try_into()).optional().map(Ok)
        });
        Ok(row.await??.map(|(id, message, accepted, attempts): (i64, Vec<u8>, i64, u32)| Delivery {
            message: decode(&message).unwrap_or_default(),
            accepted_at: from_micros(accepted),
            attempts,
            fate: Fate::Deliver,
            settle: Settle::new(self, id.unsigned_abs()),
        }))
    }

    fn stop(&self) {
        self.hand_back(None);
    }
}

impl Consumer {
    /// Changes a message, if this consumer still holds it.
    async fn end(&self, token: u64, sql: &'static str, a: i64, b: u32) -> Result<(), BusError> {
        let held = self.bus.execute(sql, (token as i64, self.holder, a, b)).await?;
        held.then_some(()).ok_or(BusError::NotHeld)
    }

    /// Hands one message back, or all, without waiting; a lease that runs out does the same.
    fn hand_back(&self, token: Option<i64>) {
        let (holder, changed) = (self.holder, Arc::clone(&self.bus.changed));
        self.bus.file.call_later(move |connection| {
            drop(connection.execute(include_str!("sql/hand_back.sql"), (holder, token)));
            changed.notify_waiters();
        });
    }
}

#[async_trait]
impl Settler for Consumer {
    async fn done(&self, token: u64) -> Result<(), BusError> {
        self.end(token, "DELETE FROM queue WHERE id = ?1 AND holder = ?2 AND ?3 = ?4", 0, 0).await
    }

    async fn retry_at(&self, token: u64, at: SystemTime, attempts: u32) -> Result<(), BusError> {
        self.end(token, include_str!("sql/retry.sql"), micros(at), attempts).await
    }

    fn release(&self, token: u64) {
        self.hand_back(Some(token as i64));
    }

    async fn extend(&self, token: u64, attempts: u32) -> Result<(), BusError> {
        let until = micros(SystemTime::now() + self.bus.lease);
        self.end(token, include_str!("sql/extend.sql"), until, attempts).await
    }
}
