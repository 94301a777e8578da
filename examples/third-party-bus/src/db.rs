//! The file, and how times and messages are kept in it.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use busway_buskit::{Message, core::bus::BusError};
use http::{HeaderMap, HeaderName, HeaderValue};
use rusqlite::{Connection, Row, Transaction, TransactionBehavior::Immediate};
use tokio::sync::{mpsc, oneshot};

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// A thread that owns the connection: SQLite blocks, and a bus must not.
#[derive(Clone)]
pub(crate) struct Db(mpsc::Sender<Work>);

impl Db {
    pub(crate) fn open(file: &Path) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(file)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch(include_str!("schema.sql"))?;
        let (sender, mut waiting) = mpsc::channel::<Work>(1024);
        std::thread::spawn(move || {
            std::iter::from_fn(|| waiting.blocking_recv()).for_each(|w| w(&mut connection))
        });
        Ok(Self(sender))
    }

    /// Works in a transaction; what comes back as Ok is on the disk.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, BusError> {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(move |c: &mut Connection| drop(reply.send(commit(c, work))));
        drop(self.0.send(work).await);
        let closed = |_| BusError::Failed("the file is closed".to_owned());
        answer.await.map_err(closed)?.map_err(|error| BusError::Failed(error.to_string()))
    }

    /// As `run`, for who cannot wait. Too busy, it is left undone, and a lease runs out instead.
    pub(crate) fn run_later(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static,
    ) {
        drop(self.0.try_send(Box::new(move |c| drop(commit(c, work)))));
    }
}

fn commit<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(Immediate)?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

pub(crate) fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros.unsigned_abs())
}

/// One line a header: no value has a line feed in it.
pub(crate) fn headers(message: &Message) -> Vec<u8> {
    let lines = message.headers().iter();
    lines
        .flat_map(|(name, value)| [name.as_str().as_bytes(), b":", value.as_bytes(), b"\n"].concat())
        .collect()
}

pub(crate) fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let lines: Vec<u8> = row.get("headers")?;
    let body: Vec<u8> = row.get("body")?;
    let header = |line: &[u8]| {
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value.get(1..)?).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.split(|byte| *byte == b'\n').filter_map(header) {
        headers.append(name, value);
    }
    Ok(Message::new(headers, body.into()))
}
