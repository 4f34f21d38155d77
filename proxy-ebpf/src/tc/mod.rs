//! The pair of tc programs: ingress rewrites the destination, egress rewrites the source.

pub mod egress;
pub mod ingress;
pub mod reject;

use sluice_common::{
    flow::{EGRESS, INGRESS},
    net::{V4, V6},
    reason::Reason,
};

use crate::{
    family::{Family, Ip},
    lb::cluster_ip,
    packet::{Packet, cursor::Skb, icmp},
};

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

/// How far a hook's own code got with a packet.
pub enum Handled {
    /// To the end.
    As(Reason),
    /// Not at all: it is an ICMP message.
    Message,
}

/// Hands on what a hook's own code did not handle: when that code has returned, since the stack has
/// no room for both frames. (Linux 6.1 counts each of them in steps of 32 bytes; all together may
/// have 512.)
#[inline(always)]
fn finish<const N: usize>(
    skb: &Skb,
    device: Device,
    direction: u8,
    handled: Handled,
) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    match handled {
        Handled::As(reason) => Some(reason),
        Handled::Message => message::<N>(skb, device, direction),
    }
}

/// Handles an ICMP message.
#[inline(never)]
fn message<const N: usize>(skb: &Skb, device: Device, direction: u8) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    let packet = Packet::<N>::parse(skb, device.header, direction)?;
    let begins = direction == INGRESS || skb.is_own();
    if begins && cluster_ip::is_near(&packet.key.dst) && icmp::is_echo_request(skb, &packet) {
        return unserved(skb, &packet);
    }
    icmp::translate(skb, &packet)
}

/// Hands a packet entering by a device to the code of its family.
#[inline(always)]
pub fn enter(skb: &Skb, device: Device) -> Option<Reason> {
    if device.is_upper && skb.noted() == ENTERED {
        return None;
    }
    skb.note(ENTERED);
    match skb.protocol() {
        ETH_P_IP => finish::<V4>(skb, device, INGRESS, ingress::handle::<V4>(skb, device)?),
        ETH_P_IPV6 => finish::<V6>(skb, device, INGRESS, ingress::handle::<V6>(skb, device)?),
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
        ETH_P_IP => finish::<V4>(skb, device, EGRESS, egress::handle::<V4>(skb, device)?),
        ETH_P_IPV6 => finish::<V6>(skb, device, EGRESS, egress::handle::<V6>(skb, device)?),
        _ => None,
    }
}
