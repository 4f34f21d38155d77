//! The maps as text: no ids and no slots, so that equal behaviour reads the same.

use std::{collections::BTreeSet, net::SocketAddr};

use sluice_common::{
    backend,
    frontend::{Frontend, FrontendKey, Range, flags},
    net::proto,
    prefix::{SCOPE_BITS, SERVICE_CIDRS},
};

use super::{
    family,
    frontends::cluster_ip_key,
    mirror::{FamilyMirror, Mirror},
    name::PortKey,
};

/// One line a frontend, then one a backend, then one a ServiceCIDR, IPv4 first.
pub fn dump(mirror: &Mirror) -> String {
    let mut lines = String::new();
    dump_family(mirror, &mirror.v4, &mut lines);
    dump_family(mirror, &mirror.v6, &mut lines);
    lines
}

/// `10.96.0.10:80/tcp`, `[fd00::10]:80/tcp`, `nodeport 30080/tcp`, or `10.96.0.10` for a cluster
/// IP's mark.
pub fn place<const N: usize>(key: &FrontendKey<N>) -> String {
    if *key == cluster_ip_key(key.addr) {
        return family::ip(&key.addr).to_string();
    }
    let port = key.port.number();
    let proto = protocol(key.proto);
    if key.addr.is_unspecified() {
        return format!("nodeport {port}/{proto}");
    }
    format!("{}/{proto}", SocketAddr::new(family::ip(&key.addr), port))
}

/// `V4` or `V6`.
pub(super) fn family<const N: usize>() -> &'static str {
    if N == 4 { "V4" } else { "V6" }
}

fn protocol(number: u8) -> String {
    match number {
        proto::TCP => "tcp".to_owned(),
        proto::UDP => "udp".to_owned(),
        proto::SCTP => "sctp".to_owned(),
        other => other.to_string(),
    }
}

fn dump_family<const N: usize>(mirror: &Mirror, family: &FamilyMirror<N>, lines: &mut String) {
    let mut rows: Vec<String> = Vec::new();
    for (key, frontend) in &family.frontends {
        rows.push(frontend_row(mirror, family, key, frontend));
    }
    let mut backends: Vec<String> = family
        .backends
        .values()
        .filter(|backend| backend.flags != 0)
        .map(|backend| {
            let at = SocketAddr::new(family::ip(&backend.addr), backend.port.number());
            let mut row = format!("backend {at} of {}", service(mirror, backend.service));
            let words = [
                (backend::flags::SERVING, " serving"),
                (backend::flags::CLUSTER, " cluster"),
                (backend::flags::LOCAL, " local"),
            ];
            for (_, word) in words.iter().filter(|(flag, _)| backend.flags & flag != 0) {
                row.push_str(word);
            }
            row
        })
        .collect();
    backends.sort();
    rows.append(&mut backends);
    rows.extend(sources(family, SERVICE_CIDRS).map(|net| format!("service CIDR {net}")));
    for row in rows {
        lines.push_str(&row);
        lines.push('\n');
    }
}

fn frontend_row<const N: usize>(
    mirror: &Mirror,
    family: &FamilyMirror<N>,
    key: &FrontendKey<N>,
    frontend: &Frontend,
) -> String {
    let mut row = place(key);
    if frontend.flags & flags::ENDPOINT != 0 {
        row.push_str(" endpoint");
        return row;
    }
    if frontend.flags & flags::CLUSTER_IP != 0 {
        row.push_str(" cluster IP");
        return row;
    }
    let is = |flag: u32| frontend.flags & flag != 0;
    let name = service(mirror, frontend.service);
    let kind = if is(flags::EXTERNAL) { "external" } else { "cluster" };
    row.push_str(&format!(
        " {name} {kind} -> {}",
        targets(family, frontend.cluster, is(flags::HASHED))
    ));
    if is(flags::EXTERNAL) && is(flags::LOCAL_POLICY) {
        row.push_str(&format!("; local -> {}", targets(family, frontend.local, is(flags::HASHED))));
    }
    if is(flags::NO_ENDPOINTS) {
        row.push_str("; reject");
    }
    if is(flags::HASHED) {
        row.push_str("; maglev");
    }
    if frontend.affinity_timeout != 0 {
        row.push_str(&format!("; affinity {}s", frontend.affinity_timeout));
    }
    if is(flags::SOURCE_RANGES) {
        let sources: Vec<_> = sources(family, frontend.service).collect();
        row.push_str(&format!("; from {}", sources.join(", ")));
    }
    if is(flags::NODE_ALLOWED) {
        row.push_str(" and this node");
    }
    row
}

/// The prefixes of a set of PREFIXES, by address: `10.0.0.0/8`.
pub fn sources<const N: usize>(
    family: &FamilyMirror<N>,
    scope: u32,
) -> impl Iterator<Item = String> {
    let of_scope = family.prefixes.iter().filter(move |prefix| prefix.scope == scope);
    let prefixes: BTreeSet<_> =
        of_scope.map(|p| (p.addr, p.bits.saturating_sub(SCOPE_BITS))).collect();
    prefixes.into_iter().map(|(addr, len)| format!("{}/{len}", family::ip(&addr)))
}

fn service(mirror: &Mirror, id: u32) -> String {
    match mirror.services.get(&id).and_then(PortKey::parse) {
        Some(key) => key.to_string(),
        None => "(unnamed)".to_owned(),
    }
}

/// What a range lists; of a table, each once.
fn targets<const N: usize>(family: &FamilyMirror<N>, range: Range, is_hashed: bool) -> String {
    if range.len == 0 {
        return "none".to_owned();
    }
    let slots = (range.start..range.start.saturating_add(range.len)).map(|slot| {
        let id = family.slots.get(&slot)?;
        let backend = family.backends.get(id).filter(|backend| backend.flags != 0)?;
        Some(SocketAddr::new(family::ip(&backend.addr), backend.port.number()).to_string())
    });
    let mut named: Vec<String> =
        slots.map(|at| at.unwrap_or_else(|| "missing".to_owned())).collect();
    if is_hashed {
        named.sort();
        named.dedup();
    }
    named.join(", ")
}
