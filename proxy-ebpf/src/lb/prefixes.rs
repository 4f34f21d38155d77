//! Sets of address prefixes: ServiceCIDRs and loadBalancerSourceRanges.

use sluice_common::{
    net::Addr,
    prefix::{PrefixKey, SCOPE_BITS},
};

use crate::family::{Family, Ip};

/// Whether a prefix of the set `scope` covers `addr`.
///
/// Not inlined: the key would stand on the stack below everything that creates a flow.
#[inline(never)]
pub fn covers<const N: usize>(scope: u32, addr: &Addr<N>) -> bool
where
    Ip<N>: Family<N>,
{
    let key = PrefixKey { bits: SCOPE_BITS + 8 * N as u32, scope, addr: *addr };
    <Ip<N> as Family<N>>::prefixes().covers(&key)
}
