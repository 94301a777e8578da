//! What the author of a Bus, who has `edit` in a namespace, cannot get by it that a Pod would not give them.
//! docs/security.md has the table; its rows name these tests.

use std::collections::BTreeSet;

use anyhow::ensure;
use busway_testkit::{
    control::{ControlPlane, Kubectl, Namespace},
    wait,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{DEADLINE, bus, get, looked_after, operator, says, shared, until};

/// The roles of our chart, once: two that apply them at the same time would meet.
async fn with_roles(control: &ControlPlane) {
    static APPLIED: OnceCell<()> = OnceCell::const_new();
    APPLIED
        .get_or_init(|| async {
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
            let manifests = std::fs::read_to_string(root.join("deploy/busway.yaml")).unwrap();
            let manifests: Vec<Value> = serde_saphyr::from_multiple(&manifests).unwrap();
            let roles = manifests
                .iter()
                .filter(|manifest| manifest["kind"] == "ClusterRole");
            let roles: Vec<_> = roles.map(Value::to_string).collect();
            control.apply_yaml(&roles.join("\n---\n")).await.unwrap();
        })
        .await;
}

/// A namespace where `author` has `edit`, with what our chart adds to it.
async fn with_author(namespace: &Namespace) -> Kubectl {
    let control = shared().await;
    with_roles(control).await;
    let account = format!("--serviceaccount={namespace}:author");
    for make in [
        &["create", "serviceaccount", "author"][..],
        &[
            "create",
            "rolebinding",
            "author",
            "--clusterrole=edit",
            &account,
        ],
    ] {
        namespace.kubectl_ok(make).await.unwrap();
    }
    let author = control.as_service_account(namespace.name(), "author").await;
    let author = author.unwrap();
    // The controller manager adds our rules to `edit` a little later.
    wait::until("the author may make buses", DEADLINE, || async {
        let ask = ["auth", "can-i", "create", "buses", "-n", namespace.name()];
        author.ok(ask).await
    })
    .await
    .unwrap();
    author
}

/// What the author hears.
async fn tries(
    author: &Kubectl,
    namespace: &Namespace,
    how: &[&str],
    object: &str,
) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), object).unwrap();
    let path = file.path().to_string_lossy().into_owned();
    let fixed = ["--namespace", namespace.name(), "-f", &path];
    let done = author.run([how, &fixed].concat(), "").await.unwrap();
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8(done.stderr).unwrap()),
    }
}

/// A bus with a container of the author's own, with this in it.
fn own(name: &str, container: Value, more: Value) -> String {
    let mut dispatcher = json!({ "name": "own", "image": "author.test/own:1" });
    let fields = container.as_object().unwrap().clone();
    dispatcher.as_object_mut().unwrap().extend(fields);
    let mut spec = json!({ "dispatcher": dispatcher });
    let more = more.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(more);
    bus(name, spec)
}

