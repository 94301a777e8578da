//! A bus over one SQLite file: hooks and publishing here, consuming in `consumer`.

mod consumer;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use busway_buskit::prelude::*;
use busway_buskit::store::{Blocking, Failed, decode, encode, from_micros, micros};
use futures::stream::{self, BoxStream, StreamExt as _};
use rusqlite::{Connection, OptionalExtension as _, Params, Transaction, TransactionBehavior::Immediate};
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
    pub fn open(file: &Path, lease: Duration) -> anyhow::Result<Self> {
        let connection = Connection::open(file)?;
        connection.execute_batch(include_str!("sql/schema.sql"))?;
        Ok(Self { file: Blocking::start("sqlite", connection)?, lease, changed: Arc::default() })
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
        let durability = Durability::Durable { detail: "fsynced to a SQLite file".to_owned() };
        let capabilities = Capabilities::NONE.with_backlog().with_dead_letters();
        Profile { can_delay: true, capabilities, ..Profile::plain(Scope::Shared, durability) }
    }

    async fn provision(&self, spec: &ChannelSpec) -> Result<(), HookError> {
        let values = (spec.channel.to_string(), spec.uid.to_string());
        let ours = self.execute(include_str!("sql/provision.sql"), values).await?;
        let error = HookError::permanent("NotOurs", "the file keeps a channel of that name with another UID");
        ours.then_some(()).ok_or(error)
    }

    async fn unprovision(&self, spec: &ChannelSpec) -> Result<(), HookError> {
        let values = (spec.channel.to_string(), spec.uid.to_string(), spec.retention == Retention::Delete);
        self.execute("DELETE FROM channels WHERE name = ?1 AND uid = ?2 AND ?3", values).await?;
        Ok(())
    }

    async fn subscribe(&self, spec: &SubscriptionSpec) -> Result<(), HookError> {
        let (name, channel) = (spec.subscription.to_string(), spec.channel.to_string());
        let values = (name, spec.uid.to_string(), channel, spec.channel_uid.to_string());
        let known = self.execute(include_str!("sql/subscribe.sql"), values).await?;
        let error = HookError::transient("ChannelNotProvisioned", "the channel is not in the file");
        known.then_some(()).ok_or(error)
    }

    async fn unsubscribe(&self, spec: &SubscriptionSpec) -> Result<(), HookError> {
        let values = (spec.subscription.to_string(), spec.uid.to_string());
        self.execute("DELETE FROM subscriptions WHERE name = ?1 AND uid = ?2", values).await?;
        Ok(())
    }

    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError> {
        let (name, now) = (channel.to_string(), micros(SystemTime::now()));
        let known = self.run(move |tx| {
            let values = (&name, encode(&message), message.size() as i64, now);
            tx.prepare_cached(include_str!("sql/publish.sql"))?.execute(values)?;
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
        let values = (of.to_string(), encode(&dead), micros(SystemTime::now()), cause.reason());
        let known = self.execute(include_str!("sql/dead_letter.sql"), values).await?;
        known.then_some(()).ok_or(BusError::UnknownSubscription)
    }

    async fn dead_letters(
        &self,
        of: &SubscriptionRef,
        cursor: Option<&str>,
    ) -> Result<BoxStream<'static, Result<StoredDeadLetter, BusError>>, BusError> {
        let values = (of.to_string(), cursor.and_then(|c| c.parse().ok()).unwrap_or(0_i64));
        let page = self.run(move |tx| {
            let mut sql = tx.prepare_cached(include_str!("sql/dead_letters.sql"))?;
            sql.query_map(values, |row| row.try_into())?.collect::<Result<Vec<_>, _>>()
        });
        let letter = |(id, stored, cause, message): (i64, i64, String, Vec<u8>)| StoredDeadLetter {
            cursor: id.to_string(),
            stored_at: from_micros(stored),
            cause: Cause::of_reason(&cause).unwrap_or(Cause::Rejected),
            message: decode(&message).unwrap_or_default(),
        };
        Ok(stream::iter(page.await?.into_iter().map(letter).map(Ok)).boxed())
    }

    async fn remove_dead_letter(&self, of: &SubscriptionRef, cursor: &str) -> Result<(), BusError> {
        let sql = "DELETE FROM dead WHERE id = ?2 AND sub = (SELECT id FROM subscriptions WHERE name = ?1)";
        self.execute(sql, (of.to_string(), cursor.parse().unwrap_or(0_i64))).await?;
        Ok(())
    }

    async fn backlog(&self, of: &SubscriptionRef) -> Result<Option<Backlog>, BusError> {
        let (sql, values) = (include_str!("sql/backlog.sql"), (of.to_string(), micros(SystemTime::now())));
        let numbers = self.run(move |tx| tx.query_row(sql, values, |row| row.try_into()).optional()).await?;
        let (count, oldest, held): (u32, Option<i64>, u32) = numbers.ok_or(BusError::UnknownSubscription)?;
        Ok(Some(Backlog { count: count.into(), oldest: oldest.map(from_micros), in_flight: held.into() }))
    }
}
