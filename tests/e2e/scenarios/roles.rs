//! Roles and what was asked for under them, by the API server's audit log of this run.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    bed::{Bed, SYSTEM},
    scenarios::shop::Shop,
    status::Object,
};

/// Used, and not seen in the log; or used elsewhere. Each with its reason.
const UNSEEN: &[(&str, &str)] = &[
    (
        "operator: bind clusterroles.rbac.authorization.k8s.io",
        "asked within the write of a binding",
    ),
    (
        "operator: update channels/finalizers.channels.busway.dev",
        "OpenShift asks for it",
    ),
    (
        "operator: get leases.coordination.k8s.io",
        "held to be granted to dispatchers",
    ),
    (
        "operator: update leases.coordination.k8s.io",
        "held to be granted to dispatchers",
    ),
    (
        "operator: get endpointslices.discovery.k8s.io",
        "the version before grants it to dispatchers, and may be installed again",
    ),
];

/// A verb on a resource, by whom: `operator: patch buses/status.channels.busway.dev`.
type Grants = BTreeSet<String>;

pub(crate) async fn what_is_granted_is_used_and_what_is_used_is_granted(bed: &Bed) -> Result<()> {
    let Some(log) = env::var_os("BUSWAY_AUDIT_LOG") else {
        println!("    this cluster has no audit log that is known here: nothing to compare");
        return Ok(());
    };
    // What only a few settings make, and a clash, of which an Event tells.
    let shop = Shop::open(bed, "roles", "replicas: 2, networkPolicy: {enabled: true}").await?;
    shop.kubectl(&[
        "create",
        "service",
        "clusterip",
        "returns-channel",
        "--tcp=80",
    ])
    .await?;
    bed.apply("{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: returns, namespace: roles}, spec: {bus: memory}}").await?;
    Object("channel", "roles", "returns")
        .until(bed, "Accepted", "False", "NameClash")
        .await?;
    let mut granted = Grants::new();
    for (who, kind, namespace, name) in [
        ("operator", "clusterrole", "", "busway-operator"),
        ("operator", "role", SYSTEM, "busway-operator-leader"),
        ("dispatcher", "clusterrole", "", "busway-dispatcher"),
        ("dispatcher", "role", "roles", "memory-bus-dispatcher"),
    ] {
        let role = Object(kind, namespace, name).get(bed).await?;
        granted.extend(rules(who, &role));
    }
    bed.sweep().await?;

    let log = fs::read_to_string(&log).with_context(|| format!("{}", log.display()))?;
    let (used, refused) = asked(&log)?;
    let kept: BTreeSet<_> = UNSEEN
        .iter()
        .map(|(grant, _)| (*grant).to_owned())
        .collect();
    let unused: Vec<_> = granted
        .iter()
        .filter(|one| !used.contains(*one) && !kept.contains(*one))
        .collect();
    // What a role grants is refused too: after the role went, at the end of a namespace or of the chart.
    let lacking: BTreeMap<_, _> = refused
        .iter()
        .filter(|(one, _)| !granted.contains(*one))
        .collect();
    println!(
        "    {} granted, {} used, {} only by reason",
        granted.len(),
        used.len(),
        kept.len()
    );
    ensure!(lacking.is_empty(), "refused, and in no role: {lacking:?}");
    ensure!(
        unused.is_empty(),
        "granted and not used by any scenario: {unused:?}"
    );
    Ok(())
}

fn rules(who: &str, role: &Value) -> Grants {
    let words = |rule: &Value, name: &str| -> Vec<String> {
        let list = rule[name].as_array();
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let mut grants = Grants::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                for verb in words(rule, "verbs") {
                    grants.insert(grant(who, &verb, &resource, &group));
                }
            }
        }
    }
    grants
}

fn grant(who: &str, verb: &str, resource: &str, group: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{who}: {verb} {resource}{dot}{group}")
}

/// What our accounts asked for: what they got, and what they were refused, with an example of it.
fn asked(log: &str) -> Result<(Grants, BTreeMap<String, String>)> {
    let operator = format!("system:serviceaccount:{SYSTEM}:busway-operator");
    let (mut used, mut refused) = (Grants::new(), BTreeMap::new());
    for line in log.lines() {
        // A cheap look first: most of the log is the cluster's own.
        if !line.contains("system:serviceaccount:") || !line.contains("ResponseComplete") {
            continue;
        }
        let entry: Value = serde_json::from_str(line).context("a line of the audit log")?;
        let user = entry["user"]["username"].as_str().unwrap_or_default();
        let who = if user == operator {
            "operator"
        } else if user.starts_with("system:serviceaccount:") && user.ends_with("-dispatcher") {
            "dispatcher"
        } else {
            continue;
        };
        let word = |name: &str| entry["objectRef"][name].as_str().unwrap_or_default();
        if word("resource").is_empty() || word("apiGroup").starts_with("authorization.k8s.io") {
            continue;
        }
        let resource = match word("subresource") {
            "" => word("resource").to_owned(),
            sub => format!("{}/{sub}", word("resource")),
        };
        let verb = entry["verb"].as_str().unwrap_or_default();
        let one = grant(who, verb, &resource, word("apiGroup"));
        if entry["annotations"]["authorization.k8s.io/decision"] == "forbid" {
            refused
                .entry(one)
                .or_insert_with(|| entry["requestURI"].to_string());
            continue;
        }
        if entry["responseStatus"]["code"] == 201 {
            // An apply of what was not there is asked as a patch, and then as a create.
            used.insert(grant(who, "create", &resource, word("apiGroup")));
        }
        used.insert(one);
    }
    ensure!(
        !used.is_empty(),
        "the audit log has nothing of our accounts"
    );
    Ok((used, refused))
}
