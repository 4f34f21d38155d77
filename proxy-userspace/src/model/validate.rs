//! What of an object cannot be used, and the words for it.

use std::net::IpAddr;

use sluice_common::{
    net::Addr,
    service::{NAME_LEN, ServiceName},
};

use super::{
    family,
    problem::{Problem, Subject},
    spec::{ObjectName, Protocol, ServiceSpec, SliceSpec},
};

/// Whether an address can be a service's or an endpoint's: one host's, and routable.
fn is_usable(ip: IpAddr) -> bool {
    let odd = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(odd || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
}

/// The address in the form that packets have, if it is usable and of the family.
pub(super) fn usable<const N: usize>(ip: IpAddr) -> Option<Addr<N>> {
    let ip = ip.to_canonical();
    is_usable(ip).then(|| family::addr(ip)).flatten()
}

/// The name as SERVICES holds it, if it fits there.
pub(super) fn service_name(
    object: &ObjectName,
    port: &str,
    protocol: Protocol,
) -> Option<ServiceName> {
    Some(ServiceName {
        namespace: padded(&object.namespace)?,
        name: padded(&object.name)?,
        port_name: padded(port)?,
        proto: family::number(protocol),
        pad: [0; 3],
    })
}

fn padded(text: &str) -> Option<[u8; 64]> {
    let mut bytes = [0; 64];
    if text.len() > NAME_LEN {
        return None;
    }
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Some(bytes)
}

/// What is wrong with a Service by itself.
pub(super) fn service(name: &ObjectName, spec: &ServiceSpec) -> Vec<Problem> {
    let mut texts = Vec::new();
    let addresses = [
        ("cluster IP", &spec.cluster_ips),
        ("external IP", &spec.external_ips),
        ("load-balancer IP", &spec.load_balancer_ips),
    ];
    for (kind, ips) in addresses {
        for ip in ips.iter().filter(|ip| !is_usable(ip.to_canonical())) {
            texts.push(format!("{kind} {ip} is not one host's routable address; it is ignored"));
        }
    }
    for port in &spec.ports {
        let shown = if port.name.is_empty() { "(unnamed)" } else { &port.name };
        if port.port == 0 {
            texts.push(format!("port {shown} has number 0; it is ignored"));
        }
        if service_name(name, &port.name, port.protocol).is_none() {
            texts.push(format!(
                "namespace, name or port name {shown} is longer than {NAME_LEN} bytes; the port is \
                 ignored, use shorter names"
            ));
        }
    }
    texts
        .into_iter()
        .map(|text| Problem { subject: Subject::Service(name.clone()), text })
        .collect()
}

/// What is wrong with a slice: one problem, however many endpoints are bad.
pub(super) fn slice(name: &ObjectName, spec: &SliceSpec) -> Option<Problem> {
    let mut bad = spec.endpoints.iter().filter(|e| !is_usable(e.address.to_canonical()));
    let first = bad.next()?.address;
    let more = match bad.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text =
        format!("endpoint {first}{more}: not one host's routable address; ignored, use a pod's");
    Some(Problem { subject: Subject::Slice(name.clone()), text })
}
