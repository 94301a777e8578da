//! values.yaml, its schema and its page say the same, and what is wrong is refused with its path.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use crate::helm::{helm, parse, read, template};

/// One setting: where it is, what it is by default, what it does.
pub(crate) struct Setting {
    pub(crate) path: String,
    pub(crate) default: String,
    pub(crate) means: String,
}

/// The settings of values.yaml, in its order: a comment above each, the default on the same line.
pub(crate) fn settings() -> Vec<Setting> {
    let mut found = Vec::new();
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut comment = Vec::new();
    let text = read("charts/busway/values.yaml");
    for line in text.lines() {
        let content = line.trim_start();
        if let Some(words) = content.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        if content.is_empty() {
            comment.clear();
            continue;
        }
        let indent = line.len() - content.len();
        let (key, default) = content.split_once(':').expect(line);
        above.retain(|(at, _)| *at < indent);
        above.push((indent, key));
        if !default.is_empty() {
            assert!(!comment.is_empty(), "no comment above {line:?}");
            let keys: Vec<_> = above.iter().map(|(_, key)| *key).collect();
            found.push(Setting {
                path: keys.join("."),
                default: default.trim().to_owned(),
                means: comment.join(" "),
            });
        }
        comment.clear();
    }
    found
}

#[test]
fn every_setting_has_a_schema_and_every_schema_a_setting() {
    let schema: Value = serde_json::from_str(&read("charts/busway/values.schema.json")).unwrap();
    let known: BTreeSet<_> = settings().into_iter().map(|one| one.path).collect();
    let mut described = BTreeSet::new();
    leaves(&schema, String::new(), &mut described);
    // Helm's own; of a container's resources the parts are Kubernetes'.
    described.remove("global");
    let described: BTreeSet<_> = described
        .into_iter()
        .map(|path| path.replace(".resources.requests", ".resources"))
        .filter(|path| !path.contains(".resources."))
        .collect();
    assert_eq!(known, described);
}

fn leaves(schema: &Value, path: String, found: &mut BTreeSet<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        found.insert(path);
        return;
    };
    assert_eq!(
        schema["additionalProperties"], false,
        "{path:?} lets anything in"
    );
    for (key, inner) in properties {
        let separator = if path.is_empty() { "" } else { "." };
        leaves(inner, format!("{path}{separator}{key}"), found);
    }
}

#[test]
fn the_set_with_everything_on_has_every_setting() {
    let everything = &parse(&read("tests/chart/testdata/everything.yaml"))[0];
    for setting in settings() {
        let pointer = format!("/{}", setting.path.replace('.', "/"));
        assert!(everything.pointer(&pointer).is_some(), "{}", setting.path);
    }
}

