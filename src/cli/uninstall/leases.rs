//! Whether an operator works: whether somebody renews its Lease. By the clock of this machine alone, which need not be that
//! of theirs.

use std::time::Duration;

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::{cluster::Cluster, say};

/// What an operator's Lease is called where nobody said otherwise.
const NAME: &str = "busway-operator";
/// On the Leases of operators, by the chart.
const LABELS: [&str; 2] = [
    "channels.busway.dev/lease=operator",
    // What older charts wrote.
    "app.kubernetes.io/name=busway,app.kubernetes.io/component=operator",
];
/// On a Lease: the namespaces that its operator looks after, where it is not all.
const NAMESPACES: &str = "channels.busway.dev/namespaces";
/// How long a Lease without a duration counts.
const DURATION: u64 = 15;
/// The longest that is waited for a sign of life, whatever a Lease says: four times what ours do.
const LONGEST: Duration = Duration::from_secs(60);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);

/// A Lease that somebody holds.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    lease: String,
    holder: String,
    renewed: Option<MicroTime>,
    lasts: Duration,
}

/// Who works as an operator of these namespaces (none: of any), when somebody does.
pub(super) async fn operator(
    cluster: &Cluster,
    namespaces: &[String],
) -> anyhow::Result<Option<String>> {
    let first = all(cluster, namespaces).await?;
    let Some(longest) = first.iter().map(|held| held.lasts).max() else {
        return Ok(None);
    };
    for held in &first {
        let (lease, holder, lasts) = (&held.lease, &held.holder, held.lasts);
        say(format!(
            "{holder} holds Lease {lease}: looking whether it is renewed, for {lasts:?} at most"
        ));
    }
    let until = Instant::now() + longest;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = all(cluster, namespaces).await?;
        if let Some(working) = working(&first, &now) {
            return Ok(Some(working));
        }
        if now.is_empty() || Instant::now() >= until {
            return Ok(None);
        }
    }
}

async fn all(cluster: &Cluster, namespaces: &[String]) -> anyhow::Result<Vec<Held>> {
    let found = cluster.leases(NAME, &LABELS).await?;
    let theirs = found.iter().filter(|lease| looks_after(lease, namespaces));
    Ok(theirs.filter_map(held).collect())
}

/// Whether its operator looks after one of these; one that does not say may look after any.
fn looks_after(lease: &Lease, namespaces: &[String]) -> bool {
    lease.annotations().get(NAMESPACES).is_none_or(|said| {
        namespaces.is_empty()
            || said
                .split(',')
                .any(|one| namespaces.iter().any(|n| n == one))
    })
}

fn held(lease: &Lease) -> Option<Held> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref().filter(|h| !h.is_empty())?;
    let lasts = spec.lease_duration_seconds;
    let lasts = lasts.and_then(|seconds| u64::try_from(seconds).ok());
    Some(Held {
        lease: format!(
            "{}/{}",
            lease.namespace().unwrap_or_default(),
            lease.name_any()
        ),
        holder: holder.to_owned(),
        renewed: spec.renew_time.clone(),
        lasts: Duration::from_secs(lasts.unwrap_or(DURATION)).min(LONGEST),
    })
}

/// One that was renewed or taken since the first look.
fn working(first: &[Held], now: &[Held]) -> Option<String> {
    let renewed = now.iter().find(|held| !first.contains(held))?;
    Some(format!("{} holds Lease {}", renewed.holder, renewed.lease))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(name: &str, holder: Option<&str>, renewed: &str) -> Lease {
        let spec = json!({ "holderIdentity": holder, "renewTime": renewed });
        let metadata = json!({ "name": name, "namespace": "system" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    fn at(renewed: &str) -> Vec<Held> {
        let lease = lease("busway-operator", Some("one"), renewed);
        held(&lease).into_iter().collect()
    }

    #[test]
    fn a_lease_counts_when_it_is_renewed_and_not_by_what_its_clock_says() {
        let (future, past) = ("2199-01-01T00:00:00.000000Z", "1999-01-01T00:00:00.000000Z");
        assert_eq!(working(&at(future), &at(future)), None);
        let later = at("1999-01-01T00:00:02.000000Z");
        let found = working(&at(past), &later).unwrap();
        assert_eq!(found, "one holds Lease system/busway-operator");
        assert!(working(&[], &at(past)).is_some(), "taken in between");
        assert_eq!(working(&at(past), &[]), None, "given back in between");
    }

    #[test]
    fn one_that_nobody_holds_or_that_is_of_other_namespaces_does_not_count() {
        assert_eq!(held(&lease("l", None, "1999-01-01T00:00:00.000000Z")), None);
        let mut of_team_a = lease("l", Some("one"), "1999-01-01T00:00:00.000000Z");
        let (a, b) = (["team-a".to_owned()], ["team-b".to_owned()]);
        assert!(looks_after(&of_team_a, &b), "it does not say");
        let said = "team-a,team-c".to_owned();
        of_team_a
            .annotations_mut()
            .insert(NAMESPACES.to_owned(), said);
        assert!(looks_after(&of_team_a, &a) && looks_after(&of_team_a, &[]));
        assert!(!looks_after(&of_team_a, &b));
    }

    #[test]
    fn what_a_lease_says_of_its_duration_is_bounded() {
        let mut long = lease("l", Some("one"), "1999-01-01T00:00:00.000000Z");
        assert_eq!(held(&long).unwrap().lasts, Duration::from_secs(15));
        long.spec.as_mut().unwrap().lease_duration_seconds = Some(86_400);
        assert_eq!(held(&long).unwrap().lasts, LONGEST);
    }
}
