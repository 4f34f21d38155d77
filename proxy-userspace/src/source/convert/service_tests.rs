//! A test for each rule, named after it.

use serde_json::{Value, json};

use super::*;
use crate::model::spec::{ObjectName, Protocol};

fn convert_with(spec: &Value, status: &Value, labels: &Value) -> Converted<ServiceSpec> {
    let meta = json!({"name": "web", "namespace": "shop", "labels": labels});
    let object = json!({"metadata": meta, "spec": spec, "status": status});
    service(&serde_json::from_value(object).unwrap())
}

#[expect(clippy::needless_pass_by_value, reason = "reads better at the call")]
fn convert(spec: Value) -> Converted<ServiceSpec> {
    convert_with(&spec, &json!({}), &json!({}))
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn a1_another_proxys_service_is_skipped() {
    let labels = json!({"service.kubernetes.io/service-proxy-name": ""});
    let found = convert_with(&json!({"clusterIP": "10.96.0.1"}), &json!({}), &labels);
    assert_eq!(found, Converted::skipped());
}

#[test]
fn a2_headless_and_external_names_are_skipped() {
    assert_eq!(convert(json!({})), Converted::skipped());
    assert_eq!(convert(json!({"clusterIP": ""})), Converted::skipped());
    assert_eq!(convert(json!({"clusterIP": "None"})), Converted::skipped());
    assert_eq!(
        convert(json!({"clusterIP": "10.96.0.1", "type": "ExternalName"})),
        Converted::skipped()
    );
}

#[test]
fn a4_ports_keep_name_and_protocol() {
    let found = convert(json!({"clusterIP": "10.96.0.1", "ports": [
        {"name": "dns", "protocol": "UDP", "port": 53},
        {"name": "dns-tcp", "port": 53, "nodePort": 30053},
        {"name": "sig", "protocol": "SCTP", "port": 53},
    ]}));
    let ports = found.value.unwrap().ports;
    let protocols: Vec<_> = ports.iter().map(|port| port.protocol).collect();
    assert_eq!(protocols, [Protocol::Udp, Protocol::Tcp, Protocol::Sctp]);
    assert_eq!(ports[1].node_port, 30053);
}

#[test]
fn a4_a_bad_port_leaves_the_others() {
    let found = convert(json!({"clusterIP": "10.96.0.1", "ports": [
        {"name": "zero", "port": 0},
        {"name": "big", "port": 65536},
        {"name": "odd", "port": 1, "protocol": "ICMP"},
        {"name": "half", "port": 2, "nodePort": -5},
        {"name": "good", "port": 3},
    ]}));
    let ports = found.value.unwrap().ports;
    assert_eq!(ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["half", "good"]);
    assert_eq!(ports[0].node_port, 0);
    assert_eq!(found.problems.len(), 4);
    let subject = Subject::Service(ObjectName { namespace: "shop".into(), name: "web".into() });
    assert!(found.problems.iter().all(|problem| problem.subject == subject));
}

#[test]
fn a10_bad_addresses_become_problems() {
    let found = convert(json!({
        "clusterIP": "010.096.0.01", "externalIPs": ["192.0.2.1", "", "x", "192.0.02.1"],
        "loadBalancerSourceRanges": [" 010.0.0.1/8 ", " ", "1.2.3.4"],
    }));
    let spec = found.value.unwrap();
    assert_eq!(texts(&spec.cluster_ips), ["10.96.0.1"]);
    assert_eq!(texts(&spec.external_ips), ["192.0.2.1"]);
    assert_eq!(texts(&spec.source_ranges), ["10.0.0.0/8"]);
    assert_eq!(found.problems.len(), 2);
}

#[test]
fn a11_cluster_ips_by_index_of_the_family() {
    let found = convert(json!({
        "clusterIP": "fd00::1", "clusterIPs": ["fd00::1", "10.96.0.1"],
        "ipFamilies": ["IPv6", "IPv4"],
    }));
    assert_eq!(texts(&found.value.unwrap().cluster_ips), ["fd00::1", "10.96.0.1"]);

    let old = convert(json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"]}));
    assert_eq!(texts(&old.value.unwrap().cluster_ips), ["10.96.0.1"]);

    let wrong = convert(json!({
        "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "10.96.0.2"],
        "ipFamilies": ["IPv4", "IPv6"],
    }));
    assert_eq!(texts(&wrong.value.unwrap().cluster_ips), ["10.96.0.1"]);
    assert_eq!(wrong.problems.len(), 1);
}

#[test]
fn a13_no_node_port_is_none() {
    let found = convert(json!({
        "clusterIP": "10.96.0.1", "type": "LoadBalancer",
        "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}],
    }));
    assert_eq!(found.value.unwrap().ports[0].node_port, 0);
    assert_eq!(found.problems, []);
}

#[test]
fn a14_only_vips_of_the_load_balancer() {
    let status = json!({"loadBalancer": {"ingress": [
        {"ip": "192.0.2.1"},
        {"ip": "192.0.2.2", "ipMode": "VIP"},
        {"ip": "192.0.2.3", "ipMode": "Proxy"},
        {"hostname": "lb.example.org"},
    ]}});
    let found = convert_with(&json!({"clusterIP": "10.96.0.1"}), &status, &json!({}));
    assert_eq!(texts(&found.value.unwrap().load_balancer_ips), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(found.problems, []);
}

#[test]
fn a15_external_ips_of_both_families() {
    let found = convert(json!({"clusterIP": "10.96.0.1", "externalIPs": ["fd00::1", "1.2.3.4"]}));
    assert_eq!(texts(&found.value.unwrap().external_ips), ["fd00::1", "1.2.3.4"]);
}

#[test]
fn a16_source_ranges_are_only_parsed() {
    let ranges = json!(["0.0.0.0/0", "10.0.0.0/8", "fd00::/8"]);
    let found = convert(json!({"clusterIP": "10.96.0.1", "loadBalancerSourceRanges": ranges}));
    assert_eq!(texts(&found.value.unwrap().source_ranges), ["0.0.0.0/0", "10.0.0.0/8", "fd00::/8"]);
}

#[test]
fn a37_policies() {
    let found = convert(json!({
        "clusterIP": "10.96.0.1", "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Nearest",
    }));
    let spec = found.value.unwrap();
    assert_eq!(spec.external_policy, TrafficPolicy::Local);
    assert_eq!(spec.internal_policy, TrafficPolicy::Cluster);
    assert_eq!(found.problems.len(), 1);
}

#[test]
fn a71_affinity_timeout() {
    let timeout = |affinity: &str, seconds: Value| {
        let found = convert(json!({
            "clusterIP": "10.96.0.1", "sessionAffinity": affinity,
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}},
        }));
        (found.value.unwrap().affinity_timeout, found.problems.len())
    };
    assert_eq!(timeout("None", json!(5)), (0, 0));
    assert_eq!(timeout("ClientIP", json!(5)), (5, 0));
    assert_eq!(timeout("ClientIP", Value::Null), (10_800, 0));
    assert_eq!(timeout("ClientIP", json!(0)), (10_800, 1));
    assert_eq!(timeout("ClientIP", json!(86_401)), (10_800, 1));
    assert_eq!(timeout("Cookie", json!(5)), (0, 1));
}

#[test]
fn a80_health_check_node_port_of_local_load_balancers() {
    let port = |policy: &str, kind: &str| {
        let found = convert(json!({
            "clusterIP": "10.96.0.1", "type": kind, "externalTrafficPolicy": policy,
            "healthCheckNodePort": 32000,
        }));
        found.value.unwrap().health_check_node_port
    };
    assert_eq!(port("Local", "LoadBalancer"), 32000);
    assert_eq!(port("Cluster", "LoadBalancer"), 0);
    assert_eq!(port("Local", "NodePort"), 0);
}

#[test]
fn the_algorithm_is_an_annotation() {
    let annotated = |value: &str| {
        let meta = json!({"name": "web", "annotations": {"sluice.io/lb-algorithm": value}});
        let object = json!({"metadata": meta, "spec": {"clusterIP": "10.96.0.1"}});
        let converted = service(&serde_json::from_value(object).unwrap());
        (converted.value.unwrap().algorithm, texts(&converted.problems))
    };
    assert_eq!(annotated("maglev"), (Some(Algorithm::Maglev), vec![]));
    assert_eq!(annotated(" random "), (Some(Algorithm::Random), vec![]));
    let (algorithm, problems) = annotated("Maglev");
    assert_eq!(algorithm, None);
    assert_eq!(
        problems,
        ["Service /web: annotation sluice.io/lb-algorithm: \"Maglev\" is neither random nor \
             maglev, --lb-algorithm decides"]
    );
    assert_eq!(convert(json!({"clusterIP": "10.96.0.1"})).value.unwrap().algorithm, None);
}
