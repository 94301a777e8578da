//! One consumer: it takes messages under a lease, within its credit, and ends them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use busway_buskit::async_trait;
use busway_buskit::core::bus::{BusError, Credit, Delivery, Fate, Settle, Settler};
use rusqlite::{OptionalExtension as _, named_params, params};
use tokio::{sync::Notify, time::timeout};

use crate::db::{Db, message, micros, time};

/// How often to look for what other processes published, what is due, and leases that ran out.
const POLL: Duration = Duration::from_millis(100);

pub(crate) struct Consumer {
    pub(crate) db: Db,
    pub(crate) changed: Arc<Notify>,
    pub(crate) lease: Duration,
    pub(crate) credit: Credit,
    pub(crate) sub: i64,
    pub(crate) holder: i64,
}

/// The stream's end of a consumer; gone, everything that it gave out is handed back.
pub(crate) struct Stream(pub(crate) Arc<Consumer>);

impl Stream {
    pub(crate) async fn next(&self) -> Option<Result<Delivery, BusError>> {
        loop {
            match self.take().await {
                Ok(None) => drop(timeout(POLL, self.0.changed.notified()).await),
                Err(BusError::UnknownSubscription) => return None,
                taken => return taken.transpose(),
            }
        }
    }

    async fn take(&self) -> Result<Option<Delivery>, BusError> {
        let (this, now) = (Arc::clone(&self.0), SystemTime::now());
        let delivery = self.0.db.run(move |tx| {
            let known = "SELECT 1 FROM subscriptions WHERE id = ?1";
            if !tx.prepare_cached(known)?.exists([this.sub])? {
                return Ok(Err(BusError::UnknownSubscription));
            }
            let mut take = tx.prepare_cached(include_str!("take.sql"))?;
            let (messages, bytes) = (this.credit.messages as i64, this.credit.bytes as i64);
            let (now, until) = (micros(now), micros(now + this.lease));
            let values = named_params! {":sub": this.sub, ":holder": this.holder, ":now": now,
            ":until": until, ":messages": messages, ":bytes": bytes};
            let taken = take.query_row(values, |row| {
                let token = row.get::<_, i64>("id")?.unsigned_abs();
                Ok(Delivery {
                    message: message(row)?,
                    accepted_at: time(row.get("accepted")?),
                    attempts: row.get("attempts")?,
                    fate: Fate::Deliver,
                    settle: Settle::new(Arc::clone(&this) as Arc<dyn Settler>, token),
                })
            });
            taken.optional().map(Ok)
        });
        delivery.await?
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.hand_back(None);
    }
}

impl Consumer {
    /// Changes a message, if this consumer still holds it.
    async fn end(&self, token: u64, sql: &'static str, values: [i64; 2]) -> Result<(), BusError> {
        let (token, holder, [a, b]) = (token as i64, self.holder, values);
        let rows = self.db.run(move |tx| tx.prepare_cached(sql)?.execute(params![token, holder, a, b]));
        let rows = rows.await?;
        self.changed.notify_waiters();
        if rows == 0 { Err(BusError::NotHeld) } else { Ok(()) }
    }

    /// Hands one message back, or all.
    fn hand_back(&self, token: Option<i64>) {
        let (holder, changed) = (self.holder, Arc::clone(&self.changed));
        self.db.run_later(move |tx| {
            let sql = "UPDATE queue SET holder = 0, held_until = 0
                       WHERE holder = ?1 AND (?2 IS NULL OR id = ?2)";
            tx.prepare_cached(sql)?.execute(params![holder, token])?;
            changed.notify_waiters();
            Ok(())
        });
    }
}

#[async_trait]
impl Settler for Consumer {
    async fn done(&self, token: u64) -> Result<(), BusError> {
        let sql = "DELETE FROM queue WHERE id = ?1 AND holder = ?2 AND ?3 = ?4";
        self.end(token, sql, [0, 0]).await
    }

    async fn retry_at(&self, token: u64, at: SystemTime, attempts: u32) -> Result<(), BusError> {
        let sql = "UPDATE queue SET due = ?3, attempts = ?4, holder = 0, held_until = 0
                   WHERE id = ?1 AND holder = ?2";
        self.end(token, sql, [micros(at), i64::from(attempts)]).await
    }

    fn release(&self, token: u64) {
        self.hand_back(Some(token as i64));
    }

    async fn extend(&self, token: u64, attempts: u32) -> Result<(), BusError> {
        let sql = "UPDATE queue SET held_until = ?3, attempts = ?4 WHERE id = ?1 AND holder = ?2";
        let until = micros(SystemTime::now() + self.lease);
        self.end(token, sql, [until, i64::from(attempts)]).await
    }
}
