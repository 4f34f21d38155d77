//! What packets find in the maps, told by `explain`, and what no packet may ever find.

use std::net::{IpAddr, SocketAddr};

use sluice::{
    explain::{Answer, Detection, Question, Verdict, View, explain},
    model::{
        mirror::{FamilyMirror, Mirror},
        spec::Protocol,
    },
};
use sluice_common::{
    backend::flags::ELIGIBLE,
    frontend::{Frontend, Range},
    iface::addr_flags::NODE_PORTS,
    net::{Addr, V4, V6},
    settings::Settings,
};

/// The node's own addresses.
const NODE: [&str; 2] = ["192.168.100.11", "fd00:192:168::11"];

/// Pods, the node, clients within and without the source ranges.
const SOURCES: [&str; 8] = [
    "10.244.1.2",
    "10.1.0.1",
    "192.168.100.11",
    "192.0.2.7",
    "192.0.2.200",
    "203.0.113.99",
    "fd00:10:244::2",
    "fd01::2",
];

/// A packet's fate: what a client can tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    verdict: Verdict,
    backends: Vec<SocketAddr>,
    masquerade: bool,
}

impl Fate {
    /// Whether a packet may have this fate while the maps are on their way: the old one or the new.
    /// Where one of them is to be refused, it may be refused in a third way: of a cluster IP that
    /// comes or goes with its ServiceCIDR, one is there first.
    pub(super) fn is_between(&self, old: &Self, new: &Self) -> bool {
        let is_served = |fate: &Self| fate.verdict == Verdict::Forward;
        let may_refuse = !is_served(old) || !is_served(new);
        self == old || self == new || may_refuse && !is_served(self)
    }
}

/// Every question about a world's frontends, known and unknown ports.
pub(super) fn questions() -> Vec<Question> {
    let cluster = (0..5).flat_map(|n| [format!("10.96.0.{n}"), format!("fd00::{n}")]);
    let outside = (0..5).flat_map(|n| [format!("203.0.113.{n}"), format!("198.51.100.{n}")]);
    let ports = [80, 81, 82];
    let with_ports = |address: String| {
        let ip: IpAddr = address.parse().expect("an address");
        ports.map(|port| SocketAddr::new(ip, port))
    };
    let node_ports = NODE.into_iter().flat_map(|node| {
        let ip: IpAddr = node.parse().expect("an address");
        [30_001, 30_002, 30_003, 30_101].map(|port| SocketAddr::new(ip, port))
    });
    let destinations = cluster.chain(outside).flat_map(with_ports).chain(node_ports);
    let mut questions = Vec::new();
    for destination in destinations {
        for source in SOURCES.map(|text| text.parse::<IpAddr>().expect("an address")) {
            if source.is_ipv4() == destination.is_ipv4() {
                let ask = |protocol| Question {
                    source,
                    source_port: None,
                    input: 0,
                    destination,
                    protocol,
                };
                questions.extend([Protocol::Tcp, Protocol::Udp].map(ask));
            }
        }
    }
    questions
}

/// What becomes of every packet.
pub(super) fn fates(maps: &Mirror, settings: Settings, questions: &[Question]) -> Vec<Fate> {
    let own4 = Addr::<V4>::new([192, 168, 100, 11]);
    let own6: std::net::Ipv6Addr = NODE[1].parse().expect("an address");
    let own6 = Addr::<V6>::new(own6.octets());
    let view = View {
        maps: maps.clone(),
        settings: maps.settings.unwrap_or(settings),
        addresses: ([(own4, NODE_PORTS)].into(), [(own6, NODE_PORTS)].into()),
        detection: Detection::ClusterCidr,
        why: None,
        unserved: Vec::new(),
    };
    let fate = |question: &Question| {
        let Answer { verdict, backends, masquerade, .. } = explain(&view, question);
        Fate { verdict, backends, masquerade }
    };
    questions.iter().map(fate).collect()
}

/// What is wrong with the maps: frontends that lead to what is not there, not offered, or another
/// service's.
pub(super) fn faults(maps: &Mirror) -> Vec<String> {
    let mut faults = family_faults(maps, &maps.v4);
    faults.extend(family_faults(maps, &maps.v6));
    faults
}

fn family_faults<const N: usize>(all: &Mirror, maps: &FamilyMirror<N>) -> Vec<String> {
    let mut faults = Vec::new();
    for (key, frontend) in &maps.frontends {
        if frontend.service != 0 && !all.services.contains_key(&frontend.service) {
            faults.push(format!("{key:?} is of a service without a name"));
        }
        for slot in slots(frontend) {
            let backend = maps.slots.get(&slot).and_then(|id| maps.backends.get(id));
            let is_sound =
                backend.is_some_and(|b| b.flags & ELIGIBLE != 0 && b.service == frontend.service);
            if !is_sound {
                faults.push(format!("{key:?} leads by slot {slot} to {backend:?}"));
            }
        }
    }
    faults
}

fn slots(frontend: &Frontend) -> impl Iterator<Item = u32> {
    let all = |range: Range| range.start..range.start + range.len;
    all(frontend.cluster).chain(all(frontend.local))
}
