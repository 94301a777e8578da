//! Leadership by a Lease: of several operators one works.
//!
//! As client-go does it: another holder's Lease is taken when its record has not changed for its duration on *our*
//! monotonic clock. A holder that could not renew ends well before anybody may take over.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// On the Lease, as the chart has it too: by it `busway uninstall` knows an operator's, whatever it is called.
const LABEL: &str = "channels.busway.dev/lease";
/// How long a Lease holds after its last renewal.
const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// When a holder that could not renew ends: 5 s before anybody else may take the Lease.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often the others look, and a holder whose renewal failed: what a hand-over takes.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// How long one look may take.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long giving the Lease back may take; past it the others wait for [`DURATION`].
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// The same trouble is told again after so long.
const TELL_AGAIN: Duration = Duration::from_mins(1);
/// Share of a pause by which it varies, so that replicas do not look in step.
const JITTER: f64 = 0.2;

/// Which Lease, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct LeaseOptions {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Unique to this process.
    pub(crate) identity: String,
}

/// A Lease that one may hold.
pub(crate) struct Candidate {
    api: Api<Lease>,
    options: LeaseOptions,
    observed: Option<(LeaseSpec, Instant)>,
    /// What was told last, and when.
    trouble: Option<(String, Instant)>,
}

/// Why a Lease is held no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was given back.
    Released,
    /// Somebody else has it, or it could not be renewed.
    Lost,
}

impl Candidate {
    pub(crate) fn new(client: Client, options: LeaseOptions) -> Self {
        Self {
            api: Api::namespaced(client, &options.namespace),
            options,
            observed: None,
            trouble: None,
        }
    }

    /// Waits until it holds the Lease; says when it last renewed, or nothing when it was told to stop.
    pub(crate) async fn acquire(&mut self, shutdown: &CancellationToken) -> Option<Instant> {
        loop {
            let begun = Instant::now();
            let tried = shutdown.run_until_cancelled(timeout(TRY_TIMEOUT, self.try_once()));
            match tried.await? {
                Ok(Ok(true)) => {
                    let identity = &self.options.identity;
                    tracing::info!(lease = self.options.name, identity, "holds the Lease");
                    self.observed = None;
                    return Some(begun);
                }
                Ok(Ok(false)) => self.trouble = None,
                Ok(Err(error)) => self.tell(&error.to_string()),
                Err(_) => self.tell("no answer"),
            }
            let pause = tokio::time::sleep(jittered(RETRY_EVERY));
            shutdown.run_until_cancelled(pause).await?;
        }
    }

    /// The same trouble once in a while only: one that waits looks every 2 s.
    fn tell(&mut self, error: &str) {
        if self.is_news(error, Instant::now()) {
            let lease = &self.options.name;
            tracing::warn!(lease, error, "the Lease could not be read or written");
        }
    }

    fn is_news(&mut self, error: &str, now: Instant) -> bool {
        let told = self
            .trouble
            .as_ref()
            .is_some_and(|(last, at)| last == error && now.duration_since(*at) < TELL_AGAIN);
        if !told {
            self.trouble = Some((error.to_owned(), now));
        }
        !told
    }

    /// Renews until told to give the Lease back, or until it is lost.
    pub(crate) async fn hold(
        &mut self,
        mut renewed: Instant,
        release: &CancellationToken,
    ) -> Ended {
        let mut next = RENEW_EVERY;
        loop {
            let deadline = renewed + RENEW_DEADLINE;
            let left = deadline.saturating_duration_since(Instant::now());
            let pause = tokio::time::sleep(jittered(next).min(left));
            if release.run_until_cancelled(pause).await.is_none() {
                self.give_back().await;
                return Ended::Released;
            }
            let begun = Instant::now();
            let left = deadline.saturating_duration_since(begun);
            if left.is_zero() {
                tracing::error!(
                    lease = self.options.name,
                    "the Lease could not be renewed in time"
                );
                return Ended::Lost;
            }
            let tried = release.run_until_cancelled(timeout(left, self.try_once()));
            next = match tried.await {
                None => {
                    self.give_back().await;
                    return Ended::Released;
                }
                Some(Ok(Ok(true))) => {
                    renewed = begun;
                    RENEW_EVERY
                }
                Some(Ok(Ok(false))) => {
                    tracing::error!(lease = self.options.name, "somebody else holds the Lease");
                    return Ended::Lost;
                }
                Some(Ok(Err(error))) => {
                    tracing::warn!(lease = self.options.name, %error, "the Lease was not renewed");
                    RETRY_EVERY
                }
                Some(Err(_)) => RETRY_EVERY,
            };
        }
    }

    /// Whether this process holds the Lease afterwards.
    async fn try_once(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.api.get_opt(&self.options.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.options.name.clone()),
                    labels: Some(BTreeMap::from([(LABEL.to_owned(), "operator".to_owned())])),
                    ..ObjectMeta::default()
                },
                spec: Some(self.record(LeaseSpec::default())),
            };
            return faster(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if !self.may_take(&spec, Instant::now()) {
            return Ok(false);
        }
        let mine = self.is_mine(&spec);
        lease.spec = Some(self.record(spec));
        let params = PostParams::default();
        let written = self.api.replace(&self.options.name, &params, &lease).await;
        match written {
            // A conflict on our own is a write of ours that came late, or somebody's who took it: the next look tells.
            Err(error) if mine => Err(error),
            written => faster(written),
        }
    }

    fn is_mine(&self, spec: &LeaseSpec) -> bool {
        spec.holder_identity.as_deref() == Some(&self.options.identity)
    }

    fn may_take(&mut self, spec: &LeaseSpec, now: Instant) -> bool {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        // One that saw another hold it did not write its own name there: somebody's hand did, and the other has to find
        // out first. A process that was started again finds its own at the first look.
        let mine = self.is_mine(spec) && self.observed.is_none();
        if holder.is_empty() || mine {
            return true;
        }
        let since = match self.observed.take() {
            Some((observed, since)) if observed == *spec => since,
            _ => now,
        };
        self.observed = Some((spec.clone(), since));
        let lasts = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        now.duration_since(since) >= lasts.map_or(DURATION, Duration::from_secs)
    }

    fn record(&self, before: LeaseSpec) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let mine = self.is_mine(&before);
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
            lease_transitions: Some(transitions.saturating_add(i32::from(!mine))),
            ..LeaseSpec::default()
        }
    }

    async fn give_back(&self) {
        let name = &self.options.name;
        match timeout(RELEASE_TIMEOUT, self.release()).await {
            Ok(Ok(())) => tracing::info!(lease = name, "gave the Lease back"),
            Ok(Err(error)) => tracing::warn!(lease = name, %error, "the Lease was not given back"),
            Err(_) => tracing::warn!(lease = name, "the Lease was not given back in time"),
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let Some(mut lease) = self.api.get_opt(&self.options.name).await? else {
            return Ok(());
        };
        match &mut lease.spec {
            // Not an empty text: the API server refuses that.
            Some(spec) if self.is_mine(spec) => spec.holder_identity = None,
            Some(_) | None => return Ok(()),
        }
        let params = PostParams::default();
        let written = self.api.replace(&self.options.name, &params, &lease).await;
        written.map(drop)
    }
}

/// Somebody else was faster: that is no error.
fn faster(written: kube::Result<Lease>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(fastrand::f64().mul_add(2.0 * JITTER, 1.0 - JITTER))
}

#[cfg(test)]
#[path = "lead/tests.rs"]
mod tests;
