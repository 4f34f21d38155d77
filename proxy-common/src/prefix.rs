//! PREFIXES: sets of address prefixes, by longest-prefix match.

use crate::{
    abi,
    net::{Addr, V4, V6},
};

/// A prefix in one of the sets.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixKey<const N: usize> {
    /// Bits that count: [`SCOPE_BITS`], and the length of the prefix. (What the kernel calls
    /// `bpf_lpm_trie_key`'s `prefixlen`.)
    pub bits: u32,
    /// Whose set: [`SERVICE_CIDRS`], or the service port whose loadBalancerSourceRanges these are
    /// (A53).
    pub scope: u32,
    /// The network's address; bits past its length are zero.
    pub addr: Addr<N>,
}

/// Bits of [`PrefixKey::scope`], all of which always count.
pub const SCOPE_BITS: u32 = 32;

/// [`PrefixKey::scope`] of the cluster's ServiceCIDRs (A52). No service port has this id.
pub const SERVICE_CIDRS: u32 = 0;

/// The value of every element: being there is all it says.
pub const LISTED: u32 = 1;

abi! {
    PrefixKey<V4> = 12,
    PrefixKey<V6> = 24,
}
