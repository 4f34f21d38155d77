//! The pair of tc programs: ingress rewrites the destination, egress rewrites the source.

mod egress;
mod ingress;
mod reject;

use sluice_common::{
    flow::INGRESS,
    net::{V4, V6},
    reason::{Outcome, Reason},
};

use crate::{
    family::{Family, Ip},
    lb::cluster_ip,
    packet::{Fragment, Packet, cursor::Skb, early, fragment, icmp, rewrite::End},
};
use egress::Egress;
use ingress::Ingress;

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
const ENTERED: u32 = 0x4000;
/// [`Skb::note`]: the packet has been handled at a bridge; the port below has nothing to add.
const LEFT: u32 = 0x8000;
/// [`Skb::note`]: nothing is known of the packet.
const NOTHING: u32 = 0;

/// `note`, for the packet as it is now: what a tunnel's packet turns out to hold comes in the same
/// buffer, note included, but is shorter. (A multiplicative hash of the length, six bits of it:
/// differences of one header each, 20 to 80 bytes, change it.)
#[inline(always)]
fn about(note: u32, skb: &Skb) -> u32 {
    let length = (skb.len() as u32).wrapping_mul(40_503) >> 10 & 0x3f;
    note | length << 8
}

/// The code of one of the two hooks.
trait Hook {
    /// [`INGRESS`] or [`EGRESS`].
    const DIRECTION: u8;
    /// The end of a packet that it rewrites.
    const END: End;

    /// Handles a packet that has ports. `None`: not ours.
    fn translate<const N: usize>(skb: &Skb, packet: &Packet<N>, device: Device) -> Option<Reason>
    where
        Ip<N>: Family<N>;
}

/// How far a hook's own code got with a packet.
pub enum Handled {
    /// To the end, unless it is to be rejected.
    As(Reason),
    /// Not at all: it is an ICMP message.
    Message,
}

impl Handled {
    /// Sets the packet aside if it is not at its end.
    #[inline(always)]
    fn keep<const N: usize>(self, skb: &Skb, packet: &Packet<N>) -> Self
    where
        Ip<N>: Family<N>,
    {
        if !self.is_over() {
            packet.set_aside(skb);
        }
        self
    }

    #[inline(always)]
    fn is_over(&self) -> bool {
        match self {
            Self::As(reason) => reason.outcome() != Outcome::Reject,
            Self::Message => false,
        }
    }
}

/// Hands on what a hook's own code did not finish: when that code has returned, since the stack has
/// no room for both frames. (Linux 6.1 counts each of them in steps of 32 bytes; all together may
/// have 512.)
#[inline(always)]
fn finish<const N: usize, H: Hook>(skb: &Skb, device: Device, handled: Handled) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    match handled {
        Handled::As(reason) if handled.is_over() => Some(reason),
        Handled::As(_) | Handled::Message => rest::<N>(skb, device, H::DIRECTION, handled),
    }
}

/// Rejects a packet, or handles an ICMP message.
#[inline(never)]
fn rest<const N: usize>(
    skb: &Skb,
    device: Device,
    direction: u8,
    handled: Handled,
) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    let packet = Packet::<N>::resume(skb, device.header, direction)?;
    let reason = match handled {
        Handled::As(reason) => reason,
        Handled::Message => {
            let begins = direction == INGRESS || skb.is_own();
            if !begins
                || !cluster_ip::is_near(&packet.key.dst)
                || !icmp::is_echo_request(skb, &packet)
            {
                return icmp::translate(skb, &packet);
            }
            cluster_ip::refusal(&packet.key.dst)?
        }
    };
    match reason.outcome() {
        Outcome::Reject => Some(reject::send(skb, &packet, reason)),
        Outcome::Pass | Outcome::Drop => Some(reason),
    }
}

/// Hands a packet entering by a device to the code of its family.
#[inline(always)]
pub fn enter(skb: &Skb, device: Device) -> Option<Reason> {
    if device.is_upper && skb.noted() == about(ENTERED, skb) {
        return None;
    }
    early::recognise(skb);
    skb.note(about(ENTERED, skb));
    by_family::<Ingress>(skb, device)
}

/// Hands a packet leaving by a device to the code of its family.
#[inline(always)]
pub fn leave(skb: &Skb, device: Device) -> Option<Reason> {
    if !device.is_upper && skb.noted() == about(LEFT, skb) {
        skb.note(NOTHING);
        return None;
    }
    early::recognise(skb);
    skb.note(if device.is_upper { about(LEFT, skb) } else { NOTHING });
    by_family::<Egress>(skb, device)
}

#[inline(always)]
fn by_family<H: Hook>(skb: &Skb, device: Device) -> Option<Reason> {
    let handled =
        match skb.protocol() {
            ETH_P_IP => handle::<V4, H>(skb, device)
                .and_then(|handled| finish::<V4, H>(skb, device, handled)),
            ETH_P_IPV6 => handle::<V6, H>(skb, device)
                .and_then(|handled| finish::<V6, H>(skb, device, handled)),
            // Another tag may be before the header, which the next device up takes off.
            _ => {
                skb.note(NOTHING);
                return None;
            }
        };
    unless_clone(skb, handled)
}

/// Handles a packet of one family. `None`: not ours.
#[inline(never)]
fn handle<const N: usize, H: Hook>(skb: &Skb, device: Device) -> Option<Handled>
where
    Ip<N>: Family<N>,
{
    let mut packet = Packet::<N>::parse(skb, device.header, H::DIRECTION)?;
    if packet.is_icmp() {
        return Some(Handled::Message.keep(skb, &packet));
    }
    let reason = transport::<N, H>(skb, &mut packet, device)?;
    Some(Handled::As(reason).keep(skb, &packet))
}

/// Handles what has ports, or follows what had them.
#[inline(always)]
fn transport<const N: usize, H: Hook>(
    skb: &Skb,
    packet: &mut Packet<N>,
    device: Device,
) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    if packet.fragment == Fragment::Later {
        return fragment::follow(skb, packet, H::END);
    }
    if packet.transport(skb).is_none() {
        // What is of no transport that services know may hold another packet, as ESP does: what
        // was noted is not about that.
        skb.note(NOTHING);
        return None;
    }
    if packet.fragment == Fragment::First {
        fragment::remember(packet);
    }
    H::translate(skb, packet, device)
}

/// A clone of a first fragment that did not become what it was made for must not go on as a second
/// first fragment.
#[inline(always)]
fn unless_clone(skb: &Skb, handled: Option<Reason>) -> Option<Reason> {
    let passes = handled.is_some_and(|reason| reason.outcome() == Outcome::Pass);
    if !passes && early::slot(skb).is_some() { Some(Reason::LostFragment) } else { handled }
}
