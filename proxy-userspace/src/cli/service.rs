//! `sluice service list`: the frontends, as the programs see them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Serialize;
use sluice_common::{
    backend,
    frontend::{Frontend, FrontendKey, Range, flags},
    net::{Addr, Port},
    settings::flags::{CLUSTER_IPS_V4, CLUSTER_IPS_V6},
};

use super::output::{Output, ToIp, protocol, service_name, socket};
use crate::{
    dataplane::aya::{Error, pin::Pins, read::read_mirror},
    model::{mirror::FamilyMirror, spec::Algorithm, text::sources},
};

/// A frontend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `namespace/name:port`.
    pub service: String,
    /// `addr:port`; the unspecified address stands for every accepted one of the node (NodePort).
    pub frontend: String,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// ClusterIP, NodePort or External.
    pub kind: &'static str,
    /// Which range outsiders use: Cluster or Local.
    pub policy: &'static str,
    /// How a backend is chosen: random or maglev.
    pub algorithm: &'static str,
    /// Session affinity timeout in seconds; 0 without.
    pub affinity_timeout: u32,
    /// Who may come: loadBalancerSourceRanges (A53); `null` when everybody may.
    pub source_ranges: Option<Vec<String>>,
    /// Whether other ports of the address are rejected (A51): a ClusterIP's only.
    pub rejects_unknown_ports: bool,
    /// Backends of the cluster range.
    pub backends: Vec<String>,
    /// Backends of the local range.
    pub local_backends: Vec<String>,
}

/// The list as text.
pub fn list(bpf_root: &Path, output: Output) -> Result<String, Error> {
    let header = [
        "SERVICE",
        "FRONTEND",
        "PROTO",
        "KIND",
        "POLICY",
        "ALGORITHM",
        "AFFINITY",
        "SOURCES",
        "BACKENDS",
    ];
    output.print(&rows(bpf_root)?, &header, |row| {
        let local = row.policy == "Local";
        let backends = if local { &row.local_backends } else { &row.backends };
        let affinity = match row.affinity_timeout {
            0 => "none".to_owned(),
            seconds => format!("{seconds}s"),
        };
        vec![
            row.service.clone(),
            row.frontend.clone(),
            row.protocol.clone(),
            row.kind.to_owned(),
            row.policy.to_owned(),
            row.algorithm.to_owned(),
            affinity,
            row.source_ranges.as_ref().map_or_else(|| "any".to_owned(), |ranges| listed(ranges)),
            listed(backends),
        ]
    })
}

fn listed(texts: &[String]) -> String {
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

/// The list as values, by service and frontend.
pub fn rows(bpf_root: &Path) -> Result<Vec<Row>, Error> {
    let mirror = read_mirror(&Pins::new(bpf_root))?;
    let names: BTreeMap<u32, String> =
        mirror.services.iter().map(|(id, name)| (*id, service_name(name))).collect();
    let rejecting = mirror.settings.map_or(0, |settings| settings.flags);
    let mut rows = family(&mirror.v4, &names, rejecting & CLUSTER_IPS_V4 != 0);
    rows.extend(family(&mirror.v6, &names, rejecting & CLUSTER_IPS_V6 != 0));
    rows.sort_by(|a, b| {
        (&a.service, &a.frontend, &a.protocol).cmp(&(&b.service, &b.frontend, &b.protocol))
    });
    Ok(rows)
}

fn family<const N: usize>(
    mirror: &FamilyMirror<N>,
    names: &BTreeMap<u32, String>,
    rejecting: bool,
) -> Vec<Row>
where
    Addr<N>: ToIp,
{
    const MARKS: u32 = flags::ENDPOINT | flags::CLUSTER_IP;
    let services = mirror.frontends.iter().filter(|(_, f)| f.flags & MARKS == 0);
    let is_marked = |addr| mirror.frontends.contains_key(&FrontendKey::new(addr, Port::new(0), 0));
    let row = |(key, frontend): (&FrontendKey<N>, &Frontend)| Row {
        service: names.get(&frontend.service).cloned().unwrap_or_else(|| unnamed(frontend.service)),
        frontend: socket(&key.addr, key.port),
        protocol: protocol(key.proto),
        kind: kind(key, frontend),
        policy: if frontend.flags & flags::LOCAL_POLICY == 0 { "Cluster" } else { "Local" },
        algorithm: algorithm(frontend).name(),
        affinity_timeout: frontend.affinity_timeout,
        source_ranges: (frontend.flags & flags::SOURCE_RANGES != 0)
            .then(|| sources(mirror, frontend.service).collect()),
        rejects_unknown_ports: rejecting && is_marked(key.addr),
        backends: resolve(frontend.cluster, mirror),
        local_backends: resolve(frontend.local, mirror),
    };
    services.map(row).collect()
}

fn unnamed(service: u32) -> String {
    format!("#{service}")
}

fn kind<const N: usize>(key: &FrontendKey<N>, frontend: &Frontend) -> &'static str {
    match (key.addr.is_unspecified(), frontend.flags & flags::EXTERNAL != 0) {
        (true, _) => "NodePort",
        (false, true) => "External",
        (false, false) => "ClusterIP",
    }
}

