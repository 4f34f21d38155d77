//! The overlays, put together as kustomize does with the parts of it that we use.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{files, root};

/// The parts of kustomize that we use.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Kustomization {
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

/// Kind, name and namespace: what a patch finds its object by.
type Identity = (String, String, Option<String>);

fn identity(object: &Value) -> Identity {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let need = |at: &str| text(at).unwrap_or_else(|| panic!("no {at} in {object}"));
    (need("/kind"), need("/metadata/name"), text("/metadata/namespace"))
}

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The objects of a kustomization.
fn render(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
    let kustomization: Kustomization = serde_saphyr::from_str(&text).unwrap();
    let mut objects: Vec<Value> = Vec::new();
    for resource in &kustomization.resources {
        let path: PathBuf = folder.join(resource);
        objects.extend(if path.is_dir() { render(&path) } else { documents(&path) });
    }
    for patch in kustomization.patches.iter().flat_map(|it| documents(&folder.join(&it.path))) {
        apply(&mut objects, &patch, folder);
    }
    if let Some(namespace) = &kustomization.namespace {
        // What a cluster has one of has no namespace.
        let named = objects.iter_mut().filter(|object| object["kind"] != "ClusterRoleBinding");
        named.for_each(|object| object["metadata"]["namespace"] = namespace.as_str().into());
    }
    objects
}

fn apply(objects: &mut Vec<Value>, patch: &Value, folder: &Path) {
    let wanted = identity(patch);
    let found: Vec<usize> =
        (0..objects.len()).filter(|index| identity(&objects[*index]) == wanted).collect();
    let [index] = found.as_slice() else {
        panic!("{}: a patch for {wanted:?} fits {} objects", folder.display(), found.len());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("delete") => drop(objects.remove(*index)),
        Some(other) => panic!("{}: $patch: {other}", folder.display()),
        None => merge(&mut objects[*index], patch),
    }
}

/// Maps merge by key; our patches have no lists, whose merging depends on the type.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else { return object.clone_from(patch) };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    for (key, value) in fields {
        assert!(!value.is_array(), "a patch with a list: {key}");
        merge(&mut object[key], value);
    }
}

fn overlay(name: &str) -> Vec<Value> {
    render(&root().join("deploy/overlays").join(name))
}

#[test]
fn over_kubeadms_own_only_the_daemon_set_is_applied() {
    let objects = overlay("kubeadm");
    let kube_proxy = ("DaemonSet".into(), "kube-proxy".into(), Some("kube-system".into()));
    assert_eq!(objects.iter().map(identity).collect::<Vec<_>>(), [kube_proxy]);
    let spec = &objects[0]["spec"];
    // kubeadm's selector, which cannot be changed.
    assert_eq!(spec["selector"]["matchLabels"], serde_json::json!({"k8s-app": "kube-proxy"}));
    assert_eq!(spec["template"]["metadata"]["labels"]["k8s-app"], "kube-proxy");
}

#[test]
fn elsewhere_everything_that_is_named_is_there() {
    for name in ["k3s", "kind"] {
        let objects = overlay(name);
        let there: BTreeSet<Identity> = objects.iter().map(identity).collect();
        assert_eq!((objects.len(), there.len()), (4, 4), "{name}: {there:?}");
        let has = |kind: &str, name: &Value, namespace: Option<&str>| {
            let name = name.as_str().unwrap_or_default().to_owned();
            there.contains(&(kind.into(), name, namespace.map(str::to_owned)))
        };
        let find = |kind: &str| objects.iter().find(|it| it["kind"] == kind).unwrap();
        let subject = &find("ClusterRoleBinding")["subjects"][0];
        let pod = &find("DaemonSet")["spec"]["template"]["spec"];
        let system = Some("kube-system");
        assert_eq!(subject["namespace"], "kube-system");
        assert!(has("ServiceAccount", &subject["name"], system), "{name}");
        assert!(has("ServiceAccount", &pod["serviceAccountName"], system), "{name}");
        for volume in pod["volumes"].as_array().unwrap() {
            let map = &volume["configMap"]["name"];
            assert!(map.is_null() || has("ConfigMap", map, system), "{name}: no {map}");
        }
        // The base's API server is nobody's: each overlay names its own.
        let data = &find("ConfigMap")["data"];
        let base = documents(&root().join("deploy/base/config.yaml")).remove(0);
        assert_ne!(data["kubeconfig.conf"], base["data"]["kubeconfig.conf"], "{name}");
    }
}
