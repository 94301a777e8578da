//! The contract against the real binary, on a folder of manifests and against a real API server; and what its
//! file holds meanwhile.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{path::Path, time::Duration};

use busway_buskit::{Bus as _, store};
use busway_testkit::conformance::running::{Held, Kept, Store, Subject};
use rusqlite::{Connection, Row};
use third_party_bus::SqliteBus;

/// Longer than any test holds the file.
const BUSY: Duration = Duration::from_secs(60);

fn sqlite() -> Subject {
    let temp = tempfile::tempdir().unwrap();
    let profile = SqliteBus::open(&temp.path().join("bus.sqlite"), BUSY).unwrap().profile();
    Subject::new(env!("CARGO_BIN_EXE_third-party-bus"), profile)
        .environment(|data| vec![("SQLITE_FILE", data.join("bus.sqlite").into())])
        .store(File)
}

/// The file, as another process than the dispatcher's sees it.
struct File;

impl Store for File {
    fn kept(&self, data: &Path) -> anyhow::Result<Kept> {
        let file = open(data)?;
        let count = |table| file.query_row(table, [], |row| row.get(0));
        let message = |row: &Row<'_>| {
            let message = store::decode(&row.get::<_, Vec<u8>>(0)?).unwrap();
            Ok((message.body().clone(), row.get(1)?))
        };
        Ok(Kept {
            channels: count("SELECT COUNT(*) FROM channels")?,
            subscriptions: count("SELECT COUNT(*) FROM subscriptions")?,
            messages: file
                .prepare("SELECT message, attempts FROM queue")?
                .query_map([], message)?
                .collect::<Result<_, _>>()?,
            dead_letters: file
                .prepare("SELECT cause FROM dead")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?,
        })
    }

    fn hold(&self, data: &Path) -> anyhow::Result<Option<Held>> {
        let file = open(data)?;
        file.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Some(Box::new(file)))
    }
}

fn open(data: &Path) -> anyhow::Result<Connection> {
    let file = Connection::open(data.join("bus.sqlite"))?;
    file.busy_timeout(BUSY)?;
    Ok(file)
}

busway_testkit::conformance_running!(sqlite());
