//! A bus over one SQLite file: hooks and publishing here, consuming in `consumer`.

mod consumer;
mod db;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use busway_buskit::core::{bus::*, outcome::Cause};
use busway_buskit::{Bus, ChannelRef, Message, SubscriptionRef, async_trait};
use futures::stream::{self, BoxStream, StreamExt as _};
use rusqlite::{OptionalExtension as _, Params, params};
use tokio::sync::Notify;

use consumer::{Consumer, Stream};
use db::{Db, headers, message, micros, time};

/// Carries messages in a SQLite file; several processes may share it.
pub struct SqliteBus {
    db: Db,
    lease: Duration,
    changed: Arc<Notify>,
}

impl SqliteBus {
    /// Opens the file, or creates it. A message whose holder is silent for `lease` is given out again.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(file: &Path, lease: Duration) -> rusqlite::Result<Self> {
        Ok(Self { db: Db::open(file)?, lease, changed: Arc::default() })
    }

    /// Runs one statement; tells how many rows it changed.
    async fn execute(
        &self,
        sql: &'static str,
        values: impl Params + Send + 'static,
    ) -> Result<usize, BusError> {
        let rows = self.db.run(move |tx| tx.prepare_cached(sql)?.execute(values)).await;
        self.changed.notify_waiters();
        rows
    }
}

