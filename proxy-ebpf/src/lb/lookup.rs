//! From an address and port to a frontend.

use sluice_common::{
    frontend::{
        Frontend, FrontendKey,
        flags::{CLUSTER_IP, ENDPOINT},
    },
    iface::addr_flags::NODE_PORTS,
    net::{Addr, Port},
};

use crate::{
    family::{Family, Ip},
    settings,
};

/// The frontend of `addr:port/proto`: a service's own address first (A20, A21), then a NodePort
/// at one of this node's accepted addresses (A22–A24), then an endpoint's mark.
#[inline(always)]
pub fn frontend<const N: usize>(
    addr: &Addr<N>,
    port: Port,
    proto: u8,
    accepted: u32,
) -> Option<&'static Frontend>
where
    Ip<N>: Family<N>,
{
    let mut key = FrontendKey::new(*addr, port, proto);
    let exact = find(&key);
    if let Some(frontend) = exact
        && frontend.flags & ENDPOINT == 0
    {
        return exact;
    }
    // What is found twice is looked up twice: were the two pointers kept, the compiler would merge
    // them with `or`, which the verifier refuses.
    match node_port(addr, port, proto, accepted).is_some() {
        true => key.addr = Addr::UNSPECIFIED,
        false if exact.is_none() => return None,
        false => {}
    }
    find(&key)
}

/// The NodePort `port/proto`, if `addr` is an address of this node that serves NodePorts (A23) and
/// has no flags but `accepted`: packets never match one on loopback (A22), only sockets do (A101).
#[inline(always)]
fn node_port<const N: usize>(
    addr: &Addr<N>,
    port: Port,
    proto: u8,
    accepted: u32,
) -> Option<&'static Frontend>
where
    Ip<N>: Family<N>,
{
    let flags = if in_node_ports(port) { node_addr(addr)? } else { return None };
    if flags & NODE_PORTS == 0 || flags & !accepted != 0 {
        return None;
    }
    find(&FrontendKey::new(Addr::UNSPECIFIED, port, proto))
}

/// Whether `addr` is the cluster IP of some service.
#[inline(always)]
pub fn is_cluster_ip<const N: usize>(addr: &Addr<N>) -> bool
where
    Ip<N>: Family<N>,
{
    find(&FrontendKey::new(*addr, Port::new(0), 0)).is_some_and(|mark| mark.flags & CLUSTER_IP != 0)
}

/// Whether `port` may be a NodePort: saves most packets two lookups.
#[inline(always)]
pub fn in_node_ports(port: Port) -> bool {
    let Some(settings) = settings::get() else { return false };
    (settings.node_port_min..=settings.node_port_max).contains(&port.number())
}

/// Whether `addr:port/proto` could be taken for a NodePort of this node.
#[inline(always)]
pub fn is_node_port<const N: usize>(addr: &Addr<N>, port: Port, proto: u8) -> bool
where
    Ip<N>: Family<N>,
{
    node_port(addr, port, proto, NODE_PORTS).is_some()
}

/// Whether `addr` is one of the node's own addresses.
#[inline(always)]
pub fn is_local<const N: usize>(addr: &Addr<N>) -> bool
where
    Ip<N>: Family<N>,
{
    node_addr(addr).is_some()
}

/// The flags of one of the node's own addresses.
#[inline(always)]
fn node_addr<const N: usize>(addr: &Addr<N>) -> Option<u32>
where
    Ip<N>: Family<N>,
{
    // SAFETY: the controller replaces elements whole; a `u32` is read in one piece.
    unsafe { <Ip<N> as Family<N>>::node_addrs().get(addr) }.copied()
}

/// The element of FRONTENDS.
#[inline(always)]
pub(super) fn find<const N: usize>(key: &FrontendKey<N>) -> Option<&'static Frontend>
where
    Ip<N>: Family<N>,
{
    // SAFETY: the controller replaces elements whole, and RCU keeps an old one readable while
    // the program runs.
    unsafe { <Ip<N> as Family<N>>::frontends().get(key) }
}
