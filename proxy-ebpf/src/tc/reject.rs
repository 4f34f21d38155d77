//! Reject (A47, A50, A51): the packet becomes the ICMP port unreachable that answers it, and goes
//! back to where it came from.
//!
//! The answer comes from the service's address and quotes the IP header and eight bytes, which is
//! what RFC 792 asks for and enough for a socket to find itself.

use aya_ebpf::{
    bindings::{BPF_F_INGRESS, TC_ACT_REDIRECT},
    helpers::generated::{bpf_csum_diff, bpf_redirect},
};
use sluice_common::{
    flow::EGRESS,
    net::{Addr, V4, V6, proto},
    reason::Reason,
};

use super::ETHERNET;
use crate::{
    family::{Family, Ip},
    packet::{Packet, cursor::Skb},
};

/// What the answer quotes of the transport header.
type Quoted = [u8; 8];

const TTL: u8 = 64;

#[repr(C)]
#[derive(Clone, Copy)]
struct Icmp {
    kind: u8,
    code: u8,
    checksum: u16,
    unused: u32,
}

/// The ICMP message of an IPv4 answer.
#[repr(C)]
#[derive(Clone, Copy)]
struct Message4 {
    icmp: Icmp,
    quoted_ip: [u8; 20],
    quoted: Quoted,
}

/// The addresses and the ICMP message of an IPv6 answer: what its checksum covers.
#[repr(C)]
#[derive(Clone, Copy)]
struct Message6 {
    src: Addr<V6>,
    dst: Addr<V6>,
    icmp: Icmp,
    quoted_ip: [u8; 40],
    quoted: Quoted,
}

/// An IPv4 header without options.
const HEADER4: usize = 20;
/// An IPv6 header up to its addresses.
const HEADER6: usize = 8;

/// Turns `packet` into its refusal, for `reason`.
#[inline(never)]
pub fn send<const N: usize>(skb: &Skb, packet: &Packet<N>, reason: Reason) -> Reason
where
    Ip<N>: Family<N>,
{
    let built = match N {
        V4 => build4(skb, packet),
        _ => build6(skb, packet),
    };
    match built.and_then(|()| turn_around(skb, packet)) {
        Some(()) => reason,
        None => Reason::Rewrite,
    }
}

#[inline(always)]
fn build4<const N: usize>(skb: &Skb, packet: &Packet<N>) -> Option<()> {
    const LENGTH: [u8; 2] = ((HEADER4 + size_of::<Message4>()) as u16).to_be_bytes();
    let l3 = usize::from(packet.l3);
    let mut message = Message4 {
        icmp: Icmp { kind: 3, code: 3, checksum: 0, unused: 0 },
        quoted_ip: skb.read(l3)?,
        quoted: skb.read(usize::from(packet.l4))?,
    };
    let q = &message.quoted_ip;
    let mut ip = [
        0x45,
        0,
        LENGTH[0],
        LENGTH[1],
        0,
        0,
        0x40,
        0,
        TTL,
        proto::ICMP,
        0,
        0, // checksum last
        q[16],
        q[17],
        q[18],
        q[19],
        q[12],
        q[13],
        q[14],
        q[15],
    ];
    [ip[10], ip[11]] = finish(sum(&ip, 0)?).to_ne_bytes();
    // Options are not quoted.
    message.quoted_ip[0] = 0x45;
    message.icmp.checksum = finish(sum(&message, 0)?);
    skb.resize(l3 + HEADER4 + size_of::<Message4>())?;
    skb.write(l3, &ip)?;
    skb.write(l3 + HEADER4, &message)
}

#[inline(always)]
fn build6<const N: usize>(skb: &Skb, packet: &Packet<N>) -> Option<()> {
    const LENGTH: u16 = (size_of::<Message6>() - 2 * V6) as u16;
    let l3 = usize::from(packet.l3);
    let mut message = Message6 {
        src: skb.read(l3 + HEADER6 + V6)?,
        dst: skb.read(l3 + HEADER6)?,
        icmp: Icmp { kind: 1, code: 4, checksum: 0, unused: 0 },
        quoted_ip: skb.read(l3)?,
        quoted: skb.read(usize::from(packet.l4))?,
    };
    // Extension headers are not quoted.
    message.quoted_ip[6] = packet.key.proto;
    let pseudo = u32::from(LENGTH.to_be()) + u32::from(u16::from(proto::ICMPV6).to_be());
    message.icmp.checksum = finish(sum(&message, pseudo)?);
    let length = LENGTH.to_be_bytes();
    skb.resize(l3 + HEADER6 + size_of::<Message6>())?;
    skb.write(l3, &[0x60, 0, 0, 0, length[0], length[1], proto::ICMPV6, TTL])?;
    skb.write(l3 + HEADER6, &message)
}

/// The ones' complement sum over `value`, whose size is a multiple of four.
#[inline(always)]
fn sum<T: Copy>(value: &T, seed: u32) -> Option<u32> {
    const { assert!(size_of::<T>().is_multiple_of(4)) };
    // SAFETY: the helper reads the value's own bytes, none of which is padding.
    let sum = unsafe {
        let data = core::ptr::from_ref(value).cast_mut().cast();
        bpf_csum_diff(core::ptr::null_mut(), 0, data, size_of::<T>() as u32, seed)
    };
    u32::try_from(sum).ok()
}

/// Folds a sum into a checksum.
#[inline(always)]
fn finish(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// Sends the packet back: out by the device that it came in by, or in by the one that this node sent
/// it out by.
#[inline(always)]
fn turn_around<const N: usize>(skb: &Skb, packet: &Packet<N>) -> Option<()> {
    if usize::from(packet.l3) == ETHERNET.header {
        let (to, from): ([u8; 6], [u8; 6]) = (skb.read(0)?, skb.read(6)?);
        skb.write(0, &from)?;
        skb.write(6, &to)?;
    }
    let flags = if packet.key.direction == EGRESS { BPF_F_INGRESS } else { 0 };
    // SAFETY: the helper has no preconditions.
    let code = unsafe { bpf_redirect(skb.ifindex(), u64::from(flags)) };
    (code == i64::from(TC_ACT_REDIRECT)).then_some(())
}
