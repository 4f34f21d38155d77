//! XDP on the uplinks: established flows between a client and a backend that are both elsewhere.
//!
//! Such a packet would enter and leave by uplinks. Here it gets both rewrites at once, from the same
//! entries that the tc programs use, and goes out without meeting the network stack. Everything is
//! decided before the first byte changes: what is not to be handled here goes on to tc unchanged,
//! which begins flows and handles whatever there is, and any packet of a flow may take either path.

mod link;
mod rewrite;
mod route;

use sluice_common::{
    flow::{
        EGRESS, Flow, FlowKey, INGRESS,
        flags::{IDENTITY, MASQUERADE, PENDING},
    },
    net::{V4, V6, proto},
    reason::Reason,
};

use crate::{
    clock,
    family::{Family, Ip},
    flow,
    lb::select,
    packet::{Fragment, Packet, frame::Frame},
    verdict,
};
use link::Link;

/// What becomes of a frame that is a known flow's.
pub enum Verdict {
    /// It goes on to tc.
    Pass(Reason),
    /// It goes out by this device.
    Send(Reason, u32),
    /// It was half changed when a write failed, which no check before had foreseen.
    Drop(Reason),
}

/// Hands a frame to the code of its family. Returns the program's action.
#[inline(always)]
pub fn enter(frame: &Frame) -> u32 {
    let Some(link) = Link::of(frame) else { return verdict::for_xdp(frame, None) };
    match link.protocol {
        link::IPV4 => act::<V4>(frame, &link),
        link::IPV6 => act::<V6>(frame, &link),
        _ => verdict::for_xdp(frame, None),
    }
}

/// Handles a packet of one family. (A verdict in the registers of a return value has parts that
/// nobody wrote, which the verifier objects to; so it ends here.)
#[inline(never)]
fn act<const N: usize>(frame: &Frame, link: &Link) -> u32
where
    Ip<N>: Family<N>,
{
    verdict::for_xdp(frame, handle::<N>(frame, link))
}

/// What becomes of a packet of one family. `None`: it goes on to tc, which counts it.
#[inline(always)]
fn handle<const N: usize>(frame: &Frame, link: &Link) -> Option<Verdict>
where
    Ip<N>: Family<N>,
{
    let mut packet = Packet::<N>::parse(frame, link.header(), INGRESS)?;
    if packet.fragment != Fragment::Whole || packet.has_extensions() {
        return None;
    }
    packet.transport(frame)?;
    let first = flow::find(&packet.key)?;
    if !goes_on(first, &packet) {
        return None;
    }
    // Between its two rewrites: what routing would see, and the key at egress.
    let middle = FlowKey {
        src: packet.key.src,
        dst: first.addr,
        src_port: first.client_port,
        dst_port: first.port,
        proto: packet.key.proto,
        direction: EGRESS,
        pad: [0; 2],
    };
    let second = flow::find(&middle)?;
    if !completes(second, first) {
        return None;
    }
    let way = match route::of(frame, link, &packet, &middle) {
        Ok(way) => way,
        Err(reason) => return reason.map(Verdict::Pass),
    };
    if rewrite::is_partial(frame, &packet)? {
        return Some(Verdict::Pass(Reason::XdpChecksum));
    }
    let is_reply = first.flags & MASQUERADE != 0;
    flow::touch(first, &packet);
    flow::touch(second, &packet);
    Some(match rewrite::send(frame, link, &way, &packet, first, second) {
        Some(()) if is_reply => Verdict::Send(Reason::XdpReply, way.device),
        Some(()) => Verdict::Send(Reason::XdpForward, way.device),
        None => Verdict::Drop(Reason::Rewrite),
    })
}

/// Whether a packet goes on with the flow it found, and tc would find nothing more to do than to
/// rewrite it.
///
/// What begins a TCP connection is tc's, as are other transports. So is the first datagram of every
/// second: tc then looks whether the flow is still what it was, and the kernel's conntrack learns
/// that it goes on.
#[inline(always)]
fn goes_on<const N: usize>(flow: &Flow<N>, packet: &Packet<N>) -> bool
where
    Ip<N>: Family<N>,
{
    if flow.service == 0 || flow.flags & IDENTITY != 0 {
        return false;
    }
    match packet.key.proto {
        proto::TCP => !packet.begins(),
        proto::UDP if flow.seen != clock::seconds() => false,
        // A73
        proto::UDP => {
            flow.flags & MASQUERADE != 0
                || select::still::<N>(flow.backend, flow.generation, select::SERVING)
        }
        _ => false,
    }
}

/// Whether `second` is the other rewrite of a masqueraded flow's packet, of which `first` is one.
#[inline(always)]
fn completes<const N: usize>(second: &Flow<N>, first: &Flow<N>) -> bool {
    let one = (first.flags ^ second.flags) & MASQUERADE != 0;
    one && second.service != 0 && second.flags & (IDENTITY | PENDING) == 0
}
