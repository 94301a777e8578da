//! The chart on a real API server: what it renders is taken as it is, and helm installs, upgrades, rolls back, uninstalls.

use std::{path::Path, process::Output, time::Duration};

use anyhow::ensure;
use busway_testkit::{control::ControlPlane, wait};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::helm::{NAMESPACE, SETS, helm, name, of_kind, read, render, text};

/// How long the API server may take to serve new definitions, on a machine that is busy.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
const KINDS: &[&str] = &["buses", "clusterbuses", "channels", "subscriptions"];

/// The shared control plane with our definitions, those of the Prometheus operator, and the namespaces of `SETS`.
async fn prepared() -> &'static ControlPlane {
    static PREPARED: OnceCell<&'static ControlPlane> = OnceCell::const_new();
    PREPARED
        .get_or_init(|| async {
            let plane = ControlPlane::shared().await.unwrap();
            plane.apply_yaml(&read("deploy/crds.yaml")).await.unwrap();
            let monitoring = read("tests/chart/testdata/monitoring-crds.yaml");
            plane.apply_yaml(&monitoring).await.unwrap();
            for namespace in [NAMESPACE, "team-a", "team-b", "busway-test"] {
                plane
                    .kubectl_ok(&["create", "namespace", namespace])
                    .await
                    .unwrap();
                let label = [
                    "label",
                    "namespace",
                    namespace,
                    "pod-security.kubernetes.io/enforce=restricted",
                ];
                plane.kubectl_ok(&label).await.unwrap();
            }
            served(plane, &["servicemonitors", "prometheusrules"]).await;
            served(plane, KINDS).await;
            plane
        })
        .await
}

async fn served(plane: &ControlPlane, kinds: &[&str]) {
    wait::until("the new kinds are served", SERVED_WITHIN, || async {
        for kind in kinds {
            plane.kubectl_ok(&["get", kind, "--all-namespaces"]).await?;
        }
        anyhow::Ok(())
    })
    .await
    .unwrap();
}

/// `kubectl ARGS -f` with these manifests, dry-run and strict.
async fn dry_run(plane: &ControlPlane, args: &[&str], manifests: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), manifests).unwrap();
    let file = file.path().to_string_lossy().into_owned();
    let strict = [
        "--dry-run=server",
        "--validate=strict",
        "--warnings-as-errors",
        "-f",
        &file,
    ];
    plane.kubectl(&[args, &strict].concat()).await.unwrap()
}

#[tokio::test]
async fn the_api_server_takes_every_manifest_as_it_is() {
    let plane = prepared().await;
    for (what, args) in SETS {
        let rendered = text(args);
        for apply in [&["apply"][..], &["apply", "--server-side"]] {
            // The definitions are there already, as somebody else's.
            let force: &[&str] = if apply.len() == 2 {
                &["--force-conflicts"]
            } else {
                &[]
            };
            let out = dry_run(plane, &[apply, force].concat(), &rendered).await;
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{what}: {apply:?}: {said}");
        }
    }
}

#[tokio::test]
async fn a_misspelt_field_would_be_found() {
    let plane = prepared().await;
    let wrong = text(SETS[0].1).replace("enableServiceLinks:", "enableServiceLink:");
    let out = dry_run(plane, &["apply"], &wrong).await;
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert!(said.contains("enableServiceLink"), "{said}");
}

#[tokio::test]
async fn the_pods_are_taken_where_pod_security_is_restricted() {
    let plane = prepared().await;
    for (what, args) in SETS {
        let manifests = render(args);
        let operator = of_kind(&manifests, "Deployment").next().unwrap();
        let mut pods = vec![operator["spec"]["template"]["spec"].clone()];
        pods.extend(of_kind(&manifests, "Pod").map(|pod| pod["spec"].clone()));
        for mut spec in pods {
            // Admission looks for what is not made in a dry-run.
            for missing in ["serviceAccountName", "priorityClassName"] {
                spec.as_object_mut().unwrap().remove(missing);
            }
            let restricted = pod(&spec);
            let out = dry_run(plane, &["create"], &restricted.to_string()).await;
            assert!(
                out.status.success(),
                "{what}: {}",
                String::from_utf8_lossy(&out.stderr)
            );
        }
    }
    // The same pod without its security context is refused, so the check checks.
    let manifests = render(&[]);
    let mut spec = of_kind(&manifests, "Pod").next().unwrap()["spec"].clone();
    spec.as_object_mut().unwrap().remove("securityContext");
    let out = dry_run(plane, &["create"], &pod(&spec).to_string()).await;
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("violates PodSecurity"), "{said}");
}

fn pod(spec: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "tried", "namespace": NAMESPACE},
        "spec": spec,
    })
}

/// A cluster of a test's own, and helm on it.
struct Cluster(ControlPlane);

impl Cluster {
    async fn start() -> Self {
        Self(ControlPlane::start().await.unwrap())
    }

