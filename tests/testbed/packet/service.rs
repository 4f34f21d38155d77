//! Services as one writes them down, and as the maps hold them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sluice_common::{
    backend::{Backend, flags as backend_flags},
    frontend::{Frontend, FrontendKey, Range, flags},
    net::{Addr, Port, V4, V6, proto},
};

use super::lab::Lab;

/// A service to be put into the maps.
#[derive(Clone, Debug)]
pub struct Service {
    frontends: Vec<(SocketAddr, u32)>,
    proto: u8,
    backends: Vec<SocketAddr>,
    local: Vec<SocketAddr>,
    affinity: u32,
    hashed: u32,
}

impl Service {
    /// A service with a ClusterIP.
    pub fn tcp(address: &str) -> Self {
        Self::new(address, proto::TCP)
    }

    /// A service with a ClusterIP.
    pub fn udp(address: &str) -> Self {
        Self::new(address, proto::UDP)
    }

    /// A service with a ClusterIP.
    pub fn new(address: &str, proto: u8) -> Self {
        let frontends = vec![(address.parse().expect("an address"), 0)];
        Self { frontends, proto, backends: Vec::new(), local: Vec::new(), affinity: 0, hashed: 0 }
    }

    /// Its endpoints.
    pub fn backends(mut self, addresses: &[&str]) -> Self {
        self.backends = addresses.iter().map(|a| a.parse().expect("an address")).collect();
        self
    }

    /// Those on this node.
    pub fn local(mut self, addresses: &[&str]) -> Self {
        self.local = addresses.iter().map(|a| a.parse().expect("an address")).collect();
        self
    }

    /// Another, external address; with externalTrafficPolicy=Local if `local`.
    pub fn external(mut self, address: &str, local: bool) -> Self {
        let policy = if local { flags::LOCAL_POLICY } else { 0 };
        self.frontends.push((address.parse().expect("an address"), flags::EXTERNAL | policy));
        self
    }

    /// Another, load-balancer address, for the sources in PREFIXES only ([`Lab::source_range`]).
    /// The node's own are said to be among them.
    pub fn restricted(mut self, address: &str) -> Self {
        let bits = flags::EXTERNAL | flags::SOURCE_RANGES | flags::NODE_ALLOWED;
        self.frontends.push((address.parse().expect("an address"), bits));
        self
    }

    /// With session affinity, and its timeout in seconds.
    pub fn affinity(mut self, timeout: u32) -> Self {
        self.affinity = timeout;
        self
    }

    /// With the flow's hash to choose a backend by. (From the list of backends: a Maglev table's
    /// place is a longer list's.)
    pub fn hashed(mut self) -> Self {
        self.hashed = flags::HASHED;
        self
    }

    /// A NodePort.
    pub fn node_port(self, port: u16, local: bool) -> Self {
        let any = match self.frontends[0].0.ip() {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        self.external(&SocketAddr::new(any, port).to_string(), local)
    }
}

/// A backend in the maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    address: SocketAddr,
    id: u32,
    proto: u8,
    flags: u8,
    service: u32,
    generation: u32,
}

impl Lab {
    /// Puts a new service into the maps, over an earlier one at the same addresses. Returns its id.
    pub fn put(&mut self, service: &Service) -> u32 {
        let id = self.next_service;
        self.next_service += 1;
        self.replace(id, service);
        id
    }

    /// Changes the service `id`. Backends that it no longer lists go on serving.
    pub fn replace(&mut self, id: u32, service: &Service) {
        self.change_backends(|known| {
            if known.service == id {
                known.flags = backend_flags::SERVING;
            }
        });
        let cluster = self.range(&service.backends, service.proto, id, backend_flags::CLUSTER);
        let local = self.range(&service.local, service.proto, id, backend_flags::LOCAL);
        for (address, bits) in &service.frontends {
            let none = if service.backends.is_empty() { flags::NO_ENDPOINTS } else { 0 };
            let frontend = Frontend {
                service: id,
                flags: bits | none | service.hashed,
                cluster,
                local: if bits & flags::EXTERNAL == 0 { Range::default() } else { local },
                affinity_timeout: service.affinity,
            };
            self.frontend(*address, service.proto, frontend);
        }
        let mark = Frontend { flags: flags::CLUSTER_IP, ..Frontend::default() };
        self.frontend(SocketAddr::new(service.frontends[0].0.ip(), 0), 0, mark);
    }

