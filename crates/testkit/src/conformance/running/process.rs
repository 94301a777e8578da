//! A dispatcher that was started.

use std::{net::SocketAddr, process::ExitStatus, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::{Verdict, World, world::CHANNEL};
use crate::{
    binary::Binary,
    client::{self, Answer},
    subscriber::{Got, Subscriber},
    wait,
};

/// Lines of its output that a failure shows.
const TAIL: usize = 40;

/// A dispatcher, running. Dropping it kills it.
pub struct Running<'a> {
    world: &'a World,
    process: Binary,
}

impl<'a> Running<'a> {
    pub(super) async fn start(world: &'a World) -> anyhow::Result<Self> {
        let environment = world.environment();
        let environment: Vec<_> = environment
            .iter()
            .map(|(k, v)| (*k, v.as_os_str()))
            .collect();
        let process = Binary::start(&world.subject.program, world.args()?, &environment)?;
        let mut running = Self { world, process };
        let patience = world.patience();
        let admin = running.at_admin();
        let ready =
            wait::until(
                "/readyz on ADMIN_PORT answers 200",
                patience,
                async || match client::get(admin, "/readyz").await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
                    Err(error) => Err(format!("{error:#}")),
                },
            );
        tokio::select! {
            ready = ready => ready?,
            ended = running.process.ended(patience * 2) => {
                bail!("it ended with {} before it was ready", ended?)
            }
        }
        Ok(running)
    }

    fn at(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    pub(super) fn at_messages(&self) -> SocketAddr {
        Self::at(self.world.ports.messages.number())
    }

    pub(super) fn at_admin(&self) -> SocketAddr {
        Self::at(self.world.ports.admin.number())
    }

    /// GETs from the admin port.
    pub(super) async fn admin(&self, path: &str) -> anyhow::Result<Answer> {
        client::get(self.at_admin(), path).await
    }

    /// GETs from the debug port, which programs of buskit's have.
    pub(super) async fn debug(&self, path: &str) -> anyhow::Result<Answer> {
        client::get(Self::at(self.world.ports.debug.number()), path).await
    }

    /// POSTs to a channel of the tests' namespace.
    pub(super) async fn post_to(
        &self,
        channel: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> anyhow::Result<Answer> {
        let path = format!("/{}/{channel}", self.world.namespace());
        client::post(self.at_messages(), &path, headers, body).await
    }

    /// POSTs to the channel, and fails unless it is accepted.
    pub(super) async fn accepts(&self, body: &str) -> Verdict {
        let answer = self.post_to(CHANNEL, &[], body.to_owned()).await?;
        let status = answer.status;
        ensure!(
            status == 202,
            "{body:?} was to be accepted: {status}: {}",
            answer.text()
        );
        Ok(())
    }

    /// Waits until a channel is unknown.
    pub(super) async fn knows_no(&self, channel: &str) -> Verdict {
        let what = format!("a POST to {channel} is answered 404");
        wait::until(&what, self.world.patience(), async || {
            match self.post_to(channel, &[], "late").await {
                Ok(answer) if answer.status == 404 => Ok(()),
                Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await
    }

    /// What `/replica/loaded` says of an object: the generation that is served.
    async fn loaded(&self, uid: &Value) -> anyhow::Result<Option<Value>> {
        let answer = self.admin("/replica/loaded?since=0").await?;
        ensure!(answer.status == 200, "/replica/loaded: {}", answer.status);
        let page: Value = serde_json::from_slice(&answer.body)
            .with_context(|| format!("/replica/loaded: {}", answer.text()))?;
        for field in ["replica", "sequence", "full", "set"] {
            ensure!(
                !page[field].is_null(),
                "/replica/loaded has no {field}: {page}"
            );
        }
        let mut set = page["set"].as_array().into_iter().flatten();
        Ok(set.find(|pair| pair[0] == *uid).map(|pair| pair[1].clone()))
    }

    /// Waits until it says that it serves an object, in this generation.
    pub(super) async fn serves(&self, metadata: &Value) -> Verdict {
        let generation = Some(metadata["generation"].clone());
        self.has_loaded(metadata, generation).await
    }

    /// Waits until it says that it does not serve an object.
    pub(super) async fn serves_no(&self, metadata: &Value) -> Verdict {
        self.has_loaded(metadata, None).await
    }

    async fn has_loaded(&self, metadata: &Value, generation: Option<Value>) -> Verdict {
        let (name, expected) = (&metadata["name"], format!("{generation:?}"));
        let what = format!("/replica/loaded says generation {expected} of {name}");
        wait::until(&what, self.world.patience(), async || {
            match self.loaded(&metadata["uid"]).await {
                Ok(served) if served == generation => Ok(()),
                Ok(served) => Err(format!("{served:?}")),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await
    }

    /// Waits until a subscriber has got that many requests, and returns all that it got.
    pub(super) async fn reaches(&self, to: &Subscriber, many: usize) -> anyhow::Result<Vec<Got>> {
        let what = format!("{many} requests have reached the subscriber");
        wait::until(&what, self.world.patience(), async || {
            let got = to.got();
            if got.len() >= many {
                return Ok(got);
            }
            Err(format!("{:?}", got.iter().map(body).collect::<Vec<_>>()))
        })
        .await
    }

    pub(super) async fn signal(&self, name: &str) -> Verdict {
        let Some((program, args)) = self.world.subject.signals.split_first() else {
            return self.process.signal(name).await;
        };
        let id = self.process.id().context("the process has ended")?;
        let sent = Command::new(program)
            .args(args)
            .args([name, &id.to_string()])
            .envs(self.world.environment())
            .status()
            .await
            .with_context(|| format!("running {}", program.display()))?;
        ensure!(sent.success(), "{} {name} {id}: {sent}", program.display());
        Ok(())
    }

    /// Waits until it has ended.
    pub(super) async fn ended(mut self) -> anyhow::Result<ExitStatus> {
        let patience = self.world.patience();
        self.process.ended(patience).await
    }

    /// Kills it, as `kill -9` does.
    pub(super) async fn kill(self) -> Verdict {
        self.signal("KILL").await?;
        self.ended().await.map(drop)
    }

    /// Ends it in order.
    pub(super) async fn leaves(self) -> Verdict {
        self.signal("TERM").await?;
        let ended = self.ended().await?;
        ensure!(ended.success(), "after SIGTERM it ended with {ended}");
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let lines = self.process.output();
        let start = lines.len().saturating_sub(TAIL);
        let tail = lines.get(start..).unwrap_or_default().join("\n");
        self.world.has_printed(&tail);
    }
}

/// The body of a request as text.
pub(super) fn body(got: &Got) -> String {
    String::from_utf8_lossy(&got.body).into_owned()
}

/// How long nothing must come for "nothing comes".
pub(super) const QUIET: Duration = Duration::from_millis(500);
