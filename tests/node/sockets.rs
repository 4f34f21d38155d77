//! The socket hooks on real sockets: session affinity, source ranges, and cluster IPs that no
//! frontend serves.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

use aya::{
    Pod,
    maps::lpm_trie::{Key, LpmTrie},
};
use libc::{ECONNREFUSED, EHOSTUNREACH};
use sluice::dataplane::aya::{
    cgroup,
    load::{Options, Programs, load},
    maps::{array, hash, open},
    probe::netns_cookie,
    read::reasons,
};
use sluice_common::{
    affinity::{Affinity, AffinityKey},
    backend::{Backend, flags as backend_flags},
    frontend::{Frontend, FrontendKey, Range, flags},
    iface::addr_flags::NODE_PORTS,
    net::{Addr, Port, V4, V6, proto},
    prefix::{LISTED, SCOPE_BITS, SERVICE_CIDRS},
    reason::Reason,
    settings::{
        Settings,
        flags::{CLUSTER_IPS_V4, CLUSTER_IPS_V6},
    },
};
use socket2::{Domain, Socket, Type};

use crate::sandbox::{Sandbox, ip};

/// Endpoints of the service.
const BACKENDS: u16 = 8;
/// The port of the first of them.
const FIRST_PORT: u16 = 9000;
/// Id of the service.
const SERVICE: u32 = 1;

/// The addresses of one family.
#[derive(Clone, Copy)]
struct Ends {
    family: &'static str,
    node: &'static str,
    /// A cluster IP, and an address that no service has.
    vip: &'static str,
    nowhere: &'static str,
}

const ENDS_V4: Ends =
    Ends { family: "V4", node: "10.0.0.1", vip: "10.96.0.10", nowhere: "10.96.0.99" };
const ENDS_V6: Ends =
    Ends { family: "V6", node: "fd00::1", vip: "fd00:10:96::10", nowhere: "fd00:10:96::99" };

/// A node with the hooks on this process, and one service in the maps. `N` is the bytes of an
/// address, `K` those of what a prefix matches.
struct Node<'a, const N: usize, const K: usize> {
    programs: &'a Programs,
    ends: Ends,
    listeners: Vec<TcpListener>,
}

