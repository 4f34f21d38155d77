//! Connections in conntrack, written as if netfilter had translated them itself.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use super::{
    attributes::Attributes,
    netlink::{self, Message},
};

/// A connection that was translated, and is to go on being translated by netfilter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// IPPROTO_*.
    pub proto: u8,
    /// Who began it.
    pub client: SocketAddr,
    /// The service, as the client sees it.
    pub service: SocketAddr,
    /// The client, as the backend sees it.
    pub source: SocketAddr,
    /// Where it goes.
    pub backend: SocketAddr,
    /// Seconds that it may be idle.
    pub timeout: u32,
}

const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8;
const NEW: u16 = SUBSYSTEM;
const DELETE: u16 = SUBSYSTEM | 2;
const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;

/// Attributes (`CTA_*`), of linux/netfilter/nfnetlink_conntrack.h.
mod attribute {
    pub(super) const ORIGINAL: u16 = 1;
    pub(super) const REPLY: u16 = 2;
    pub(super) const STATUS: u16 = 3;
    pub(super) const PROTOINFO: u16 = 4;
    pub(super) const NAT_SOURCE: u16 = 6;
    pub(super) const TIMEOUT: u16 = 7;
    pub(super) const NAT_DESTINATION: u16 = 13;
    /// Of a tuple.
    pub(super) const ADDRESSES: u16 = 1;
    pub(super) const PORTS: u16 = 2;
    /// Of PROTOINFO.
    pub(super) const TCP: u16 = 1;
}

/// IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED.
const STATUS: u32 = 1 << 1 | 1 << 2 | 1 << 3;
/// TCP_CONNTRACK_ESTABLISHED.
const ESTABLISHED: u8 = 3;
/// IP_CT_TCP_FLAG_BE_LIBERAL, twice: the flag, and the mask of what is set. The windows are not known.
const LIBERAL: [u8; 2] = [1 << 3; 2];

/// Lets conntrack forget the connection as it saw it while another translated: its answers would
/// look like those of the translated one. That there is none is fine.
pub fn forget(connection: &Connection) -> io::Result<()> {
    let Connection { proto, client, source, backend, .. } = *connection;
    // Another port for the client is set where the packet enters, another address where it leaves.
    let port = if source.ip() == client.ip() { source.port() } else { client.port() };
    let original = tuple(proto, SocketAddr::new(client.ip(), port), backend);
    let attributes = Attributes::new().nested(attribute::ORIGINAL, &original);
    match netlink::change(&message(DELETE, 0, connection, attributes)) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Writes the connection; says whether it did, or one with its addresses was there.
pub fn insert(connection: &Connection) -> io::Result<bool> {
    let Connection { proto, client, service, source, backend, timeout } = *connection;
    let mut attributes = Attributes::new()
        .nested(attribute::ORIGINAL, &tuple(proto, client, service))
        .nested(attribute::REPLY, &tuple(proto, service, client))
        .u32(attribute::STATUS, STATUS)
        .u32(attribute::TIMEOUT, timeout)
        .nested(attribute::NAT_DESTINATION, &range(backend));
    if source != client {
        attributes = attributes.nested(attribute::NAT_SOURCE, &range(source));
    }
    if i32::from(proto) == libc::IPPROTO_TCP {
        let tcp = Attributes::new().u8(1, ESTABLISHED).bytes(4, &LIBERAL).bytes(5, &LIBERAL);
        let info = Attributes::new().nested(attribute::TCP, &tcp);
        attributes = attributes.nested(attribute::PROTOINFO, &info);
    }
    match netlink::change(&message(NEW, CREATE, connection, attributes)) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(e) => Err(e),
    }
}

fn message(kind: u16, flags: u16, connection: &Connection, attributes: Attributes) -> Message {
    let family = if connection.client.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
    Message { kind, flags, family, attributes }
}

fn tuple(proto: u8, from: SocketAddr, to: SocketAddr) -> Attributes {
    let addresses = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Attributes::new().bytes(1, &from.octets()).bytes(2, &to.octets())
        }
        (from, to) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            Attributes::new().bytes(3, &octets(from)).bytes(4, &octets(to))
        }
    };
    let ports = Attributes::new().u8(1, proto).u16(2, from.port()).u16(3, to.port());
    Attributes::new().nested(attribute::ADDRESSES, &addresses).nested(attribute::PORTS, &ports)
}

/// A range of one address and one port.
fn range(to: SocketAddr) -> Attributes {
    let ports = Attributes::new().u16(1, to.port()).u16(2, to.port());
    let range = Attributes::new();
    let range = match to.ip() {
        IpAddr::V4(ip) => range.bytes(1, &ip.octets()).bytes(2, &ip.octets()),
        IpAddr::V6(ip) => range.bytes(4, &ip.octets()).bytes(5, &ip.octets()),
    };
    range.nested(3, &ports)
}
