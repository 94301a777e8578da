//! What is rendered, looked at without a cluster.

use std::{fs, process::Command};

use serde_json::Value;

use crate::helm::{SETS, documents, helm, name, of_kind, parse, read, render, root, text};

fn operator(manifests: &[Value]) -> &Value {
    of_kind(manifests, "Deployment").next().unwrap()
}

fn container(manifests: &[Value]) -> &Value {
    &operator(manifests)["spec"]["template"]["spec"]["containers"][0]
}

fn env<'a>(manifests: &'a [Value], name: &str) -> Option<&'a str> {
    let vars = container(manifests)["env"].as_array().unwrap();
    let var = vars.iter().find(|var| var["name"] == name)?;
    var["value"].as_str()
}

/// Roles and ClusterRoles with each of their rules.
fn rules(manifests: &[Value]) -> Vec<(String, Value)> {
    let roles = of_kind(manifests, "ClusterRole").chain(of_kind(manifests, "Role"));
    roles
        .flat_map(|role| {
            let rules = role["rules"].as_array().unwrap().clone();
            rules.into_iter().map(|rule| (name(role), rule))
        })
        .collect()
}

fn has(list: &Value, word: &str) -> bool {
    list.as_array()
        .is_some_and(|list| list.iter().any(|one| one == word))
}

#[test]
fn rendered_twice_it_is_the_same() {
    for (what, args) in SETS {
        assert!(text(args) == text(args), "{what}");
    }
    for template in fs::read_dir(root().join("charts/busway/templates")).unwrap() {
        let path = template.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for word in [
            "lookup",
            "rand",
            "now",
            "genCA",
            "uuidv4",
            "IsInstall",
            "IsUpgrade",
            "Revision",
            "Capabilities",
        ] {
            let calls = source.split("{{").skip(1).any(|action| {
                let action = action.split("}}").next().unwrap();
                let mut words = action.split(|c: char| !c.is_ascii_alphanumeric());
                !action.contains("/*") && words.any(|found| found == word)
            });
            assert!(!calls, "{}: {word}", path.display());
        }
    }
}

#[test]
fn nothing_but_the_test_is_a_hook() {
    for (what, args) in SETS {
        for manifest in render(args) {
            let hook = &manifest["metadata"]["annotations"]["helm.sh/hook"];
            assert!(
                hook.is_null() || hook == "test",
                "{what}: {}",
                name(&manifest)
            );
        }
    }
}

#[test]
fn what_the_test_makes_is_one_hook() {
    // Of several Helm would delete one and wait for it before it deletes what that waits for.
    let hooks: Vec<_> = documents(&text(&[]))
        .into_iter()
        .filter(|one| !one["metadata"]["annotations"]["helm.sh/hook"].is_null())
        .collect();
    let [hook] = hooks.as_slice() else {
        panic!("{hooks:?}");
    };
    assert_eq!(hook["kind"], "List");
    let policy = &hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"];
    assert_eq!(policy, "before-hook-creation,hook-succeeded");
    let items = hook["items"].as_array().unwrap();
    let kinds: Vec<_> = items.iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, ["Bus", "Channel", "Service", "Subscription", "Pod"]);
    for item in items {
        let annotations = &item["metadata"]["annotations"];
        assert_eq!(*annotations, hook["metadata"]["annotations"]);
        // `helm test --logs` looks for a pod of the hook's name.
        assert_eq!(item["metadata"]["name"], hook["metadata"]["name"]);
    }
}

#[test]
fn without_channel_services_the_test_posts_by_path() {
    let manifests = render(&["--set", "channelService=None"]);
    let pod = of_kind(&manifests, "Pod").next().unwrap();
    assert_eq!(
        pod["spec"]["containers"][0]["args"][1],
        "http://busway-test-bus.busway-system.svc.cluster.local/busway-system/busway-test"
    );
}