/// What a Pod may not do where Pod Security is `restricted`: name, container, volumes, Pod Security's words.
fn forbidden() -> Vec<(&'static str, Value, Value, &'static str)> {
    let context = |context: Value| json!({ "securityContext": context });
    let none = || json!({});
    vec![
        (
            "privileged",
            context(json!({ "privileged": true })),
            none(),
            "privileged",
        ),
        (
            "escalates",
            context(json!({ "allowPrivilegeEscalation": true })),
            none(),
            "allowPrivilegeEscalation",
        ),
        (
            "root",
            context(json!({ "runAsUser": 0, "runAsNonRoot": false })),
            none(),
            "runAsNonRoot",
        ),
        (
            "root-id",
            context(json!({ "runAsUser": 0 })),
            none(),
            "runAsUser=0",
        ),
        (
            "capable",
            context(json!({ "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] } })),
            none(),
            "NET_ADMIN",
        ),
        (
            "undropped",
            context(json!({ "capabilities": {} })),
            none(),
            "must set securityContext.capabilities.drop",
        ),
        (
            "unconfined",
            context(json!({ "seccompProfile": { "type": "Unconfined" } })),
            none(),
            "seccompProfile",
        ),
        (
            "host-port",
            json!({ "ports": [{ "containerPort": 7000, "hostPort": 7000 }] }),
            none(),
            "hostPort",
        ),
        (
            "host-path",
            json!({ "volumeMounts": [{ "name": "node", "mountPath": "/node" }] }),
            json!({ "volumes": [{ "name": "node", "hostPath": { "path": "/" } }] }),
            "hostPath",
        ),
    ]
}

/// What any Pod of that namespace may do: name, container, more of the spec.
fn allowed() -> Vec<(&'static str, Value, Value)> {
    let secret = json!({ "secretKeyRef": { "name": "of-this-namespace", "key": "password" } });
    let token = json!({ "sources": [{ "serviceAccountToken": { "audience": "elsewhere", "path": "token" } }] });
    vec![
        (
            "secret-in-env",
            json!({ "env": [{ "name": "PASSWORD", "valueFrom": secret }] }),
            json!({}),
        ),
        (
            "secret-as-volume",
            json!({ "volumeMounts": [{ "name": "secret", "mountPath": "/secret" }] }),
            json!({ "volumes": [{ "name": "secret", "secret": { "secretName": "of-this-namespace" } }] }),
        ),
        (
            "other-audience",
            json!({ "volumeMounts": [{ "name": "token", "mountPath": "/token" }] }),
            json!({ "volumes": [{ "name": "token", "projected": token }] }),
        ),
        (
            "own-fields",
            json!({ "env": [{ "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }] }),
            json!({}),
        ),
        (
            "named-node",
            json!({}),
            json!({
                "nodeSelector": { "kubernetes.io/hostname": "node-1" },
                "tolerations": [{ "operator": "Exists" }],
                "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                    { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["node-1"] }] },
                ]}}},
            }),
        ),
        (
            "pull-secret",
            json!({}),
            json!({ "imagePullSecrets": [{ "name": "of-this-namespace" }] }),
        ),
    ]
}

#[tokio::test]
async fn the_schema_has_no_field_for_a_host_an_account_a_node_or_a_kind_of_service() {
    let (namespace, operator) = looked_after("fieldless", &[]).await;
    drop(operator);
    let author = with_author(&namespace).await;
    let elsewhere =
        json!({ "secretKeyRef": { "name": "theirs", "key": "k", "namespace": "kube-system" } });
    let memory = |field: &str, value: Value| bus("tried", json!({ "memory": {}, field: value }));
    let own = |container: Value, more: Value| own("tried", container, more);
    for (object, words) in [
        (
            memory("hostNetwork", json!(true)),
            r#"unknown field "spec.hostNetwork""#,
        ),
        (
            memory("hostPID", json!(true)),
            r#"unknown field "spec.hostPID""#,
        ),
        (
            memory("serviceAccountName", json!("default")),
            r#"unknown field "spec.serviceAccountName""#,
        ),
        (
            memory("nodeName", json!("node-1")),
            r#"unknown field "spec.nodeName""#,
        ),
        (
            memory("securityContext", json!({ "runAsUser": 0 })),
            r#"unknown field "spec.securityContext""#,
        ),
        (
            memory("initContainers", json!([])),
            r#"unknown field "spec.initContainers""#,
        ),
        (
            memory("serviceType", json!("NodePort")),
            r#"unknown field "spec.serviceType""#,
        ),
        (
            memory("volumes", json!([{ "name": "v" }])),
            "volumes go with dispatcher only",
        ),
        (
            own(
                json!({ "env": [{ "name": "X", "valueFrom": elsewhere }] }),
                json!({}),
            ),
            r#"unknown field "spec.dispatcher.env[0].valueFrom.secretKeyRef.namespace""#,
        ),
        (
            own(
                json!({}),
                json!({ "imagePullSecrets": [{ "name": "theirs", "namespace": "kube-system" }] }),
            ),
            r#"unknown field "spec.imagePullSecrets[0].namespace""#,
        ),
        (
            own(json!({}), json!({ "image": "author.test/own:1" })),
            "set dispatcher.image instead",
        ),
    ] {
        let create = ["create", "--dry-run=server"];
        let said = tries(&author, &namespace, &create, &object).await;
        let said = said.expect_err(words);
        assert!(said.contains(words), "{words}: {said}");
    }
    // Without strictness they are dropped; nothing of them is stored.
    let lax = ["create", "--validate=false"];
    let object = memory("serviceAccountName", json!("default"));
    tries(&author, &namespace, &lax, &object).await.unwrap();
    let stored = get(&namespace, "bus/tried").await.unwrap();
    assert_eq!(stored["spec"].get("serviceAccountName"), None);
}

#[tokio::test]
async fn a_container_of_ones_own_is_refused_in_every_form_unless_the_admin_allows_it() {
    let (namespace, _operator) = looked_after("not-own", &[]).await;
    let author = with_author(&namespace).await;
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, container, more, _) in forbidden() {
        all.push((name.to_owned(), own(name, container, more)));
    }
    for (name, container, more) in allowed() {
        all.push((name.to_owned(), own(name, container, more)));
    }
    let provisioner = json!({ "provisioner": { "name": "p", "image": "author.test/p:1" } });
    all.push((
        "provisions".to_owned(),
        own("provisions", json!({}), provisioner),
    ));
    // A built-in bus of any image is one, too.
    let pinned = json!({ "memory": {}, "image": "author.test/own:1" });
    all.push(("pinned".to_owned(), bus("pinned", pinned)));
    for (_, object) in &all {
        tries(&author, &namespace, &["create"], object)
            .await
            .unwrap();
    }
    for (name, _) in &all {
        let object = format!("bus/{name}");
        says(
            &namespace,
            &object,
            "Dispatching",
            "False ThirdPartyNotAllowed",
        )
        .await;
    }
    let made = ["get", "deploy,pods,svc,role,rolebinding", "-o", "name"];
    let made = namespace.kubectl_ok(&made).await.unwrap();
    assert_eq!(made.trim(), "rolebinding.rbac.authorization.k8s.io/author");
}

/// The pod that a bus's Deployment makes.
async fn pod_of(namespace: &Namespace, name: &str) -> String {
    let deployment = format!("deployment/{name}-bus-dispatcher");
    let found = until(namespace, &deployment, "is there", |_| Ok::<_, String>(())).await;
    let mut pod = found["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(format!("as-{name}"));
    pod.to_string()
}

async fn restricted(name: &str) -> (Namespace, busway_testkit::binary::Binary, Kubectl) {
    let allowed = ["--third-party-buses", "Namespaced"];
    let (namespace, operator) = looked_after(name, &allowed).await;
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    let label = ["label", "namespace", namespace.name(), enforce];
    namespace.kubectl_ok(&label).await.unwrap();
    let author = with_author(&namespace).await;
    (namespace, operator, author)
}

#[tokio::test]
async fn what_the_namespace_forbids_a_pod_it_forbids_a_bus_in_the_same_words() {
    let (namespace, _operator, author) = restricted("forbids").await;
    for (name, container, more, _) in forbidden() {
        let object = own(name, container, more);
        tries(&author, &namespace, &["create"], &object)
            .await
            .unwrap();
    }
    for (name, _, _, words) in forbidden() {
        let object = format!("bus/{name}");
        let said = says(&namespace, &object, "Dispatching", "False PodRefused").await;
        assert!(said.contains(words), "{name}: {said}");
        says(&namespace, &object, "Ready", "False PodRefused").await;
        let pod = pod_of(&namespace, name).await;
        let create = ["create", "--dry-run=server"];
        let said = tries(&author, &namespace, &create, &pod).await;
        let said = said.expect_err(name);
        assert!(
            said.contains("violates PodSecurity") && said.contains(words),
            "{said}"
        );
    }
    let pods = ["get", "pods", "-o", "name"];
    let pods = namespace.kubectl_ok(&pods).await.unwrap();
    assert_eq!(pods.trim(), "");
}

#[tokio::test]
async fn what_a_bus_runs_its_author_could_run_as_a_pod() {
    let (namespace, _operator, author) = restricted("could").await;
    let built_in = json!({ "memory": {}, "image": "author.test/own:1", "imagePullSecrets": [{ "name": "of-this-namespace" }] });
    let mut all = vec![("built-in", bus("built-in", built_in))];
    for (name, container, more) in allowed() {
        all.push((name, own(name, container, more)));
    }
    for (_, object) in &all {
        tries(&author, &namespace, &["create"], object)
            .await
            .unwrap();
    }
    for (name, _) in &all {
        // Its account comes before its Deployment.
        let pod = pod_of(&namespace, name).await;
        let create = ["create", "--dry-run=server"];
        let taken = tries(&author, &namespace, &create, &pod).await;
        assert_eq!(taken, Ok(()), "{name}: {pod}");
        wait::until("its pod is made", DEADLINE, || async {
            let pods = ["get", "pods", "-o", "name"];
            let pods = namespace.kubectl_ok(&pods).await?;
            ensure!(
                pods.contains(&format!("pod/{name}-bus-dispatcher-")),
                "{pods}"
            );
            Ok(())
        })
        .await
        .unwrap();
    }
}

/// `verb resource.group` of everything that it may do in a namespace, with the names that it is limited to.
async fn rights(who: &Kubectl, namespace: &Namespace) -> BTreeSet<String> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": { "namespace": namespace.name() },
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), review.to_string()).unwrap();
    let path = file.path().to_string_lossy().into_owned();
    let create = ["create", "--validate=false", "-o", "json", "-f", &path];
    let asked = who.ok(create).await.unwrap();
    let asked: Value = serde_json::from_str(&asked).unwrap();
    let words = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    let mut all = BTreeSet::new();
    for rule in asked["status"]["resourceRules"].as_array().unwrap() {
        let names = words(&rule["resourceNames"]).join(",");
        for verb in words(&rule["verbs"]) {
            for resource in words(&rule["resources"]) {
                for group in words(&rule["apiGroups"]) {
                    let right = format!("{verb} {resource}.{group} {names}");
                    all.insert(right.trim_end().to_owned());
                }
            }
        }
    }
    all
}

