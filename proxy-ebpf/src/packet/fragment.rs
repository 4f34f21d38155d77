//! Fragments follow the first one, which alone carries the ports.

use aya_ebpf::bindings::BPF_ANY;
use sluice_common::{
    flow::flags::{IDENTITY, PENDING},
    fragment::{FragmentKey, FragmentPorts},
    reason::Reason,
};

use super::{
    Packet,
    cursor::Skb,
    early,
    rewrite::{self, End},
};
use crate::{
    family::{Family, Ip},
    flow,
};

/// Remembers a first fragment's ports.
#[inline(always)]
pub fn remember<const N: usize>(packet: &Packet<N>)
where
    Ip<N>: Family<N>,
{
    let ports = FragmentPorts { src: packet.key.src_port, dst: packet.key.dst_port };
    // Without its entry the datagram is lost, as it is with any of its fragments.
    let _ = <Ip<N> as Family<N>>::fragments().insert(key(packet), ports, u64::from(BPF_ANY));
}

/// Rewrites a later fragment as its first was. `None`: not ours.
#[inline(never)]
pub fn follow<const N: usize>(skb: &Skb, packet: &mut Packet<N>, end: End) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    // SAFETY: elements are only written whole.
    let ports = unsafe { <Ip<N> as Family<N>>::fragments().get(key(packet)) };
    let Some(ports) = ports else { return early::keep(skb, packet) };
    (packet.key.src_port, packet.key.dst_port) = (ports.src, ports.dst);
    let flow = flow::find(&packet.key)?;
    if flow.flags & (IDENTITY | PENDING) != 0 {
        return None;
    }
    let old = if end == End::Source { &packet.key.src } else { &packet.key.dst };
    // The transport checksum stands in the first fragment, which made up for the address.
    match rewrite::lone_address(skb, usize::from(packet.l3), end, old, &flow.addr) {
        Some(()) => Some(Reason::Fragment),
        None => Some(Reason::Rewrite),
    }
}

/// The key of the datagram that a fragment belongs to.
#[inline(always)]
pub fn key<const N: usize>(packet: &Packet<N>) -> FragmentKey<N> {
    FragmentKey {
        src: packet.key.src,
        dst: packet.key.dst,
        id: packet.fragment_id,
        proto: packet.key.proto,
        direction: packet.key.direction,
        pad: [0; 2],
    }
}
