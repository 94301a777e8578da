use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::fields::leaves;

#[test]
fn the_table_has_every_leaf_of_every_schema_and_nothing_else() {
    for kind in Kind::ALL {
        let leaves: BTreeSet<_> = leaves(kind).into_iter().map(|leaf| leaf.path).collect();
        assert!(leaves.len() > 10, "{kind:?}: {leaves:?}");
        let table: Vec<_> = kind
            .fields()
            .iter()
            .map(|field| field.path.to_owned())
            .collect();
        let unique: BTreeSet<_> = table.iter().cloned().collect();
        assert_eq!(unique.len(), table.len(), "{kind:?} has a row twice");
        assert_eq!(leaves, unique, "{kind:?}");
    }
}

fn paths<S: Spec + serde::de::DeserializeOwned>(spec: Value) -> Vec<String> {
    let spec: S = serde_json::from_value(spec).unwrap();
    unsupported(&spec)
        .into_iter()
        .map(|field| field.path)
        .collect()
}

#[test]
fn a_spec_that_works_is_not_refused() {
    let none: [&str; 0] = [];
    assert_eq!(
        paths::<BusSpec>(json!({ "memory": {}, "replicas": 3, "server": {}, "limits": {} })),
        none
    );
    assert_eq!(
        paths::<BusSpec>(json!({ "dispatcher": { "name": "d" }, "volumes": [{ "name": "v" }] })),
        none
    );
    assert_eq!(
        paths::<ClusterBusSpec>(json!({ "memory": {}, "subscribers": "Any" })),
        none
    );
    assert_eq!(
        paths::<ChannelSpec>(json!({ "bus": "b", "deletionPolicy": "Retain" })),
        none
    );
    let spec = json!({
        "channel": "c", "subscriber": "s", "replyTo": "r", "paused": true, "ordering": { "key": "k" },
        "filters": [{ "cesql": "TRUE" }],
        "delivery": { "retry": 1, "maxInFlight": "auto", "onGone": "pause", "redirects": "SameHost", "protocol": "H2C",
            "rate": { "perSecond": 1 },
            "statusRules": [{ "status": "4xx", "action": "retry" }] },
    });
    assert_eq!(paths::<SubscriptionSpec>(spec), none);
}

#[test]
fn each_field_that_does_not_work_yet_is_refused_by_its_path() {
    assert_eq!(
        paths::<ChannelSpec>(json!({ "migration": "Drain", "allowedSenders": ["a"] })),
        ["spec.allowedSenders[]", "spec.migration"]
    );
    assert_eq!(
        paths::<ChannelSpec>(json!({ "allowedSenders": [] })),
        ["spec.allowedSenders[]"],
        "an empty list allows nobody, which is not nothing"
    );
}
