//! Between the sources' addresses and the maps': one family at a time (A11).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_common::{
    frontend::FrontendKey,
    net::{Addr, Port, proto},
};

use super::spec::Protocol;

/// The address, if it is of the family with `N` bytes.
pub(crate) fn addr<const N: usize>(ip: IpAddr) -> Option<Addr<N>> {
    match ip {
        IpAddr::V4(v4) => <[u8; N]>::try_from(v4.octets().as_slice()),
        IpAddr::V6(v6) => <[u8; N]>::try_from(v6.octets().as_slice()),
    }
    .ok()
    .map(Addr::new)
}

/// The address as the standard library has it.
pub(crate) fn ip<const N: usize>(addr: &Addr<N>) -> IpAddr {
    let mut v6 = [0; 16];
    v6[..N].copy_from_slice(&addr.bytes);
    match <[u8; 4]>::try_from(addr.bytes.as_slice()) {
        Ok(v4) => Ipv4Addr::from(v4).into(),
        Err(_) => Ipv6Addr::from(v6).into(),
    }
}

/// Bits of an address.
pub(super) const fn bits<const N: usize>() -> u32 {
    if N == 4 { Ipv4Addr::BITS } else { Ipv6Addr::BITS }
}

/// The IP protocol number.
pub(crate) const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => proto::TCP,
        Protocol::Udp => proto::UDP,
        Protocol::Sctp => proto::SCTP,
    }
}

/// The key of `addr:port/protocol`.
pub(super) const fn key<const N: usize>(addr: Addr<N>, port: u16, proto: u8) -> FrontendKey<N> {
    FrontendKey::new(addr, Port::new(port), proto)
}
