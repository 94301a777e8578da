//! Leadership by a Lease: who may run Shared hooks and write status.
//!
//! As client-go does it: another holder's Lease is taken when its record has not changed for its duration on *our*
//! monotonic clock, so clocks that differ between nodes do no harm. A holder that could not renew steps down well
//! before anybody may take over.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{names::fitted, trouble::Trouble};

/// How long a Lease holds after its last renewal.
const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// When a holder that could not renew steps down: 5 s before anybody else may take the Lease.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often the others look, and a holder whose renewal failed: what a hand-over takes after a Lease was given back.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// How long a follower's look may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long giving the Lease back may take; past it the others wait for [`DURATION`].
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// Share of a pause by which it varies, so that replicas do not look in step.
const JITTER: f64 = 0.2;
/// A label's length; a Lease named so can be named in one.
const MAX_NAME: usize = 63;

/// Which Lease, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Its namespace.
    pub namespace: String,
    /// Its name, see [`lease_name`].
    pub name: String,
    /// Who holds it: unique to this process, see [`identity`].
    pub identity: String,
    /// Whether it is created when it is not there (standalone); else the operator does, and it is waited for.
    pub create: bool,
}

/// `busway-<bus>`, or `busway.<namespace>.<bus>` where several namespaces' buses share one namespace for their Leases;
/// at most 63 characters: what is longer is cut, and told apart by a hash.
#[must_use]
pub fn lease_name(namespace: Option<&str>, bus: &str) -> String {
    let full = match namespace {
        // A namespace has no dot: no two pairs make one name, nor a pair and a ClusterBus.
        Some(namespace) => format!("busway.{namespace}.{bus}"),
        None => format!("busway-{bus}"),
    };
    fitted(&full, MAX_NAME)
}

/// The pod's name, else host name and process id.
#[must_use]
pub fn identity(pod_name: Option<&str>) -> String {
    if let Some(name) = pod_name.filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "localhost" } else { host };
    format!("{host}-{}", std::process::id())
}

/// Runs for the Lease until `shutdown`, then gives it back. Losing it ends nothing but the receiver's `true`.
pub(super) fn elect(
    client: Client,
    options: LeaseOptions,
    shutdown: CancellationToken,
) -> (watch::Receiver<bool>, JoinHandle<()>) {
    let (leads, receiver) = watch::channel(false);
    let candidate = Candidate {
        api: Api::namespaced(client, &options.namespace),
        options,
        leads,
        observed: None,
        renewed: None,
        trouble: Trouble::default(),
    };
    (receiver, tokio::spawn(candidate.run(shutdown)))
}

struct Candidate {
    api: Api<Lease>,
    options: LeaseOptions,
    leads: watch::Sender<bool>,
    observed: Option<Observed>,
    /// When the last renewal that succeeded was begun.
    renewed: Option<Instant>,
    trouble: Trouble,
}

/// Another's record, and since when it is the same.
#[derive(Debug)]
struct Observed {
    spec: LeaseSpec,
    since: Instant,
}

