//! Services.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;

use super::{Converted, PROXY_NAME, Report, has_label, object_name, parse_cidr, parse_ip};
use crate::model::{
    problem::Subject,
    spec::{Algorithm, ServicePort, ServiceSpec, TrafficPolicy},
};

/// The annotation that says how a Service's backends are chosen.
const ALGORITHM: &str = "sluice.io/lb-algorithm";

/// The API server's default for `clientIP.timeoutSeconds` (A71).
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

/// The longest affinity timeout the API server admits (A71).
const MAX_AFFINITY_SECONDS: i32 = 86_400;

/// Converts a Service. The value is `None` for one without rules: another proxy's (A1),
/// headless or `ExternalName` (A2).
#[must_use]
pub fn service(object: &core::Service) -> Converted<ServiceSpec> {
    let Some(spec) = &object.spec else { return Converted::skipped() };
    if has_label(&object.metadata, PROXY_NAME) || should_skip(spec) {
        return Converted::skipped();
    }
    let mut report = Report::new(Subject::Service(object_name(&object.metadata)));
    let value = ServiceSpec {
        cluster_ips: cluster_ips(spec, &mut report),
        external_ips: external_ips(spec, &mut report),
        load_balancer_ips: load_balancer_ips(object.status.as_ref(), &mut report),
        source_ranges: source_ranges(spec, &mut report),
        ports: ports(spec, &mut report),
        external_policy: policy(
            "externalTrafficPolicy",
            spec.external_traffic_policy.as_deref(),
            &mut report,
        ),
        internal_policy: policy(
            "internalTrafficPolicy",
            spec.internal_traffic_policy.as_deref(),
            &mut report,
        ),
        affinity_timeout: affinity_timeout(spec, &mut report),
        health_check_node_port: health_check_node_port(spec, &mut report),
        algorithm: algorithm(object, &mut report),
    };
    report.finish(value)
}

/// A2.
fn should_skip(spec: &core::ServiceSpec) -> bool {
    matches!(spec.cluster_ip.as_deref(), None | Some("" | "None"))
        || spec.type_.as_deref() == Some("ExternalName")
}

/// One address a family, by index in `ipFamilies` (A11).
fn cluster_ips(spec: &core::ServiceSpec, report: &mut Report) -> Vec<IpAddr> {
    let first = spec.cluster_ip.as_slice();
    let all = spec.cluster_ips.as_deref().filter(|list| !list.is_empty()).unwrap_or(first);
    // Without ipFamilies there is only the clusterIP, of its own family.
    let families = spec.ip_families.as_deref().filter(|list| !list.is_empty());
    let texts = if families.is_some() { all } else { first };
    let mut found: Vec<IpAddr> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let Some(ip) = parse_ip(text) else {
            report.add(format!("clusterIPs: {text:?} is not an IP address, it is ignored"));
            continue;
        };
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        let declared = families.map(|list| list.get(index).map(String::as_str));
        match declared {
            None | Some(Some("")) => {}
            Some(Some(name)) if name == family => {}
            Some(_) => {
                report
                    .add(format!("clusterIPs: {ip} is not of ipFamilies[{index}], it is ignored"));
                continue;
            }
        }
        if found.iter().any(|other| other.is_ipv4() == ip.is_ipv4()) {
            report.add(format!("clusterIPs: {ip} is the second {family} address, it is ignored"));
            continue;
        }
        found.push(ip);
    }
    found
}

/// A15; whether they are served is a matter of configuration.
fn external_ips(spec: &core::ServiceSpec, report: &mut Report) -> Vec<IpAddr> {
    let texts = spec.external_ips.iter().flatten().map(String::as_str);
    addresses("externalIPs", texts, report)
}

/// Only entries with an address that the load balancer leaves in the packet (A14).
fn load_balancer_ips(status: Option<&core::ServiceStatus>, report: &mut Report) -> Vec<IpAddr> {
    let ingress = status
        .and_then(|status| status.load_balancer.as_ref())
        .and_then(|balancer| balancer.ingress.as_deref())
        .unwrap_or_default();
    let texts = ingress
        .iter()
        .filter(|entry| matches!(entry.ip_mode.as_deref(), None | Some("VIP")))
        .filter_map(|entry| entry.ip.as_deref());
    addresses("status.loadBalancer.ingress", texts, report)
}

