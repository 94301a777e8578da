//! A bus over one SQLite file: hooks and publishing here, consuming in `consumer`.

mod consumer;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use busway_buskit::core::{bus::*, outcome::Cause};
use busway_buskit::store::{Blocking, Failed, decode, encode, from_micros, micros};
use busway_buskit::{Bus, ChannelRef, Message, SubscriptionRef, async_trait};
use futures::stream::{self, BoxStream, StreamExt as _};
use rusqlite::{
    Connection, OptionalExtension as _, Params, Transaction, TransactionBehavior::Immediate, params,
};
use tokio::sync::Notify;

/// Carries messages in a SQLite file; several processes may share it.
#[derive(Clone)]
pub struct SqliteBus {
    file: Blocking<Connection>,
    lease: Duration,
    changed: Arc<Notify>,
}

impl SqliteBus {
    /// Opens the file, or creates it. A message whose holder is silent for `lease` is given out again.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(file: &Path, lease: Duration) -> Result<Self, Failed> {
        let connection = Connection::open(file).map_err(Failed::new)?;
        connection.execute_batch(include_str!("schema.sql")).map_err(Failed::new)?;
        let file = Blocking::start("sqlite", connection).map_err(Failed::new)?;
        Ok(Self { file, lease, changed: Arc::default() })
    }

    /// Works in a transaction; what comes back as Ok is on the disk.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failed> {
        let done = self.file.call(|connection| {
            let transaction = connection.transaction_with_behavior(Immediate)?;
            let value = work(&transaction)?;
            transaction.commit().map(|()| value)
        });
        done.await?.map_err(Failed::new)
    }

    /// Runs one statement, and tells whether it changed a row.
    async fn execute(&self, sql: &'static str, values: impl Params + Send + 'static) -> Result<bool, Failed> {
        let rows = self.run(move |tx| tx.prepare_cached(sql)?.execute(values)).await?;
        self.changed.notify_waiters();
        Ok(rows > 0)
    }
}

#[async_trait]
impl Bus for SqliteBus {
    fn profile(&self) -> Profile {
        Profile {
            scope: Scope::Shared,
            durability: Durability::Durable { detail: "fsynced to a SQLite file".to_owned() },
            ordering: Ordering::No,
            can_delay: true,
            capabilities: Capabilities::NONE.with_backlog().with_dead_letters(),
            channel_parameters: Vec::new(),
            subscription_parameters: Vec::new(),
        }
    }

