//! The own Node, and ServiceCIDRs.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::{core::v1 as core, networking::v1 as networking};

use super::{Converted, Report, parse_cidr, parse_ip};
use crate::model::{problem::Subject, spec::NodeSpec};

/// The only label of a Node that matters (A17b).
const ZONE: &str = "topology.kubernetes.io/zone";

/// Converts the own Node (A17).
#[must_use]
pub fn node(object: &core::Node) -> Converted<NodeSpec> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let mut report = Report::new(Subject::Other(format!("Node {name}")));
    let zone = object.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE));
    let value = NodeSpec {
        zone: zone.cloned().unwrap_or_default(),
        addresses: addresses(object.status.as_ref(), &mut report),
        pod_cidrs: pod_cidrs(object.spec.as_ref(), &mut report),
        leaving: is_leaving(object),
    };
    report.finish(value)
}

/// The cluster autoscaler marks a Node so before it deletes it.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// A17d.
fn is_leaving(object: &core::Node) -> bool {
    let spec = object.spec.as_ref();
    let mut taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default().iter();
    object.metadata.deletion_timestamp.is_some() || taints.any(|taint| taint.key == TO_BE_DELETED)
}

/// The first address, internal before external, and the first of the other family (A17a).
fn addresses(status: Option<&core::NodeStatus>, report: &mut Report) -> Vec<IpAddr> {
    let all = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let mut found: Vec<IpAddr> = Vec::new();
    for kind in ["InternalIP", "ExternalIP"] {
        for entry in all.iter().filter(|entry| entry.type_ == kind) {
            match parse_ip(&entry.address) {
                Some(ip) if found.iter().all(|other| other.is_ipv4() != ip.is_ipv4()) => {
                    found.push(ip);
                }
                Some(_) => {}
                None => report.add(format!(
                    "status.addresses: {:?} is not an IP address, it is ignored",
                    entry.address
                )),
            }
        }
    }
    found
}

/// A17c.
fn pod_cidrs(spec: Option<&core::NodeSpec>, report: &mut Report) -> Vec<IpNet> {
    let Some(spec) = spec else { return Vec::new() };
    let many = spec.pod_cidrs.as_deref().unwrap_or_default();
    let texts = if many.is_empty() { spec.pod_cidr.as_slice() } else { many };
    cidrs("spec.podCIDRs", texts, report)
}

/// Converts a ServiceCIDR (A18).
#[must_use]
pub fn service_cidr(object: &networking::ServiceCIDR) -> Converted<Vec<IpNet>> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let mut report = Report::new(Subject::Other(format!("ServiceCIDR {name}")));
    let texts = object.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
    let value = cidrs("spec.cidrs", texts, &mut report);
    report.finish(value)
}

fn cidrs(field: &str, texts: &[String], report: &mut Report) -> Vec<IpNet> {
    let mut found = Vec::new();
    for text in texts.iter().filter(|text| !text.trim().is_empty()) {
        match parse_cidr(text.trim()) {
            Some(net) => found.push(net),
            None => report.add(format!("{field}: {text:?} is not a CIDR, it is ignored")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn convert(object: Value) -> Converted<NodeSpec> {
        node(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a17_zone_addresses_and_pod_cidrs() {
        let found = convert(json!({
            "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}},
            "spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24", "fd00:1::/64"]},
            "status": {"addresses": [
                {"type": "Hostname", "address": "n1"},
                {"type": "ExternalIP", "address": "203.0.113.1"},
                {"type": "ExternalIP", "address": "2001:db8::1"},
                {"type": "InternalIP", "address": "192.0.2.007"},
                {"type": "InternalIP", "address": "192.0.2.8"},
                {"type": "InternalIP", "address": "bogus"},
            ]},
        }));
        let spec = found.value.unwrap();
        assert_eq!(spec.zone, "z1");
        let addresses: Vec<_> = spec.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.7", "2001:db8::1"]);
        assert_eq!(spec.pod_cidrs.len(), 2);
        assert_eq!(found.problems.len(), 1);
        assert_eq!(found.problems[0].subject, Subject::Other("Node n1".into()));
    }

    #[test]
    fn a17d_a_node_that_leaves() {
        let leaves = |object| convert(object).value.unwrap().leaving;
        let taint = |key: &str| json!({"spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}});
        assert!(!leaves(taint("node.kubernetes.io/unreachable")));
        assert!(leaves(taint("ToBeDeletedByClusterAutoscaler")));
        assert!(leaves(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})));
    }

    #[test]
    fn a17c_the_old_single_field_counts() {
        let found = convert(json!({"spec": {"podCIDR": "10.1.0.0/24"}})).value.unwrap();
        assert_eq!(found.pod_cidrs, ["10.1.0.0/24".parse().unwrap()]);
    }

    #[test]
    fn a18_bad_cidrs_are_named() {
        let object = json!({"metadata": {"name": "c"}, "spec": {"cidrs": ["10.96.0.0/12", "x"]}});
        let found = service_cidr(&serde_json::from_value(object).unwrap());
        assert_eq!(found.value.unwrap().len(), 1);
        assert_eq!(found.problems[0].subject, Subject::Other("ServiceCIDR c".into()));
    }
}
