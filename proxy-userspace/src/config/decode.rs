//! From a file's text to a configuration: strictly, and where only unknown or duplicate fields
//! stand in the way, leniently with a warning (A.8).

use serde_json::{Map, Value};
use serde_saphyr::{Options, options::DuplicateKeyPolicy};

use super::file::{API_VERSION, KIND, KubeProxyConfiguration};

/// A configuration, and what was wrong with its text and did not matter.
#[derive(Debug)]
pub struct Decoded {
    /// The configuration, without defaults.
    pub config: KubeProxyConfiguration,
    /// Unknown and duplicate fields, each as a sentence.
    pub warnings: Vec<String>,
}

/// Decodes a file. The error names the cause in one line.
pub fn decode(text: &str) -> Result<Decoded, String> {
    let mut warnings = Vec::new();
    let mut document = match yaml(text, DuplicateKeyPolicy::Error) {
        Ok(document) => document,
        Err(strict) => {
            let lenient = yaml(text, DuplicateKeyPolicy::LastWins).map_err(|_| strict.clone())?;
            warnings.push(format!("{strict}; the last one counts"));
            lenient
        }
    };
    check_kind(&document)?;
    drop_nulls(&mut document);
    let config: KubeProxyConfiguration =
        serde_json::from_value(document.clone()).map_err(|e| e.to_string())?;
    let known = serde_json::to_value(&config).map_err(|e| e.to_string())?;
    unknown("", &document, &known, &mut warnings);
    Ok(Decoded { config, warnings })
}

/// The first document, as Go's decoder takes it.
fn yaml(text: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Value, String> {
    let options: Options = serde_saphyr::options! { duplicate_keys: duplicate_keys };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| one_line(&error.to_string()))?;
    let document = documents.into_iter().find(|document| !document.is_null());
    document.ok_or_else(|| "it is empty".to_owned())
}

/// The message without the picture that follows it.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn check_kind(document: &Value) -> Result<(), String> {
    let field = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (field("apiVersion"), field("kind"));
    if version == API_VERSION && kind == KIND {
        return Ok(());
    }
    Err(format!("apiVersion {version:?} and kind {kind:?} are not {API_VERSION:?} and {KIND:?}"))
}

/// Go leaves a field that is null as it is without it.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Notes the fields of `given` that `known`, what was understood of them, does not have.
fn unknown(path: &str, given: &Value, known: &Value, warnings: &mut Vec<String>) {
    let (Value::Object(given), Value::Object(known)) = (given, known) else { return };
    for (name, field) in given {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match known.get(name) {
            Some(twin) => unknown(&path, field, twin, warnings),
            None => warnings.push(format!("unknown field {path:?}{}", nearest(name, known))),
        }
    }
}

/// A hint at a field that differs in case only.
fn nearest(name: &str, known: &Map<String, Value>) -> String {
    let twin = known.keys().find(|known| known.eq_ignore_ascii_case(name));
    twin.map(|twin| format!(", did you mean {twin:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kubeadm 1.31 writes into the ConfigMap, for `podSubnet: 10.244.0.0/16`.
    const KUBEADM: &str = include_str!("fixtures/kubeadm.yaml");

    #[test]
    fn kubeadms_own_file_is_strictly_right() {
        let decoded = decode(KUBEADM).unwrap();
        assert_eq!(decoded.warnings, Vec::<String>::new());
        let config = decoded.config;
        assert_eq!(config.cluster_cidr, "10.244.0.0/16");
        assert_eq!(config.client_connection.kubeconfig, "/var/lib/kube-proxy/kubeconfig.conf");
        assert_eq!((config.mode.as_str(), config.oom_score_adj), ("", None));
        assert_eq!(config.conntrack, super::super::file::Conntrack::default());
        assert!(config.node_port_addresses.is_empty());
    }

    #[test]
    fn what_is_unknown_or_double_is_a_warning() {
        let text = format!("{KUBEADM}\nclusterCidr: x\nmode: nftables\niptables:\n  bit: 3\n");
        let decoded = decode(&text).unwrap();
        assert_eq!(decoded.config.mode, "nftables");
        assert_eq!(decoded.warnings.len(), 3, "{:?}", decoded.warnings);
        assert!(decoded.warnings[0].contains("duplicate"), "{}", decoded.warnings[0]);
        let hint = "unknown field \"clusterCidr\", did you mean \"clusterCIDR\"?";
        assert!(decoded.warnings.contains(&hint.to_owned()));
        assert!(decoded.warnings.contains(&"unknown field \"iptables.bit\"".to_owned()));
    }

    #[test]
    fn what_is_broken_is_one_line() {
        for (text, part) in [
            ("", "empty"),
            ("mode: [", ""),
            ("mode: ebpf", "apiVersion \"\""),
            ("apiVersion: v1\nkind: ConfigMap", "\"ConfigMap\""),
            (
                "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n\
                 iptables: {syncPeriod: soon}",
                "\"soon\" is not a duration",
            ),
            (
                "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n\
                 clusterCIDR: 5",
                "",
            ),
        ] {
            let error = decode(text).unwrap_err();
            assert!(error.contains(part), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
