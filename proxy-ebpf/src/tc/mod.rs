//! The pair of tc programs: ingress rewrites the destination, egress rewrites the source.

pub mod egress;
pub mod ingress;
pub mod reject;

use sluice_common::{
    net::{V4, V6},
    reason::Reason,
};

use crate::{
    family::{Family, Ip},
    lb::cluster_ip,
    packet::{Packet, cursor::Skb},
};

/// Bytes of the link-layer header.
pub const ETHERNET: usize = 14;
/// Devices without one: tun, ipip, wireguard.
pub const NO_HEADER: usize = 0;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// Refuses what begins a flow to a cluster IP that no frontend serves (A51, A52). `None`: the
/// packet may go on.
#[inline(always)]
fn unserved<const N: usize>(skb: &Skb, packet: &Packet<N>) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    match cluster_ip::refusal(&packet.key.dst)? {
        Reason::UnknownPort => Some(reject::send(skb, packet, Reason::UnknownPort)),
        dropped => Some(dropped),
    }
}

/// Hands a packet entering by a device to the code of its family.
#[inline(always)]
pub fn enter(skb: &Skb, l3: usize) -> Option<Reason> {
    match skb.protocol() {
        ETH_P_IP => ingress::handle::<V4>(skb, l3),
        ETH_P_IPV6 => ingress::handle::<V6>(skb, l3),
        _ => None,
    }
}

/// Hands a packet leaving by a device to the code of its family.
#[inline(always)]
pub fn leave(skb: &Skb, l3: usize) -> Option<Reason> {
    match skb.protocol() {
        ETH_P_IP => egress::handle::<V4>(skb, l3),
        ETH_P_IPV6 => egress::handle::<V6>(skb, l3),
        _ => None,
    }
}
