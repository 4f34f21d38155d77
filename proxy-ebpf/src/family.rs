//! What differs between IPv4 and IPv6: maps, settings and the IP header. Everything else is one
//! source, generic over `N`, the bytes of an address, and compiled twice.

use sluice_common::{
    iface::Iface,
    net::{Addr, Prefix, V4, V6},
    settings::{
        Settings,
        flags::{CLUSTER_IPS_V4, CLUSTER_IPS_V6},
    },
};

use crate::{
    maps::{
        self, Affinities, Backends, Earlies, Flows, Fragments, Frontends, HandshakeCounts,
        NodeAddrs, Prefixes, Slots, Sockets,
    },
    packet::{
        Packet,
        cursor::{Buffer, Skb},
        ipv4, ipv6,
    },
};

/// Carries the family of `N`-byte addresses.
pub struct Ip<const N: usize>;

/// One address family.
pub trait Family<const N: usize> {
    /// Offset of the source address in the IP header; the destination follows it.
    const SRC_OFFSET: usize;
    /// Offset of the protocol number, or the type of the next header.
    const PROTO_OFFSET: usize;
    /// Bytes of the IP header's fixed part.
    const HEADER: usize;
    /// Protocol number of this family's ICMP.
    const ICMP: u8;
    /// Bit of `Settings::flags` that says that [`Family::services`] is set.
    const CLUSTER_IPS: u32;

    fn frontends() -> &'static Frontends<N>;
    fn slots() -> &'static Slots;
    fn backends() -> &'static Backends<N>;
    fn flows() -> &'static Flows<N>;
    fn handshakes() -> &'static HandshakeCounts<N>;
    fn node_addrs() -> &'static NodeAddrs<N>;
    fn fragments() -> &'static Fragments<N>;
    fn early() -> &'static Earlies<N>;
    fn sockets() -> &'static Sockets<N>;
    fn affinities() -> &'static Affinities<N>;
    fn prefixes() -> &'static Prefixes<N>;
    fn services(settings: &Settings) -> &Prefix<N>;
    fn detector(settings: &Settings) -> (u8, &Prefix<N>);
    fn masquerade(iface: &Iface) -> &Addr<N>;
    /// Parses the IP header at `packet.l3`; `None` for what is not a whole IP packet.
    fn header(buffer: &impl Buffer, packet: &mut Packet<N>) -> Option<()>;
    /// Bytes of the IP header at `l3`, whose packet need not be whole. `None`: it is a fragment
    /// without ports.
    fn header_length(skb: &Skb, l3: usize) -> Option<usize>;
}

impl Family<V4> for Ip<V4> {
    const SRC_OFFSET: usize = 12;
    const PROTO_OFFSET: usize = 9;
    const HEADER: usize = ipv4::MINIMUM;
    const ICMP: u8 = sluice_common::net::proto::ICMP;
    const CLUSTER_IPS: u32 = CLUSTER_IPS_V4;

    #[inline(always)]
    fn frontends() -> &'static Frontends<V4> {
        &maps::FRONTENDS_V4
    }
    #[inline(always)]
    fn slots() -> &'static Slots {
        &maps::SLOTS_V4
    }
    #[inline(always)]
    fn backends() -> &'static Backends<V4> {
        &maps::BACKENDS_V4
    }
    #[inline(always)]
    fn flows() -> &'static Flows<V4> {
        &maps::FLOWS_V4
    }
    #[inline(always)]
    fn handshakes() -> &'static HandshakeCounts<V4> {
        &maps::HANDSHAKES_V4
    }
    #[inline(always)]
    fn node_addrs() -> &'static NodeAddrs<V4> {
        &maps::NODE_ADDRS_V4
    }
    #[inline(always)]
    fn fragments() -> &'static Fragments<V4> {
        &maps::FRAGMENTS_V4
    }
    #[inline(always)]
    fn early() -> &'static Earlies<V4> {
        &maps::EARLY_V4
    }
    #[inline(always)]
    fn sockets() -> &'static Sockets<V4> {
        &maps::SOCKETS_V4
    }
    #[inline(always)]
    fn affinities() -> &'static Affinities<V4> {
        &maps::AFFINITIES_V4
    }
    #[inline(always)]
    fn prefixes() -> &'static Prefixes<V4> {
        &maps::PREFIXES_V4
    }
    #[inline(always)]
    fn services(settings: &Settings) -> &Prefix<V4> {
        &settings.services_v4
    }
    #[inline(always)]
    fn detector(settings: &Settings) -> (u8, &Prefix<V4>) {
        (settings.detector_v4, &settings.pods_v4)
    }
    #[inline(always)]
    fn masquerade(iface: &Iface) -> &Addr<V4> {
        &iface.masquerade_v4
    }
    #[inline(always)]
    fn header(buffer: &impl Buffer, packet: &mut Packet<V4>) -> Option<()> {
        ipv4::parse(buffer, packet)
    }
    #[inline(always)]
    fn header_length(skb: &Skb, l3: usize) -> Option<usize> {
        ipv4::length(skb, l3)
    }
}

impl Family<V6> for Ip<V6> {
    const SRC_OFFSET: usize = 8;
    const PROTO_OFFSET: usize = 6;
    const HEADER: usize = ipv6::FIXED;
    const ICMP: u8 = sluice_common::net::proto::ICMPV6;
    const CLUSTER_IPS: u32 = CLUSTER_IPS_V6;

    #[inline(always)]
    fn frontends() -> &'static Frontends<V6> {
        &maps::FRONTENDS_V6
    }
    #[inline(always)]
    fn slots() -> &'static Slots {
        &maps::SLOTS_V6
    }
    #[inline(always)]
    fn backends() -> &'static Backends<V6> {
        &maps::BACKENDS_V6
    }
    #[inline(always)]
    fn flows() -> &'static Flows<V6> {
        &maps::FLOWS_V6
    }
    #[inline(always)]
    fn handshakes() -> &'static HandshakeCounts<V6> {
        &maps::HANDSHAKES_V6
    }
    #[inline(always)]
    fn node_addrs() -> &'static NodeAddrs<V6> {
        &maps::NODE_ADDRS_V6
    }
    #[inline(always)]
    fn fragments() -> &'static Fragments<V6> {
        &maps::FRAGMENTS_V6
    }
    #[inline(always)]
    fn early() -> &'static Earlies<V6> {
        &maps::EARLY_V6
    }
    #[inline(always)]
    fn sockets() -> &'static Sockets<V6> {
        &maps::SOCKETS_V6
    }
    #[inline(always)]
    fn affinities() -> &'static Affinities<V6> {
        &maps::AFFINITIES_V6
    }
    #[inline(always)]
    fn prefixes() -> &'static Prefixes<V6> {
        &maps::PREFIXES_V6
    }
    #[inline(always)]
    fn services(settings: &Settings) -> &Prefix<V6> {
        &settings.services_v6
    }
    #[inline(always)]
    fn detector(settings: &Settings) -> (u8, &Prefix<V6>) {
        (settings.detector_v6, &settings.pods_v6)
    }
    #[inline(always)]
    fn masquerade(iface: &Iface) -> &Addr<V6> {
        &iface.masquerade_v6
    }
    #[inline(always)]
    fn header(buffer: &impl Buffer, packet: &mut Packet<V6>) -> Option<()> {
        ipv6::parse(buffer, packet)
    }
    #[inline(always)]
    fn header_length(skb: &Skb, l3: usize) -> Option<usize> {
        ipv6::length(skb, l3)
    }
}