#[test]
fn odd_names_are_text_everywhere() {
    for (release, namespace) in [("123", "456"), ("true", "null"), ("1e3", "0x1f")] {
        let args = [
            "template",
            release,
            "charts/busway",
            "--namespace",
            namespace,
            "--kube-version",
            "1.33.0",
            "--set-string",
            &format!(
                "fullnameOverride=on,nameOverride={release},serviceAccount.name={release},\
                 image.repository=1,image.tag=2,scope.mode=list,scope.namespaces={{{namespace}}},\
                 cluster.id={release},defaultBus.name={release},commonLabels.a={release}"
            ),
            "--set",
            "metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true",
        ];
        let out = helm(&args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        for manifest in parse(&String::from_utf8(out.stdout).unwrap()) {
            if manifest["kind"] == "CustomResourceDefinition" {
                continue;
            }
            names_are_text(&manifest, &format!("{release}: {manifest}"));
        }
    }
}

/// Every value of a key that names something.
fn names_are_text(value: &Value, said: &str) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                let values = match (key.as_str(), inner) {
                    ("labels" | "matchLabels" | "annotations", Value::Object(map)) => {
                        map.values().collect()
                    }
                    ("resourceNames" | "matchNames", Value::Array(list)) => list.iter().collect(),
                    ("name" | "namespace" | "image" | "serviceAccountName" | "value", one) => {
                        vec![one]
                    }
                    _ => Vec::new(),
                };
                for value in values {
                    assert!(value.is_string(), "{key}: {value}: {said}");
                }
                names_are_text(inner, said);
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| names_are_text(inner, said)),
        _ => {}
    }
}

#[test]
fn what_uninstall_looks_for_is_on_the_lease() {
    for (set, namespaces) in [
        (0, None),
        (2, Some("busway-system")),
        (3, Some("team-a,team-b")),
    ] {
        let (what, args) = SETS[set];
        let manifests = render(args);
        let metadata = &of_kind(&manifests, "Lease").next().unwrap()["metadata"];
        assert_eq!(metadata["labels"]["channels.busway.dev/lease"], "operator");
        let said = metadata["annotations"]["channels.busway.dev/namespaces"].as_str();
        assert_eq!(said, namespaces, "{what}");
    }
}

#[test]
fn whoever_leads_may_make_the_lease_where_it_did_not_come_with_the_chart() {
    for (what, args) in &SETS[..4] {
        let manifests = render(args);
        let may = of_kind(&manifests, "Role")
            .chain(of_kind(&manifests, "ClusterRole"))
            .filter(|role| {
                name(role).contains("busway-operator") || name(role).contains("prod-operator")
            })
            .filter(|role| {
                let namespace = &role["metadata"]["namespace"];
                namespace.is_null() || namespace == "busway-system"
            })
            .flat_map(|role| role["rules"].as_array().unwrap())
            .any(|rule| has(&rule["resources"], "leases") && has(&rule["verbs"], "create"));
        assert!(may, "{what}");
    }
}

#[test]
fn no_rule_has_a_wildcard_or_reads_secrets_or_gives_rights_that_its_holder_lacks() {
    for (what, args) in SETS {
        let manifests = render(args);
        for (role, rule) in rules(&manifests) {
            for list in ["apiGroups", "resources", "verbs"] {
                let said = format!("{what}: {role}: {rule}");
                let entries = rule[list].as_array().expect(&said);
                assert!(!entries.is_empty(), "{said}");
                for entry in entries {
                    let entry = entry.as_str().unwrap();
                    assert!(!entry.contains('*'), "{said}");
                    assert!(!entry.starts_with("secrets"), "{said}");
                    assert!(!["escalate", "impersonate"].contains(&entry), "{said}");
                }
            }
            if has(&rule["verbs"], "bind") {
                let dispatcher = format!("{}-dispatcher", fullname(&manifests));
                assert_eq!(rule["resourceNames"], serde_json::json!([dispatcher]));
            }
        }
    }
}

fn fullname(manifests: &[Value]) -> String {
    let name = operator(manifests)["metadata"]["name"].as_str().unwrap();
    name.strip_suffix("-operator").unwrap().to_owned()
}

