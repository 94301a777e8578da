//! Pods that the scenarios need: subscribers that print what they get, senders that report.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use busway_testkit::wait::until;

use crate::bed::{Bed, SOON};

/// What Pod Security "restricted" asks of a pod, and of a container.
const POD: &str = "{runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}";
const CONTAINER: &str =
    "{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}";

/// A sender's longest wait for an answer, in milliseconds. Twenty times what an answer takes on a busy machine, and what a
/// person notices.
const STALL: u64 = 1000;

/// Ready is said by the API server's objects; until every node's rules say the same a connection may be refused.
pub(crate) const UNTIL_ROUTED: Duration = Duration::from_secs(10);

/// A subscriber in a pod, behind a Service of its name.
pub(crate) struct Sink<'a> {
    bed: &'a Bed,
    namespace: String,
    name: String,
}

impl<'a> Sink<'a> {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start(bed: &'a Bed, namespace: &str, name: &str) -> Result<Self> {
        let image = &bed.image;
        bed.apply(&format!(
            "apiVersion: v1\n\
             kind: Pod\n\
             metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}\n\
             spec:\n  \
               automountServiceAccountToken: false\n  \
               terminationGracePeriodSeconds: 1\n  \
               securityContext: {POD}\n  \
               containers:\n  \
               - name: sink\n    \
                 image: {image}\n    \
                 args: [sink, '--listen=0.0.0.0:8080']\n    \
                 readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}\n    \
                 securityContext: {CONTAINER}\n\
             ---\n\
             apiVersion: v1\n\
             kind: Service\n\
             metadata: {{name: {name}, namespace: {namespace}}}\n\
             spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}\n"
        ))
        .await?;
        let pod = format!("pod/{name}");
        bed.kubectl(&[
            "-n",
            namespace,
            "wait",
            "--for=condition=Ready",
            &pod,
            "--timeout=60s",
        ])
        .await?;
        Ok(Self {
            bed,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// What it got until now, and how often.
    pub(crate) async fn got(&self) -> Result<BTreeMap<String, usize>> {
        received(self.bed, &self.namespace, &self.name).await
    }

    /// Waits until it got all of these.
    pub(crate) async fn wait_for(&self, bodies: &[String]) -> Result<BTreeMap<String, usize>> {
        let what = format!("{} got its {} messages", self.name, bodies.len());
        until(&what, SOON, || async {
            let got = self.got().await?;
            let missing: Vec<_> = bodies
                .iter()
                .filter(|body| !got.contains_key(*body))
                .collect();
            if missing.is_empty() {
                return Ok(got);
            }
            bail!(
                "{} are missing, such as {:?}",
                missing.len(),
                &missing[..missing.len().min(5)]
            )
        })
        .await
    }
}

/// The messages that pods with label `app` printed: `POST / · BODY · answering 200`.
pub(crate) async fn received(
    bed: &Bed,
    namespace: &str,
    app: &str,
) -> Result<BTreeMap<String, usize>> {
    let label = format!("app={app}");
    let log = bed
        .kubectl(&["-n", namespace, "logs", "-l", &label, "--tail=-1"])
        .await?;
    let mut got = BTreeMap::new();
    for line in log.lines() {
        if let Some(body) = line
            .split(" · ")
            .nth(1)
            .filter(|_| line.starts_with("POST"))
        {
            *got.entry(body.to_owned()).or_default() += 1;
        }
    }
    Ok(got)
}

/// What a sender pod sends.
pub(crate) struct Load<'a> {
    pub(crate) url: &'a str,
    pub(crate) prefix: &'a str,
    pub(crate) count: u64,
    pub(crate) rate: u32,
    /// For how long a message that was not accepted is sent again.
    pub(crate) persist: Duration,
}

impl Load<'_> {
    /// The bodies that it sends.
    pub(crate) fn bodies(&self) -> Vec<String> {
        (0..self.count)
            .map(|number| format!("{}-{number}", self.prefix))
            .collect()
    }
}

/// What a sender said at its end.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Sent {
    pub(crate) accepted: u64,
    pub(crate) failed: Vec<String>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) longest_ms: u64,
    /// How late the sender itself was woken at worst: the machine's own pauses.
    late_ms: u64,
    pub(crate) seconds: f64,
}

impl Sent {
    /// The longest wait for an answer, in milliseconds, without what the machine itself stood still.
    const fn stall_ms(&self) -> u64 {
        self.longest_ms.saturating_sub(self.late_ms)
    }

    /// No send failed, and the sender never stood still.
    pub(crate) fn went_well(&self) -> Result<()> {
        ensure!(
            self.failed.is_empty(),
            "{} sends failed: {:?}",
            self.failed.len(),
            self.errors
        );
        ensure!(
            self.stall_ms() <= STALL,
            "a sender stood still for {} ms",
            self.stall_ms()
        );
        Ok(())
    }
}

/// A sender in a pod.
pub(crate) struct Sender<'a> {
    bed: &'a Bed,
    namespace: String,
    name: String,
    patience: Duration,
}

impl<'a> Sender<'a> {
    /// Starts one and waits until it sends.
    pub(crate) async fn start(bed: &'a Bed, namespace: &str, load: &Load<'_>) -> Result<Self> {
        let name = format!("sender-{}", load.prefix);
        let image = &bed.traffic;
        let Load {
            url,
            prefix,
            count,
            rate,
            persist,
        } = load;
        let persist = persist.as_secs();
        bed.apply(&format!(
            "apiVersion: v1\n\
             kind: Pod\n\
             metadata: {{name: {name}, namespace: {namespace}}}\n\
             spec:\n  \
               restartPolicy: Never\n  \
               automountServiceAccountToken: false\n  \
               terminationGracePeriodSeconds: 1\n  \
               securityContext: {POD}\n  \
               containers:\n  \
               - name: traffic\n    \
                 image: {image}\n    \
                 args: ['--url={url}', '--prefix={prefix}', '--count={count}', '--rate={rate}', '--persist={persist}']\n    \
                 securityContext: {CONTAINER}\n"
        ))
        .await?;
        let sender = Self {
            bed,
            namespace: namespace.to_owned(),
            name,
            patience: SOON + Duration::from_secs(persist + count / u64::from(*rate)),
        };
        let what = format!("{} has started", sender.name);
        until(&what, SOON, || async {
            let phase = sender.phase().await?;
            if phase == "Pending" {
                bail!("it is {phase}")
            } else {
                Ok(())
            }
        })
        .await?;
        Ok(sender)
    }

    async fn phase(&self) -> Result<String> {
        let of = "jsonpath={.status.phase}";
        self.bed
            .kubectl(&["-n", &self.namespace, "get", "pod", &self.name, "-o", of])
            .await
    }

    /// Waits until it has sent all, and reads what it says.
    pub(crate) async fn end(self) -> Result<Sent> {
        let what = format!("{} has sent all", self.name);
        until(&what, self.patience, || async {
            match self.phase().await?.as_str() {
                "Succeeded" => Ok(()),
                phase => bail!("it is {phase}"),
            }
        })
        .await?;
        let log = self
            .bed
            .kubectl(&["-n", &self.namespace, "logs", &self.name])
            .await?;
        let last = log.lines().last().context("a sender that says something")?;
        serde_json::from_str(last).with_context(|| format!("the sender said {last}"))
    }
}

/// Sends one load from a pod and waits for its end.
pub(crate) async fn send(bed: &Bed, namespace: &str, load: &Load<'_>) -> Result<Sent> {
    Sender::start(bed, namespace, load).await?.end().await
}
