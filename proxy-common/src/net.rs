//! Addresses, ports and protocols as packets carry them: network byte order.

use crate::abi;

/// Bytes of an IPv4 address.
pub const V4: usize = 4;
/// Bytes of an IPv6 address.
pub const V6: usize = 16;

/// An IPv4 (`N` = 4) or IPv6 (`N` = 16) address, in network byte order.
///
/// Aligned to four, so that the kernel programs copy and compare it by words.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, Eq, Ord, PartialOrd, Hash)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "equality, too, is that of all bytes")]
pub struct Addr<const N: usize> {
    /// The address as it stands in a packet.
    pub bytes: [u8; N],
}

impl<const N: usize> Addr<N> {
    /// `0.0.0.0` or `::`; in a frontend's key, "any address of this node" (NodePorts).
    pub const UNSPECIFIED: Self = Self { bytes: [0; N] };

    /// The address with these bytes, in network byte order.
    #[inline(always)]
    pub const fn new(bytes: [u8; N]) -> Self {
        Self { bytes }
    }

    /// The `i`th of the `N / 4` words, as it stands in memory.
    #[inline(always)]
    pub const fn word(&self, i: usize) -> u32 {
        let b = &self.bytes;
        u32::from_ne_bytes([b[4 * i], b[4 * i + 1], b[4 * i + 2], b[4 * i + 3]])
    }

    /// Whether this is `0.0.0.0` or `::`.
    #[inline(always)]
    pub fn is_unspecified(&self) -> bool {
        *self == Self::UNSPECIFIED
    }
}

// By words: a derived comparison becomes a call of `bcmp`, which BPF does not have.
impl<const N: usize> PartialEq for Addr<N> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let mut difference = 0;
        let mut i = 0;
        while i < N / 4 {
            difference |= self.word(i) ^ other.word(i);
            i += 1;
        }
        difference == 0
    }
}

/// A transport port, in network byte order.
#[repr(C, align(2))]
#[derive(Clone, Copy, Debug, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "equality, too, is that of all bytes")]
pub struct Port {
    /// The port as it stands in a packet.
    pub bytes: [u8; 2],
}

impl Port {
    /// The port with this number.
    #[inline(always)]
    pub const fn new(number: u16) -> Self {
        Self { bytes: number.to_be_bytes() }
    }

    /// The port's number.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        u16::from_be_bytes(self.bytes)
    }

    /// The port as it stands in memory, for checksum arithmetic.
    #[inline(always)]
    pub const fn raw(self) -> u16 {
        u16::from_ne_bytes(self.bytes)
    }
}

impl PartialEq for Port {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.raw() == other.raw()
    }
}

/// An address prefix: the first `len` bits of `addr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix<const N: usize> {
    /// The network's address; bits past `len` are zero.
    pub addr: Addr<N>,
    /// The network's mask, in network byte order.
    pub mask: Addr<N>,
}

impl<const N: usize> Prefix<N> {
    /// The prefix that holds every address.
    pub const ANY: Self = Self { addr: Addr::UNSPECIFIED, mask: Addr::UNSPECIFIED };

    /// Whether `addr` lies in the prefix.
    #[inline(always)]
    pub fn contains(&self, addr: &Addr<N>) -> bool {
        let mut difference = 0;
        let mut i = 0;
        while i < N / 4 {
            difference |= (addr.word(i) & self.mask.word(i)) ^ self.addr.word(i);
            i += 1;
        }
        difference == 0
    }
}

/// IP protocol numbers of the transports that Services know (A29).
pub mod proto {
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
}

abi! {
    Addr<V4> = 4,
    Addr<V6> = 16,
    Port = 2,
    Prefix<V4> = 8,
    Prefix<V6> = 32,
}