    fn try_helm(&self, args: &[&str]) -> Output {
        let kubeconfig: &Path = self.0.kubeconfig();
        let fixed = [
            "--kubeconfig",
            &kubeconfig.to_string_lossy(),
            "--namespace",
            NAMESPACE,
        ];
        helm(&[args, &fixed].concat())
    }

    fn helm(&self, args: &[&str]) -> String {
        let out = self.try_helm(args);
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    }

    async fn get(&self, args: &[&str]) -> String {
        self.0.kubectl_ok(&[&["get"], args].concat()).await.unwrap()
    }

    async fn replicas(&self) -> String {
        let path = "jsonpath={.spec.replicas}";
        self.get(&[
            "deployment",
            "busway-operator",
            "--namespace",
            NAMESPACE,
            "--output",
            path,
        ])
        .await
    }

    /// A ClusterBus and a Channel on it.
    async fn use_it(&self) {
        served(&self.0, KINDS).await;
        let objects = "{apiVersion: channels.busway.dev/v1alpha1, kind: ClusterBus, metadata: {name: memory}, spec: {memory: {}}}\n---\n\
             {apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: orders, namespace: default}, spec: {clusterBus: memory}}\n";
        self.0.apply_yaml(objects).await.unwrap();
    }

    async fn still_in_use(&self) {
        let found = self.get(&["channel", "orders", "--output", "name"]).await;
        assert_eq!(found.trim(), "channel.channels.busway.dev/orders");
    }

    /// What of the chart's is there, without the definitions.
    async fn parts(&self) -> String {
        let kinds = "deployments,services,serviceaccounts,leases,roles,rolebindings,poddisruptionbudgets,clusterroles,clusterrolebindings";
        self.get(&[
            kinds,
            "--all-namespaces",
            "--selector",
            "app.kubernetes.io/instance=busway",
            "--output",
            "name",
        ])
        .await
    }
}

const INSTALL: &[&str] = &["install", "busway", "charts/busway", "--create-namespace"];

#[tokio::test]
async fn helm_installs_upgrades_rolls_back_and_uninstalls_and_definitions_and_objects_stay() {
    let cluster = Cluster::start().await;
    let said = cluster.helm(INSTALL);
    assert!(said.contains("Next, a bus and a channel on it"), "{said}");
    cluster.use_it().await;
    assert_eq!(cluster.replicas().await, "2");

    cluster.helm(&[
        "upgrade",
        "busway",
        "charts/busway",
        "--set",
        "operator.replicas=3,defaultBus.create=true,defaultBus.name=standard",
    ]);
    assert_eq!(cluster.replicas().await, "3");
    cluster.still_in_use().await;
    let default = "jsonpath={.metadata.annotations.channels\\.busway\\.dev/is-default-bus}";
    assert_eq!(
        cluster
            .get(&["clusterbus", "standard", "--output", default])
            .await,
        "true"
    );

    cluster.helm(&["rollback", "busway", "1"]);
    assert_eq!(cluster.replicas().await, "2");
    cluster.still_in_use().await;
    cluster.get(&["clusterbus", "standard"]).await;

    for install in ["crds.install=false", "crds.install=true"] {
        cluster.helm(&["upgrade", "busway", "charts/busway", "--set", install]);
        cluster.still_in_use().await;
    }

    cluster.helm(&["uninstall", "busway", "--wait"]);
    assert_eq!(cluster.parts().await, "");
    cluster.still_in_use().await;

    // The definitions are still the release's, so that it can come back.
    cluster.helm(INSTALL);
    cluster.still_in_use().await;
    assert_ne!(cluster.parts().await, "");
}

