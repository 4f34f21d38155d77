//! EndpointSlices.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{api::discovery::v1 as discovery, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{Converted, Report, has_label, object_name, parse_ip};
use crate::model::{
    problem::Subject,
    spec::{Endpoint, ObjectName, SlicePort, SliceSpec, Trigger},
};

/// Names the Service that a slice belongs to (A3).
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// When the control plane learned of the change behind a slice.
const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Slices of headless Services have it (A3).
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Converts an EndpointSlice. The value is `None` for one without rules: headless, without a
/// Service (A3), or of host names (A6).
#[must_use]
pub fn slice(object: &discovery::EndpointSlice) -> Converted<SliceSpec> {
    let meta = &object.metadata;
    let service = meta.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
    let Some(service) = service.filter(|name| !name.is_empty() && !has_label(meta, HEADLESS))
    else {
        return Converted::skipped();
    };
    let name = object_name(meta);
    let service = ObjectName { namespace: name.namespace.clone(), name: service.clone() };
    let mut report = Report::new(Subject::Slice(name));
    let v4 = match object.address_type.as_str() {
        "IPv4" => true,
        "IPv6" => false,
        "FQDN" => return Converted::skipped(),
        other => {
            report.add(format!("addressType: {other:?} is unknown, the slice is ignored"));
            return Converted { value: None, problems: report.problems };
        }
    };
    let ports =
        object.ports.iter().flatten().filter_map(|port| slice_port(port, &mut report)).collect();
    let endpoints = endpoints(object.endpoints.as_deref().unwrap_or_default(), v4, &mut report);
    report.finish(SliceSpec { service, ports, endpoints, trigger: trigger(meta, !v4) })
}

/// When whatever this slice follows from happened (A97). Only a metric depends on it, so what cannot
/// be read is left out.
fn trigger(meta: &ObjectMeta, v6: bool) -> Option<Trigger> {
    let text = meta.annotations.as_ref()?.get(TRIGGER)?;
    let time: Timestamp = text.parse().ok()?;
    let at = Duration::from_millis(u64::try_from(time.as_millisecond()).ok()?);
    Some(Trigger { at, v6 })
}

/// A port with a name and a number (A5).
fn slice_port(port: &discovery::EndpointPort, report: &mut Report) -> Option<SlicePort> {
    let name = port.name.clone()?;
    let field = format!("port {name:?}");
    let Some(number) = port.port else {
        report.add(format!("{field}: it has no number, which is not supported, it is ignored"));
        return None;
    };
    let protocol = report.protocol(&field, port.protocol.as_deref())?;
    let port = report.port(&field, number)?;
    Some(SlicePort { name, protocol, port })
}

/// One line for all bad addresses of a slice: a million of them must not make a million lines.
fn endpoints(list: &[discovery::Endpoint], v4: bool, report: &mut Report) -> Vec<Endpoint> {
    let mut found = Vec::with_capacity(list.len());
    let mut bad: Vec<&str> = Vec::new();
    // An empty list of addresses is ignored without a word (A6).
    for (endpoint, text) in
        list.iter().filter_map(|endpoint| Some((endpoint, endpoint.addresses.first()?)))
    {
        match parse_ip(text).filter(|ip| ip.is_ipv4() == v4) {
            Some(address) => found.push(convert(endpoint, address)),
            None => bad.push(text),
        }
    }
    if let Some(first) = bad.first() {
        let family = if v4 { "IPv4" } else { "IPv6" };
        report.add(format!(
            "{} of {} endpoints have an address that is not {family}, the first is {first:?}; \
             they get no traffic",
            bad.len(),
            list.len(),
        ));
    }
    found
}

/// Applies the defaults of A7 and A8.
fn convert(endpoint: &discovery::Endpoint, address: IpAddr) -> Endpoint {
    let conditions = endpoint.conditions.as_ref();
    let hints = endpoint.hints.as_ref();
    let zones = hints.and_then(|hints| hints.for_zones.as_deref()).unwrap_or_default();
    let nodes = hints.and_then(|hints| hints.for_nodes.as_deref()).unwrap_or_default();
    Endpoint {
        address,
        ready: conditions.and_then(|it| it.ready).unwrap_or(true),
        serving: conditions.and_then(|it| it.serving).unwrap_or(true),
        terminating: conditions.and_then(|it| it.terminating).unwrap_or(false),
        node: endpoint.node_name.clone().unwrap_or_default(),
        zone_hints: zones.iter().map(|zone| zone.name.clone()).collect(),
        node_hints: nodes.iter().map(|node| node.name.clone()).collect(),
    }
}

#[cfg(test)]
#[path = "slice_tests.rs"]
mod tests;