/// Blanks are skipped, and an address counts once however it is spelt (A10).
fn addresses<'a>(
    field: &str,
    texts: impl Iterator<Item = &'a str>,
    report: &mut Report,
) -> Vec<IpAddr> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for text in texts.filter(|text| !text.trim().is_empty()) {
        match parse_ip(text) {
            Some(ip) if seen.insert(ip) => found.push(ip),
            Some(_) => {}
            None => report.add(format!("{field}: {text:?} is not an IP address, it is ignored")),
        }
    }
    found
}

/// Parsed only; what zero prefixes mean is decided where a family's rules are made (A16).
fn source_ranges(spec: &core::ServiceSpec, report: &mut Report) -> Vec<IpNet> {
    let mut found = Vec::new();
    for text in spec.load_balancer_source_ranges.iter().flatten() {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        match parse_cidr(text) {
            Some(net) => found.push(net),
            // As kube-proxy does; a list without any usable range restricts nothing.
            None => report.add(format!(
                "loadBalancerSourceRanges: {text:?} is not a CIDR, it is ignored; if no range \
                 is left, every source is allowed"
            )),
        }
    }
    found
}

fn ports(spec: &core::ServiceSpec, report: &mut Report) -> Vec<ServicePort> {
    spec.ports.iter().flatten().filter_map(|port| service_port(port, report)).collect()
}

/// A port; without a `nodePort` it has no NodePort frontend, whatever the reason (A13).
fn service_port(port: &core::ServicePort, report: &mut Report) -> Option<ServicePort> {
    let name = port.name.clone().unwrap_or_default();
    let field = format!("port {name:?}");
    let protocol = report.protocol(&field, port.protocol.as_deref())?;
    let number = report.port(&format!("{field}: port"), port.port)?;
    let node_port = match port.node_port {
        None | Some(0) => 0,
        Some(number) => report.port(&format!("{field}: nodePort"), number).unwrap_or(0),
    };
    Some(ServicePort { name, protocol, port: number, node_port })
}

fn policy(field: &str, name: Option<&str>, report: &mut Report) -> TrafficPolicy {
    match name {
        None | Some("" | "Cluster") => TrafficPolicy::Cluster,
        Some("Local") => TrafficPolicy::Local,
        Some(other) => {
            report.add(format!("{field}: {other:?} is unknown, Cluster is used"));
            TrafficPolicy::Cluster
        }
    }
}

/// A71.
fn affinity_timeout(spec: &core::ServiceSpec, report: &mut Report) -> u32 {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => return 0,
        Some("ClientIP") => {}
        Some(other) => {
            report.add(format!("sessionAffinity: {other:?} is unknown, None is used"));
            return 0;
        }
    }
    let seconds = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|client| client.timeout_seconds);
    match seconds {
        None => DEFAULT_AFFINITY_SECONDS,
        Some(seconds) if (1..=MAX_AFFINITY_SECONDS).contains(&seconds) => seconds.unsigned_abs(),
        Some(seconds) => {
            report.add(format!(
                "clientIP.timeoutSeconds: {seconds} is not from 1 to {MAX_AFFINITY_SECONDS}, \
                 {DEFAULT_AFFINITY_SECONDS} is used"
            ));
            DEFAULT_AFFINITY_SECONDS
        }
    }
}

/// What the annotation says, if it is there.
fn algorithm(object: &core::Service, report: &mut Report) -> Option<Algorithm> {
    let text = object.metadata.annotations.as_ref()?.get(ALGORITHM)?.trim();
    let algorithm = text.parse();
    if let Err(what) = &algorithm {
        report.add(format!("annotation {ALGORITHM}: {what}, --lb-algorithm decides"));
    }
    algorithm.ok()
}

/// kube-proxy serves it for a LoadBalancer Service with the Local policy only.
fn health_check_node_port(spec: &core::ServiceSpec, report: &mut Report) -> u16 {
    let needed = spec.type_.as_deref() == Some("LoadBalancer")
        && spec.external_traffic_policy.as_deref() == Some("Local");
    match spec.health_check_node_port {
        Some(number) if needed && number != 0 => {
            report.port("healthCheckNodePort", number).unwrap_or(0)
        }
        Some(_) | None => 0,
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