impl Candidate {
    async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let begun = Instant::now();
            let limit = match self.renewed {
                Some(renewed) => (renewed + RENEW_DEADLINE).saturating_duration_since(begun),
                None => TRY_TIMEOUT,
            };
            let tried = shutdown
                .run_until_cancelled(timeout(limit, self.try_once()))
                .await;
            let Some(tried) = tried else { break };
            let next = match tried {
                Ok(Ok(true)) => {
                    self.trouble.is_over();
                    self.renewed = Some(begun);
                    // What somebody else held is over.
                    self.observed = None;
                    RENEW_EVERY
                }
                Ok(Ok(false)) => {
                    self.trouble.is_over();
                    self.renewed = None;
                    RETRY_EVERY
                }
                Ok(Err(error)) => {
                    self.tell(&error.to_string());
                    RETRY_EVERY
                }
                Err(_) => {
                    self.tell("no answer");
                    RETRY_EVERY
                }
            };
            let pause = self.settle(next);
            shutdown
                .run_until_cancelled(tokio::time::sleep(pause))
                .await;
        }
        let held = self.renewed.is_some();
        self.leads.send_replace(false);
        if held {
            match timeout(RELEASE_TIMEOUT, self.release()).await {
                Ok(Ok(())) => tracing::info!(lease = self.options.name, "gave the Lease back"),
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.options.name, %error, "the Lease was not given back");
                }
                Err(_) => tracing::warn!(
                    lease = self.options.name,
                    "the Lease was not given back in time"
                ),
            }
        }
    }

    fn tell(&mut self, error: &str) {
        if self.trouble.is_news(error, Instant::now()) {
            let lease = &self.options.name;
            tracing::warn!(lease, error, "the Lease could not be read or written");
        }
    }

    /// Tells whether it leads; about `next`, and never past the deadline, is how long to wait until the next try.
    fn settle(&mut self, next: Duration) -> Duration {
        let left = self
            .renewed
            .map(|renewed| (renewed + RENEW_DEADLINE).saturating_duration_since(Instant::now()))
            .filter(|left| !left.is_zero());
        if left.is_none() {
            self.renewed = None;
        }
        let leads = left.is_some();
        if self
            .leads
            .send_if_modified(|told| std::mem::replace(told, leads) != leads)
        {
            let what = if leads { "holds" } else { "lost" };
            tracing::info!(
                lease = self.options.name,
                identity = self.options.identity,
                "{what} the Lease"
            );
        }
        match left {
            Some(left) => jittered(next).min(left),
            None => jittered(RETRY_EVERY),
        }
    }

    /// Whether this process holds the Lease afterwards.
    async fn try_once(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.api.get_opt(&self.options.name).await? else {
            return if self.options.create {
                self.create().await
            } else {
                Ok(false)
            };
        };
        let spec = lease.spec.take().unwrap_or_default();
        if !self.may_take(&spec, Instant::now()) {
            return Ok(false);
        }
        lease.spec = Some(self.record(Some(spec)));
        self.write(
            self.api
                .replace(&self.options.name, &PostParams::default(), &lease)
                .await,
        )
    }

    async fn create(&self) -> kube::Result<bool> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.options.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.record(None)),
        };
        self.write(self.api.create(&PostParams::default(), &lease).await)
    }

    /// Somebody else was faster: that is no error.
    fn write(&self, written: kube::Result<Lease>) -> kube::Result<bool> {
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 && self.renewed.is_none() => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn may_take(&mut self, spec: &LeaseSpec, now: Instant) -> bool {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        // One that saw another hold it did not write its own name there: somebody's hand did, and the other has to find
        // out first. A process that was started again finds its own at the first look.
        let mine = holder == self.options.identity && self.observed.is_none();
        if holder.is_empty() || mine {
            return true;
        }
        let observed = match self.observed.take() {
            Some(observed) if observed.spec == *spec => observed,
            _ => Observed {
                spec: spec.clone(),
                since: now,
            },
        };
        let lasts = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let lasts = lasts.map_or(DURATION, Duration::from_secs);
        let over = now.duration_since(observed.since) >= lasts;
        self.observed = Some(observed);
        over
    }

    fn record(&self, before: Option<LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let before = before.unwrap_or_default();
        let mine = before.holder_identity.as_deref() == Some(&self.options.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.options.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if mine {
                before.acquire_time
            } else {
                Some(now.clone())
            },
            renew_time: Some(now),
            lease_transitions: Some(if mine {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let Some(mut lease) = self.api.get_opt(&self.options.name).await? else {
            return Ok(());
        };
        let Some(spec) = &mut lease.spec else {
            return Ok(());
        };
        if spec.holder_identity.as_deref() != Some(&self.options.identity) {
            return Ok(());
        }
        // Not an empty text: the API server refuses that.
        spec.holder_identity = None;
        self.api
            .replace(&self.options.name, &PostParams::default(), &lease)
            .await
            .map(drop)
    }
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(fastrand::f64().mul_add(2.0 * JITTER, 1.0 - JITTER))
}

#[cfg(test)]
#[path = "lease/tests.rs"]
mod tests;