fn hook_error(error: BusError) -> HookError {
    HookError::transient("SqliteFailed", error.to_string())
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
        let values = (channel.channel.to_string(), channel.uid.to_string());
        match self.execute(sql, values).await.map_err(hook_error)? {
            0 => {
                Err(HookError::permanent("NotOurs", "the file keeps a channel of that name with another UID"))
            }
            _ => Ok(()),
        }
    }

    async fn unprovision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        let sql = "DELETE FROM channels WHERE name = ?1 AND uid = ?2 AND ?3";
        let delete = channel.retention == Retention::Delete;
        let values = (channel.channel.to_string(), channel.uid.to_string(), delete);
        self.execute(sql, values).await.map_err(hook_error).map(drop)
    }

    async fn subscribe(&self, spec: &SubscriptionSpec) -> Result<(), HookError> {
        let other = "DELETE FROM subscriptions WHERE name = ?1 AND uid != ?2";
        let (name, uid) = (spec.subscription.to_string(), spec.uid.to_string());
        self.execute(other, (name.clone(), uid.clone())).await.map_err(hook_error)?;
        let sql = "INSERT INTO subscriptions (name, uid, channel)
                   SELECT ?1, ?2, name FROM channels WHERE name = ?3 AND uid = ?4
                   ON CONFLICT (name) DO UPDATE SET uid = uid";
        let values = (name, uid, spec.channel.to_string(), spec.channel_uid.to_string());
        match self.execute(sql, values).await.map_err(hook_error)? {
            0 => Err(HookError::transient("ChannelNotProvisioned", "the channel is not in the file")),
            _ => Ok(()),
        }
    }

    async fn unsubscribe(&self, spec: &SubscriptionSpec) -> Result<(), HookError> {
        let sql = "DELETE FROM subscriptions WHERE name = ?1 AND uid = ?2";
        let values = (spec.subscription.to_string(), spec.uid.to_string());
        self.execute(sql, values).await.map_err(hook_error).map(drop)
    }

    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError> {
        let name = channel.to_string();
        let stored = self.db.run(move |tx| {
            let sql = "INSERT INTO queue (sub, headers, body, size, accepted)
                       SELECT id, ?2, ?3, ?4, ?5 FROM subscriptions WHERE channel = ?1";
            let (size, now) = (message.size() as i64, micros(SystemTime::now()));
            let mut store = tx.prepare_cached(sql)?;
            store.execute(params![name, headers(&message), &message.body()[..], size, now])?;
            tx.prepare_cached("SELECT 1 FROM channels WHERE name = ?1")?.exists([name])
        });
        let known = stored.await.map_err(|error| PublishError::Unavailable {
            after: Duration::from_secs(1),
            why: error.to_string(),
        });
        self.changed.notify_waiters();
        if known? { Ok(()) } else { Err(PublishError::UnknownChannel(channel.clone())) }
    }

    async fn consume(&self, from: &SubscriptionRef, credit: Credit) -> Result<Deliveries, BusError> {
        let name = from.to_string();
        let sql = "SELECT id, random() FROM subscriptions WHERE name = ?1";
        let ids = self.db.run(move |tx| {
            let ids = tx.query_row(sql, [name], |row| Ok((row.get(0)?, row.get(1)?)));
            ids.optional()
        });
        let (sub, holder) = ids.await?.ok_or(BusError::UnknownSubscription)?;
        let (db, changed) = (self.db.clone(), Arc::clone(&self.changed));
        let consumer = Consumer { db, changed, lease: self.lease, credit, sub, holder };
        let next = async |stream: Stream| stream.next().await.map(|next| (next, stream));
        Ok(stream::unfold(Stream(Arc::new(consumer)), next).boxed())
    }

    async fn dead_letter(&self, of: &SubscriptionRef, dead: Message, cause: Cause) -> Result<(), BusError> {
        let sql = "INSERT INTO dead (sub, headers, body, stored, cause)
                   SELECT id, ?2, ?3, ?4, ?5 FROM subscriptions WHERE name = ?1";
        let (now, body) = (micros(SystemTime::now()), dead.body().to_vec());
        let values = (of.to_string(), headers(&dead), body, now, cause.reason());
        let rows = self.execute(sql, values).await?;
        if rows == 0 { Err(BusError::UnknownSubscription) } else { Ok(()) }
    }

    async fn dead_letters(
        &self,
        of: &SubscriptionRef,
        cursor: Option<&str>,
    ) -> Result<BoxStream<'static, Result<StoredDeadLetter, BusError>>, BusError> {
        // A page: whoever wants more reads on after its last cursor.
        let sql = "SELECT dead.* FROM dead JOIN subscriptions s ON s.id = sub
                   WHERE s.name = ?1 AND dead.id > ?2 ORDER BY dead.id LIMIT 100";
        let values = (of.to_string(), cursor.and_then(|c| c.parse::<i64>().ok()).unwrap_or_default());
        let page = self.db.run(move |tx| {
            let mut page = tx.prepare_cached(sql)?;
            let letters = page.query_map(values, |row| {
                let reason: String = row.get("cause")?;
                Ok(StoredDeadLetter {
                    cursor: row.get::<_, i64>("id")?.to_string(),
                    stored_at: time(row.get("stored")?),
                    cause: Cause::ALL.into_iter().find(|c| c.reason() == reason).unwrap_or(Cause::Rejected),
                    message: message(row)?,
                })
            })?;
            letters.map(|letter| letter.map(Ok)).collect::<Result<Vec<_>, _>>()
        });
        Ok(stream::iter(page.await?).boxed())
    }

    async fn remove_dead_letter(&self, of: &SubscriptionRef, cursor: &str) -> Result<(), BusError> {
        let sql = "DELETE FROM dead WHERE id = ?2 AND sub = (SELECT id FROM subscriptions WHERE name = ?1)";
        let values = (of.to_string(), cursor.parse::<i64>().unwrap_or_default());
        self.execute(sql, values).await.map(drop)
    }

    async fn backlog(&self, of: &SubscriptionRef) -> Result<Option<Backlog>, BusError> {
        let sql = "SELECT COUNT(q.id), MIN(accepted), COUNT(CASE WHEN held_until > ?2 THEN 1 END)
                   FROM subscriptions s LEFT JOIN queue q ON q.sub = s.id WHERE s.name = ?1 GROUP BY s.id";
        let values = (of.to_string(), micros(SystemTime::now()));
        let known = self.db.run(move |tx| {
            let backlog = tx.query_row(sql, values, |row| {
                let (count, oldest, held): (u32, Option<i64>, u32) = row.try_into()?;
                Ok(Backlog { count: count.into(), oldest: oldest.map(time), in_flight: held.into() })
            });
            backlog.optional()
        });
        known.await?.map(Some).ok_or(BusError::UnknownSubscription)
    }
}
