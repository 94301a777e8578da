//! `busway uninstall --force`: without an operator.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::{
    FORCE_AFTER, GONE_WITHIN, LOOK,
    cluster::{CHILDREN, Cluster, Kind, Left},
    say, wait, words,
};

/// Deletes all of a kind; what holds them is lifted, after dispatchers that may still run had a moment. Each that is let
/// go without its hook is said at once, so that whatever fails later loses none. Returns how many they were.
pub(super) async fn remove(cluster: &Cluster, kind: Kind, until: Instant) -> anyhow::Result<usize> {
    let left = cluster.left(kind).await?;
    if left.is_empty() {
        return Ok(0);
    }
    cluster.delete_all(kind, &left).await?;
    let patience = match kind {
        Kind::Subscription | Kind::Channel => FORCE_AFTER,
        // It waits for its operator only, and there is none.
        Kind::Bus | Kind::ClusterBus => Duration::ZERO,
    };
    wait(cluster, kind, until.min(Instant::now() + patience)).await?;
    let mut let_go = BTreeSet::new();
    let until = Instant::now() + GONE_WITHIN;
    loop {
        let left = cluster.left(kind).await?;
        if left.is_empty() {
            return Ok(let_go.len());
        }
        cluster.delete_all(kind, &left).await?;
        let failed = lift(cluster, kind, &left, &mut let_go).await.err();
        if Instant::now() >= until {
            let why = words::held(&left);
            let told = anyhow::anyhow!(
                "{} left, {why}:\n{}",
                words::count(kind, left.len()),
                words::lines(&left).join("\n")
            );
            return Err(match failed {
                Some(failed) => failed.context(told),
                None => told,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Lifts all that can be lifted as it was seen; what was changed at the same time is for the next look.
async fn lift(
    cluster: &Cluster,
    kind: Kind,
    left: &[Left],
    let_go: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for one in left.iter().filter(|one| one.is_held() && one.is_going()) {
        match cluster.lift(kind, one).await {
            Ok(true) => {
                let uid = one.metadata.uid.clone().unwrap_or_default();
                // Nothing on a broker is a bus's own; its children are listed as they are.
                let has_backing = matches!(kind, Kind::Subscription | Kind::Channel);
                if has_backing && let_go.insert(uid.clone()) {
                    say(format!(
                        "let go without its hook: {} (uid {uid})",
                        one.told()
                    ));
                }
            }
            Ok(false) => {}
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}

/// Lists what nobody will clean up any more.
pub(super) async fn tell_left(cluster: &Cluster, let_go: usize) -> anyhow::Result<()> {
    if let_go > 0 {
        say(format!(
            "{let_go} were let go without their hooks, each named above; what backed them on a broker may be left"
        ));
    }
    let children = cluster.children().await?;
    if children.is_empty() {
        return Ok(());
    }
    say("made by the operator and still there:");
    for child in &children {
        say(format!("  {child}"));
    }
    let kinds = "deployments,services,serviceaccounts,roles,rolebindings,leases,poddisruptionbudgets,networkpolicies";
    say("remove them with:");
    for namespace in cluster.namespaces() {
        say(format!(
            "  kubectl delete {kinds} --namespace {namespace} -l {CHILDREN}"
        ));
    }
    if cluster.namespaces().is_empty() {
        say(format!(
            "  kubectl delete {kinds} --all-namespaces -l {CHILDREN} && kubectl delete clusterrolebindings -l {CHILDREN}"
        ));
    }
    Ok(())
}
