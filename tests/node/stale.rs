//! A73, A74 for sockets that the hooks connected: which are ended, and which never.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use sluice::{
    dataplane::{
        Maps,
        aya::{
            load::{Options, load},
            maps::{KernelMaps, hash},
            pin::Pins,
            stale::StaleSockets,
        },
    },
    model::op::{MapOp, Op},
};
use sluice_common::{
    backend::{Backend, flags::SERVING},
    net::{Addr, Port, V4, V6, proto},
    socket::{REVERSE, SocketKey, SocketPeer},
};

use crate::sandbox::{Sandbox, ip};

const GENERATION: u32 = 4;

fn cookie(socket: &UdpSocket) -> [u32; 2] {
    let mut cookie = 0_u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option's value is eight bytes, and `cookie` and `len` say and hold just that.
    let result = unsafe {
        let value = (&raw mut cookie).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_COOKIE, value, &raw mut len)
    };
    assert_eq!(result, 0);
    [cookie as u32, (cookie >> 32) as u32]
}

/// A socket that is connected to `peer`.
fn connected(peer: &str) -> UdpSocket {
    let peer: SocketAddr = peer.parse().unwrap();
    let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(peer).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Notes what the connect hook would: that it connected this socket to a backend.
fn note(pins: &Pins, socket: &UdpSocket, backend: u32) {
    let peer = socket.peer_addr().unwrap();
    let port = Port::new(peer.port());
    let cookie = cookie(socket);
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => {
            let addr = Addr::<V4>::new(address.octets());
            let key = SocketKey { cookie, addr, port, proto: proto::UDP, direction: REVERSE };
            let mut map = hash(pins, "SOCKETS_V4", false).unwrap();
            map.insert(key, value(addr, port, backend), 0).unwrap();
        }
        IpAddr::V6(address) => {
            let addr = Addr::<V6>::new(address.octets());
            let key = SocketKey { cookie, addr, port, proto: proto::UDP, direction: REVERSE };
            let mut map = hash(pins, "SOCKETS_V6", false).unwrap();
            map.insert(key, value(addr, port, backend), 0).unwrap();
        }
    }
}

fn value<const N: usize>(addr: Addr<N>, port: Port, backend: u32) -> SocketPeer<N> {
    SocketPeer { addr, port, pad: [0; 2], service: 1, backend, generation: GENERATION }
}

fn backend<const N: usize>(flags: u8, generation: u32) -> Backend<N> {
    let addr = Addr::UNSPECIFIED;
    Backend { addr, port: Port::new(53), proto: proto::UDP, flags, service: 1, generation }
}

/// What the socket's owner is told next.
fn told(socket: &UdpSocket) -> Option<ErrorKind> {
    socket.recv(&mut [0; 16]).err().map(|e| e.kind())
}

#[test]
fn a73_sockets_to_a_backend_that_left_are_ended_and_no_others() {
    Sandbox::run(|sandbox, _| {
        ip("link set lo up");
        let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
        let pins = &programs.pins;
        let mut maps = KernelMaps::open(pins).expect("opening");
        for (id, flags, generation) in
            [(1, SERVING, GENERATION), (2, 0, GENERATION), (3, SERVING, GENERATION + 1)]
        {
            maps.write(&Op::V4(MapOp::Backend(id, backend(flags, generation)))).unwrap();
            maps.write(&Op::V6(MapOp::Backend(id, backend(flags, generation)))).unwrap();
        }
        let stale = StaleSockets::open(pins).expect("this kernel ends sockets");
        for peer in ["127.0.0.1:53", "[::1]:53", "[::ffff:127.0.0.1]:53"] {
            let (serves, left, reused) = (connected(peer), connected(peer), connected(peer));
            for (socket, backend) in [(&serves, 1), (&left, 2), (&reused, 3)] {
                note(pins, socket, backend);
            }
            // To the same address, but never translated.
            let strange = connected(peer);
            assert_eq!(stale.end().expect("looking"), 2, "{peer}");
            assert_eq!(told(&left), Some(ErrorKind::ConnectionAborted), "{peer}");
            assert_eq!(told(&reused), Some(ErrorKind::ConnectionAborted), "{peer}");
            for socket in [&serves, &strange] {
                assert_eq!(told(socket), Some(ErrorKind::WouldBlock), "{peer}");
                assert!(socket.peer_addr().is_ok(), "{peer}: still connected");
            }
            assert!(left.peer_addr().is_err(), "{peer}: no longer connected");
            left.connect(peer.parse::<SocketAddr>().unwrap()).expect("connecting again");
            assert_eq!(stale.end().expect("looking"), 1, "{peer}: its entry is still the old one");
        }
    });
}

#[test]
fn sockets_that_share_a_port_are_all_ended() {
    Sandbox::run(|sandbox, _| {
        ip("link set lo up");
        let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
        let stale = StaleSockets::open(&programs.pins).expect("this kernel ends sockets");
        let sockets: Vec<UdpSocket> = (0..4)
            .map(|_| {
                let shared = socket2::Socket::new(
                    socket2::Domain::IPV4,
                    socket2::Type::DGRAM,
                    Some(socket2::Protocol::UDP),
                )
                .unwrap();
                shared.set_reuse_port(true).unwrap();
                shared.bind(&"127.0.0.1:5000".parse::<SocketAddr>().unwrap().into()).unwrap();
                shared.connect(&"127.0.0.1:53".parse::<SocketAddr>().unwrap().into()).unwrap();
                shared.set_nonblocking(true).unwrap();
                let socket = UdpSocket::from(shared);
                note(&programs.pins, &socket, 9);
                socket
            })
            .collect();
        // The kernel finds a socket by its addresses, which these have in common.
        let ended: usize = (0..4).map(|_| stale.end().expect("looking")).sum();
        assert_eq!(ended, 4);
        for socket in &sockets {
            assert_eq!(told(socket), Some(ErrorKind::ConnectionAborted));
        }
    });
}
