//! One service in the kernel's maps, with endpoints in this namespace.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener},
};

use aya::{
    Pod,
    maps::lpm_trie::{Key, LpmTrie},
};
use sluice::dataplane::aya::{
    load::Programs,
    maps::{array, hash, open},
    read::reasons,
};
use sluice_common::{
    affinity::{Affinity, AffinityKey},
    backend::{Backend, flags as backend_flags},
    frontend::{Frontend, FrontendKey, Range, flags},
    iface::addr_flags::NODE_PORTS,
    net::{Addr, Port, V4, proto},
    prefix::{LISTED, SCOPE_BITS, SERVICE_CIDRS},
    reason::Reason,
};
use socket2::{Domain, Socket, Type};

use crate::sandbox::ip;

/// Endpoints of the service.
const BACKENDS: u16 = 8;
/// The port of the first of them.
const FIRST_PORT: u16 = 9000;
/// Id of the service.
pub(crate) const SERVICE: u32 = 1;

/// The addresses of one family.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    family: &'static str,
    pub(crate) node: &'static str,
    /// A cluster IP, and an address that no service has.
    pub(crate) vip: &'static str,
    pub(crate) nowhere: &'static str,
}

pub(crate) const ENDS_V4: Ends =
    Ends { family: "V4", node: "10.0.0.1", vip: "10.96.0.10", nowhere: "10.96.0.99" };
pub(crate) const ENDS_V6: Ends =
    Ends { family: "V6", node: "fd00::1", vip: "fd00:10:96::10", nowhere: "fd00:10:96::99" };

/// A node with the hooks on this process, and one service in the maps. `N` is the bytes of an
/// address, `K` those of what a prefix matches.
pub(crate) struct Node<'a, const N: usize, const K: usize> {
    pub(crate) programs: &'a Programs,
    pub(crate) ends: Ends,
    listeners: Vec<TcpListener>,
}

impl<'a, const N: usize, const K: usize> Node<'a, N, K>
where
    FrontendKey<N>: Pod,
    Backend<N>: Pod,
    AffinityKey<N>: Pod + Eq,
    Addr<N>: Pod,
{
    pub(crate) fn new(programs: &'a Programs, ends: Ends) -> Self {
        // Duplicates are looked for by a worker of the kernel's, later.
        let flag = if N == V4 { "" } else { " nodad" };
        ip(&format!("addr add {} dev lo{flag}", ends.node));
        let mut node = Self { programs, ends, listeners: vec![] };
        let mut addrs = hash::<Addr<N>, u32>(&programs.pins, &node.map("NODE_ADDRS"), false);
        addrs.as_mut().unwrap().insert(addr(ends.node), NODE_PORTS, 0).unwrap();
        for id in 1..=BACKENDS {
            let port = FIRST_PORT + id;
            let listener = TcpListener::bind(at(ends.node, port)).expect("listening");
            listener.set_nonblocking(true).unwrap();
            node.listeners.push(listener);
            let backend = Backend::<N> {
                addr: addr(ends.node),
                port: Port::new(port),
                proto: proto::TCP,
                flags: backend_flags::SERVING | backend_flags::CLUSTER,
                service: SERVICE,
                generation: 1,
            };
            let (backends, slots) = (node.map("BACKENDS"), node.map("SLOTS"));
            array(&programs.pins, &backends, false).unwrap().set(id.into(), backend, 0).unwrap();
            array(&programs.pins, &slots, false).unwrap().set(id.into(), u32::from(id), 0).unwrap();
        }
        let mark = Frontend { flags: flags::CLUSTER_IP, ..Frontend::default() };
        node.frontend(0, 0, mark);
        node.prefix(SERVICE_CIDRS, ends.vip, 16);
        node
    }

    pub(crate) fn map(&self, name: &str) -> String {
        format!("{name}_{}", self.ends.family)
    }

    fn frontend(&self, port: u16, proto: u8, frontend: Frontend) {
        let key = FrontendKey::<N>::new(addr(self.ends.vip), Port::new(port), proto);
        let mut map = hash(&self.programs.pins, &self.map("FRONTENDS"), false).unwrap();
        map.insert(key, frontend, 0).unwrap();
    }

    /// The service at `vip:port`, with these flags and session affinity.
    pub(crate) fn service(&self, port: u16, flags: u32) {
        let cluster = Range { start: 1, len: BACKENDS.into() };
        let frontend = Frontend { service: SERVICE, flags, cluster, ..Frontend::default() };
        self.frontend(port, proto::TCP, Frontend { affinity_timeout: 100, ..frontend });
    }

    pub(crate) fn prefix(&self, scope: u32, network: &str, length: u32) {
        let map = open(&self.programs.pins, &self.map("PREFIXES"), false).unwrap();
        let mut trie = LpmTrie::<_, [u8; K], u32>::try_from(map).unwrap();
        let mut data = [0; K];
        data[..4].copy_from_slice(&scope.to_ne_bytes());
        data[4..].copy_from_slice(&addr::<N>(network).bytes);
        trie.insert(&Key::new(SCOPE_BITS + length, data), LISTED, 0).unwrap();
    }

    /// Which backend a connection to `vip:port` reaches, or the error that it gets.
    pub(crate) fn dial(&self, from: Option<&str>, port: u16) -> Result<usize, i32> {
        let socket = socket::<N>(from);
        let result = socket.connect(&at(self.ends.vip, port).into());
        result.map_err(|e| e.raw_os_error().expect("the system's error"))?;
        let accepted = |listener: &TcpListener| match listener.accept() {
            Ok(_) => true,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::WouldBlock);
                false
            }
        };
        Ok(self.listeners.iter().position(accepted).expect("one of the backends"))
    }

    /// Clients in AFFINITIES.
    pub(crate) fn clients(&self) -> Vec<Addr<N>> {
        let name = self.map("AFFINITIES");
        let map = hash::<AffinityKey<N>, Affinity>(&self.programs.pins, &name, true).unwrap();
        map.keys().map(|key| key.expect("a key").client).collect()
    }

    pub(crate) fn count(&self, reason: Reason) -> u64 {
        let all = reasons(&self.programs.pins).expect("counters");
        all.iter().find(|(known, _)| *known == reason).expect("every reason").1
    }
}

pub(crate) fn socket<const N: usize>(from: Option<&str>) -> Socket {
    let domain = if N == V4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
    if let Some(from) = from {
        socket.bind(&at(from, 0).into()).expect("binding");
    }
    socket
}

pub(crate) fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

pub(crate) fn addr<const N: usize>(text: &str) -> Addr<N> {
    match text.parse().expect("an address") {
        IpAddr::V4(a) => Addr::new(a.octets()[..].try_into().expect("the family's length")),
        IpAddr::V6(a) => Addr::new(a.octets()[..].try_into().expect("the family's length")),
    }
}
