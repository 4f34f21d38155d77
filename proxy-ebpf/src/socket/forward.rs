//! Connecting and sending: the service's address becomes a backend's.

use aya_ebpf::bindings::BPF_ANY;
use sluice_common::{
    frontend::flags::{ENDPOINT, NODE_ALLOWED, SOURCE_RANGES},
    hash,
    iface::addr_flags::{LOOPBACK, NODE_PORTS},
    net::{Addr, Port, proto},
    reason::Reason,
    socket::{FORWARD, REVERSE, SocketPeer},
};

use super::address::Call;
use crate::{
    family::{Family, Ip},
    lb::{cluster_ip, lookup, select},
};

/// An IPv4 socket connects.
#[inline(always)]
pub fn connect4(call: &Call) -> Option<Reason> {
    let backend = choose(call, call.v4(), false)?;
    finish(call, backend, Call::set_v4)
}

/// An IPv6 socket connects, perhaps to a mapped IPv4 address.
#[inline(always)]
pub fn connect6(call: &Call) -> Option<Reason> {
    if let Some(addr) = call.mapped() {
        return finish(call, choose(call, addr, false)?, Call::set_mapped);
    }
    finish(call, choose(call, call.v6(), false)?, Call::set_v6)
}

/// An IPv4 socket sends a datagram to an address.
#[inline(always)]
pub fn send4(call: &Call) -> Option<Reason> {
    let backend = choose(call, call.v4(), true)?;
    finish(call, backend, Call::set_v4)
}

/// An IPv6 socket sends a datagram to an address. A mapped one comes to [`send4`].
#[inline(always)]
pub fn send6(call: &Call) -> Option<Reason> {
    finish(call, choose(call, call.v6(), true)?, Call::set_v6)
}

/// Writes what was chosen into the call.
#[inline(always)]
fn finish<const N: usize>(
    call: &Call,
    chosen: Result<SocketPeer<N>, Reason>,
    set: impl Fn(&Call, &Addr<N>),
) -> Option<Reason> {
    match chosen {
        Ok(backend) => {
            set(call, &backend.addr);
            call.set_port(backend.port);
            Some(Reason::SocketForward)
        }
        Err(Reason::NoEndpoints) => Some(Reason::SocketNoEndpoints),
        Err(Reason::NoLocalEndpoint) => Some(Reason::SocketNoLocalEndpoint),
        Err(Reason::SourceRange) => Some(Reason::SocketSourceRange),
        Err(Reason::UnknownPort) => Some(Reason::SocketUnknownPort),
        Err(Reason::UnallocatedClusterIp) => Some(Reason::SocketUnallocatedClusterIp),
        Err(reason) => Some(reason),
    }
}

/// Chooses a backend, if `addr` and the call's port are a service's. With `sticky`, the socket's
/// datagrams to one service go to one backend for as long as it serves, as a flow's would.
#[inline(always)]
fn choose<const N: usize>(
    call: &Call,
    addr: Addr<N>,
    sticky: bool,
) -> Option<Result<SocketPeer<N>, Reason>>
where
    Ip<N>: Family<N>,
{
    let (port, proto) = (call.port(), call.proto());
    if !matches!(proto, proto::TCP | proto::UDP) || !call.is_served() {
        return None;
    }
    // A pod's loopback is its own.
    let accepted = if call.is_nodes() { NODE_PORTS | LOOPBACK } else { NODE_PORTS };
    let Some(frontend) = lookup::frontend(&addr, port, proto, accepted) else {
        // Connecting a UDP socket sends nothing, and is how resolvers ask for the source address of
        // a name's addresses, whatever ports are there. Egress refuses what is then sent.
        let sends = sticky || proto == proto::TCP;
        return if sends && cluster_ip::is_near(&addr) {
            cluster_ip::refusal(&addr).map(Err)
        } else {
            None
        };
    };
    if frontend.flags & ENDPOINT != 0 {
        return None;
    }
    if sticky && let Some(backend) = earlier(call, addr, port, frontend.service) {
        return Some(Ok(backend));
    }
    let mut client = call.bound();
    let admitted = match client.is_unspecified() {
        false => select::admits(frontend, &client),
        true if frontend.flags & SOURCE_RANGES == 0 => true,
        // It will get the node's address, or a pod's, which only its packets show.
        true if call.is_nodes() => frontend.flags & NODE_ALLOWED != 0,
        true => return None,
    };
    if !admitted {
        return Some(Err(Reason::SourceRange)); // A53
    }
    if client.is_unspecified() {
        client = call.namespace();
    }
    let point = || hash::of_socket(call.cookie());
    let flow = match select::backend(frontend, &client, select::Source::Node, point) {
        Ok(flow) => flow,
        Err(reason) => return Some(Err(reason)),
    };
    let backend = SocketPeer {
        addr: flow.addr,
        port: flow.port,
        pad: [0; 2],
        service: flow.service,
        backend: flow.backend,
        generation: flow.generation,
    };
    remember(call, addr, port, &backend, sticky);
    Some(Ok(backend))
}

/// The backend that the socket's datagrams to this service went to, if it still serves.
#[inline(always)]
fn earlier<const N: usize>(
    call: &Call,
    addr: Addr<N>,
    port: Port,
    service: u32,
) -> Option<SocketPeer<N>>
where
    Ip<N>: Family<N>,
{
    let sockets = <Ip<N> as Family<N>>::sockets();
    // SAFETY: elements are only written whole.
    let backend = unsafe { sockets.get(&call.key(addr, port, FORWARD)) }?;
    let serves = select::still::<N>(backend.backend, backend.generation, select::SERVING);
    // Answers are named by the other entry: without it, both are written again.
    let reverse = call.key(backend.addr, backend.port, REVERSE);
    // SAFETY: as above.
    let named = unsafe { sockets.get(&reverse) }
        .is_some_and(|frontend| frontend.addr == addr && frontend.port == port);
    (serves && named && backend.service == service).then_some(*backend)
}

/// Remembers both names of the peer.
#[inline(always)]
fn remember<const N: usize>(
    call: &Call,
    addr: Addr<N>,
    port: Port,
    backend: &SocketPeer<N>,
    sticky: bool,
) where
    Ip<N>: Family<N>,
{
    let sockets = <Ip<N> as Family<N>>::sockets();
    // Without its entry the socket still works; it only learns the backend's name for its peer.
    let reverse = call.key(backend.addr, backend.port, REVERSE);
    let frontend = SocketPeer { addr, port, ..*backend };
    let _ = sockets.insert(&reverse, &frontend, u64::from(BPF_ANY));
    if sticky {
        let _ = sockets.insert(&call.key(addr, port, FORWARD), backend, u64::from(BPF_ANY));
    }
}