#[test]
fn an_operator_of_some_namespaces_has_roles_there_and_none_of_the_cluster() {
    for (set, namespaces) in [(2, &["busway-system"][..]), (3, &["team-a", "team-b"])] {
        let (what, args) = SETS[set];
        let manifests = render(args);
        assert_eq!(
            of_kind(&manifests, "ClusterRoleBinding").count(),
            0,
            "{what}"
        );
        let found: Vec<_> = of_kind(&manifests, "RoleBinding")
            .filter(|binding| binding["roleRef"]["name"] == "busway-operator")
            .map(|binding| binding["metadata"]["namespace"].as_str().unwrap())
            .collect();
        assert_eq!(found, namespaces, "{what}");
        let roles: Vec<_> = of_kind(&manifests, "Role")
            .filter(|role| role["metadata"]["name"] == "busway-dispatcher")
            .map(|role| role["metadata"]["namespace"].as_str().unwrap())
            .collect();
        assert_eq!(roles, namespaces, "{what}");
        for role in of_kind(&manifests, "ClusterRole").map(name) {
            assert!(role.ends_with("-view") || role.ends_with("-edit"), "{role}");
        }
        for (role, rule) in rules(&manifests) {
            assert!(!has(&rule["resources"], "clusterbuses"), "{role}: {rule}");
            if has(&rule["verbs"], "bind") {
                assert_eq!(rule["resources"], serde_json::json!(["roles"]), "{role}");
            }
        }
    }
}

#[test]
fn people_get_channels_subscriptions_and_buses_and_no_cluster_buses() {
    let manifests = render(&[]);
    let people: Vec<_> = rules(&manifests)
        .into_iter()
        .filter(|(role, _)| role.ends_with("-view") || role.ends_with("-edit"))
        .collect();
    assert_eq!(people.len(), 3);
    for (role, rule) in people {
        assert!(!rule.to_string().contains("clusterbuses"), "{role}: {rule}");
        assert_eq!(
            rule["apiGroups"],
            serde_json::json!(["channels.busway.dev"])
        );
    }
}

#[test]
fn operator_dispatchers_and_test_run_one_image() {
    let (_, everything) = SETS[1];
    let manifests = render(everything);
    let image = format!(
        "registry.example:5000/mirror/team/busway@sha256:{}",
        "0123456789abcdef".repeat(4)
    );
    assert_eq!(container(&manifests)["image"], image.as_str());
    assert_eq!(env(&manifests, "BUSWAY_IMAGE"), Some(image.as_str()));
    let pod = of_kind(&manifests, "Pod").next().unwrap();
    assert_eq!(pod["spec"]["containers"][0]["image"], image.as_str());

    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        container(&render(&[]))["image"],
        format!("busway:{version}")
    );
    let tagged = render(&["--set", "image.tag=v9"]);
    assert_eq!(container(&tagged)["image"], "busway:v9");
}

#[test]
fn pods_choose_no_uid_have_resources_and_three_probes() {
    for (what, args) in SETS {
        let manifests = render(args);
        let pod = &operator(&manifests)["spec"]["template"]["spec"];
        for text in ["runAsUser", "runAsGroup", "fsGroup", "hostPath"] {
            assert!(!pod.to_string().contains(text), "{what}: {text}");
        }
        let container = container(&manifests);
        let probes =
            ["startupProbe", "readinessProbe", "livenessProbe"].map(|probe| &container[probe]);
        for (at, probe) in probes.iter().enumerate() {
            assert!(probe["httpGet"]["path"].is_string(), "{what}: {container}");
            assert!(!probes[..at].contains(probe), "{what}: {probe}");
        }
        assert!(
            container["resources"]["requests"]["memory"].is_string(),
            "{what}"
        );
        assert!(
            container["resources"]["limits"]["memory"].is_string(),
            "{what}"
        );
    }
}

