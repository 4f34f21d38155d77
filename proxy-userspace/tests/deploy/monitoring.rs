//! PodMonitor, alerts and dashboard.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice::{
    metrics::{Metrics, kernel::Packets, vitals::Shown},
    vitals::Vitals,
};
use sluice_common::reason::Reason;

use crate::read;

/// The parts of the Prometheus operator's objects that we use; field by field as in its API.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PodMonitor {
    api_version: String,
    kind: String,
    metadata: Value,
    spec: PodMonitorSpec,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodMonitorSpec {
    selector: Value,
    job_label: String,
    pod_metrics_endpoints: Vec<Endpoint>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    port: String,
    path: String,
    interval: String,
    relabelings: Vec<Relabeling>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Relabeling {
    source_labels: Vec<String>,
    target_label: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PrometheusRule {
    api_version: String,
    kind: String,
    metadata: Value,
    spec: Groups,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pending: Option<String>,
    labels: Value,
    annotations: Value,
}

/// Everything that /metrics serves.
fn page() -> String {
    let metrics = Metrics::new().unwrap();
    let packets = Packets::new(Box::new(|| vec![(Reason::NewFlow, 1)])).unwrap();
    metrics.register(Box::new(packets)).unwrap();
    metrics.register(Box::new(Shown::new(Vitals::default().into()).unwrap())).unwrap();
    // Labels whose values are names of maps.
    metrics.own().entries.with_label_values(&["SERVICES"]);
    metrics.own().max_entries.with_label_values(&["SERVICES"]);
    metrics.scrape().body
}

/// Names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = ["sluice_", "kubeproxy_", "process_", "rest_client_", "kubernetes_"];
    names.filter(|name| ours.iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[test]
fn metrics_that_are_asked_for_are_served() {
    let page = page();
    let series = page.lines().filter(|line| !line.starts_with('#'));
    let served: BTreeSet<&str> = series.filter_map(|line| line.split(['{', ' ']).next()).collect();
    assert!(served.len() > 40, "{served:?}");
    for path in ["deploy/monitoring/rules.yaml", "deploy/monitoring/dashboard.json"] {
        let text = read(path);
        let asked = names(&text);
        assert!(asked.len() > 5, "{path} asks for {asked:?} only");
        let unknown: Vec<_> = asked.difference(&served).collect();
        assert!(unknown.is_empty(), "{path}: nobody serves {unknown:?}");
    }
}

/// Every own metric is explained, and nothing that is not there.
#[test]
fn metrics_are_documented() {
    let text = read("docs/kube-proxy.md");
    let page = page();
    let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE sluice_"));
    let served: BTreeSet<&str> = kinds.filter_map(|line| line.split(' ').next()).collect();
    let documented: BTreeSet<&str> = text
        .split("Sluice's own:")
        .nth(1)
        .unwrap()
        .lines()
        .skip(4)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter_map(|name| name.split('{').next())
        .collect();
    assert_eq!(served, documented);
}

#[test]
fn every_alert_has_a_runbook() {
    let rules: PrometheusRule =
        serde_saphyr::from_str(&read("deploy/monitoring/rules.yaml")).unwrap();
    let runbooks = read("docs/runbooks.md");
    let headings = runbooks.lines().filter_map(|line| line.strip_prefix("## "));
    let sections: Vec<&str> = headings.filter(|it| !it.starts_with("Event ")).collect();
    let rules: Vec<Rule> = rules.spec.groups.into_iter().flat_map(|group| group.rules).collect();
    for Rule { alert, annotations, .. } in &rules {
        let place = format!("docs/runbooks.md#{}", alert.to_lowercase());
        assert_eq!(annotations["runbook"].as_str(), Some(place.as_str()), "{alert}");
        assert!(sections.contains(&alert.as_str()), "{alert} has no section");
    }
    let alerts: Vec<&str> = rules.iter().map(|rule| rule.alert.as_str()).collect();
    let stale = sections.iter().find(|section| !alerts.contains(section));
    assert_eq!(stale, None, "a runbook without an alert");
}