#[tokio::test]
async fn a_buss_account_has_what_its_author_has_and_the_statuses_of_its_namespace() {
    let (namespace, _operator) = looked_after("rights", &[]).await;
    let author = with_author(&namespace).await;
    let fast = bus("fast", json!({ "memory": {} }));
    tries(&author, &namespace, &["create"], &fast)
        .await
        .unwrap();
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
    let control = shared().await;
    let name = "fast-bus-dispatcher";
    let account = control
        .as_service_account(namespace.name(), name)
        .await
        .unwrap();
    let (has, had) = (
        rights(&account, &namespace).await,
        rights(&author, &namespace).await,
    );
    let more: BTreeSet<&str> = has.difference(&had).map(String::as_str).collect();
    let documented = BTreeSet::from([
        // Of its own namespace's objects.
        "patch buses/status.channels.busway.dev",
        "patch channels/status.channels.busway.dev",
        "patch subscriptions/status.channels.busway.dev",
        "create events.events.k8s.io",
        "patch events.events.k8s.io",
        "get leases.coordination.k8s.io fast-bus",
        "patch leases.coordination.k8s.io fast-bus",
        "update leases.coordination.k8s.io fast-bus",
        // Of the cluster: a RoleBinding gives none of it.
        "get clusterbuses.channels.busway.dev",
        "list clusterbuses.channels.busway.dev",
        "watch clusterbuses.channels.busway.dev",
        "patch clusterbuses/status.channels.busway.dev",
        "list namespaces.",
        "watch namespaces.",
    ]);
    assert!(
        more.is_subset(&documented),
        "{:#?}",
        more.difference(&documented)
    );
    for asked in [
        &["get", "clusterbuses"][..],
        &["get", "namespaces"],
        &["get", "secrets", "-n", namespace.name()],
        &["get", "channels", "-n", "default"],
        &["get", "channels", "--all-namespaces"],
        &["get", "pods", "-n", namespace.name()],
    ] {
        let said = account.run(asked, "").await.unwrap();
        let said = String::from_utf8(said.stderr).unwrap();
        assert!(said.contains("forbidden"), "{asked:?}: {said}");
    }
    // The author, who may make Pods, may have that account's token without any Bus.
    let token = ["create", "token", name, "-n", namespace.name()];
    author.ok(token).await.unwrap();
}

