//! The pair of tc programs: ingress rewrites the destination, egress rewrites the source.

pub mod egress;
pub mod ingress;
pub mod reject;

use sluice_common::{
    net::{V4, V6},
    reason::Reason,
};

use crate::packet::cursor::Skb;

/// A kind of device.
#[derive(Clone, Copy)]
pub struct Device {
    /// Bytes of the link-layer header.
    pub header: usize,
    /// Whether packets pass another instrumented device below this one: the ports of a bridge, the
    /// parent of a vlan.
    pub is_upper: bool,
}

/// Veths, uplinks, overlays.
pub const ETHERNET: Device = Device { header: 14, is_upper: false };
/// Bridges and vlans.
pub const UPPER: Device = Device { header: 14, is_upper: true };
/// tun, ipip, wireguard.
pub const HEADERLESS: Device = Device { header: 0, is_upper: false };

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// [`Skb::note`]: the packet has been handled where it entered; a bridge above has nothing to add.
/// Only devices above another believe it: a packet may bring it from another namespace.
const ENTERED: u32 = 0x51e1;
/// [`Skb::note`]: the packet has been handled at a bridge; the port below has nothing to add.
const LEFT: u32 = 0x51e2;
/// [`Skb::note`]: nothing is known of the packet.
const NOTHING: u32 = 0;

/// Hands a packet entering by a device to the code of its family.
#[inline(always)]
pub fn enter(skb: &Skb, device: Device) -> Option<Reason> {
    if device.is_upper && skb.noted() == ENTERED {
        return None;
    }
    skb.note(ENTERED);
    match skb.protocol() {
        ETH_P_IP => ingress::handle::<V4>(skb, device),
        ETH_P_IPV6 => ingress::handle::<V6>(skb, device),
        _ => None,
    }
}

/// Hands a packet leaving by a device to the code of its family.
#[inline(always)]
pub fn leave(skb: &Skb, device: Device) -> Option<Reason> {
    if !device.is_upper && skb.noted() == LEFT {
        return None;
    }
    skb.note(if device.is_upper { LEFT } else { NOTHING });
    match skb.protocol() {
        ETH_P_IP => egress::handle::<V4>(skb, device),
        ETH_P_IPV6 => egress::handle::<V6>(skb, device),
        _ => None,
    }
}
