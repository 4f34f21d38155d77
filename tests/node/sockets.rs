//! The socket hooks on real sockets: session affinity, source ranges, and cluster IPs that no
//! frontend serves.

use std::{
    net::{TcpListener, UdpSocket},
    time::Duration,
};

use aya::Pod;
use libc::{ECONNREFUSED, EHOSTUNREACH, ENETUNREACH};
use sluice::{
    dataplane::aya::{
        attach::{Device, attach},
        cgroup,
        load::{Options, Programs, load},
        maps::{array, hash},
        probe::{features, netns_cookie},
    },
    node::IfacePlan,
};
use sluice_common::{
    affinity::AffinityKey,
    backend::Backend,
    frontend::{FrontendKey, flags},
    iface::addr_flags::NODE_PORTS,
    net::{Addr, V4, V6},
    reason::Reason,
    settings::{
        Settings,
        flags::{CLUSTER_IPS_V4, CLUSTER_IPS_V6, SOCKETS_EVERYWHERE},
    },
};

use crate::{
    sandbox::{Sandbox, ip},
    service::{ENDS_V4, ENDS_V6, Node, SERVICE, addr, at, socket},
    state,
};

impl<const N: usize, const K: usize> Node<'_, N, K>
where
    FrontendKey<N>: Pod,
    Backend<N>: Pod,
    AffinityKey<N>: Pod + Eq,
    Addr<N>: Pod,
{
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
        // A pod's address only its packets show: the hook leaves it to them.
        let mut map = array::<Settings>(&self.programs.pins, "SETTINGS", false).unwrap();
        let settings = map.get(&0, 0).unwrap();
        let flags = settings.flags | SOCKETS_EVERYWHERE;
        map.set(0, Settings { netns_cookie: 0, flags, ..settings }, 0).unwrap();
        assert_eq!(self.dial(None, 80), Err(ENETUNREACH));
        map.set(0, settings, 0).unwrap();
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

    /// A packet that takes this route to an unknown port is answered.
    fn a51_sent(&self, route: &str) {
        let before = self.count(Reason::UnknownPort);
        ip(&format!("route replace {} {route}", self.ends.vip));
        let udp = UdpSocket::bind(at(self.ends.node, 0)).expect("binding");
        udp.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        udp.connect(at(self.ends.vip, 81)).expect("connecting sends nothing");
        udp.send(b"?").expect("the first is on its way");
        let refused = udp.recv(&mut [0; 8]).map_err(|e| e.raw_os_error());
        assert_eq!(refused, Err(Some(ECONNREFUSED)), "{route}");
        assert_eq!(self.count(Reason::UnknownPort), before + 1);
        // A refusal that arrives while `connect` holds the socket is not heard, as with netfilter's
        // in its output hook; that of the second SYN is.
        assert_eq!(self.dial(Some(self.ends.node), 81), Err(ECONNREFUSED), "{route}");
    }
}

/// Loads the programs, in a namespace with nothing but loopback.
fn programs(sandbox: &Sandbox) -> Programs {
    ip("link set lo up");
    let programs = load(&Options::new(&sandbox.bpf)).expect("loading");
    let mut map = array::<Settings>(&programs.pins, "SETTINGS", false).expect("SETTINGS");
    let empty = map.get(&0, 0).expect("SETTINGS");
    // Zeroed prefixes hold every address.
    let flags = CLUSTER_IPS_V4 | CLUSTER_IPS_V6;
    let netns_cookie = netns_cookie().expect("the cookie");
    map.set(0, Settings { netns_cookie, flags, ..empty }, 0).expect("SETTINGS");
    programs
}

/// Runs a test with the hooks on this process.
fn hooked(test: impl Fn(&Programs) + Send + 'static) {
    Sandbox::run(move |sandbox, _| {
        let programs = programs(sandbox);
        let _inside = sandbox.enter();
        cgroup::attach(&programs, &sandbox.cgroup).expect("attaching");
        test(&programs);
    });
}

#[test]
fn a70_a_namespace_or_an_address_stays_with_its_backend() {
    hooked(|programs| {
        Node::<V4, 8>::new(programs, ENDS_V4).a70();
        Node::<V6, 20>::new(programs, ENDS_V6).a70();
    });
}

#[test]
fn a53_source_ranges_hold_for_the_nodes_sockets() {
    hooked(|programs| {
        Node::<V4, 8>::new(programs, ENDS_V4).a53();
        Node::<V6, 20>::new(programs, ENDS_V6).a53();
    });
}

#[test]
fn a51_a52_sockets_are_refused_at_once() {
    hooked(|programs| {
        Node::<V4, 8>::new(programs, ENDS_V4).a51();
        Node::<V6, 20>::new(programs, ENDS_V6).a51();
    });
}

#[test]
fn a51_without_the_hooks_a_socket_is_refused_where_its_packet_leaves() {
    Sandbox::run(|sandbox, runtime| {
        let mut programs = programs(sandbox);
        ip("link add veth0 type veth peer name veth1");
        ip("tuntap add tun0 mode tun");
        for name in ["veth1", "veth0", "tun0"] {
            ip(&format!("link set {name} up"));
        }
        let tcx = features().expect("probing").tcx;
        for plan in runtime.block_on(state()).ifaces {
            let IfacePlan { ifindex, name, l3, upper, .. } = plan;
            let device = Device { ifindex, name, l3, upper };
            attach(&mut programs, tcx, &device).expect("attaching");
        }
        ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev veth0");
        ip("neigh add fd00:9::2 lladdr 02:00:00:00:00:09 dev veth0");
        let node = Node::<V4, 8>::new(&programs, ENDS_V4);
        node.a51_sent("via 10.9.0.2 dev veth0 onlink");
        node.a51_sent("dev tun0");
        let node = Node::<V6, 20>::new(&programs, ENDS_V6);
        node.a51_sent("via fd00:9::2 dev veth0 onlink");
        node.a51_sent("dev tun0");
    });
}