#[tokio::test]
async fn an_account_or_a_lease_of_somebody_elses_is_neither_run_as_nor_given_rights() {
    let (namespace, operator_of_it) = looked_after("impersonates", &[]).await;
    drop(operator_of_it);
    let author = with_author(&namespace).await;
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "second-bus" } });
    namespace.apply_yaml(&lease.to_string()).await.unwrap();
    let account = ["create", "serviceaccount", "first-bus-dispatcher"];
    namespace.kubectl_ok(&account).await.unwrap();
    let _operator = operator(shared().await, namespace.name(), &["--scope", "own"]);
    for (name, taken) in [
        ("first", "sa/first-bus-dispatcher"),
        ("second", "lease/second-bus"),
    ] {
        let object = bus(name, json!({ "memory": {} }));
        tries(&author, &namespace, &["create"], &object)
            .await
            .unwrap();
        says(
            &namespace,
            &format!("bus/{name}"),
            "Dispatching",
            "False NameClash",
        )
        .await;
        let ours = ["get", "deploy,role,rolebinding", "-o", "name"];
        let made = namespace.kubectl_ok(&ours).await.unwrap();
        assert!(!made.contains(&format!("{name}-bus")), "{made}");

        namespace.kubectl_ok(&["delete", taken]).await.unwrap();
        says(
            &namespace,
            &format!("bus/{name}"),
            "Dispatching",
            "False Unavailable",
        )
        .await;
    }
}
