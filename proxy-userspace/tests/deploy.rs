//! What `deploy/` says is true: objects have the fields that Kubernetes knows, files that are named
//! exist, metrics that are asked for are served, and every alert has a runbook.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{ConfigMap, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    rbac::v1::ClusterRoleBinding,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sluice::config::{Config, Flags};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every file below a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| match path.is_dir() {
        true => files(&path, ending),
        false => Vec::from_iter(path.to_string_lossy().ends_with(ending).then_some(path.clone())),
    };
    entries.flat_map(below).collect()
}

/// The documents of every YAML file, with the file of each.
fn documents() -> Vec<(PathBuf, Value)> {
    let parse = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let values: Vec<Value> = serde_saphyr::from_multiple(&text)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        values.into_iter().map(move |value| (path.clone(), value))
    };
    files(&root().join("deploy"), ".yaml").into_iter().flat_map(parse).collect()
}

/// What a type does not take over from a document: fields that are misspelt or in the wrong place.
fn lost<T: DeserializeOwned + Serialize>(document: &Value) -> Vec<String> {
    match serde_json::from_value::<T>(document.clone()) {
        Ok(read) => missing("", document, &serde_json::to_value(read).unwrap()),
        Err(error) => vec![error.to_string()],
    }
}

/// Paths in `given` that `kept` does not have, or has with another value.
fn missing(at: &str, given: &Value, kept: &Value) -> Vec<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given
            .iter()
            .flat_map(|(key, value)| {
                let at = format!("{at}.{key}");
                missing(&at, value, kept.get(key).unwrap_or(&Value::Null))
            })
            .collect(),
        (Value::Array(given), Value::Array(kept)) if given.len() == kept.len() => given
            .iter()
            .zip(kept)
            .enumerate()
            .flat_map(|(index, (given, kept))| missing(&format!("{at}[{index}]"), given, kept))
            .collect(),
        (given, kept) if given == kept => Vec::new(),
        (given, kept) => vec![format!("{at}: {given} became {kept}")],
    }
}

/// The parts of kustomize that we use.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kustomization {
    api_version: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    resources: Vec<String>,
    #[serde(default)]
    patches: Vec<Patch>,
    #[serde(default)]
    config_map_generator: Vec<Generator>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    path: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Generator {
    name: String,
    files: Vec<String>,
    options: Value,
}

/// The parts of the Prometheus operator's objects that we use; field by field as in its API.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodMonitor {
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
struct PrometheusRule {
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

#[test]
fn objects_have_only_fields_that_are_known() {
    let documents = documents();
    assert!(documents.len() > 15, "only {} documents were found", documents.len());
    for (path, mut document) in documents {
        // Kustomize's own, in patches.
        document.as_object_mut().unwrap().remove("$patch");
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        let lost = match kind.as_str() {
            "DaemonSet" => lost::<DaemonSet>(&document),
            "ConfigMap" => lost::<ConfigMap>(&document),
            "ServiceAccount" => lost::<ServiceAccount>(&document),
            "ClusterRoleBinding" => lost::<ClusterRoleBinding>(&document),
            "Service" => lost::<Service>(&document),
            "EndpointSlice" => lost::<EndpointSlice>(&document),
            "Kustomization" => lost::<Kustomization>(&document),
            "PodMonitor" => lost::<PodMonitor>(&document),
            "PrometheusRule" => lost::<PrometheusRule>(&document),
            other => vec![format!("kind {other:?} is not known to this test")],
        };
        assert!(lost.is_empty(), "{}, {kind}: {}", path.display(), lost.join(", "));
    }
}

#[test]
fn a_misspelt_field_is_noticed() {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a", "lables": {}},
    });
    assert_eq!(lost::<ServiceAccount>(&object), [".metadata.lables: {} became null"]);
}

#[test]
fn kustomizations_name_files_that_exist() {
    for path in files(&root().join("deploy"), "kustomization.yaml") {
        let folder = path.parent().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let kustomization: Kustomization = serde_saphyr::from_str(&text).unwrap();
        let generated = kustomization.config_map_generator.iter().flat_map(|g| &g.files);
        let named = kustomization.resources.iter().chain(generated);
        for name in named.chain(kustomization.patches.iter().map(|patch| &patch.path)) {
            let file = folder.join(name.split_once('=').map_or(name.as_str(), |(_, file)| file));
            let file = if file.is_dir() { file.join("kustomization.yaml") } else { file };
            assert!(file.is_file(), "{}: {name} is not there", path.display());
        }
    }
}

#[test]
fn configurations_are_obeyed_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.conf");
    let mut seen = 0;
    for (path, document) in documents() {
        let Some(text) = document["data"]["config.conf"].as_str() else { continue };
        fs::write(&file, text).unwrap();
        let config = format!("--config={}", file.display());
        let args = ["kube-proxy", &config, "--hostname-override=n1", "--proxy-mode=ebpf"];
        let flags = Flags::read(args.map(Into::into)).unwrap();
        let config = Config::from_flags(flags).unwrap();
        let said: Vec<_> = config.warnings.iter().chain(&config.notes).collect();
        assert!(said.is_empty(), "{}: {said:?}", path.display());
        seen += 1;
    }
    assert_eq!(seen, 3, "the base's, k3s' and kind's");
}

/// Names of ours and kube-proxy's metrics in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = ["sluice_", "kubeproxy_", "process_"];
    names.filter(|name| ours.iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[test]
fn metrics_that_are_asked_for_are_served() {
    let folder = root().join("proxy-userspace/src/metrics");
    let source = files(&folder, ".rs").into_iter().map(|path| fs::read_to_string(path).unwrap());
    let source: String = source.collect();
    let exists = |name: &str| {
        let short = name.split_once('_').map_or(name, |(_, short)| short);
        [name, short].iter().any(|name| source.contains(&format!("\"{name}\"")))
    };
    for path in ["deploy/monitoring/rules.yaml", "deploy/monitoring/dashboard.json"] {
        let text = read(path);
        let asked = metrics(&text);
        assert!(asked.len() > 5, "{path} asks for {asked:?} only");
        for name in asked {
            let whole = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s));
            assert!(exists(whole.unwrap_or(name)) || exists(name), "{path}: nobody serves {name}");
        }
    }
}

#[test]
fn every_alert_has_a_runbook() {
    let rules: PrometheusRule =
        serde_saphyr::from_str(&read("deploy/monitoring/rules.yaml")).unwrap();
    let runbooks = read("docs/runbooks.md");
    let sections: Vec<&str> = runbooks.lines().filter_map(|l| l.strip_prefix("## ")).collect();
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
