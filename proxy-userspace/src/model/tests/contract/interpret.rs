//! From map contents to verdicts, by the words of `sluice_common` alone.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use sluice_common::{
    frontend::{Frontend, Range, flags},
    net::{Addr, Prefix},
    prefix::{PrefixKey, SCOPE_BITS, SERVICE_CIDRS},
    settings::{Settings, detector, flags as settings_flags},
};

use super::super::super::{
    family,
    mirror::{FamilyMirror, Mirror},
};
use super::{
    packet::{Packet, Verdict},
    worlds::Cluster,
};

/// NODE_ADDRS, which the model does not write.
struct NodeAddrs<'a>(&'a Cluster);

impl NodeAddrs<'_> {
    fn has(&self, ip: &IpAddr) -> bool {
        self.0.bound.contains(ip) || self.0.node.addresses.contains(ip)
    }

    fn takes_node_ports(&self, ip: &IpAddr) -> bool {
        self.0.node.addresses.contains(ip)
    }
}

/// What concerns one family in SETTINGS.
struct Site<'a, const N: usize> {
    settings: &'a Settings,
    detector: u8,
    pods: Prefix<N>,
    services: Option<Prefix<N>>,
    node: NodeAddrs<'a>,
}

/// What the programs make of a packet, given the maps.
pub(super) fn verdict(maps: &Mirror, cluster: &Cluster, packet: &Packet) -> Verdict {
    let settings = maps.settings.as_ref().expect("settings were told first");
    let asks = |flag: u32| settings.flags & flag != 0;
    let node = NodeAddrs(cluster);
    if packet.to.is_ipv4() {
        let services = asks(settings_flags::CLUSTER_IPS_V4).then_some(settings.services_v4);
        let (detector, pods) = (settings.detector_v4, settings.pods_v4);
        of_family(&maps.v4, &Site { settings, detector, pods, services, node }, packet)
    } else {
        let services = asks(settings_flags::CLUSTER_IPS_V6).then_some(settings.services_v6);
        let (detector, pods) = (settings.detector_v6, settings.pods_v6);
        of_family(&maps.v6, &Site { settings, detector, pods, services, node }, packet)
    }
}

fn addr<const N: usize>(ip: IpAddr) -> Addr<N> {
    family::addr::<N>(ip).expect("the family was chosen by the packet's addresses")
}

fn of_family<const N: usize>(
    maps: &FamilyMirror<N>,
    site: &Site<'_, N>,
    packet: &Packet,
) -> Verdict {
    let to = packet.to.ip();
    let look_up = |addr: Addr<N>| {
        let key = family::key(addr, packet.to.port(), family::number(packet.protocol));
        maps.frontends.get(&key).filter(|frontend| frontend.flags & flags::ENDPOINT == 0)
    };
    let node_port = || look_up(Addr::UNSPECIFIED).filter(|_| site.node.takes_node_ports(&to));
    match look_up(addr(to)).or_else(node_port) {
        Some(frontend) => at_frontend(maps, frontend, site, packet),
        None => nowhere(maps, site, to),
    }
}

/// Where no frontend is (A51, A52).
fn nowhere<const N: usize>(maps: &FamilyMirror<N>, site: &Site<'_, N>, to: IpAddr) -> Verdict {
    let addr = addr::<N>(to);
    if site.node.has(&to) || !site.services.is_some_and(|services| services.contains(&addr)) {
        return Verdict::Untouched;
    }
    let mark = maps.frontends.get(&family::key(addr, 0, 0));
    if mark.is_some_and(|mark| mark.flags & flags::CLUSTER_IP != 0) {
        return Verdict::Reject;
    }
    if lists(maps, SERVICE_CIDRS, &addr) { Verdict::Drop } else { Verdict::Untouched }
}

fn at_frontend<const N: usize>(
    maps: &FamilyMirror<N>,
    frontend: &Frontend,
    site: &Site<'_, N>,
    packet: &Packet,
) -> Verdict {
    let is = |flag: u32| frontend.flags & flag != 0;
    let client = packet.client.map(addr::<N>);
    let admitted = match &client {
        Some(client) => lists(maps, frontend.service, client),
        None => is(flags::NODE_ALLOWED),
    };
    if is(flags::SOURCE_RANGES) && !admitted {
        return Verdict::Drop;
    }
    if is(flags::NO_ENDPOINTS) {
        return Verdict::Reject;
    }
    let detects = site.detector == detector::PREFIX;
    let is_pod = detects && client.is_some_and(|client| site.pods.contains(&client));
    let is_node = !is_pod && packet.client.is_none_or(|client| site.node.has(&client));
    let all = site.settings.flags & settings_flags::MASQUERADE_ALL != 0;
    let (range, masquerade) = if !is(flags::EXTERNAL) {
        (frontend.cluster, all || (detects && !is_pod))
    } else if !is(flags::LOCAL_POLICY) {
        (frontend.cluster, true)
    } else if is_pod || is_node {
        (frontend.cluster, is_node)
    } else {
        (frontend.local, false)
    };
    Verdict::forward(targets(maps, range), masquerade)
}

/// Whether a set of PREFIXES has one that holds the address.
fn lists<const N: usize>(maps: &FamilyMirror<N>, scope: u32, addr: &Addr<N>) -> bool {
    let holds = |prefix: &PrefixKey<N>| {
        let bits = prefix.bits - SCOPE_BITS;
        (0..bits as usize).all(|i| {
            let bit = |bytes: &[u8; N]| bytes[i / 8] >> (7 - i % 8) & 1;
            bit(&prefix.addr.bytes) == bit(&addr.bytes)
        })
    };
    maps.prefixes.iter().any(|prefix| prefix.scope == scope && holds(prefix))
}

/// The backends of a range. A slot or a backend that is not there is an error of the maps.
fn targets<const N: usize>(maps: &FamilyMirror<N>, range: Range) -> BTreeSet<SocketAddr> {
    let slots = range.start..range.start + range.len;
    let found: BTreeSet<SocketAddr> = slots
        .map(|slot| {
            let backend = &maps.backends[&maps.slots[&slot]];
            SocketAddr::new(family::ip(&backend.addr), backend.port.number())
        })
        .collect();
    assert_eq!(found.len(), range.len as usize, "A38: each once, or the choice is not uniform");
    found
}
