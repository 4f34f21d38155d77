//! Where a packet goes: what routing, the neighbour table and UPLINKS say.

use core::{mem, ptr};

use aya_ebpf::{
    bindings::{BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as Route},
    helpers::generated::bpf_fib_lookup,
};
use sluice_common::{
    flow::FlowKey,
    net::{Addr, V4},
    reason::Reason,
    uplink::{Uplink, UplinkKey},
};

use super::{
    link::{Link, Mac, mac},
    rewrite,
};
use crate::{
    maps::UPLINKS,
    packet::{Packet, cursor::Buffer, frame::Frame},
};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The way out of the node.
pub struct Way {
    /// The device to send by.
    pub device: u32,
    /// The vlan to send in; 0: without a tag.
    pub vlan: u16,
    /// The device's MAC address.
    pub src: Mac,
    /// The next hop's MAC address.
    pub dst: Mac,
}

/// The way of a packet that is `middle` when it is routed. Otherwise it is tc's, with the reason
/// to count, if there is one.
#[inline(always)]
pub fn of<const N: usize>(
    frame: &Frame,
    link: &Link,
    packet: &Packet<N>,
    middle: &FlowKey<N>,
) -> Result<Way, Option<Reason>> {
    let arrived = uplink(&UplinkKey::arriving(frame.ifindex(), link.vlan())).ok_or(None)?;
    // What a switch floods, or is another's on the same device, is not for this node to forward.
    if link.dst != mac(&arrived.mac) {
        return Err(None);
    }
    // Its end is the kernel's to tell.
    if rewrite::hops_left::<N>(frame, usize::from(packet.l3)).ok_or(None)? <= 1 {
        return Err(None);
    }
    let mut route = request(frame, packet, middle, arrived.ifindex).ok_or(None)?;
    // SAFETY: the helper reads and writes a live structure of the size it is told.
    let code = unsafe {
        let size = size_of::<Route>() as i32;
        bpf_fib_lookup(frame.context().cast(), &raw mut route, size, 0)
    };
    if code != i64::from(BPF_FIB_LKUP_RET_SUCCESS) {
        return Err(Some(Reason::XdpRoute));
    }
    let (src, dst) = (mac(&route.smac), mac(&route.dmac));
    if route.ifindex == arrived.ifindex {
        return Ok(Way { device: frame.ifindex(), vlan: link.vlan(), src, dst });
    }
    match uplink(&UplinkKey::leaving(route.ifindex)) {
        Some(left) if left.mode == arrived.mode => {
            Ok(Way { device: left.ifindex, vlan: left.vlan, src, dst })
        }
        Some(_) | None => Err(Some(Reason::XdpRoute)),
    }
}

#[inline(always)]
fn uplink(key: &UplinkKey) -> Option<&'static Uplink> {
    // SAFETY: the controller replaces elements whole, and RCU keeps an old one readable while the
    // program runs.
    unsafe { UPLINKS.get(key) }
}

/// What to ask of routing: as it would see the packet, with the packet's length, which the helper
/// compares with the unit of the way.
#[inline(always)]
fn request<const N: usize>(
    frame: &Frame,
    packet: &Packet<N>,
    middle: &FlowKey<N>,
    ifindex: u32,
) -> Option<Route> {
    // SAFETY: integers only, for which all zeros is a value.
    let mut route: Route = unsafe { mem::zeroed() };
    let l3 = usize::from(packet.l3);
    route.family = if N == V4 { AF_INET } else { AF_INET6 };
    route.l4_protocol = middle.proto;
    route.sport = middle.src_port.raw();
    route.dport = middle.dst_port.raw();
    let length = u32::from(packet.l4 - packet.l3) + packet.payload;
    route.__bindgen_anon_1.tot_len = length as u16;
    route.ifindex = ifindex;
    let start: u32 = frame.read(l3)?;
    match N {
        V4 => route.__bindgen_anon_2.tos = start.to_ne_bytes()[1],
        _ => route.__bindgen_anon_2.flowinfo = start & 0x0fff_ffff_u32.to_be(),
    }
    // SAFETY: each place has sixteen bytes, an address has no more.
    unsafe {
        ptr::write((&raw mut route.__bindgen_anon_3).cast::<Addr<N>>(), middle.src);
        ptr::write((&raw mut route.__bindgen_anon_4).cast::<Addr<N>>(), middle.dst);
    }
    Some(route)
}
