//! Receiving and asking: the backend's address becomes the service's again.

use sluice_common::{
    net::Addr,
    socket::{REVERSE, SocketPeer},
};

use super::address::Call;
use crate::{
    family::{Family, Ip},
    verdict::ALLOW,
};

/// An IPv4 socket is told a peer's name.
#[inline(always)]
pub fn name4(call: &Call) -> i32 {
    restore(call, call.v4(), Call::set_v4)
}

/// An IPv6 socket is told a peer's name, perhaps a mapped IPv4 address.
#[inline(always)]
pub fn name6(call: &Call) -> i32 {
    match call.mapped() {
        Some(addr) => restore(call, addr, Call::set_mapped),
        None => restore(call, call.v6(), Call::set_v6),
    }
}

/// Puts the service's name in the place of its backend's.
#[inline(always)]
fn restore<const N: usize>(call: &Call, addr: Addr<N>, set: impl Fn(&Call, &Addr<N>)) -> i32
where
    Ip<N>: Family<N>,
{
    let key = call.key(addr, call.port(), REVERSE);
    // SAFETY: elements are only written whole.
    let known: Option<&SocketPeer<N>> = unsafe { <Ip<N> as Family<N>>::sockets().get(&key) };
    if let Some(frontend) = known {
        set(call, &frontend.addr);
        call.set_port(frontend.port);
    }
    ALLOW
}
