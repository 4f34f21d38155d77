//! Addresses that a Service has and the proxy leaves alone, by design: for whoever asks why.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1 as core;

use super::{PROXY_NAME, has_label, object_name, parse_ip};
use crate::model::spec::Unserved;

/// The addresses of a Service that have no rules, each with the rule that says so (A1, A2, A14).
#[must_use]
pub fn unserved(object: &core::Service) -> Vec<Unserved> {
    let Some(spec) = &object.spec else { return Vec::new() };
    let cluster_ips = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let fixed = cluster_ips.chain(spec.external_ips.iter().flatten()).map(String::as_str);
    let ingress = ingress(object).filter_map(|entry| entry.ip.as_deref());
    let at = |texts: &mut dyn Iterator<Item = &str>, rule, why| {
        let found: BTreeSet<IpAddr> = texts.filter_map(parse_ip).collect();
        let service = object_name(&object.metadata);
        found
            .into_iter()
            .map(|address| Unserved { service: service.clone(), address, rule, why })
            .collect()
    };
    if has_label(&object.metadata, PROXY_NAME) {
        let why = "the label service.kubernetes.io/service-proxy-name leaves it to another proxy";
        return at(&mut fixed.chain(ingress), "A1", why);
    }
    if spec.type_.as_deref() == Some("ExternalName") {
        return at(&mut fixed.chain(ingress), "A2", "its type is ExternalName");
    }
    if matches!(spec.cluster_ip.as_deref(), None | Some("" | "None")) {
        return at(&mut fixed.chain(ingress), "A2", "it has no cluster IP");
    }
    let proxied = self::ingress(object)
        .filter(|entry| !matches!(entry.ip_mode.as_deref(), None | Some("VIP")))
        .filter_map(|entry| entry.ip.as_deref());
    at(&mut { proxied }, "A14", "its ipMode sends the packet to the load balancer first")
}

fn ingress(object: &core::Service) -> impl Iterator<Item = &core::LoadBalancerIngress> {
    let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default().iter()
}
