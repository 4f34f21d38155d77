//! What `deploy/` says is true: objects have the fields that Kubernetes knows, files that are named
//! exist, metrics that are asked for are served, and every alert has a runbook.

mod kustomize;
mod monitoring;

use std::{
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{ConfigMap, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    rbac::v1::ClusterRoleBinding,
};
use kustomize::Kustomization;
use monitoring::{PodMonitor, PrometheusRule};
use serde::{Serialize, de::DeserializeOwned};
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
