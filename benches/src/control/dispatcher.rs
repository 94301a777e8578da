//! The dispatcher's process.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use busway_testkit::{control::ControlPlane, wait};
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
        for port in ["listen", "admin", "debug"] {
            command.arg(format!("--{port}=127.0.0.1:0"));
        }
        let process = Process::start("dispatcher", &mut command, folder)?;
        let address = async |kind: &str| -> Result<SocketAddr> {
            let text = process.line_after(&format!("listening {kind}=")).await?;
            text.parse().context(text)
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
