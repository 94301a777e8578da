//! `busway uninstall --force`: without an operator.

use tokio::time::Instant;

use super::{
    FORCE_AFTER, GONE_WITHIN,
    cluster::{CHILDREN, Cluster, Kind, Left},
    say, wait, words,
};

/// Deletes all of a kind; what holds them is lifted, after dispatchers that may still run had a moment. Returns those
/// that were let go without their hook.
pub(super) async fn remove(
    cluster: &Cluster,
    kind: Kind,
    until: Instant,
) -> anyhow::Result<Vec<String>> {
    let left = cluster.left(kind).await?;
    if left.is_empty() {
        return Ok(Vec::new());
    }
    cluster.delete_all(kind, &left).await?;
    // A Bus waits for its operator only, and there is none.
    let patience = match kind {
        Kind::Subscription | Kind::Channel => FORCE_AFTER,
        Kind::Bus | Kind::ClusterBus => std::time::Duration::ZERO,
    };
    let Some(left) = wait(cluster, kind, until.min(Instant::now() + patience)).await? else {
        return Ok(Vec::new());
    };
    let held: Vec<&Left> = left.iter().filter(|left| left.is_held()).collect();
    for one in &held {
        cluster.lift(kind, one).await?;
    }
    let lifted = held.iter().map(|one| {
        let uid = one.metadata.uid.as_deref().unwrap_or_default();
        format!("{} (uid {uid})", one.told())
    });
    let lifted = match kind {
        Kind::Subscription | Kind::Channel => lifted.collect(),
        // Nothing on a broker is a bus's own; its children are listed as they are.
        Kind::Bus | Kind::ClusterBus => Vec::new(),
    };
    let again = wait(cluster, kind, Instant::now() + GONE_WITHIN).await?;
    if let Some(left) = again {
        anyhow::bail!(
            "{} left, held by somebody else's finalizers:\n{}",
            words::count(kind, left.len()),
            words::lines(&left).join("\n")
        );
    }
    Ok(lifted)
}

/// Lists what nobody will clean up any more.
pub(super) async fn tell_left(cluster: &Cluster, orphans: &[String]) -> anyhow::Result<()> {
    if !orphans.is_empty() {
        say("let go without their hooks; what backed them on a broker may be left:");
        for orphan in orphans {
            say(format!("  {orphan}"));
        }
    }
    let children = cluster.children().await?;
    if !children.is_empty() {
        say("made by the operator and still there:");
        for child in &children {
            say(format!("  {child}"));
        }
        say(format!(
            "remove them with: kubectl delete deployments,services,serviceaccounts,roles,rolebindings,leases,\
             poddisruptionbudgets,networkpolicies --all-namespaces -l {CHILDREN} && \
             kubectl delete clusterrolebindings -l {CHILDREN}"
        ));
    }
    Ok(())
}