    async fn provision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        let sql = "INSERT INTO channels VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET uid = uid WHERE uid = excluded.uid";
        let ours = self.execute(sql, (channel.channel.as_str().to_owned(), channel.uid.to_string())).await?;
        let error = HookError::permanent("NotOurs", "the file keeps a channel of that name with another UID");
        ours.then_some(()).ok_or(error)
    }

    async fn unprovision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        let sql = "DELETE FROM channels WHERE name = ?1 AND uid = ?2 AND ?3";
        let delete = channel.retention == Retention::Delete;
        self.execute(sql, (channel.channel.to_string(), channel.uid.to_string(), delete)).await?;
        Ok(())
    }

    async fn subscribe(&self, spec: &SubscriptionSpec) -> Result<(), HookError> {
        let (name, uid) = (spec.subscription.to_string(), spec.uid.to_string());
        let other = "DELETE FROM subscriptions WHERE name = ?1 AND uid != ?2";
        self.execute(other, (name.clone(), uid.clone())).await?;
        let sql = "INSERT INTO subscriptions (name, uid, channel)
                   SELECT ?1, ?2, name FROM channels WHERE name = ?3 AND uid = ?4
                   ON CONFLICT (name) DO UPDATE SET uid = uid";
        let channel = (spec.channel.to_string(), spec.channel_uid.to_string());
        let known = self.execute(sql, (name, uid, channel.0, channel.1)).await?;
        let error = HookError::transient("ChannelNotProvisioned", "the channel is not in the file");
        known.then_some(()).ok_or(error)
    }

    async fn unsubscribe(&self, spec: &SubscriptionSpec) -> Result<(), HookError> {
        let sql = "DELETE FROM subscriptions WHERE name = ?1 AND uid = ?2";
        self.execute(sql, (spec.subscription.to_string(), spec.uid.to_string())).await?;
        Ok(())
    }

    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError> {
        let name = channel.to_string();
        let known = self.run(move |tx| {
            let sql = "INSERT INTO queue (sub, message, size, accepted)
                       SELECT id, ?2, ?3, ?4 FROM subscriptions WHERE channel = ?1";
            let values = params![name, encode(&message), message.size() as i64, micros(SystemTime::now())];
            tx.prepare_cached(sql)?.execute(values)?;
            tx.prepare_cached("SELECT 1 FROM channels WHERE name = ?1")?.exists([&name])
        });
        let known = known.await?;
        self.changed.notify_waiters();
        known.then_some(()).ok_or_else(|| PublishError::UnknownChannel(channel.clone()))
    }

    async fn consume(&self, from: &SubscriptionRef, credit: Credit) -> Result<Deliveries, BusError> {
        let (name, sql) = (from.to_string(), "SELECT id, random() FROM subscriptions WHERE name = ?1");
        let ids = self.run(move |tx| tx.query_row(sql, [name], |row| row.try_into()).optional()).await?;
        Ok(consumer::deliveries(self.clone(), ids.ok_or(BusError::UnknownSubscription)?, credit))
    }

    async fn dead_letter(&self, of: &SubscriptionRef, dead: Message, cause: Cause) -> Result<(), BusError> {
        let sql = "INSERT INTO dead (sub, message, stored, cause)
                   SELECT id, ?2, ?3, ?4 FROM subscriptions WHERE name = ?1";
        let values = (of.to_string(), encode(&dead), micros(SystemTime::now()), cause.reason());
        self.execute(sql, values).await?.then_some(()).ok_or(BusError::UnknownSubscription)
    }

    async fn dead_letters(
        &self,
        of: &SubscriptionRef,
        cursor: Option<&str>,
    ) -> Result<BoxStream<'static, Result<StoredDeadLetter, BusError>>, BusError> {
        // A page: whoever wants more reads on after its last cursor.
        let sql = "SELECT dead.* FROM dead JOIN subscriptions s ON s.id = sub
                   WHERE s.name = ?1 AND dead.id > ?2 ORDER BY dead.id LIMIT 100";
        let values = (of.to_string(), cursor.and_then(|c| c.parse().ok()).unwrap_or(0_i64));
        let page = self.run(move |tx| {
            let letter = |row: &rusqlite::Row<'_>| {
                let reason: String = row.get("cause")?;
                Ok(Ok(StoredDeadLetter {
                    cursor: row.get::<_, i64>("id")?.to_string(),
                    stored_at: from_micros(row.get("stored")?),
                    cause: Cause::ALL.into_iter().find(|c| c.reason() == reason).unwrap_or(Cause::Rejected),
                    message: decode(&row.get::<_, Vec<u8>>("message")?).unwrap_or_default(),
                }))
            };
            tx.prepare_cached(sql)?.query_map(values, letter)?.collect::<Result<Vec<_>, _>>()
        });
        Ok(stream::iter(page.await?).boxed())
    }

    async fn remove_dead_letter(&self, of: &SubscriptionRef, cursor: &str) -> Result<(), BusError> {
        let sql = "DELETE FROM dead WHERE id = ?2 AND sub = (SELECT id FROM subscriptions WHERE name = ?1)";
        self.execute(sql, (of.to_string(), cursor.parse().unwrap_or(0_i64))).await?;
        Ok(())
    }

    async fn backlog(&self, of: &SubscriptionRef) -> Result<Option<Backlog>, BusError> {
        let sql = "SELECT COUNT(q.id), MIN(accepted), COUNT(CASE WHEN held_until > ?2 THEN 1 END)
                   FROM subscriptions s LEFT JOIN queue q ON q.sub = s.id WHERE s.name = ?1 GROUP BY s.id";
        let values = (of.to_string(), micros(SystemTime::now()));
        let numbers = self.run(move |tx| tx.query_row(sql, values, |row| row.try_into()).optional()).await?;
        let (count, oldest, held): (u32, Option<i64>, u32) = numbers.ok_or(BusError::UnknownSubscription)?;
        Ok(Some(Backlog { count: count.into(), oldest: oldest.map(from_micros), in_flight: held.into() }))
    }
}
