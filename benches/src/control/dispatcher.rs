//! The dispatcher's process.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use busway_testkit::{control::ControlPlane, wait};
use serde_json::Value;
use tokio::process::Command;

use super::objects::BUS;
use crate::{
    load::Connection,
    process::{Process, Usage},
    systems::busway_binary,
};

/// `busway dispatcher --standalone`.
#[derive(Debug)]
pub(super) struct Dispatcher {
    process: Process,
    messages: SocketAddr,
}

impl Dispatcher {
    /// Starts it and waits until it says that it is ready: all was loaded once.
    pub(super) async fn start(
        plane: &ControlPlane,
        folder: &Path,
        within: Duration,
    ) -> Result<Self> {
        let mut command = Command::new(busway_binary()?);
        command.env("KUBECONFIG", plane.kubeconfig());
        command.args(["dispatcher", "--standalone", "--cluster-bus", BUS]);
        command.arg("--log-format=json");
        for port in ["listen", "admin", "debug"] {
            command.arg(format!("--{port}=127.0.0.1:0"));
        }
        let process = Process::start("dispatcher", &mut command, folder)?;
        let address = async |kind| {
            let what = format!("where it listens for {kind}");
            process.said(&what, |line| listening(line, kind)).await
        };
        let messages = address("messages").await?;
        let admin = address("admin").await?;
        let ready = wait::until("/readyz answers 200", within, || async {
            let mut connection = Connection::open(admin).await?;
            let request = format!("GET /readyz HTTP/1.1\r\nhost: {admin}\r\n\r\n");
            match connection.exchange(request.as_bytes()).await? {
                200 => Ok(()),
                status => bail!("it answers {status}"),
            }
        });
        ready.await.with_context(|| process.tail())?;
        Ok(Self { process, messages })
    }

    pub(super) fn messages(&self) -> SocketAddr {
        self.messages
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    pub(super) fn tail(&self) -> String {
        self.process.tail()
    }

    pub(super) async fn terminate(self) -> Result<()> {
        self.process.terminate().await
    }
}

/// The address in a line of its log, which is JSON: `{"message": "listening", "kind": …, "address": …}`.
fn listening(line: &str, kind: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    let is = |key: &str, value: &str| line.get(key).is_some_and(|found| found == value);
    if !is("message", "listening") || !is("kind", kind) {
        return None;
    }
    line.get("address")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_a_line_of_the_log() {
        let line = r#"{"level":"INFO","message":"listening","address":"127.0.0.1:81","kind":"admin","bus":"b"}"#;
        assert_eq!(listening(line, "admin"), "127.0.0.1:81".parse().ok());
        assert_eq!(listening(line, "messages"), None);
        assert_eq!(listening("listening admin=127.0.0.1:81", "admin"), None);
    }
}