#[tokio::test]
async fn an_upgrade_upgrades_the_definitions_with_objects_present() {
    let cluster = Cluster::start().await;
    cluster.helm(INSTALL);
    cluster.use_it().await;
    // As an older version's: without a column and a short name.
    let older = r#"[{"op": "remove", "path": "/spec/names/shortNames"}, {"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}]"#;
    let definition = "channels.channels.busway.dev";
    let patch = ["patch", "crd", definition, "--type=json", "--patch", older];
    cluster.0.kubectl_ok(&patch).await.unwrap();
    cluster.helm(&[
        "upgrade",
        "busway",
        "charts/busway",
        "--set",
        "operator.logLevel=debug",
    ]);
    // Helm compares three ways: what it rendered last time and now is the same, so only what differs live is put back.
    let names = cluster
        .get(&[
            "crd",
            definition,
            "--output",
            "jsonpath={.spec.names.shortNames}",
        ])
        .await;
    assert_eq!(names, r#"["chan"]"#);
    cluster.still_in_use().await;
}

#[tokio::test]
async fn plain_manifests_install_the_same_and_helm_can_take_over() {
    let cluster = Cluster::start().await;
    for _ in 0..2 {
        cluster
            .0
            .apply_yaml(&read("deploy/busway.yaml"))
            .await
            .unwrap();
    }
    cluster.use_it().await;
    let plain = cluster.parts().await;

    let refused = cluster.try_helm(INSTALL);
    assert!(!refused.status.success());
    cluster.helm(&[INSTALL, &["--take-ownership"]].concat());
    assert_eq!(cluster.parts().await, plain);
    cluster.still_in_use().await;
}

#[tokio::test]
async fn a_second_release_for_another_namespace_lives_beside_the_first_even_with_its_name() {
    let cluster = Cluster::start().await;
    cluster.helm(&[INSTALL, &["--set", "scope.mode=own,cluster.id=a"]].concat());
    let kubeconfig = cluster.0.kubeconfig().to_string_lossy().into_owned();
    let second = [
        "install",
        "busway",
        "charts/busway",
        "--create-namespace",
        "--namespace",
        "team-b",
        "--kubeconfig",
        &kubeconfig,
        "--set",
        "scope.mode=own,cluster.id=a,crds.install=false,rbac.aggregate=false",
    ];
    let out = helm(&second);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let roles = cluster.get(&["clusterroles", "--output", "name"]).await;
    assert!(!roles.contains("busway-dispatcher"), "{roles}");
    for namespace in [NAMESPACE, "team-b"] {
        let role = ["role", "busway-dispatcher", "--namespace", namespace];
        cluster.get(&role).await;
    }
}

#[tokio::test]
async fn view_and_edit_reach_our_kinds_and_no_cluster_bus() {
    let cluster = Cluster::start().await;
    cluster.helm(INSTALL);
    for role in ["view", "edit", "admin"] {
        let account = ["create", "serviceaccount", role, "--namespace", "default"];
        cluster.0.kubectl_ok(&account).await.unwrap();
        let bind = [
            "create",
            "rolebinding",
            role,
            "--namespace",
            "default",
            "--clusterrole",
            role,
            "--serviceaccount",
            &format!("default:{role}"),
        ];
        cluster.0.kubectl_ok(&bind).await.unwrap();
    }
    for (role, verb, kind, expected) in [
        ("view", "list", "channels", "yes"),
        ("view", "create", "channels", "no"),
        ("edit", "create", "subscriptions", "yes"),
        ("edit", "delete", "buses", "yes"),
        ("admin", "patch", "channels", "yes"),
        ("admin", "list", "clusterbuses", "no"),
    ] {
        let what = format!("{role} may {verb} {kind}: {expected}");
        // The controller manager adds them a little later.
        wait::until(&what, SERVED_WITHIN, || async {
            let account = format!("system:serviceaccount:default:{role}");
            let kind = format!("{kind}.channels.busway.dev");
            let asked = [
                "auth",
                "can-i",
                verb,
                &kind,
                "--namespace",
                "default",
                "--as",
                &account,
            ];
            let out = cluster.0.kubectl(&asked).await?;
            let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
            ensure!(
                said == expected,
                "{said} {}",
                String::from_utf8_lossy(&out.stderr)
            );
            anyhow::Ok(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn the_notes_name_what_there_is_to_do_next() {
    let plane = prepared().await;
    let kubeconfig = plane.kubeconfig().to_string_lossy().into_owned();
    for (args, words) in [
        (&[][..], "metadata: {name: memory}, spec: {memory: {}}"),
        (
            &["--set", "scope.mode=own,cluster.id=a"],
            "kind: Bus, metadata: {name: memory, namespace: \"busway-system\"}",
        ),
        (
            &[
                "--set",
                "scope.mode=list,scope.namespaces={team-a},cluster.id=a",
            ],
            "namespace: \"team-a\"}, spec: {bus: memory}",
        ),
    ] {
        let fixed = [
            "install",
            "busway",
            "charts/busway",
            "--namespace",
            NAMESPACE,
            "--kubeconfig",
            &kubeconfig,
            "--take-ownership",
            "--dry-run=client",
        ];
        let out = helm(&[&fixed[..], args].concat());
        let said = String::from_utf8_lossy(&out.stdout);
        let Some((_, notes)) = said.split_once("NOTES:") else {
            panic!("{said}{}", String::from_utf8_lossy(&out.stderr));
        };
        let uninstall = match args {
            [] => "\nbusway uninstall\n",
            [_, own] if own.contains("=own") => "\nbusway uninstall --namespace busway-system\n",
            _ => "\nbusway uninstall --namespace team-a\n",
        };
        for word in [
            words,
            "\nhelm --namespace busway-system test busway\n",
            uninstall,
        ] {
            assert!(notes.contains(word), "{word:?}: {notes}");
        }
        // As they are copied: a heredoc ends at a line that is not indented.
        assert!(!notes.contains("\n "), "{notes}");
        let (_, rest) = notes.split_once("\nkubectl create -f - <<YAML\n").unwrap();
        let (objects, _) = rest.split_once("\nYAML\n").unwrap();
        let out = dry_run(plane, &["create"], objects).await;
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{objects}: {said}");
    }
}

#[test]
fn every_object_is_rendered_once() {
    for (what, args) in SETS {
        let mut names: Vec<_> = render(args)
            .iter()
            .map(|manifest| {
                format!(
                    "{} in {}",
                    name(manifest),
                    manifest["metadata"]["namespace"]
                )
            })
            .collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{what}: {names:?}");
    }
}
