//! Where transport checksums stand and how they change.
//!
//! `bpf_l4_csum_replace` is used rather than arithmetic of our own, because only it knows whether
//! the device still has to complete the checksum (CHECKSUM_PARTIAL: the field holds the
//! pseudo-header's sum alone) or has summed the packet already (CHECKSUM_COMPLETE).

use aya_ebpf::bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR};
use sluice_common::{
    net::{Addr, Port, V4, proto},
    settings::flags::CSUM_IPV6,
};

use super::cursor::Skb;
use crate::settings;

/// 6.16, ead7f9b8de65: an IPv6 address change leaves `skb->csum` alone.
const BPF_F_IPV6: u64 = 1 << 7;

/// Offset of the checksum in the transport header, and the flags its updates need. `None`:
/// the checksum covers neither addresses nor ports (SCTP's is a CRC of its own packet).
#[inline(always)]
pub fn field(proto: u8) -> Option<(usize, u64)> {
    match proto {
        proto::TCP => Some((16, 0)),
        // Zero means "no checksum" and stays zero (IPv4).
        proto::UDP => Some((6, BPF_F_MARK_MANGLED_0 as u64)),
        // ICMPv6, which has a pseudo-header as well.
        proto::ICMPV6 => Some((2, 0)),
        _ => None,
    }
}

/// The ones' complement sum that turns a checksum over `from` into one over `to`.
#[inline(always)]
pub fn address_difference<const N: usize>(from: &Addr<N>, to: &Addr<N>) -> u32 {
    let mut sum: u64 = 0;
    let mut i = 0;
    while i < N / 4 {
        sum += u64::from(!from.word(i)) + u64::from(to.word(i));
        i += 1;
    }
    fold(sum)
}

/// A checksum, as it stands in memory, after four of the bytes it covers have changed (RFC 1624,
/// equation 3).
#[inline(always)]
pub fn replace_word(checksum: u16, from: u32, to: u32) -> u16 {
    !fold_word(u64::from(!checksum) + u64::from(!from) + u64::from(to))
}

/// The sum of an address's words.
#[inline(always)]
pub fn sum<const N: usize>(addr: &Addr<N>) -> u64 {
    let mut sum: u64 = 0;
    let mut i = 0;
    while i < N / 4 {
        sum += u64::from(addr.word(i));
        i += 1;
    }
    sum
}

/// Folds a sum to 16 bits, as a checksum has them.
#[inline(always)]
pub fn fold_word(sum: u64) -> u16 {
    let sum = fold(sum);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Folds a sum of 32-bit words to 32 bits, which is still congruent modulo 0xffff.
#[inline(always)]
fn fold(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

/// Updates the checksum at `offset` for an address in the pseudo-header.
#[inline(always)]
pub fn replace_address<const N: usize>(
    skb: &Skb,
    offset: usize,
    from: &Addr<N>,
    to: &Addr<N>,
    flags: u64,
) -> Option<()> {
    let flags = flags | BPF_F_PSEUDO_HDR as u64;
    if N == V4 {
        return skb.fix_checksum(offset, from.word(0), to.word(0), flags | 4);
    }
    let ipv6 = if settings::get()?.flags & CSUM_IPV6 != 0 { BPF_F_IPV6 } else { 0 };
    skb.fix_checksum(offset, 0, address_difference(from, to), flags | ipv6)
}

/// Updates the checksum at `offset` for a port.
#[inline(always)]
pub fn replace_port(skb: &Skb, offset: usize, from: Port, to: Port, flags: u64) -> Option<()> {
    if from == to {
        return Some(());
    }
    skb.fix_checksum(offset, u32::from(from.raw()), u32::from(to.raw()), flags | 2)
}
