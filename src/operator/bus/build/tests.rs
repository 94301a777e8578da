#![allow(clippy::unwrap_used, reason = "tests")]

use busway_api::{
    BusSpec,
    bus::{CaBundle, Egress, NetworkPolicy},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec},
    core::v1::{Container, EnvVar, SecurityContext, Volume, VolumeMount},
};
use serde_json::{Value, json};

use super::{fixtures::*, *};
use crate::operator::args::{Scope, Settings};

fn build<K: AnyBus>(bus: &K) -> Vec<Child> {
    build_with(&settings(), bus)
}

fn build_with<K: AnyBus>(settings: &Settings, bus: &K) -> Vec<Child> {
    all(bus, &bus.place(settings), &Found::default(), settings).unwrap()
}

fn manifest(children: &[Child], kind: ChildKind, name: &str) -> Value {
    let child = children
        .iter()
        .find(|child| child.at.kind == kind && child.at.name == name);
    child.map_or(Value::Null, |child| child.manifest.clone())
}

fn yaml(children: &[Child]) -> String {
    let documents = children
        .iter()
        .map(|child| serde_saphyr::to_string(&child.manifest).unwrap());
    documents.collect::<Vec<_>>().join("---\n")
}

/// A third party's, with what it may set and what it may not.
fn third_party() -> BusSpec {
    BusSpec {
        dispatcher: Some(Container {
            name: "theirs".to_owned(),
            image: Some("registry.test/theirs:7".to_owned()),
            env: Some(vec![
                EnvVar {
                    name: "PORT".to_owned(),
                    value: Some("1".to_owned()),
                    value_from: None,
                },
                EnvVar {
                    name: "BROKER".to_owned(),
                    value: Some("broker:5672".to_owned()),
                    value_from: None,
                },
            ]),
            volume_mounts: Some(vec![VolumeMount {
                name: "data".to_owned(),
                mount_path: "/data".to_owned(),
                ..VolumeMount::default()
            }]),
            ..Container::default()
        }),
        provisioner: Some(Container {
            name: "makes".to_owned(),
            image: Some("registry.test/theirs:7".to_owned()),
            ..Container::default()
        }),
        volumes: vec![Volume {
            name: "data".to_owned(),
            empty_dir: Some(Default::default()),
            ..Volume::default()
        }],
        ..BusSpec::default()
    }
}

#[test]
fn a_bus_on_memory_gets_these_objects() {
    insta::assert_snapshot!("bus", yaml(&build(&bus(memory()))));
}

#[test]
fn a_cluster_bus_of_a_third_party_gets_these_objects() {
    let mut spec = third_party();
    spec.workload.replicas = Some(2);
    spec.network_policy = Some(NetworkPolicy { enabled: true });
    insta::assert_snapshot!("third_party", yaml(&build(&cluster_bus(spec))));
}

#[test]
fn a_bus_with_authorities_of_its_own_mounts_them_where_there_are_any() {
    let mut spec = third_party();
    spec.egress = Some(Egress {
        ca_bundle: Some(CaBundle {
            config_map: "company-cas".to_owned(),
        }),
        ..Egress::default()
    });
    let children = build(&cluster_bus(spec));
    let pod = |name: &str| {
        let deployment = manifest(&children, ChildKind::Deployment, name);
        deployment["spec"]["template"]["spec"].clone()
    };
    let dispatcher = pod("fast-clusterbus-dispatcher");
    insta::assert_snapshot!(
        "bundle",
        serde_saphyr::to_string(&json!({
            "env": dispatcher["containers"][0]["env"],
            "volumeMounts": dispatcher["containers"][0]["volumeMounts"],
            "volumes": dispatcher["volumes"],
        }))
        .unwrap()
    );
    let provisioner = pod("fast-clusterbus-provisioner").to_string();
    assert!(
        !provisioner.contains("company-cas"),
        "it calls no subscriber"
    );
}

#[test]
fn a_dispatcher_is_told_how_many_histograms_where_the_operator_is() {
    let children = |own_histograms| {
        let settings = Settings {
            own_histograms,
            ..settings()
        };
        build_with(&settings, &cluster_bus(third_party()))
    };
    let told = |own_histograms, name: &str| {
        let manifest = manifest(&children(own_histograms), ChildKind::Deployment, name);
        let container = &manifest["spec"]["template"]["spec"]["containers"][0];
        let env = container["env"].as_array().unwrap();
        let told = env
            .iter()
            .find(|variable| variable["name"] == "BUSWAY_OWN_HISTOGRAMS");
        told.map(|variable| variable["value"].as_str().unwrap().to_owned())
    };
    let dispatcher = "fast-clusterbus-dispatcher";
    assert_eq!(told(Some(200), dispatcher).as_deref(), Some("200"));
    assert_eq!(told(None, dispatcher), None);
    let provisioner = "fast-clusterbus-provisioner";
    assert_eq!(
        told(Some(200), provisioner),
        None,
        "it has no metrics of subscriptions"
    );
}