    /// Takes the frontend at `address` away.
    pub fn forget(&mut self, address: &str, proto: u8) {
        let address: SocketAddr = address.parse().expect("an address");
        let port = Port::new(address.port());
        match address.ip() {
            IpAddr::V4(a) => {
                let key = FrontendKey::new(Addr::<V4>::new(a.octets()), port, proto);
                self.hash::<_, Frontend>("FRONTENDS_V4").remove(&key)
            }
            IpAddr::V6(a) => {
                let key = FrontendKey::new(Addr::<V6>::new(a.octets()), port, proto);
                self.hash::<_, Frontend>("FRONTENDS_V6").remove(&key)
            }
        }
        .expect("FRONTENDS");
    }

    fn range(&mut self, backends: &[SocketAddr], proto: u8, service: u32, list: u8) -> Range {
        let range = Range { start: self.next_slot, len: backends.len() as u32 };
        for address in backends {
            let id = self.listed(*address, proto, service, list);
            let slots = if address.is_ipv4() { "SLOTS_V4" } else { "SLOTS_V6" };
            let slot = self.next_slot;
            self.array(slots).set(slot, id, 0).expect("SLOTS");
            self.next_slot += 1;
            let mark = Frontend { flags: flags::ENDPOINT, ..Frontend::default() };
            self.frontend(*address, proto, mark);
        }
        range
    }

    /// Id of the service's backend at `address`, which is in `list` from now on.
    fn listed(&mut self, address: SocketAddr, proto: u8, service: u32, list: u8) -> u32 {
        let same = |known: &Known| known.address == address && known.service == service;
        if !self.backends.iter().any(same) {
            let id = self.next_backend;
            self.next_backend += 1;
            let flags = backend_flags::SERVING;
            self.backends.push(Known { address, id, proto, flags, service, generation: 1 });
        }
        self.change_backends(|known| {
            if same(known) {
                known.flags |= list;
            }
        });
        self.backends.iter().find(|known| same(known)).expect("just seen").id
    }

    fn frontend(&mut self, address: SocketAddr, proto: u8, frontend: Frontend) {
        let port = Port::new(address.port());
        match address.ip() {
            IpAddr::V4(a) => {
                let key = FrontendKey::new(Addr::<V4>::new(a.octets()), port, proto);
                self.hash("FRONTENDS_V4").insert(key, frontend, 0)
            }
            IpAddr::V6(a) => {
                let key = FrontendKey::new(Addr::<V6>::new(a.octets()), port, proto);
                self.hash("FRONTENDS_V6").insert(key, frontend, 0)
            }
        }
        .expect("FRONTENDS");
    }

    /// Changes the backends in the maps.
    fn change_backends(&mut self, change: impl Fn(&mut Known)) {
        let mut backends = std::mem::take(&mut self.backends);
        for known in &mut backends {
            change(known);
            let Known { address, id, proto, flags, service, generation } = *known;
            let port = Port::new(address.port());
            match address.ip() {
                IpAddr::V4(a) => {
                    let addr = Addr::<V4>::new(a.octets());
                    let backend = Backend { addr, port, proto, flags, service, generation };
                    self.array("BACKENDS_V4").set(id, backend, 0)
                }
                IpAddr::V6(a) => {
                    let addr = Addr::<V6>::new(a.octets());
                    let backend = Backend { addr, port, proto, flags, service, generation };
                    self.array("BACKENDS_V6").set(id, backend, 0)
                }
            }
            .expect("BACKENDS");
        }
        self.backends = backends;
    }

    /// Retires every backend with this address.
    pub fn retire(&mut self, address: &str, proto: u8) {
        let address: SocketAddr = address.parse().expect("an address");
        self.change_backends(|known| {
            if known.address == address && known.proto == proto {
                known.flags = 0;
            }
        });
    }

    /// Gives the ids of the service's backends to new backends, which look the same.
    pub fn recycle(&mut self, service: u32) {
        self.change_backends(|known| {
            if known.service == service {
                known.generation += 1;
            }
        });
    }
}