#[test]
fn bad_values_are_refused_with_their_path() {
    for (set, path) in [
        ("operator.replicas=two", "/operator/replicas"),
        ("operator.replicas=-1", "/operator/replicas"),
        (
            "operator.resources.limits.memory=much",
            "/operator/resources/limits/memory",
        ),
        ("operator.resources.limit.memory=1Gi", "/operator/resources"),
        ("operator.extraArgs=--x", "/operator/extraArgs"),
        ("operator.extraEnv[0].value=x", "/operator/extraEnv/0"),
        (
            "operator.terminationGracePeriodSeconds=0",
            "/operator/terminationGracePeriodSeconds",
        ),
        ("operator.logFormat=xml", "/operator/logFormat"),
        ("image.digest=sha256:abc", "/image/digest"),
        ("image.repository=", "/image/repository"),
        ("image.tag=a b", "/image/tag"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("image.pullSecrets[0]=x", "/image/pullSecrets/0"),
        ("image.name=x", "/image"),
        ("scope.mode=some", "/scope/mode"),
        ("scope.mode=list,cluster.id=a", "/scope/namespaces"),
        ("scope.namespaces={a}", "/scope/namespaces"),
        (
            "scope.mode=list,scope.namespaces={A},cluster.id=a",
            "/scope/namespaces/0",
        ),
        ("scope.mode=own", "/cluster/id"),
        ("thirdPartyBuses=true", "/thirdPartyBuses"),
        ("channelService=none", "/channelService"),
        ("deletionBound=ten", "/deletionBound"),
        ("deletionBound=5s10m", "/deletionBound"),
        ("deletionBound=1.5h30m", "/deletionBound"),
        ("cluster.domain=Cluster.Local", "/cluster/domain"),
        ("serviceAccount.create=false", "/serviceAccount/name"),
        ("rbac.create=yes", "/rbac/create"),
        (
            "networkPolicy.apiServerPorts={70000}",
            "/networkPolicy/apiServerPorts/0",
        ),
        (
            "metrics.prometheusRule.runbooks=docs",
            "/metrics/prometheusRule/runbooks",
        ),
        (
            "metrics.serviceMonitor.interval=30",
            "/metrics/serviceMonitor/interval",
        ),
        ("metrics.ownHistograms=100001", "/metrics/ownHistograms"),
        ("metrics.ownHistograms=-1", "/metrics/ownHistograms"),
        (
            "metrics.serviceMonitor.sampleLimit=-1",
            "/metrics/serviceMonitor/sampleLimit",
        ),
        ("commonLabels.a=b c", "/commonLabels/a"),
        (
            "operator.podLabels.app\\.kubernetes\\.io/name=x",
            "/operator/podLabels/app.kubernetes.io~1name",
        ),
        ("defaultBus.name=A_B", "/defaultBus/name"),
        ("test.timeout=soon", "/test/timeout"),
        ("fullnameOverride=-x", "/fullnameOverride"),
        ("oprator.replicas=1", "oprator"),
    ] {
        let out = template(&["--set", set]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{set} is taken");
        assert!(
            said.contains(&format!("'{path}'")),
            "{set}: no {path:?} in {said}"
        );
    }
}

#[test]
fn a_duration_that_the_schema_takes_is_one_that_the_program_takes() {
    let taken = [
        "10m",
        "0s",
        "1h30m",
        "1h2m3s4ms",
        "1.5h",
        "2m0.5s",
        "250ms",
        "PT10M",
        "PT1H30M",
        "PT1.5H",
        "PT2M0.5S",
        "999999h",
    ];
    let refused = [
        "",
        "10",
        "m",
        "1h-30m",
        "-5m",
        "PT",
        "soon",
        "5s10m",
        "1.5h30m",
        "99999999999999999999h",
    ];
    for duration in taken.iter().chain(&refused) {
        let understood = |args: &[&str]| {
            let program = Command::new(env!("CARGO_BIN_EXE_busway"))
                .args(args)
                .output()
                .unwrap();
            program.status.success()
        };
        let bound = format!("--deletion-bound={duration}");
        let within = format!("--within={duration}");
        let operator = understood(&["operator", "--image=i", &bound, "--help"]);
        let post = understood(&["post", "http://c", &within, "--help"]);
        for (setting, understood) in [("deletionBound", operator), ("test.timeout", post)] {
            let set = format!("{setting}={duration}");
            let out = template(&["--set-string", &set]);
            let said = String::from_utf8_lossy(&out.stderr);
            let is_taken = out.status.success();
            assert_eq!(is_taken, taken.contains(duration), "{set}: {said}");
            assert!(understood || !is_taken, "{set}: the program refuses it");
        }
    }
}

#[test]
fn a_test_runs_where_the_operator_looks_and_names_make_valid_objects() {
    let scoped = "scope.mode=list,scope.namespaces={team-a,team-b},cluster.id=c1,test.namespace=";
    for (namespace, is_taken) in [("team-b", true), ("elsewhere", false)] {
        let out = template(&["--set", &format!("{scoped}{namespace}")]);
        assert_eq!(out.status.success(), is_taken, "{namespace}");
    }
    for (release, over, is_taken) in [
        ("busway", "", true),
        ("123", "", false),
        ("a.b", "", false),
        ("123", "eu", true),
        ("busway", "1st", false),
    ] {
        let over = format!("fullnameOverride={over}");
        let args = ["template", release, "charts/busway", "--set-string", &over];
        let out = helm(&[&args[..], &["--kube-version", "1.33.0"]].concat());
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.success(), is_taken, "{release} {over}: {said}");
        assert!(is_taken || said.contains("fullnameOverride"), "{said}");
    }
}

#[test]
fn a_chart_that_has_this_one_as_a_part_may_set_its_globals() {
    assert!(template(&["--set", "global.anything=1"]).status.success());
}

#[test]
fn helm_lint_finds_nothing() {
    for args in [&[][..], &["-f", "tests/chart/testdata/everything.yaml"]] {
        let out = helm(&[&["lint", "--strict", "charts/busway"], args].concat());
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{said}");
        assert!(
            said.contains("1 chart(s) linted, 0 chart(s) failed"),
            "{said}"
        );
        assert!(!said.contains("[WARNING]"), "{said}");
    }
}
