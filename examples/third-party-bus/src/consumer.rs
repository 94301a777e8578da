//! One consumer: it takes messages under a lease, within its credit, and ends them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use busway_buskit::async_trait;
use busway_buskit::core::bus::{BusError, Credit, Deliveries, Delivery, Fate, Settle, Settler};
use busway_buskit::store::{decode, from_micros, micros};
use futures::stream::{StreamExt as _, unfold};
use rusqlite::{OptionalExtension as _, named_params, params};

use crate::SqliteBus;

/// How often to look for what other processes published, what is due, and leases that ran out.
const POLL: Duration = Duration::from_millis(100);

struct Consumer {
    bus: SqliteBus,
    sub: i64,
    holder: i64,
    credit: Credit,
}

/// The stream's end of a consumer: dropped, it hands back everything that it gave out.
struct Stream(Arc<Consumer>);

pub(crate) fn deliveries(bus: SqliteBus, (sub, holder): (i64, i64), credit: Credit) -> Deliveries {
    let stream = Stream(Arc::new(Consumer { bus, sub, holder, credit }));
    unfold(stream, async |stream| Some((stream.next().await?, stream))).boxed()
}

impl Stream {
    async fn next(&self) -> Option<Result<Delivery, BusError>> {
        loop {
            match self.take().await {
                Ok(None) => drop(tokio::time::timeout(POLL, self.0.bus.changed.notified()).await),
                Err(BusError::UnknownSubscription) => return None,
                taken => return taken.transpose(),
            }
        }
    }

    async fn take(&self) -> Result<Option<Delivery>, BusError> {
        let (this, now) = (Arc::clone(&self.0), SystemTime::now());
        let taken = self.0.bus.run(move |tx| {
            if !tx.prepare_cached("SELECT 1 FROM subscriptions WHERE id = ?1")?.exists([this.sub])? {
                return Ok(Err(BusError::UnknownSubscription));
            }
            let (messages, bytes) = (this.credit.messages as i64, this.credit.bytes as i64);
            let values = named_params! {":sub": this.sub, ":holder": this.holder, ":messages": messages,
            ":bytes": bytes, ":now": micros(now), ":until": micros(now + this.bus.lease)};
            let taken = tx.prepare_cached(include_str!("take.sql"))?.query_row(values, |row| {
                let token = row.get::<_, i64>("id")?.unsigned_abs();
                Ok(Delivery {
                    message: decode(&row.get::<_, Vec<u8>>("message")?).unwrap_or_default(),
                    accepted_at: from_micros(row.get("accepted")?),
                    attempts: row.get("attempts")?,
                    fate: Fate::Deliver,
                    settle: Settle::new(Arc::clone(&this) as Arc<dyn Settler>, token),
                })
            });
            taken.optional().map(Ok)
        });
        taken.await?
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.hand_back(None);
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
            let sql = "UPDATE queue SET holder = 0, held_until = 0
                       WHERE holder = ?1 AND (?2 IS NULL OR id = ?2)";
            drop(connection.execute(sql, params![holder, token]));
            changed.notify_waiters();
        });
    }
}

#[async_trait]
impl Settler for Consumer {
    async fn done(&self, token: u64) -> Result<(), BusError> {
        let sql = "DELETE FROM queue WHERE id = ?1 AND holder = ?2 AND ?3 = ?4";
        self.end(token, sql, 0, 0).await
    }

    async fn retry_at(&self, token: u64, at: SystemTime, attempts: u32) -> Result<(), BusError> {
        let sql = "UPDATE queue SET due = ?3, attempts = ?4, holder = 0, held_until = 0
                   WHERE id = ?1 AND holder = ?2";
        self.end(token, sql, micros(at), attempts).await
    }

    fn release(&self, token: u64) {
        self.hand_back(Some(token as i64));
    }

    async fn extend(&self, token: u64, attempts: u32) -> Result<(), BusError> {
        let sql = "UPDATE queue SET held_until = ?3, attempts = ?4 WHERE id = ?1 AND holder = ?2";
        self.end(token, sql, micros(SystemTime::now() + self.bus.lease), attempts).await
    }
}