#[test]
fn nothing_of_a_bus_has_an_owner_reference() {
    for child in build(&cluster_bus(third_party())) {
        assert_eq!(
            child.manifest["metadata"].get("ownerReferences"),
            None,
            "{child:?}"
        );
    }
}

#[test]
fn a_number_of_pods_that_nobody_asked_for_is_not_written() {
    let mut spec = memory();
    let of = |spec: BusSpec| {
        let children = build(&bus(spec));
        manifest(&children, ChildKind::Deployment, "fast-bus-dispatcher")["spec"].clone()
    };
    assert_eq!(of(spec.clone()).get("replicas"), None);
    spec.workload.replicas = Some(0);
    assert_eq!(of(spec)["replicas"], 0);
}

#[test]
fn several_pods_get_a_budget_also_where_an_autoscaler_made_them() {
    let budget = |spec: BusSpec, scaled: Option<i32>| {
        let (bus, settings) = (bus(spec), settings());
        let found = Found {
            dispatcher: scaled.map(|replicas| Deployment {
                spec: Some(DeploymentSpec {
                    replicas: Some(replicas),
                    ..DeploymentSpec::default()
                }),
                ..Deployment::default()
            }),
            ..Found::default()
        };
        let children = all(&bus, &bus.place(&settings), &found, &settings).unwrap();
        children
            .iter()
            .any(|child| child.at.kind == ChildKind::PodDisruptionBudget)
    };
    let mut two = memory();
    two.workload.replicas = Some(2);
    let mut one = memory();
    one.workload.replicas = Some(1);
    assert!(budget(two, None));
    assert!(!budget(one, Some(4)), "what is asked for counts");
    assert!(budget(memory(), Some(3)));
    assert!(!budget(memory(), Some(1)));
    assert!(!budget(memory(), None));
}

#[test]
fn labels_that_select_pods_cannot_be_taken_over() {
    let mut spec = memory();
    spec.workload.pod_labels = [(labels::OWNER_UID, "another"), ("team", "shop")]
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .into();
    let children = build(&bus(spec));
    let deployment = manifest(&children, ChildKind::Deployment, "fast-bus-dispatcher");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(
        labels[labels::OWNER_UID],
        "11111111-2222-3333-4444-555555555555"
    );
    assert_eq!(labels["team"], "shop");
}

#[test]
fn a_dispatcher_is_bound_to_a_role_of_its_namespace_where_the_operator_has_no_cluster() {
    let bus = bus(memory());
    for (scope, kind) in [
        (Scope::All, "ClusterRole"),
        (Scope::Namespaces(vec!["shop".to_owned()]), "Role"),
    ] {
        let settings = Settings {
            scope,
            ..settings()
        };
        let children = all(&bus, &bus.place(&settings), &Found::default(), &settings).unwrap();
        let name = "fast-bus-dispatcher-channels";
        let binding = manifest(&children, ChildKind::RoleBinding, name);
        assert_eq!(binding["roleRef"]["kind"], kind);
        assert_eq!(binding["roleRef"]["name"], "busway-dispatcher");
    }
}

#[test]
fn what_a_container_says_of_security_is_left_to_the_namespace_to_judge() {
    let mut spec = third_party();
    if let Some(container) = &mut spec.dispatcher {
        container.security_context = Some(SecurityContext {
            privileged: Some(true),
            ..SecurityContext::default()
        });
    }
    let children = build(&cluster_bus(spec));
    let deployment = manifest(
        &children,
        ChildKind::Deployment,
        "fast-clusterbus-dispatcher",
    );
    let context = &deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"];
    assert_eq!(
        context,
        &json!({
            "privileged": true,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        })
    );
}

#[test]
fn a_pinned_image_wins_over_the_operators() {
    let mut spec = memory();
    spec.workload.image = Some("registry.test/busway:0.9".to_owned());
    let children = build(&bus(spec));
    let deployment = manifest(&children, ChildKind::Deployment, "fast-bus-dispatcher");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.test/busway:0.9");
}

#[test]
fn the_names_of_everything_fit() {
    let mut long = cluster_bus(third_party());
    long.metadata.name = Some("n".repeat(253));
    for child in build(&long) {
        assert!(child.at.name.len() <= 63, "{}", child.at.told());
    }
}