fn algorithm(frontend: &Frontend) -> Algorithm {
    match frontend.flags & flags::HASHED != 0 {
        true => Algorithm::Maglev,
        false => Algorithm::Random,
    }
}

/// The different backends of a range, by address.
fn resolve<const N: usize>(range: Range, mirror: &FamilyMirror<N>) -> Vec<String>
where
    Addr<N>: ToIp,
{
    let slots = mirror.slots.range(range.start..range.start.saturating_add(range.len));
    let ids: BTreeSet<u32> = slots.map(|(_, id)| *id).collect();
    let (there, missing): (Vec<u32>, Vec<u32>) =
        ids.into_iter().partition(|id| mirror.backends.contains_key(id));
    let mut found: Vec<_> = there.iter().filter_map(|id| mirror.backends.get(id)).collect();
    found.sort_by_key(|backend| (backend.addr, backend.port));
    let known = found.iter().map(|b| describe(&b.addr, b.port, b.flags));
    known.chain(missing.iter().map(|id| format!("missing #{id}"))).collect()
}

fn describe(addr: &impl ToIp, port: Port, flags: u8) -> String {
    let gone = if flags & backend::flags::SERVING == 0 { " (not serving)" } else { "" };
    format!("{}{gone}", socket(addr, port))
}

#[cfg(test)]
mod tests {
    use sluice_common::{
        net::{V4, proto},
        prefix::PrefixKey,
        service::ServiceName,
    };

    use super::*;

    fn name(namespace: &str, service: &str, port: &str) -> ServiceName {
        let pad = |text: &str| {
            let mut bytes = [0; 64];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            bytes
        };
        ServiceName {
            namespace: pad(namespace),
            name: pad(service),
            port_name: pad(port),
            proto: proto::TCP,
            pad: [0; 3],
        }
    }

    #[test]
    fn ranges_are_resolved_to_addresses() {
        let backend = |last, flags| backend::Backend::<V4> {
            addr: Addr::new([10, 1, 0, last]),
            port: Port::new(8080),
            proto: proto::TCP,
            flags,
            service: 7,
            generation: 1,
        };
        let frontend = |flags| Frontend {
            service: 7,
            affinity_timeout: 60,
            flags,
            cluster: Range { start: 4, len: 3 },
            ..Frontend::default()
        };
        let key = FrontendKey::new(Addr::new([10, 96, 0, 1]), Port::new(80), proto::TCP);
        let endpoint = FrontendKey::new(Addr::new([10, 1, 0, 1]), Port::new(8080), proto::TCP);
        let balancer = FrontendKey::new(Addr::new([192, 0, 2, 1]), Port::new(80), proto::TCP);
        let mark = FrontendKey::new(key.addr, Port::new(0), 0);
        let mirror = FamilyMirror {
            frontends: [
                (key, frontend(0)),
                (endpoint, frontend(flags::ENDPOINT)),
                (balancer, frontend(flags::EXTERNAL | flags::SOURCE_RANGES | flags::HASHED)),
                (mark, frontend(flags::CLUSTER_IP)),
            ]
            .into(),
            backends: [(1, backend(1, backend::flags::SERVING)), (2, backend(2, 0))].into(),
            slots: [(4, 1), (5, 1), (6, 2), (7, 9)].into(),
            prefixes: [
                PrefixKey { bits: 40, scope: 7, addr: Addr::new([10, 0, 0, 0]) },
                PrefixKey { bits: 40, scope: 8, addr: Addr::new([11, 0, 0, 0]) },
            ]
            .into(),
        };
        let names = BTreeMap::from([(7, service_name(&name("default", "web", "http")))]);
        let rows = family(&mirror, &names, true);
        assert_eq!(rows.len(), 2, "marks are no services");
        assert!(rows[0].rejects_unknown_ports && !rows[1].rejects_unknown_ports, "A51");
        assert_eq!([rows[0].algorithm, rows[1].algorithm], ["random", "maglev"]);
        assert_eq!(rows[0].source_ranges, None, "A53");
        assert_eq!(rows[1].source_ranges, Some(vec!["10.0.0.0/8".to_owned()]), "A53");
        assert!(!family(&mirror, &names, false)[0].rejects_unknown_ports, "A102");
        assert_eq!(rows[0].service, "default/web:http");
        assert_eq!((rows[0].frontend.as_str(), rows[0].kind), ("10.96.0.1:80", "ClusterIP"));
        assert_eq!(rows[0].backends, ["10.1.0.1:8080", "10.1.0.2:8080 (not serving)"]);
    }

    #[test]
    fn a_service_without_a_port_name_has_no_colon() {
        assert_eq!(service_name(&name("a", "b", "")), "a/b");
    }
}
