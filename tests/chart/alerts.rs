//! Alerts and panels ask for metrics that there are, and every alert has a runbook.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::helm::{of_kind, parse, read, render, root};

const ON: &[&str] = &[
    "--set",
    "metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true",
];

/// The names in docs/metrics.md.
fn documented() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned())
        .collect()
}

/// The metrics that an expression asks for; a histogram's series are the histogram.
fn asked(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("busway_"))
        .map(|word| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word)
        })
}

fn alerts() -> Vec<Value> {
    let manifests = render(ON);
    let rule = of_kind(&manifests, "PrometheusRule").next().unwrap();
    let groups = rule["spec"]["groups"].as_array().unwrap();
    let alerts: Vec<_> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    alerts
}

#[test]
fn every_metric_of_an_alert_is_documented() {
    let documented = documented();
    for alert in alerts() {
        let expression = alert["expr"].as_str().unwrap();
        let asked: Vec<_> = asked(expression).collect();
        assert!(!asked.is_empty(), "{expression}");
        for metric in asked {
            assert!(
                documented.contains(metric),
                "{}: no metric {metric}",
                alert["alert"]
            );
        }
    }
}

#[test]
fn every_metric_of_the_dashboard_is_documented() {
    let documented = documented();
    let manifests = render(ON);
    let text = of_kind(&manifests, "ConfigMap").next().unwrap()["data"]["busway.json"]
        .as_str()
        .unwrap();
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let mut expressions: Vec<_> = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        expressions.extend(variable["query"]["query"].as_str());
    }
    assert!(expressions.len() > 10, "{expressions:?}");
    for expression in expressions {
        for metric in asked(expression) {
            assert!(
                documented.contains(metric),
                "no metric {metric}: {expression}"
            );
        }
    }
}

#[test]
fn every_alert_links_a_runbook_that_is_there_and_every_runbook_has_its_alert() {
    let mut linked = BTreeSet::new();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let link = alert["annotations"]["runbook_url"].as_str().unwrap();
        let path = link.strip_prefix("https://busway.dev/").unwrap();
        assert_eq!(path, format!("docs/runbooks/{name}.md"));
        let runbook = read(path);
        assert!(runbook.starts_with(&format!("# {name}\n")), "{path}");
        for heading in ["## Means", "## Look", "## Do"] {
            assert!(runbook.contains(heading), "{path}: no {heading}");
        }
        for key in ["summary", "description"] {
            assert!(alert["annotations"][key].is_string(), "{name}: no {key}");
        }
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}");
        linked.insert(format!("{name}.md"));
    }
    let there: BTreeSet<_> = fs::read_dir(root().join("docs/runbooks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(linked, there);
}

#[test]
fn each_of_several_releases_has_its_own_leader() {
    let leads = alerts()
        .into_iter()
        .find(|alert| alert["alert"] == "BuswayNoOperatorLeads")
        .unwrap();
    let leader = "busway_operator_leader{namespace=\"busway-system\"}";
    assert!(leads["expr"].as_str().unwrap().contains(leader), "{leads}");
    assert!(!leads.to_string().contains("RELEASE_NAMESPACE"), "{leads}");
}

#[test]
fn dead_letters_of_dispatchers_older_than_the_chart_are_seen_too() {
    let alert = alerts()
        .into_iter()
        .find(|alert| alert["alert"] == "BuswayDeadLetters")
        .unwrap();
    let expression: Vec<_> = alert["expr"].as_str().unwrap().split_whitespace().collect();
    // Once each: a dispatcher that counts for the subscription counts for the bus too.
    let older = "or increase(busway_dispatcher_dead_letters_total[15m]) \
                 unless on (instance) last_over_time(busway_dispatcher_filter_errors_total[15m]) ) > 0";
    assert!(expression.join(" ").ends_with(older), "{expression:?}");
    let summary = alert["annotations"]["summary"].as_str().unwrap();
    assert!(summary.contains("{{ else }}A Subscription of bus {{ $labels.bus }}{{ end }}"));
}

#[test]
fn a_monitor_has_a_service_to_select() {
    let only = "metrics.service.enabled=false,metrics.serviceMonitor.enabled=";
    for (monitored, services) in [("true", 1), ("false", 0)] {
        let manifests = render(&["--skip-tests", "--set", &format!("{only}{monitored}")]);
        assert_eq!(of_kind(&manifests, "Service").count(), services);
    }
}

#[test]
fn a_scrape_has_a_bound_where_one_is_set() {
    let limits = |set: &str| {
        let set = format!("metrics.serviceMonitor.enabled=true{set}");
        let manifests = render(&["--set", &set]);
        let monitors = of_kind(&manifests, "ServiceMonitor");
        monitors
            .map(|monitor| monitor["spec"]["sampleLimit"].as_u64())
            .collect::<Vec<_>>()
    };
    assert_eq!(limits(""), [None, None]);
    let set = ",metrics.serviceMonitor.sampleLimit=2000000";
    assert_eq!(limits(set), [Some(2_000_000), Some(2_000_000)]);
}

#[test]
fn an_alerts_words_are_prometheus_templates_and_not_helms() {
    let raw = parse(&read("charts/busway/files/alerts.yaml"));
    assert!(
        raw[0]["groups"][0]["rules"][0]["annotations"]["summary"]
            .as_str()
            .unwrap()
            .contains("{{ $labels.pod }}")
    );
    let rendered = alerts();
    assert!(rendered.iter().any(|alert| {
        alert["annotations"]["summary"]
            .as_str()
            .unwrap()
            .contains("{{ $labels.pod }}")
    }));
}