impl<'a, const N: usize, const K: usize> Node<'a, N, K>
where
    FrontendKey<N>: Pod,
    Backend<N>: Pod,
    AffinityKey<N>: Pod + Eq,
    Addr<N>: Pod,
{
    fn new(programs: &'a Programs, ends: Ends) -> Self {
        ip(&format!("addr add {} dev lo", ends.node));
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

    fn map(&self, name: &str) -> String {
        format!("{name}_{}", self.ends.family)
    }

    fn frontend(&self, port: u16, proto: u8, frontend: Frontend) {
        let key = FrontendKey::<N>::new(addr(self.ends.vip), Port::new(port), proto);
        let mut map = hash(&self.programs.pins, &self.map("FRONTENDS"), false).unwrap();
        map.insert(key, frontend, 0).unwrap();
    }

    /// The service at `vip:port`, with these flags and session affinity.
    fn service(&self, port: u16, flags: u32) {
        let cluster = Range { start: 1, len: BACKENDS.into() };
        let frontend = Frontend { service: SERVICE, flags, cluster, ..Frontend::default() };
        self.frontend(port, proto::TCP, Frontend { affinity_timeout: 100, ..frontend });
    }

    fn prefix(&self, scope: u32, network: &str, length: u32) {
        let map = open(&self.programs.pins, &self.map("PREFIXES"), false).unwrap();
        let mut trie = LpmTrie::<_, [u8; K], u32>::try_from(map).unwrap();
        let mut data = [0; K];
        data[..4].copy_from_slice(&scope.to_ne_bytes());
        data[4..].copy_from_slice(&addr::<N>(network).bytes);
        trie.insert(&Key::new(SCOPE_BITS + length, data), LISTED, 0).unwrap();
    }

    /// Which backend a connection to `vip:port` reaches, or the error that it gets.
    fn dial(&self, from: Option<&str>, port: u16) -> Result<usize, i32> {
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
    fn clients(&self) -> Vec<Addr<N>> {
        let name = self.map("AFFINITIES");
        let map = hash::<AffinityKey<N>, Affinity>(&self.programs.pins, &name, true).unwrap();
        map.keys().map(|key| key.expect("a key").client).collect()
    }

    fn a70(&self) {
        self.service(80, 0);
        self.service(8000, flags::EXTERNAL);
        let home = self.dial(None, 80).expect("a backend");
        for _ in 0..10 {
            assert_eq!((self.dial(None, 80), self.dial(None, 8000)), (Ok(home), Ok(home)));
        }
        let cookie = (netns_cookie().expect("the cookie") as u32).to_be_bytes();
        let clients = self.clients();
        assert_eq!(clients.len(), 1);
        assert_eq!(clients[0].bytes[N - 4..], cookie);
        assert!(clients[0].bytes[..N - 4].iter().all(|byte| *byte == 0));
        // A bound socket is the client that its packets would be.
        let home = self.dial(Some(self.ends.node), 80).expect("a backend");
        for _ in 0..10 {
            assert_eq!(self.dial(Some(self.ends.node), 8000), Ok(home));
        }
        assert!(self.clients().contains(&addr(self.ends.node)));
        assert_eq!(self.clients().len(), 2);
    }

    fn a53(&self) {
        let bound = Some(self.ends.node);
        let before = self.count(Reason::SocketSourceRange);
        self.service(80, flags::EXTERNAL | flags::SOURCE_RANGES);
        assert_eq!(self.dial(None, 80), Err(EHOSTUNREACH));
        assert_eq!(self.dial(bound, 80), Err(EHOSTUNREACH));
        assert_eq!(self.count(Reason::SocketSourceRange), before + 2);
        self.service(80, flags::EXTERNAL | flags::SOURCE_RANGES | flags::NODE_ALLOWED);
        assert!(self.dial(None, 80).is_ok());
        assert_eq!(self.dial(bound, 80), Err(EHOSTUNREACH));
        self.prefix(SERVICE, self.ends.node, 8 * N as u32);
        assert!(self.dial(bound, 80).is_ok());
    }

    fn a51(&self) {
        let any = if N == V4 { "0.0.0.0" } else { "::" };
        let code = |error: std::io::Error| error.raw_os_error().expect("the system's error");
        let before = [Reason::SocketUnknownPort, Reason::SocketUnallocatedClusterIp]
            .map(|reason| self.count(reason));
        self.service(80, 0);
        assert!(self.dial(None, 80).is_ok());
        assert_eq!(self.dial(None, 81), Err(ECONNREFUSED));
        let nowhere = at(self.ends.nowhere, 80);
        let refused = socket::<N>(None).connect(&nowhere.into()).map_err(code);
        assert_eq!(refused, Err(EHOSTUNREACH));

        let udp = UdpSocket::bind(at(any, 0)).expect("binding");
        let unknown = at(self.ends.vip, 80);
        assert_eq!(udp.send_to(b"?", unknown).map_err(code), Err(ECONNREFUSED));
        assert_eq!(udp.send_to(b"?", nowhere).map_err(code), Err(EHOSTUNREACH));
        let after = [Reason::SocketUnknownPort, Reason::SocketUnallocatedClusterIp]
            .map(|reason| self.count(reason));
        assert_eq!(after, before.map(|count| count + 2));

        // As a resolver sorts addresses: nothing is sent.
        ip(&format!("route add local {} dev lo", self.ends.vip));
        udp.connect(unknown).expect("connecting sends nothing");
        // An address of the node's own is left to it (C44).
        let name = self.map("NODE_ADDRS");
        let mut addrs = hash::<Addr<N>, u32>(&self.programs.pins, &name, false).unwrap();
        addrs.insert(addr(self.ends.vip), NODE_PORTS, 0).unwrap();
        let _local = TcpListener::bind(at(any, 81)).expect("listening");
        socket::<N>(None).connect(&at(self.ends.vip, 81).into()).expect("the node's own socket");
        assert_eq!(self.count(Reason::SocketUnknownPort), after[0]);
    }

    fn count(&self, reason: Reason) -> u64 {
        let all = reasons(&self.programs.pins).expect("counters");
        all.iter().find(|(known, _)| *known == reason).expect("every reason").1
    }
}

fn socket<const N: usize>(from: Option<&str>) -> Socket {
    let domain = if N == V4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
    if let Some(from) = from {
        socket.bind(&at(from, 0).into()).expect("binding");
    }
    socket
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

fn addr<const N: usize>(text: &str) -> Addr<N> {
    match text.parse().expect("an address") {
        IpAddr::V4(a) => Addr::new(a.octets()[..].try_into().expect("the family's length")),
        IpAddr::V6(a) => Addr::new(a.octets()[..].try_into().expect("the family's length")),
    }
}

/// Runs a test with the hooks on this process, in a namespace with nothing but loopback.
fn on_a_node(test: impl Fn(&Programs) + Send + 'static) {
    Sandbox::run(move |sandbox, _| {
        ip("link set lo up");
        let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
        let mut map = array::<Settings>(&programs.pins, "SETTINGS", false).expect("SETTINGS");
        let empty = map.get(&0, 0).expect("SETTINGS");
        // Zeroed prefixes hold every address.
        let flags = CLUSTER_IPS_V4 | CLUSTER_IPS_V6;
        let netns_cookie = netns_cookie().expect("the cookie");
        map.set(0, Settings { netns_cookie, flags, ..empty }, 0).expect("SETTINGS");
        let _inside = sandbox.enter();
        cgroup::attach(&programs, &sandbox.cgroup).expect("attaching");
        test(&programs);
    });
}

#[test]
fn a70_a_namespace_or_an_address_stays_with_its_backend() {
    on_a_node(|programs| {
        Node::<V4, 8>::new(programs, ENDS_V4).a70();
        Node::<V6, 20>::new(programs, ENDS_V6).a70();
    });
}

#[test]
fn a53_source_ranges_hold_for_the_nodes_sockets() {
    on_a_node(|programs| {
        Node::<V4, 8>::new(programs, ENDS_V4).a53();
        Node::<V6, 20>::new(programs, ENDS_V6).a53();
    });
}

#[test]
fn a51_a52_sockets_are_refused_at_once() {
    on_a_node(|programs| {
        Node::<V4, 8>::new(programs, ENDS_V4).a51();
        Node::<V6, 20>::new(programs, ENDS_V6).a51();
    });
}
