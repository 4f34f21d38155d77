//! From map contents to verdicts, by the words of `sluice_common` alone.

use std::{collections::BTreeSet, net::SocketAddr};

use sluice_common::{
    frontend::{Frontend, Range, flags},
    net::Addr,
};

use super::super::super::{
    family,
    mirror::{FamilyMirror, Mirror},
};
use super::{
    packet::{Masquerading, Packet, Source, Verdict},
    worlds::Cluster,
};

/// What the programs make of a packet, given the maps. Of the objects' world only the node's
/// addresses are looked at: they are NODE_ADDRS, which the model does not write.
pub(super) fn verdict(
    maps: &Mirror,
    cluster: &Cluster,
    how: Masquerading,
    packet: &Packet,
) -> Verdict {
    let at_node = cluster.node.addresses.contains(&packet.to.ip());
    if packet.to.is_ipv4() {
        of_family(&maps.v4, at_node, how, packet)
    } else {
        of_family(&maps.v6, at_node, how, packet)
    }
}

fn of_family<const N: usize>(
    maps: &FamilyMirror<N>,
    at_node: bool,
    how: Masquerading,
    packet: &Packet,
) -> Verdict {
    let addr = family::addr::<N>(packet.to.ip()).expect("the family was chosen by this address");
    let look_up = |addr: Addr<N>| {
        let key = family::key(addr, packet.to.port(), family::number(packet.protocol));
        maps.frontends.get(&key).filter(|frontend| frontend.flags & flags::ENDPOINT == 0)
    };
    let by_address = look_up(addr);
    let node_port = || look_up(Addr::UNSPECIFIED).filter(|_| at_node);
    match by_address.or_else(node_port) {
        Some(frontend) => at_frontend(maps, frontend, how, packet),
        None => Verdict::Untouched,
    }
}

fn at_frontend<const N: usize>(
    maps: &FamilyMirror<N>,
    frontend: &Frontend,
    how: Masquerading,
    packet: &Packet,
) -> Verdict {
    let is = |flag: u32| frontend.flags & flag != 0;
    if is(flags::NO_ENDPOINTS) {
        return Verdict::Reject;
    }
    let is_pod = packet.source == Source::Pod && how.detector;
    let is_node = packet.source == Source::Node;
    let (range, masquerade) = if !is(flags::EXTERNAL) {
        (frontend.cluster, how.all || (how.detector && !is_pod))
    } else if !is(flags::LOCAL_POLICY) {
        (frontend.cluster, true)
    } else if is_pod || is_node {
        (frontend.cluster, is_node)
    } else {
        (frontend.local, false)
    };
    Verdict::forward(targets(maps, range), masquerade)
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
