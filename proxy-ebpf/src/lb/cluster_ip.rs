//! Cluster IPs and ServiceCIDRs where no frontend serves (A51, A52, A102).

use sluice_common::{net::Addr, prefix::SERVICE_CIDRS, reason::Reason};

use super::{lookup, prefixes};
use crate::{
    family::{Family, Ip},
    settings,
};

/// Whether `addr` may be a cluster IP and what no frontend serves there is refused. All that a
/// packet to another address pays for.
#[inline(always)]
pub fn is_near<const N: usize>(addr: &Addr<N>) -> bool
where
    Ip<N>: Family<N>,
{
    let Some(settings) = settings::get() else { return false };
    settings.flags & <Ip<N> as Family<N>>::CLUSTER_IPS != 0
        && <Ip<N> as Family<N>>::services(settings).contains(addr)
}

/// Why a packet that no frontend serves may not go to `addr`; `None`: it may.
///
/// nftables decides this where packets are forwarded or sent, so an address that is bound on this
/// node is not concerned, be it a cluster IP (C44).
#[inline(never)]
pub fn refusal<const N: usize>(addr: &Addr<N>) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    if lookup::is_local(addr) {
        return None;
    }
    if lookup::is_cluster_ip(addr) {
        return Some(Reason::UnknownPort); // A51
    }
    prefixes::covers(SERVICE_CIDRS, addr).then_some(Reason::UnallocatedClusterIp) // A52
}