#[test]
fn what_the_operator_is_told_it_understands() {
    let out = Command::new(env!("CARGO_BIN_EXE_busway"))
        .args(["operator", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(out.stdout).unwrap();
    for (what, args) in SETS {
        let manifests = render(args);
        let container = container(&manifests);
        for var in container["env"].as_array().unwrap() {
            let var = var["name"].as_str().unwrap();
            let ours = var.starts_with("BUSWAY_") || var.starts_with("CLUSTER_");
            assert!(
                !ours || help.contains(&format!("[env: {var}=")),
                "{what}: {var}: {help}"
            );
        }
        // Parsed in order: an argument that is unknown fails before `--help` helps.
        let args: Vec<_> = container["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|arg| arg.as_str().unwrap())
            .collect();
        understood(&args);
    }
}

#[test]
fn what_the_test_runs_it_understands() {
    let manifests = render(&[]);
    let pod = of_kind(&manifests, "Pod").next().unwrap();
    let args = pod["spec"]["containers"][0]["args"].as_array().unwrap();
    let args: Vec<_> = args.iter().map(|arg| arg.as_str().unwrap()).collect();
    assert_eq!(
        args[..2],
        [
            "post",
            "http://busway-test-channel.busway-system.svc.cluster.local"
        ]
    );
    understood(&args);
}

fn understood(args: &[&str]) {
    let out = Command::new(env!("CARGO_BIN_EXE_busway"))
        .args(args)
        .arg("--help")
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn one_replica_has_no_budget_and_is_updated_by_surge() {
    let alone = render(&["--set", "operator.replicas=1"]);
    assert_eq!(of_kind(&alone, "PodDisruptionBudget").count(), 0);
    let several = render(&[]);
    let budget = of_kind(&several, "PodDisruptionBudget").next().unwrap();
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    let update = &operator(&alone)["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(update["maxSurge"], 1);
    assert_eq!(update["maxUnavailable"], 0);
}

#[test]
fn everything_has_its_labels_and_namespaced_things_their_namespace() {
    let (_, everything) = SETS[1];
    for manifest in render(everything) {
        let labels = &manifest["metadata"]["labels"];
        let what = name(&manifest);
        if manifest["kind"] == "CustomResourceDefinition" {
            assert_eq!(
                manifest["metadata"]["annotations"]["helm.sh/resource-policy"], "keep",
                "{what}"
            );
            continue;
        }
        assert_eq!(labels["example.com/owner"], "platform", "{what}");
        assert_eq!(labels["app.kubernetes.io/name"], "bw", "{what}");
        let cluster_wide = ["ClusterRole", "ClusterRoleBinding", "ClusterBus"];
        let namespaced = !cluster_wide.contains(&manifest["kind"].as_str().unwrap());
        assert_eq!(
            manifest["metadata"]["namespace"].is_string(),
            namespaced,
            "{what}"
        );
    }
}

#[test]
fn names_made_of_the_longest_release_name_fit() {
    let release = "r".repeat(53);
    let out = helm(&[
        "template",
        &release,
        "charts/busway",
        "--kube-version",
        "1.33.0",
    ]);
    assert!(out.status.success());
    for manifest in parse(&String::from_utf8(out.stdout).unwrap()) {
        let kind = manifest["kind"].as_str().unwrap();
        let name = manifest["metadata"]["name"].as_str().unwrap();
        // A Channel's own bound.
        let bound = if kind == "Channel" { 55 } else { 63 };
        assert!(name.len() <= bound, "{kind}: {name}");
    }
}

#[test]
fn a_definition_is_text_and_no_template() {
    let copy = tempfile::tempdir().unwrap();
    let chart = copy.path().join("busway");
    let copied = Command::new("cp")
        .args(["-r", "charts/busway"])
        .arg(&chart)
        .current_dir(root())
        .status()
        .unwrap();
    assert!(copied.success());
    let file = chart.join("files/crds/buses.yaml");
    let trap = "# {{ fail \"this was evaluated\" }}\n";
    fs::write(&file, read("charts/busway/files/crds/buses.yaml") + trap).unwrap();
    let out = helm(&[
        "template",
        "busway",
        &chart.to_string_lossy(),
        "--kube-version",
        "1.33.0",
    ]);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(String::from_utf8(out.stdout).unwrap().contains(trap));
}

#[test]
fn the_chart_has_the_version_of_the_binary() {
    let chart = &parse(&read("charts/busway/Chart.yaml"))[0];
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
